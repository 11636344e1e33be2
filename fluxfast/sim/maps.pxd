# From the arrays that Python made to what the server reads in C; see maps.pyx.
from fluxfast.sim.answer cimport device_map

cdef void *allocate(size_t size) except NULL
cdef void *copy_of(array, size_t itemsize) except NULL
cdef device_map *maps_of(images) except NULL
