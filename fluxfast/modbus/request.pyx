"""The request: a frozen object over its own PDU, and the packing that all requests and responses share.

::

      0               1                  3          5
     +---------------+------------------+----------+------ - -
     | function_code | starting_address | quantity | ...        all integers big-endian
     +---------------+------------------+----------+------ - -

``request.pdu`` is what is sent, and the fields are read from it: so there is one state to keep, every request
that exists is legal, and equality, hash and pickle are those of its bytes. MAP = Modbus Application Protocol
v1.1b3, section 6.

Invariants: ``_pdu`` is set once, before anyone sees the object, by a constructor that has checked every field
or by ``parse_request``; pointers into a caller's buffer live only while ``parse_response`` holds that buffer;
``out`` of the packers has room for all of ``values``.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.long cimport PyLong_AsLongAndOverflow
from cpython.number cimport PyNumber_Index
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SetItem
from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memset

from fluxfast.modbus.constants cimport FX_MAX_PDU_SIZE
from fluxfast.modbus.frame cimport (
    FX_EXCEPTION,
    FX_WRONG_COUNT,
    FX_WRONG_ECHO,
    FX_WRONG_FUNCTION,
    frame_status,
)
from fluxfast.native.endian cimport load_u16, store_u16

from fluxfast.constants import exception_name
from fluxfast.errors import (
    ExceptionResponseError,
    LocalProtocolError,
    MalformedPduError,
    ResponseMismatchError,
)


cdef int pack_number(object value, str name, int low, int high) except -1:
    # Integers only (TypeError): no float is rounded and no text parsed on its way to a device.
    cdef int overflow = 0
    cdef long number = PyLong_AsLongAndOverflow(PyNumber_Index(value), &overflow)
    if overflow or number < low or number > high:
        raise LocalProtocolError(f"{name} {value}: must be {low} to {high}")
    return <int>number


cdef int pack_span(uint8_t *out, object starting_address, object quantity, int limit) except -1:
    # Writes 4 bytes: a starting address and a quantity that stay inside the address space.
    cdef int address = pack_number(starting_address, "starting address", 0, 0xFFFF)
    cdef int count = pack_number(quantity, "quantity", 1, limit)
    if address + count > 65536:
        raise LocalProtocolError(f"starting address {address} + quantity {count}: must not exceed 65536")
    store_u16(out, <uint16_t>address)
    store_u16(out + 2, <uint16_t>count)
    return 0


cdef tuple pack_values(object values, Py_ssize_t quantity):
    # The values of a response; a tuple, so their number can't change under the packer.
    cdef tuple fixed = tuple(values)
    if len(fixed) != quantity:
        raise LocalProtocolError(f"{len(fixed)} values: the request asks for {quantity}")
    return fixed


cdef int pack_registers(uint8_t *out, tuple values) except -1:
    cdef Py_ssize_t i
    for i in range(len(values)):
        store_u16(out + 2 * i, <uint16_t>pack_number(values[i], "register value", 0, 0xFFFF))
    return 0


cdef int pack_bits(uint8_t *out, tuple values) except -1:
    # The first bit is the lowest of the first byte; what is left of the last byte is 0 (MAP 6.1).
    cdef Py_ssize_t i
    memset(out, 0, <size_t>((len(values) + 7) // 8))
    for i in range(len(values)):
        out[i // 8] |= <uint8_t>(pack_number(values[i], "bit value", 0, 1) << (i % 8))
    return 0


cdef tuple unpack_registers(const uint8_t *p, Py_ssize_t quantity):
    cdef tuple registers = PyTuple_New(quantity)
    cdef object register
    cdef Py_ssize_t i
    for i in range(quantity):
        register = load_u16(p + 2 * i)
        Py_INCREF(register)  # PyTuple_SetItem takes a reference
        PyTuple_SetItem(registers, i, register)
    return registers


cdef tuple unpack_bits(const uint8_t *p, Py_ssize_t quantity):
    cdef Py_ssize_t i
    return tuple([(p[i // 8] >> (i % 8)) & 1 == 1 for i in range(quantity)])


cdef int raise_status(
    frame_status status, uint8_t function_code, uint8_t exception_code,
    const uint8_t *p, const uint8_t *end,
) except -1:
    # The one place where a C judgement on a response becomes an exception.
    cdef Py_ssize_t n = end - p
    where = f"function 0x{function_code:02X}"
    if status == FX_EXCEPTION:
        raise ExceptionResponseError(function_code, exception_code, exception_name(exception_code))
    if status == FX_WRONG_FUNCTION:
        raise ResponseMismatchError(f"{where}: the response is of function 0x{p[0]:02X}")
    if status == FX_WRONG_ECHO:
        raise ResponseMismatchError(f"{where}: the response does not repeat what was written")
    if status == FX_WRONG_COUNT:
        what = f"{where}: byte count {p[1]} with {n - 2} bytes of data"
        # A whole answer, only to another question, is a mismatch; registers come in pairs of bytes.
        if p[1] != n - 2 or n == 2 or n > FX_MAX_PDU_SIZE or (function_code > 2 and n % 2 == 1):
            raise MalformedPduError(what)
        raise ResponseMismatchError(f"{what}: not the quantity that was asked for")
    raise MalformedPduError(f"{where}: a response PDU of {n} bytes: {to_bytes(p, min(n, 16)).hex(' ')}")


cdef class Request:
    """A legal request PDU; made by its subclasses, one for each function code, and by ``parse_request``."""

    def __init__(self):
        raise TypeError("Request has no layout of its own: use one of its subclasses")

    @property
    def pdu(self):
        """The request PDU: function code and data."""
        return self._pdu

    @property
    def function_code(self):
        """The function code, 1 to 43."""
        return self._at(0)[0]

    cdef const uint8_t *_at(self, Py_ssize_t offset) except NULL:
        cdef const uint8_t *p = self._pdu
        return p + offset

    cdef tuple _fields(self):
        raise NotImplementedError

    cdef object _judge(self, const uint8_t *p, const uint8_t *end):
        raise NotImplementedError

    def parse_response(self, pdu):
        """Return what the response PDU brings: the values that were read, or None for a write.

        Raise ExceptionResponseError, ResponseMismatchError or MalformedPduError: never wrong data.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(pdu, &view, PyBUF_SIMPLE)
        try:
            return self._judge(<const uint8_t *>view.buf, <const uint8_t *>view.buf + view.len)
        finally:
            PyBuffer_Release(&view)

    def __eq__(self, other):
        return isinstance(other, Request) and self._pdu == (<Request>other)._pdu

    def __hash__(self):
        return hash(self._pdu)

    def __repr__(self):
        fields = ", ".join([f"{name}={getattr(self, name)!r}" for name in self._fields()])
        return f"{type(self).__name__}({fields})"
