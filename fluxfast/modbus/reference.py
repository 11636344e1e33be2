"""The protocol in plain Python: the names and results of the compiled modules, to read and to test against.

Nothing at runtime imports this. Here are the PDUs, in ``reference_adu`` the ADUs. What a message looks like
is in its ``pdu`` and ``parse_response``, what is legal in ``__post_init__`` and ``parse_request``.
Errors have the same types as the twin's, but no texts. MAP = Modbus Application Protocol v1.1b3.
"""
# ruff: noqa: D102, D105 -- the contracts are in the twin's docstrings

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import index
from typing import ClassVar, Final

from fluxfast.constants import ExceptionCode, exception_name
from fluxfast.errors import (
    ExceptionResponseError,
    LocalProtocolError,
    MalformedPduError,
    RemoteProtocolError,
    ResponseMismatchError,
)
from fluxfast.modbus.identification import DeviceIdentification
from fluxfast.modbus.reference_adu import (
    MbapSplitter,
    RtuSplitter,
    build_mbap,
    build_rtu,
    crc16,
    parse_mbap,
    parse_rtu,
)

__all__ = [
    "DeviceIdentification",
    "MaskWriteRegister",
    "MbapSplitter",
    "ReadCoils",
    "ReadDeviceIdentification",
    "ReadDiscreteInputs",
    "ReadHoldingRegisters",
    "ReadInputRegisters",
    "ReadWriteMultipleRegisters",
    "Request",
    "RtuSplitter",
    "WriteMultipleCoils",
    "WriteMultipleRegisters",
    "WriteSingleCoil",
    "WriteSingleRegister",
    "build_exception_response",
    "build_mbap",
    "build_rtu",
    "crc16",
    "parse_mbap",
    "parse_request",
    "parse_rtu",
]


def _require(legal: bool, error: type[Exception] = LocalProtocolError) -> None:
    if not legal:
        raise error


def _pack_bits(values: Sequence[int]) -> bytes:
    _require(all(index(v) in (0, 1) for v in values))
    number = sum(1 << i for i, v in enumerate(values) if v)
    return number.to_bytes((len(values) + 7) // 8, "little")


def _unpack_bits(data: bytes, quantity: int) -> tuple[bool, ...]:
    return tuple(bool(int.from_bytes(data, "little") >> i & 1) for i in range(quantity))


def _pack_registers(values: Sequence[int]) -> bytes:
    _require(all(0 <= index(v) <= 0xFFFF for v in values))
    return struct.pack(f">{len(values)}H", *values)


def _unpack_registers(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(data) // 2}H", data)


def _check_span(starting_address: int, quantity: int, limit: int) -> None:
    _require(0 <= index(starting_address) <= 0xFFFF and 1 <= index(quantity) <= limit)
    _require(starting_address + quantity <= 65536)


class Request:
    """What all requests share: the head of a response is judged alike."""

    function_code: ClassVar[int]

    @property
    def pdu(self) -> bytes:
        raise NotImplementedError

    def _expect(self, pdu: bytes, min_size: int) -> bytes:
        # The response's bytes after the function code.
        if pdu[:1] == bytes([self.function_code | 0x80]):
            _require(len(pdu) == 2, MalformedPduError)
            raise ExceptionResponseError(self.function_code, pdu[1], exception_name(pdu[1]))
        _require(len(pdu) >= 1, MalformedPduError)
        _require(pdu[0] == self.function_code, ResponseMismatchError)
        _require(len(pdu) >= min_size, MalformedPduError)
        return pdu[1:]

    def _expect_counted(self, pdu: bytes, byte_count: int, unit: int) -> bytes:
        # The response's bytes after the byte count.
        counted, *data = self._expect(pdu, 2)
        if counted != byte_count or len(data) != byte_count:
            whole = counted == len(data) > 0 and counted % unit == 0 and len(pdu) <= 253
            raise ResponseMismatchError if whole else MalformedPduError
        return bytes(data)


@dataclass(frozen=True)
class _Read(Request):
    limit: ClassVar[int]
    starting_address: int
    quantity: int

    def __post_init__(self) -> None:
        _check_span(self.starting_address, self.quantity, self.limit)

    @property
    def pdu(self) -> bytes:
        return struct.pack(">BHH", self.function_code, self.starting_address, self.quantity)


class _ReadBits(_Read):
    limit = 2000

    def build_response(self, values: Iterable[bool]) -> bytes:
        data = _pack_bits(fixed := tuple(values))
        _require(len(fixed) == self.quantity)
        return bytes([self.function_code, len(data)]) + data

    def parse_response(self, pdu: bytes) -> tuple[bool, ...]:
        return _unpack_bits(self._expect_counted(pdu, (self.quantity + 7) // 8, 1), self.quantity)


class _ReadRegisters(_Read):
    limit = 125

    def build_response(self, values: Iterable[int]) -> bytes:
        data = _pack_registers(tuple(values))
        _require(len(data) == 2 * self.quantity)
        return bytes([self.function_code, len(data)]) + data

    def parse_response(self, pdu: bytes) -> tuple[int, ...]:
        return _unpack_registers(self._expect_counted(pdu, 2 * self.quantity, 2))


class ReadCoils(_ReadBits):
    """MAP 6.1."""

    function_code = 1


class ReadDiscreteInputs(_ReadBits):
    """MAP 6.2."""

    function_code = 2


class ReadHoldingRegisters(_ReadRegisters):
    """MAP 6.3."""

    function_code = 3


class ReadInputRegisters(_ReadRegisters):
    """MAP 6.4."""

    function_code = 4


@dataclass(frozen=True)
class ReadWriteMultipleRegisters(Request):
    """MAP 6.17."""

    function_code = 23
    read_starting_address: int
    read_quantity: int
    write_starting_address: int
    write_values: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "write_values", tuple(self.write_values))
        _check_span(self.read_starting_address, self.read_quantity, 125)
        _check_span(self.write_starting_address, len(self.write_values), 121)
        _pack_registers(self.write_values)

    @property
    def pdu(self) -> bytes:
        values = _pack_registers(self.write_values)
        read = struct.pack(">BHH", 23, self.read_starting_address, self.read_quantity)
        return read + struct.pack(">HHB", self.write_starting_address, len(values) // 2, len(values)) + values

    def build_response(self, values: Iterable[int]) -> bytes:
        data = _pack_registers(tuple(values))
        _require(len(data) == 2 * self.read_quantity)
        return bytes([23, len(data)]) + data

    def parse_response(self, pdu: bytes) -> tuple[int, ...]:
        return _unpack_registers(self._expect_counted(pdu, 2 * self.read_quantity, 2))


class _Write(Request):
    echo_size = 5

    def build_response(self) -> bytes:
        return self.pdu[: self.echo_size]

    def parse_response(self, pdu: bytes) -> None:
        self._expect(pdu, self.echo_size)
        _require(len(pdu) == self.echo_size, MalformedPduError)
        _require(pdu == self.build_response(), ResponseMismatchError)


@dataclass(frozen=True)
class WriteSingleCoil(_Write):
    """MAP 6.5."""

    function_code = 5
    address: int
    value: bool

    def __post_init__(self) -> None:
        _require(0 <= index(self.address) <= 0xFFFF and index(self.value) in (0, 1))
        object.__setattr__(self, "value", bool(self.value))

    @property
    def pdu(self) -> bytes:
        return struct.pack(">BHH", 5, self.address, 0xFF00 if self.value else 0x0000)


@dataclass(frozen=True)
class WriteSingleRegister(_Write):
    """MAP 6.6."""

    function_code = 6
    address: int
    value: int

    def __post_init__(self) -> None:
        _require(0 <= index(self.address) <= 0xFFFF and 0 <= index(self.value) <= 0xFFFF)

    @property
    def pdu(self) -> bytes:
        return struct.pack(">BHH", 6, self.address, self.value)


@dataclass(frozen=True)
class WriteMultipleCoils(_Write):
    """MAP 6.11."""

    function_code = 15
    starting_address: int
    values: Sequence[bool]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        _check_span(self.starting_address, len(self.values), 1968)
        object.__setattr__(self, "values", _unpack_bits(_pack_bits(self.values), len(self.values)))

    @property
    def pdu(self) -> bytes:
        data = _pack_bits(self.values)
        return struct.pack(">BHHB", 15, self.starting_address, len(self.values), len(data)) + data


@dataclass(frozen=True)
class WriteMultipleRegisters(_Write):
    """MAP 6.12."""

    function_code = 16
    starting_address: int
    values: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        _check_span(self.starting_address, len(self.values), 123)
        _pack_registers(self.values)

    @property
    def pdu(self) -> bytes:
        data = _pack_registers(self.values)
        return struct.pack(">BHHB", 16, self.starting_address, len(self.values), len(data)) + data


@dataclass(frozen=True)
class MaskWriteRegister(_Write):
    """MAP 6.16."""

    function_code = 22
    echo_size = 7
    address: int
    and_mask: int
    or_mask: int

    def __post_init__(self) -> None:
        _pack_registers((self.address, self.and_mask, self.or_mask))

    @property
    def pdu(self) -> bytes:
        return struct.pack(">BHHH", 22, self.address, self.and_mask, self.or_mask)


@dataclass(frozen=True)
class ReadDeviceIdentification(Request):
    """MAP 6.21."""

    function_code = 43
    read_device_id_code: int
    object_id: int = 0

    def __post_init__(self) -> None:
        _require(1 <= index(self.read_device_id_code) <= 4 and 0 <= index(self.object_id) <= 0xFF)

    @property
    def pdu(self) -> bytes:
        return bytes([43, 14, self.read_device_id_code, self.object_id])

    def build_response(self, identification: DeviceIdentification) -> bytes:
        following = identification.next_object_id
        more = following is not None
        objects = [bytes([k, len(v)]) + v for k, v in identification.objects.items()]
        head = [
            identification.conformity_level,
            0xFF * more,
            identification.next_object_id or 0,
            len(objects),
        ]
        pdu = self.pdu[:3] + bytes(head) + b"".join(objects)
        try:
            self.parse_response(pdu)
        except RemoteProtocolError as error:
            raise LocalProtocolError from error
        return pdu

    def parse_response(self, pdu: bytes) -> DeviceIdentification:
        self._expect(pdu, 7)
        _require(len(pdu) <= 253, MalformedPduError)
        _, mei_type, code, conformity_level, more_follows, next_object_id, number_of_objects = pdu[:7]
        _require((mei_type, code) == (14, self.read_device_id_code), ResponseMismatchError)
        _require(conformity_level in (1, 2, 3, 0x81, 0x82, 0x83), MalformedPduError)
        _require(more_follows in (0, 0xFF), MalformedPduError)
        objects: dict[int, bytes] = {}
        rest = pdu[7:]
        for _ in range(number_of_objects):
            _require(len(rest) >= 2 and len(rest) >= 2 + rest[1], MalformedPduError)
            _require(rest[0] not in objects, MalformedPduError)
            objects[rest[0]] = rest[2 : 2 + rest[1]]
            rest = rest[2 + rest[1] :]
        _require(rest == b"", MalformedPduError)
        if code == 4:
            _require(len(objects) == 1 and not more_follows, MalformedPduError)
            _require(self.object_id in objects, ResponseMismatchError)
        if more_follows:
            _require(next_object_id > max([self.object_id, *objects]), MalformedPduError)
        return DeviceIdentification(conformity_level, objects, next_object_id if more_follows else None)


def parse_request(pdu: bytes) -> Request:
    """Return the request in a PDU; ExceptionResponseError says what to answer."""
    _require(len(pdu) >= 1 and pdu[0] < 0x80, MalformedPduError)
    function_code, data = pdu[0], pdu[1:]

    def refuse_unless(legal: bool, code: int = ExceptionCode.ILLEGAL_DATA_VALUE) -> None:
        if not legal:
            raise ExceptionResponseError(function_code, code, exception_name(code))

    def check_spans(*spans: tuple[int, int, int]) -> None:
        refuse_unless(all(1 <= quantity <= limit for _, quantity, limit in spans))
        inside = all(address + quantity <= 65536 for address, quantity, _ in spans)
        refuse_unless(inside, ExceptionCode.ILLEGAL_DATA_ADDRESS)

    if function_code in _READS:
        refuse_unless(len(data) == 4)
        address, quantity = struct.unpack(">HH", data)
        check_spans((address, quantity, 2000 if function_code <= 2 else 125))
        return _READS[function_code](address, quantity)
    if function_code == 5:
        refuse_unless(len(data) == 4 and data[2:] in (b"\x00\x00", b"\xff\x00"))
        return WriteSingleCoil(int.from_bytes(data[:2], "big"), data[2] == 0xFF)
    if function_code == 6:
        refuse_unless(len(data) == 4)
        return WriteSingleRegister(*struct.unpack(">HH", data))
    if function_code in (15, 16):
        refuse_unless(len(data) >= 5)
        address, quantity, byte_count = struct.unpack(">HHB", data[:5])
        expected = (quantity + 7) // 8 if function_code == 15 else 2 * quantity
        refuse_unless(byte_count == len(data) - 5 == expected)
        check_spans((address, quantity, 1968 if function_code == 15 else 123))
        if function_code == 15:
            return WriteMultipleCoils(address, _unpack_bits(data[5:], quantity))
        return WriteMultipleRegisters(address, _unpack_registers(data[5:]))
    if function_code == 22:
        refuse_unless(len(data) == 6)
        return MaskWriteRegister(*struct.unpack(">HHH", data))
    if function_code == 23:
        refuse_unless(len(data) >= 9)
        read_address, read_quantity, address, quantity, byte_count = struct.unpack(">HHHHB", data[:9])
        refuse_unless(byte_count == len(data) - 9 == 2 * quantity)
        check_spans((read_address, read_quantity, 125), (address, quantity, 121))
        return ReadWriteMultipleRegisters(read_address, read_quantity, address, _unpack_registers(data[9:]))
    if function_code == 43 and data[:1] in (b"", b"\x0e"):
        refuse_unless(len(data) == 3 and 1 <= data[1] <= 4)
        return ReadDeviceIdentification(data[1], data[2])
    refuse_unless(False, ExceptionCode.ILLEGAL_FUNCTION)
    raise AssertionError


_READS: Final = {1: ReadCoils, 2: ReadDiscreteInputs, 3: ReadHoldingRegisters, 4: ReadInputRegisters}


def build_exception_response(function_code: int, exception_code: int) -> bytes:
    """Return the PDU that refuses a request (MAP 7)."""
    _require(0 <= index(function_code) <= 0x7F and exception_code in list(ExceptionCode))
    return bytes([function_code | 0x80, exception_code])
