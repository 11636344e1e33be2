"""What a scan asks, from safe to intrusive; every question only reads."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from fluxfast import modbus
from fluxfast.errors import MalformedPduError

SUNSPEC_BASES: Final = (40000, 0, 50000)
SUNS: Final = (0x5375, 0x6E53)
REPORT_SERVER_ID: Final = 0x11


class Step(IntEnum):
    """How far a scan goes, the most careful first."""

    CONNECT = 0
    IDENTIFICATION = 1
    SERVER_ID = 2
    SUNSPEC = 3
    REGISTER = 4
    PROFILE = 5

    @property
    def word(self) -> str:
        """The name in options and results: ``server-id``."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and how to judge a response that is no exception.

    ``parse`` returns its value or raises RemoteProtocolError.
    """

    step: Step
    text: str
    pdu: bytes
    parse: Callable[[bytes], object]
    is_rtu: bool = False  # the PDU is a whole RTU ADU, sent as it stands


def identification(code: int = 1, object_id: int = 0) -> Question:
    """Ask for what the device says it is: function 43/14."""
    request = modbus.ReadDeviceIdentification(code, object_id)
    return Question(Step.IDENTIFICATION, "FC43/14 identification", request.pdu, request.parse_response)


def registers(step: Step, function_code: int, address: int, quantity: int) -> Question:
    """Ask for registers by function 3 or 4."""
    kind = modbus.ReadHoldingRegisters if function_code == 3 else modbus.ReadInputRegisters
    request = kind(address, quantity)
    many = f"{address}" if quantity == 1 else f"{address}…{address + quantity - 1}"
    return Question(step, f"FC{function_code:02} {many}", request.pdu, request.parse_response)


def _parse_server_id(pdu: bytes) -> bytes:
    """Return the data of a Report Server ID response (MAP 6.13): what it holds is the maker's own."""
    if len(pdu) < 3 or pdu[0] != REPORT_SERVER_ID or pdu[1] != len(pdu) - 2:
        raise MalformedPduError(f"no answer to Report Server ID: {pdu[:8].hex(' ')}")
    return pdu[2:]


IDENTIFICATION: Final = identification()
SERVER_ID: Final = Question(Step.SERVER_ID, "FC17 server id", bytes([REPORT_SERVER_ID]), _parse_server_id)
MARKERS: Final = tuple(registers(Step.SUNSPEC, 3, base, 2) for base in SUNSPEC_BASES)
HOLDING: Final = registers(Step.REGISTER, 3, 0, 1)
INPUT: Final = registers(Step.REGISTER, 4, 0, 1)
RTU: Final = Question(
    Step.REGISTER, "FC03 0 as RTU", modbus.build_rtu(1, HOLDING.pdu), HOLDING.parse, is_rtu=True
)
