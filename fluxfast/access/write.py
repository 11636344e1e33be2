"""What may be written to a unit, and in which request: what must not be is refused here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fluxfast import modbus
from fluxfast.access.read import Answer, UnitReader
from fluxfast.access.selection import Form, Selection, is_address, place
from fluxfast.access.target import Unit
from fluxfast.config import Device
from fluxfast.errors import LocalProtocolError
from fluxfast.profiles import BatteryControl, Point, Profile
from fluxfast.profiles.control import POWER_UNITS
from fluxfast.profiles.findings import nearest
from fluxfast.profiles.point import one_based
from fluxfast.values import Decoder, Reading, block_of, encode

MAX_VALUES: Final = 123  # MAP 6.12: registers of one request; coils in the same measure are plenty


@dataclass(frozen=True, slots=True)
class Write:
    """One request that writes adjacent points of a unit: ``registers`` as they travel, of coils 0 or 1."""

    unit: Unit
    points: tuple[Point, ...]
    registers: tuple[int, ...]
    function_code: int  # 5, 6, 15 or 16

    @property
    def address(self) -> int:
        """The PDU address of the first one."""
        return self.points[0].address

    @property
    def request(self) -> modbus.Request:
        """What is sent."""
        if self.function_code == 5:
            return modbus.WriteSingleCoil(self.address, bool(self.registers[0]))
        if self.function_code == 6:
            return modbus.WriteSingleRegister(self.address, self.registers[0])
        if self.function_code == 15:
            return modbus.WriteMultipleCoils(self.address, map(bool, self.registers))
        return modbus.WriteMultipleRegisters(self.address, self.registers)

    @property
    def adu(self) -> bytes:
        """The frame, with 1 as its transaction identifier."""
        return modbus.build_mbap(1, self.unit.unit_id, self.request.pdu)

    @property
    def new(self) -> list[Reading]:
        """What the points will read, if the unit takes it."""
        block = block_of(self.points)
        if self.points[0].in_bit_table:
            bits = sum(bit << number for number, bit in enumerate(self.registers))
            return Decoder(block).decode(bits.to_bytes(block.data_size, "little"))
        return Decoder(block).decode(b"".join(word.to_bytes(2) for word in self.registers))

    @property
    def wears_flash(self) -> bool:
        """Whether the unit keeps it where few writes are the end of it."""
        return any(point.storage == "flash" for point in self.points)

    def reader(self) -> UnitReader | None:
        """Return what reads the points, if they can be read."""
        if not all(point.readable for point in self.points):
            return None
        return UnitReader(self.unit, Selection(self.points, (block_of(self.points),)))

    def is_held(self, answers: Sequence[Answer]) -> bool:
        """Whether the unit holds what was to be written."""
        return [a.reading.raw for a in answers] == [reading.raw for reading in self.new]


def plan_writes(
    unit: Unit, items: Sequence[str], form: Form, function_code: int | None = None
) -> list[Write]:
    """Return the write of each item (``plan_write``); LocalProtocolError too if two are for one address."""
    writes = [plan_write(unit, item, form, function_code) for item in items]
    taken: dict[tuple[str, int], int] = {}
    for number, write in enumerate(writes):
        for point in write.points:
            for address in range(point.address, point.address + point.size):
                other = taken.setdefault((point.register, address), number)
                if other != number:
                    at = f"{point.register} address {address}, reference {one_based(point.register, address)}"
                    raise LocalProtocolError(
                        f"'{items[other]}' and '{items[number]}' both write {at} (write it once)"
                    )
    return writes


def plan_write(unit: Unit, item: str, form: Form, function_code: int | None = None) -> Write:
    """Return the write of ``ADDRESS=VALUE[,VALUE…]`` or, to a device of a site file, of ``POINT=VALUE``.

    Raises LocalProtocolError with a cure for all that must not be written, or cannot.
    """
    where, equals, what = item.partition("=")
    if not equals or not where or not what:
        example = "target_power=50" if unit.device is not None else "2008=50"
        raise LocalProtocolError(f"{item!r} is nothing to write (write one like {example})")
    if is_address(where):
        values = [what] if form.type == "string" else what.split(",")
        return write_values(unit, form.address(where), values, form, function_code)
    if unit.device is None:
        raise LocalProtocolError(f"{where!r} is no address (names are those of a site file's devices)")
    point = _writable(unit.device.profile, where)
    registers = _encoded(point, what)
    function_code = _function_code(point, len(registers), unit.device.profile, function_code)
    write = Write(unit, (point,), registers, function_code)
    (reading,) = write.new
    if reading.value is None:
        raise LocalProtocolError(
            f"{place(point)}: {point.name} cannot be {what}: for its profile this stands for no value "
            "(not_implemented)"
        )
    _refuse_too_much_power(unit.device, reading)
    return write


def write_values(
    unit: Unit, address: int, values: Sequence[str], form: Form, function_code: int | None = None
) -> Write:
    """Return the write of values one after another from a PDU address on."""
    if form.table not in ("holding", "coil"):
        raise LocalProtocolError(
            f"{form.table} registers cannot be written (holding registers and coils can)"
        )
    form = replace(form, base=0, type=fitting(form, values))
    points = form.points(f"{address}:{len(values)}")
    registers = tuple(
        word for point, text in zip(points, values, strict=True) for word in _encoded(point, text)
    )
    if len(registers) > MAX_VALUES:
        raise LocalProtocolError(
            f"{len(registers)} registers are more than one request writes ({MAX_VALUES}; write them in parts)"
        )
    if unit.unit_id == 0:
        raise LocalProtocolError(
            "unit 0 is every unit of a serial line and answers nothing (write to each one)"
        )
    if unit.device is not None:
        _refuse_known(unit.device, points)
    profile = None if unit.device is None else unit.device.profile
    function_code = _function_code(points[0], len(registers), profile, function_code)
    return Write(unit, tuple(points), registers, function_code)


def fitting(form: Form, values: Sequence[str]) -> str | None:
    """Return the type of a form; of registers without one int16 where a value is negative."""
    is_plain = form.type is None and form.table == "holding" and form.bit is None
    return "int16" if is_plain and any(text.strip()[:1] in ("-", "−") for text in values) else form.type


def _encoded(point: Point, text: str) -> tuple[int, ...]:
    try:
        return encode(point, text)
    except LocalProtocolError as error:
        raise LocalProtocolError(f"{place(point)}: {error}") from None


def _function_code(point: Point, size: int, profile: Profile | None, wanted: int | None) -> int:
    """Return the function code of a write: the one wanted, that of the profile, or by size."""
    single, several = (5, 15) if point.in_bit_table else (6, 16)
    if wanted is None:
        if profile is not None and not point.in_bit_table and point.name in profile.points:
            return profile.write_function(point.name)
        return single if size == 1 else several
    if wanted not in (single, several):
        what = "coils" if point.in_bit_table else "registers"
        raise LocalProtocolError(f"function code {wanted} writes no {what} (--fc {single} or {several})")
    if wanted == single and size > 1:
        raise LocalProtocolError(f"function code {wanted} writes one, and this is {size} (--fc {several})")
    return wanted


def _writable(profile: Profile, name: str) -> Point:
    if name not in profile.points:
        known = (point.name for point in profile.points.values() if point.writable)
        raise LocalProtocolError(f"{profile.name} has no point '{name}' ({nearest(name, known)})")
    point = profile.points[name]
    if not point.writable:
        can = ", ".join(p.name for p in profile.points.values() if p.writable) or "none"
        raise LocalProtocolError(
            f"{place(point)}: {name} is only read: its profile says access: ro (may be written: {can}; "
            f"if it should be, override access in the site file)"
        )
    return point


def _refuse_too_much_power(device: Device, new: Reading) -> None:
    """A setpoint by hand stays within the bounds that a station keeps too: the unit's rated power."""
    control, point = device.profile.control, new.point
    if not isinstance(control, BatteryControl) or control.setpoint != point.name:
        return
    if device.rated_power_kw is None:
        return
    power_kw = float(new.value or 0) * POWER_UNITS.get(point.unit, 1.0)
    if abs(power_kw) > device.rated_power_kw:
        raise LocalProtocolError(
            f"{place(point)}: {point.name} cannot be {new.value} {point.unit}: {device.name} is rated "
            f"±{device.rated_power_kw:g} kW (rated_power_kw of the site file)"
        )


def _refuse_known(device: Device, points: Sequence[Point]) -> None:
    """By its address a point would escape the bounds that it has by its name."""
    first, last = points[0].address, points[-1].address + points[-1].size - 1
    for known in device.profile.points.values():
        overlaps = known.address <= last and first < known.address + known.size
        if known.register == points[0].register and overlaps:
            raise LocalProtocolError(
                f"address {max(first, known.address)} of {device.name} is its point {known.name} "
                f"(write {known.name}=…, which keeps to its bounds)"
            )
