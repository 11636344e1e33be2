"""From the arrays that Python made to what the server reads in C, once, when it is made.

What is returned belongs to the caller, who frees it. The pointers inside a device_map lead into its Image,
which must live as long.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fluxfast.sim.answer cimport device_map, segment, write_rule


cdef void *allocate(size_t size) except NULL:
    # Zeroed; never NULL, not even for nothing.
    cdef void *memory = calloc(size if size else 1, 1)
    if memory == NULL:
        raise MemoryError
    return memory


cdef void *copy_of(array, size_t itemsize) except NULL:
    # A C copy of a one-dimensional contiguous NumPy array.
    cdef const uint8_t[::1] data
    cdef void *memory = allocate(len(array) * itemsize)
    if array.itemsize != itemsize:
        free(memory)
        raise RuntimeError("image.py and server.pyx disagree on a struct")
    if len(array):
        data = array.view("u1")
        memcpy(memory, &data[0], data.shape[0])
    return memory


cdef device_map *maps_of(images) except NULL:
    cdef uint8_t[:, ::1] memory
    cdef const uint8_t[::1] data
    cdef device_map *m
    for image in images:
        if image.segments.itemsize != sizeof(segment) or image.rules.itemsize != sizeof(write_rule):
            raise RuntimeError("image.py and answer.pxd disagree on a struct")
    cdef device_map *maps = <device_map *>allocate(len(images) * sizeof(device_map))
    for number, image in enumerate(images):
        m = maps + <Py_ssize_t>number
        memory = image.memory
        m.image = &memory[0, 0]
        m.row_size = memory.shape[1]
        data = image.writable
        m.writable = &data[0]
        m.segment_count = len(image.segments)
        m.segments = <const segment *><size_t>image.segments.ctypes.data
        m.rule_count = len(image.rules)
        m.rules = <const write_rule *><size_t>image.rules.ctypes.data
        data = image.identity
        m.identity = &data[0]
        m.identity_size = data.shape[0]
        m.max_registers = image.max_registers
        m.max_bits = image.max_bits
        m.flags = image.flags
    return maps
