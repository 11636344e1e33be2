"""Requests that read coils, discrete inputs and registers, and the responses to them (MAP 6.1 to 6.4, 6.17).

::

     request  | function_code | starting_address | quantity |
     response | function_code | byte_count | bits, lowest first, or registers of 2 bytes |

Invariants: those of request.pyx.
"""

cimport cython
from libc.stdint cimport uint8_t

from fluxfast.modbus.constants cimport (
    FX_MAX_PDU_SIZE,
    FX_MAX_READ_BITS,
    FX_MAX_READ_REGISTERS,
    FX_MAX_READ_WRITE_READ_REGISTERS,
    FX_MAX_READ_WRITE_WRITE_REGISTERS,
    FX_READ_COILS,
    FX_READ_DISCRETE_INPUTS,
    FX_READ_HOLDING_REGISTERS,
    FX_READ_INPUT_REGISTERS,
    FX_READ_WRITE_MULTIPLE_REGISTERS,
)
from fluxfast.modbus.frame cimport FX_COMPLETE, check_read_response, frame_status
from fluxfast.modbus.request cimport (
    Request,
    pack_bits,
    pack_registers,
    pack_span,
    pack_values,
    raise_status,
    to_bytes,
    unpack_bits,
    unpack_registers,
)
from fluxfast.native.endian cimport load_u16


cdef class _Read(Request):
    cdef int _set(self, int function_code, object starting_address, object quantity, int limit) except -1:
        cdef uint8_t out[5]
        out[0] = <uint8_t>function_code
        pack_span(out + 1, starting_address, quantity, limit)
        self._pdu = to_bytes(out, 5)
        return 0

    cdef tuple _fields(self):
        return "starting_address", "quantity"

    cdef Py_ssize_t _quantity(self) except -1:
        return load_u16(self._at(3))

    cdef int _check(self, const uint8_t *p, const uint8_t *end) except -1:
        cdef const uint8_t *request = self._at(0)
        cdef uint8_t exception_code = 0
        cdef frame_status status = check_read_response(
            p, end, request[0], load_u16(request + 3), &exception_code
        )
        if status != FX_COMPLETE:
            raise_status(status, request[0], exception_code, p, end)
        return 0


cdef class _ReadBits(_Read):
    @property
    def starting_address(self):
        """PDU address of the first one, 0-based."""
        return load_u16(self._at(1))

    @property
    def quantity(self):
        """How many are read, 1 to 2000."""
        return self._quantity()

    cdef object _judge(self, const uint8_t *p, const uint8_t *end):
        self._check(p, end)
        return unpack_bits(p + 2, self._quantity())

    def build_response(self, values):
        """Return the response PDU with these bits; LocalProtocolError unless there are ``quantity``."""
        cdef uint8_t out[FX_MAX_PDU_SIZE]
        cdef tuple fixed = pack_values(values, self._quantity())
        cdef Py_ssize_t byte_count = (len(fixed) + 7) // 8
        out[0] = self._at(0)[0]
        out[1] = <uint8_t>byte_count
        pack_bits(out + 2, fixed)
        return to_bytes(out, 2 + byte_count)


cdef class _ReadRegisters(_Read):
    cdef object _judge(self, const uint8_t *p, const uint8_t *end):
        self._check(p, end)
        return unpack_registers(p + 2, self._quantity())

    def build_response(self, values):
        """Return the response PDU with these registers; LocalProtocolError unless as many as asked."""
        cdef uint8_t out[FX_MAX_PDU_SIZE]
        cdef tuple fixed = pack_values(values, self._quantity())
        out[0] = self._at(0)[0]
        out[1] = <uint8_t>(2 * len(fixed))
        pack_registers(out + 2, fixed)
        return to_bytes(out, 2 + 2 * len(fixed))


cdef class _ReadOnlyRegisters(_ReadRegisters):
    @property
    def starting_address(self):
        """PDU address of the first one, 0-based."""
        return load_u16(self._at(1))

    @property
    def quantity(self):
        """How many are read, 1 to 125."""
        return self._quantity()


@cython.final
cdef class ReadCoils(_ReadBits):
    """Function 0x01 (MAP 6.1): 1 to 2000 coils, as bools. LocalProtocolError if illegal."""

    def __init__(self, starting_address, quantity):
        self._set(FX_READ_COILS, starting_address, quantity, FX_MAX_READ_BITS)


@cython.final
cdef class ReadDiscreteInputs(_ReadBits):
    """Function 0x02 (MAP 6.2): 1 to 2000 discrete inputs, as bools. LocalProtocolError if illegal."""

    def __init__(self, starting_address, quantity):
        self._set(FX_READ_DISCRETE_INPUTS, starting_address, quantity, FX_MAX_READ_BITS)


@cython.final
cdef class ReadHoldingRegisters(_ReadOnlyRegisters):
    """Function 0x03 (MAP 6.3): 1 to 125 holding registers, as integers. LocalProtocolError if illegal."""

    def __init__(self, starting_address, quantity):
        self._set(FX_READ_HOLDING_REGISTERS, starting_address, quantity, FX_MAX_READ_REGISTERS)


@cython.final
cdef class ReadInputRegisters(_ReadOnlyRegisters):
    """Function 0x04 (MAP 6.4): 1 to 125 input registers, as integers. LocalProtocolError if illegal."""

    def __init__(self, starting_address, quantity):
        self._set(FX_READ_INPUT_REGISTERS, starting_address, quantity, FX_MAX_READ_REGISTERS)


@cython.final
cdef class ReadWriteMultipleRegisters(_ReadRegisters):
    """Function 0x17 (MAP 6.17): write 1 to 121 holding registers, then read 1 to 125.

    LocalProtocolError if a quantity, a span or a value is illegal.

    | function_code | read address | read quantity | write address | write quantity | byte_count | values |
    """

    def __init__(self, read_starting_address, read_quantity, write_starting_address, write_values):
        cdef uint8_t out[FX_MAX_PDU_SIZE]
        cdef tuple fixed = tuple(write_values)
        out[0] = FX_READ_WRITE_MULTIPLE_REGISTERS
        pack_span(out + 1, read_starting_address, read_quantity, FX_MAX_READ_WRITE_READ_REGISTERS)
        pack_span(out + 5, write_starting_address, len(fixed), FX_MAX_READ_WRITE_WRITE_REGISTERS)
        out[9] = <uint8_t>(2 * len(fixed))
        pack_registers(out + 10, fixed)
        self._pdu = to_bytes(out, 10 + 2 * len(fixed))

    @property
    def read_starting_address(self):
        """PDU address of the first register that is read, 0-based."""
        return load_u16(self._at(1))

    @property
    def read_quantity(self):
        """How many are read, 1 to 125."""
        return self._quantity()

    @property
    def write_starting_address(self):
        """PDU address of the first register that is written, 0-based."""
        return load_u16(self._at(5))

    @property
    def write_values(self):
        """The new values, 1 to 121 integers."""
        return unpack_registers(self._at(10), load_u16(self._at(7)))

    cdef tuple _fields(self):
        return "read_starting_address", "read_quantity", "write_starting_address", "write_values"
