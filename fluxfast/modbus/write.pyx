"""Requests that write; the response repeats what was asked (MAP 6.5, 6.6, 6.11, 6.12, 6.16).

::

     single   | function_code | address | value |                                   echo: all 5 bytes
     multiple | function_code | starting_address | quantity | byte_count | values | echo: the first 5
     mask     | function_code | address | and_mask | or_mask |                      echo: all 7

Invariants: those of request.pyx.
"""

cimport cython
from libc.stdint cimport uint8_t, uint16_t

from fluxfast.modbus.constants cimport (
    FX_MASK_WRITE_REGISTER,
    FX_MAX_PDU_SIZE,
    FX_MAX_WRITE_BITS,
    FX_MAX_WRITE_REGISTERS,
    FX_WRITE_MULTIPLE_COILS,
    FX_WRITE_MULTIPLE_REGISTERS,
    FX_WRITE_SINGLE_COIL,
    FX_WRITE_SINGLE_REGISTER,
)
from fluxfast.modbus.frame cimport FX_COMPLETE, check_write_response, frame_status, write_echo_size
from fluxfast.modbus.request cimport (
    Request,
    pack_bits,
    pack_number,
    pack_registers,
    pack_span,
    raise_status,
    to_bytes,
    unpack_bits,
    unpack_registers,
)
from fluxfast.native.endian cimport load_u16, store_u16


cdef class _Write(Request):
    cdef object _judge(self, const uint8_t *p, const uint8_t *end):
        cdef const uint8_t *request = self._at(0)
        cdef uint8_t exception_code = 0
        cdef frame_status status = check_write_response(
            p, end, request, request + len(self._pdu), &exception_code
        )
        if status != FX_COMPLETE:
            raise_status(status, request[0], exception_code, p, end)

    def build_response(self):
        """Return the response PDU that confirms the write."""
        return self._pdu[:write_echo_size(self._at(0)[0])]


cdef class _WriteSingle(_Write):
    @property
    def address(self):
        """PDU address, 0-based."""
        return load_u16(self._at(1))

    cdef tuple _fields(self):
        return "address", "value"

    cdef int _set(self, int function_code, object address, int value) except -1:
        cdef uint8_t out[5]
        out[0] = <uint8_t>function_code
        store_u16(out + 1, <uint16_t>pack_number(address, "address", 0, 0xFFFF))
        store_u16(out + 3, <uint16_t>value)
        self._pdu = to_bytes(out, 5)
        return 0


cdef class _WriteMultiple(_Write):
    @property
    def starting_address(self):
        """PDU address of the first one, 0-based."""
        return load_u16(self._at(1))

    @property
    def quantity(self):
        """How many are written."""
        return load_u16(self._at(3))

    cdef tuple _fields(self):
        return "starting_address", "values"


@cython.final
cdef class WriteSingleCoil(_WriteSingle):
    """Function 0x05 (MAP 6.5): one coil on (True) or off (False). LocalProtocolError for other values."""

    def __init__(self, address, value):
        self._set(FX_WRITE_SINGLE_COIL, address, 0xFF00 * pack_number(value, "coil value", 0, 1))

    @property
    def value(self):
        """True for on (0xFF00 in the PDU), False for off (0x0000)."""
        return self._at(3)[0] != 0


@cython.final
cdef class WriteSingleRegister(_WriteSingle):
    """Function 0x06 (MAP 6.6): one holding register, 0 to 65535. LocalProtocolError if illegal."""

    def __init__(self, address, value):
        self._set(FX_WRITE_SINGLE_REGISTER, address, pack_number(value, "register value", 0, 0xFFFF))

    @property
    def value(self):
        """The new value, 0 to 65535."""
        return load_u16(self._at(3))


@cython.final
cdef class WriteMultipleCoils(_WriteMultiple):
    """Function 0x0F (MAP 6.11): 1 to 1968 coils, on (True) or off (False). LocalProtocolError if illegal."""

    def __init__(self, starting_address, values):
        cdef uint8_t out[FX_MAX_PDU_SIZE]
        cdef tuple fixed = tuple(values)
        cdef Py_ssize_t byte_count = (len(fixed) + 7) // 8
        out[0] = FX_WRITE_MULTIPLE_COILS
        pack_span(out + 1, starting_address, len(fixed), FX_MAX_WRITE_BITS)
        out[5] = <uint8_t>byte_count
        pack_bits(out + 6, fixed)
        self._pdu = to_bytes(out, 6 + byte_count)

    @property
    def values(self):
        """The new values, 1 to 1968 bools."""
        return unpack_bits(self._at(6), load_u16(self._at(3)))


@cython.final
cdef class WriteMultipleRegisters(_WriteMultiple):
    """Function 0x10 (MAP 6.12): 1 to 123 registers, each 0 to 65535. LocalProtocolError if illegal."""

    def __init__(self, starting_address, values):
        cdef uint8_t out[FX_MAX_PDU_SIZE]
        cdef tuple fixed = tuple(values)
        out[0] = FX_WRITE_MULTIPLE_REGISTERS
        pack_span(out + 1, starting_address, len(fixed), FX_MAX_WRITE_REGISTERS)
        out[5] = <uint8_t>(2 * len(fixed))
        pack_registers(out + 6, fixed)
        self._pdu = to_bytes(out, 6 + 2 * len(fixed))

    @property
    def values(self):
        """The new values, 1 to 123 integers from 0 to 65535."""
        return unpack_registers(self._at(6), load_u16(self._at(3)))


@cython.final
cdef class MaskWriteRegister(_Write):
    """Function 0x16 (MAP 6.16): register = (register AND and_mask) OR (or_mask AND NOT and_mask).

    LocalProtocolError unless all three are 0 to 65535.
    """

    def __init__(self, address, and_mask, or_mask):
        cdef uint8_t out[7]
        out[0] = FX_MASK_WRITE_REGISTER
        store_u16(out + 1, <uint16_t>pack_number(address, "address", 0, 0xFFFF))
        store_u16(out + 3, <uint16_t>pack_number(and_mask, "AND mask", 0, 0xFFFF))
        store_u16(out + 5, <uint16_t>pack_number(or_mask, "OR mask", 0, 0xFFFF))
        self._pdu = to_bytes(out, 7)

    @property
    def address(self):
        """PDU address, 0-based."""
        return load_u16(self._at(1))

    @property
    def and_mask(self):
        """1 where the register keeps its bit."""
        return load_u16(self._at(3))

    @property
    def or_mask(self):
        """The new bits where ``and_mask`` is 0."""
        return load_u16(self._at(5))

    cdef tuple _fields(self):
        return "address", "and_mask", "or_mask"
