# What request classes share; see request.pyx.
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t

from fluxfast.modbus.frame cimport frame_status


cdef class Request:
    cdef bytes _pdu

    cdef const uint8_t *_at(self, Py_ssize_t offset) except NULL
    cdef tuple _fields(self)
    cdef object _judge(self, const uint8_t *p, const uint8_t *end)


cdef inline bytes to_bytes(const uint8_t *p, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<const char *>p, size)


cdef int pack_number(object value, str name, int low, int high) except -1
cdef int pack_span(uint8_t *out, object starting_address, object quantity, int limit) except -1
cdef tuple pack_values(object values, Py_ssize_t quantity)
cdef int pack_registers(uint8_t *out, tuple values) except -1
cdef int pack_bits(uint8_t *out, tuple values) except -1
cdef tuple unpack_registers(const uint8_t *p, Py_ssize_t quantity)
cdef tuple unpack_bits(const uint8_t *p, Py_ssize_t quantity)
cdef int raise_status(
    frame_status status, uint8_t function_code, uint8_t exception_code,
    const uint8_t *p, const uint8_t *end,
) except -1
