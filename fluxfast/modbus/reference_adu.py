"""ADUs in plain Python; see ``reference``. A splitter looks at all it holds from the beginning each time."""
# ruff: noqa: D107 -- the contracts are in the twin's docstrings

import struct
from operator import index
from typing import Final, Literal

from fluxfast.errors import FramingError, LocalProtocolError


def _require(legal: bool, error: type[Exception] = LocalProtocolError) -> None:
    if not legal:
        raise error


def crc16(data: bytes) -> int:
    """Return CRC-16/MODBUS, bit by bit as in MODBUS over Serial Line V1.02, 6.2.2."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def build_mbap(transaction_id: int, unit_id: int, pdu: bytes) -> bytes:
    """Return the TCP ADU around a PDU."""
    _require(0 <= index(transaction_id) <= 0xFFFF and 0 <= index(unit_id) <= 0xFF and 1 <= len(pdu) <= 253)
    return struct.pack(">HHHB", transaction_id, 0, 1 + len(pdu), unit_id) + pdu


def parse_mbap(adu: bytes) -> tuple[int, int, bytes]:
    """Return (transaction_id, unit_id, pdu) of exactly one TCP ADU."""
    _require(_mbap_size(adu) == len(adu), FramingError)
    return int.from_bytes(adu[:2], "big"), adu[6], adu[7:]


def build_rtu(unit_id: int, pdu: bytes) -> bytes:
    """Return the RTU ADU around a PDU."""
    _require(0 <= index(unit_id) <= 0xFF and 1 <= len(pdu) <= 253)
    adu = bytes([unit_id]) + pdu
    return adu + crc16(adu).to_bytes(2, "little")


def parse_rtu(adu: bytes) -> tuple[int, bytes]:
    """Return (unit_id, pdu) of exactly one RTU ADU."""
    _require(4 <= len(adu) <= 256 and crc16(adu) == 0, FramingError)
    return adu[0], adu[1:-2]


def _mbap_size(data: bytes) -> int | None:
    # Judged as early as the bytes allow; None: the header is not whole yet.
    _require(not any(data[2:5]), FramingError)
    if len(data) < 6:
        return None
    _require(2 <= data[5] <= 254, FramingError)
    return 6 + data[5]


def _rtu_size(data: bytes, role: str) -> int | None:
    # None: the byte that tells is not there yet.
    if len(data) < 2:
        return None
    function_code = data[1]
    if role == "client" and function_code >= 0x80:
        return 5
    if function_code == 43:
        return _rtu_identification_size(data, role)
    sizes, counts = _RTU_REQUEST if role == "server" else _RTU_RESPONSE
    _require(function_code in sizes or function_code in counts, FramingError)
    if function_code in sizes:
        return sizes[function_code]
    at = counts[function_code]
    return at + 1 + data[at] + 2 if len(data) > at else None


def _rtu_identification_size(data: bytes, role: str) -> int | None:
    _require(data[2:3] in (b"", b"\x0e"), FramingError)
    if len(data) < 3:
        return None
    if role == "server":
        return 7
    if len(data) < 8:
        return None
    at = 8
    for left in range(data[7], 0, -1):
        _require(at + 2 * left + 2 <= 256, FramingError)
        if len(data) < at + 2:
            return None
        at += 2 + data[at + 1]
    return at + 2


# Function codes whose ADU has a fixed size, and those with a byte count: at which offset.
_RTU_REQUEST: Final = (dict.fromkeys(range(1, 7), 8) | {22: 10}, {15: 6, 16: 6, 23: 10})
_RTU_RESPONSE: Final = (dict.fromkeys((5, 6, 15, 16), 8) | {22: 10}, dict.fromkeys((1, 2, 3, 4, 23), 2))


class _Splitter:
    def __init__(self) -> None:
        self.error: FramingError | None = None
        self._held = b""

    @property
    def pending(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the ADUs that these bytes complete; FramingError once the stream is broken."""
        adus: list[bytes] = []
        self._held += data if self.error is None else b""
        try:
            while self.error is None and (size := self._size()) is not None and len(self._held) >= size:
                self._check(self._held[:size])
                adus.append(self._held[:size])
                self._held = self._held[size:]
        except FramingError as error:
            self.error, self._held = error, b""
        if self.error is not None and not adus:
            raise self.error
        return adus

    def _size(self) -> int | None:
        raise NotImplementedError

    def _check(self, adu: bytes) -> None:
        pass  # nothing in a TCP ADU tells more than its length


class MbapSplitter(_Splitter):
    """Cuts a TCP stream into ADUs."""

    def _size(self) -> int | None:
        return _mbap_size(self._held)


class RtuSplitter(_Splitter):
    """Cuts a stream of RTU ADUs; a client gets responses, a server requests."""

    def __init__(self, role: Literal["client", "server"]) -> None:
        super().__init__()
        self._role = role

    def _size(self) -> int | None:
        size = _rtu_size(self._held, self._role)
        _require(size is None or size <= 256, FramingError)
        return size

    def _check(self, adu: bytes) -> None:
        _require(crc16(adu) == 0, FramingError)
