"""What is done to each reading of a tick: it is copied, and gets a bit that says whether it is there.

NumPy takes more than a microsecond for each array that it copies into another, much longer than the bytes
take; and it is the loop that waits.
"""

from cpython.buffer cimport (
    PyBUF_STRIDES,
    PyBuffer_IsContiguous,
    PyBuffer_Release,
    PyBuffer_ToContiguous,
    PyObject_GetBuffer,
)
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    PLACE = 4  # columns of `places`
    PACKING = 3  # of `packings`

cdef uint64_t EACH = 0x0101010101010101
cdef uint64_t LOW_BITS = 0x7F7F7F7F7F7F7F7F
cdef uint64_t TO_THE_TOP = 0x0102040810204080


def gather(
    unsigned char[::1] memory,
    const int64_t[:, ::1] places,
    list dtypes,
    Py_ssize_t tick,
    list arrays,
):
    """Copy a tick's arrays to their places; return False if one has another dtype, or columns in other order.

    ``places``: for each array its first byte in ``memory``, how many columns it has (C-contiguous, if
    several), the bytes of a column in a tick, and how far columns are from each other. ValueError where an
    array has not as many bytes.
    """
    cdef Py_buffer view
    cdef Py_ssize_t i, column, columns, size, to, distance
    if not len(arrays) == len(dtypes) == places.shape[0] or places.shape[1] != PLACE or tick < 0:
        raise ValueError(f"a tick has {places.shape[0]} arrays, not {len(arrays)}")
    for i in range(places.shape[0]):
        array, dtype = arrays[i], dtypes[i]
        to, columns, size, distance = places[i, 0], places[i, 1], places[i, 2], places[i, 3]
        to += tick * size
        if to < 0 or to + (columns - 1) * distance + size > memory.shape[0]:
            raise IndexError(f"no place for tick {tick}")
        is_of = array.dtype
        if is_of is not dtype and is_of != dtype:
            return False
        PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
        try:
            if view.len != columns * size:
                raise ValueError(f"array {i} of a tick has {columns * size} bytes, not {view.len}")
            if columns == 1 and size:
                PyBuffer_ToContiguous(&memory[to], &view, size, b"C")
            elif not PyBuffer_IsContiguous(&view, b"C"):
                return False
            elif size:
                for column in range(columns):
                    memcpy(&memory[to + column * distance], <char *>view.buf + column * size, size)
        finally:
            PyBuffer_Release(&view)
    return True


def pack(unsigned char[::1] memory, const int64_t[:, ::1] packings, Py_ssize_t length):
    """Turn bytes into bits, as Arrow has them: set where the byte is not 0.

    ``packings``: where in ``memory`` each ``length`` bytes begin, where their bits go, and where an int64
    goes that says how many of them are 0 (-1: nowhere).
    """
    cdef Py_ssize_t i
    cdef int64_t zeros
    if packings.shape[1] != PACKING or length < 0:
        raise ValueError("a packing is three numbers")
    for i in range(packings.shape[0]):
        if (
            packings[i, 0] < 0
            or packings[i, 1] < 0
            or packings[i, 0] + length > memory.shape[0]
            or packings[i, 1] + (length + 7) // 8 > memory.shape[0]
            or packings[i, 2] + <Py_ssize_t>sizeof(zeros) > memory.shape[0]
        ):
            raise IndexError(f"packing {i} is outside of the memory")
        if length:
            zeros = length - pack_bits(&memory[packings[i, 0]], &memory[packings[i, 1]], length)
            if packings[i, 2] >= 0:
                memcpy(&memory[packings[i, 2]], &zeros, sizeof(zeros))


cdef int64_t pack_bits(const unsigned char *flags, unsigned char *bits, Py_ssize_t length) noexcept nogil:
    # Returns how many are set. Eight bytes at once: 1 in each that is not 0, then a product that brings all
    # of them into its highest byte, the first as the lowest bit.
    cdef Py_ssize_t at, i
    cdef uint64_t eight
    cdef int64_t ones = 0
    cdef unsigned char last = 0
    for at in range(length // 8):
        memcpy(&eight, flags + 8 * at, 8)
        eight = ((((eight & LOW_BITS) + LOW_BITS) | eight) >> 7) & EACH
        ones += <int64_t>((eight * EACH) >> 56)
        bits[at] = <unsigned char>((eight * TO_THE_TOP) >> 56)
    if length % 8:
        for i in range(length % 8):
            last |= <unsigned char>((flags[length - length % 8 + i] != 0) << i)
            ones += flags[length - length % 8 + i] != 0
        bits[length // 8] = last
    return ones
