from dataclasses import dataclass
from enum import IntEnum
from typing import final

from typing_extensions import Buffer

from fluxfast.modbus.request import Request

class ReadDeviceIdCode(IntEnum):
    BASIC = 1
    REGULAR = 2
    EXTENDED = 3
    SPECIFIC = 4

@dataclass(frozen=True)
class DeviceIdentification:
    conformity_level: int
    objects: dict[int, bytes]
    next_object_id: int | None = None

@final
class ReadDeviceIdentification(Request):
    def __init__(self, read_device_id_code: int, object_id: int = 0) -> None: ...
    @property
    def read_device_id_code(self) -> int: ...
    @property
    def object_id(self) -> int: ...
    def build_response(self, identification: DeviceIdentification) -> bytes: ...
    def parse_response(self, pdu: Buffer) -> DeviceIdentification: ...
