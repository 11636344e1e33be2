"""A tick's arrays, each to its place in one memory.

NumPy takes more than a microsecond for each array that it copies into another, much longer than the bytes
take; and it is the loop that waits.
"""

from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyBuffer_ToContiguous, PyObject_GetBuffer
from libc.stdint cimport int64_t


def gather(unsigned char[::1] memory, const int64_t[:, ::1] places, Py_ssize_t tick, arrays):
    """Copy each array to its place, that of a tick. ValueError where one has not as many bytes as belong there.

    ``places``: [arrays, 2], where in ``memory`` the first tick of an array begins, and the bytes of a tick.
    """
    cdef Py_buffer view
    cdef Py_ssize_t i = 0, at
    if len(arrays) != places.shape[0]:
        raise ValueError(f"a tick has {places.shape[0]} arrays, not {len(arrays)}")
    for array in arrays:
        at = places[i, 0] + tick * places[i, 1]
        if tick < 0 or at < 0 or at + places[i, 1] > memory.shape[0]:
            raise IndexError(f"no place for tick {tick}")
        PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
        try:
            if view.len != places[i, 1]:
                raise ValueError(f"array {i} of a tick has {places[i, 1]} bytes, not {view.len}")
            if view.len:
                PyBuffer_ToContiguous(&memory[at], &view, view.len, b"C")
        finally:
            PyBuffer_Release(&view)
        i += 1
