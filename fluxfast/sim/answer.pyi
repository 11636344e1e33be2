# Nothing for Python: server.pyx calls the C functions of answer.pxd.
