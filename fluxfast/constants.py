"""Numbers of the Modbus specifications, spelled once.

MAP = Modbus Application Protocol v1.1b3; MIG = Modbus Messaging on TCP/IP Implementation Guide v1.0b.
"""

from enum import IntEnum
from typing import Final


class FunctionCode(IntEnum):
    """Function codes that fluxfast speaks (MAP section 6)."""

    READ_COILS = 0x01
    READ_DISCRETE_INPUTS = 0x02
    READ_HOLDING_REGISTERS = 0x03
    READ_INPUT_REGISTERS = 0x04
    WRITE_SINGLE_COIL = 0x05
    WRITE_SINGLE_REGISTER = 0x06
    WRITE_MULTIPLE_COILS = 0x0F
    WRITE_MULTIPLE_REGISTERS = 0x10
    MASK_WRITE_REGISTER = 0x16
    READ_WRITE_MULTIPLE_REGISTERS = 0x17
    ENCAPSULATED_INTERFACE_TRANSPORT = 0x2B


class ExceptionCode(IntEnum):
    """Exception codes (MAP section 7)."""

    ILLEGAL_FUNCTION = 0x01
    ILLEGAL_DATA_ADDRESS = 0x02
    ILLEGAL_DATA_VALUE = 0x03
    SERVER_DEVICE_FAILURE = 0x04
    ACKNOWLEDGE = 0x05
    SERVER_DEVICE_BUSY = 0x06
    MEMORY_PARITY_ERROR = 0x08
    GATEWAY_PATH_UNAVAILABLE = 0x0A
    GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND = 0x0B


def exception_name(code: int) -> str:
    """Return the specification's words for an exception code, ``unknown 255`` for others."""
    try:
        return ExceptionCode(code).name.lower().replace("_", " ")
    except ValueError:
        return f"unknown {code}"


DEFAULT_PORT: Final = 502  # MIG 4.2.2
MEI_READ_DEVICE_IDENTIFICATION: Final = 0x0E  # MAP 6.21

MBAP_SIZE: Final = 7  # MIG 3.1.3: transaction_id, protocol_id, length, unit_id
MAX_PDU_SIZE: Final = 253  # MAP 4.1
MAX_TCP_ADU_SIZE: Final = 260  # MAP 4.1
MAX_RTU_ADU_SIZE: Final = 256  # MAP 4.1
MIN_MBAP_LENGTH: Final = 2  # unit_id + function code; the length field counts unit_id and PDU
MAX_MBAP_LENGTH: Final = 254

MAX_IN_FLIGHT: Final = 16  # MIG 4.2: NumberMaxOfClientTransaction is 1..16

MAX_READ_BITS: Final = 2000  # MAP 6.1, 6.2
MAX_READ_REGISTERS: Final = 125  # MAP 6.3, 6.4
MAX_WRITE_BITS: Final = 1968  # MAP 6.11
MAX_WRITE_REGISTERS: Final = 123  # MAP 6.12
MAX_READ_WRITE_READ_REGISTERS: Final = 125  # MAP 6.17
MAX_READ_WRITE_WRITE_REGISTERS: Final = 121  # MAP 6.17
