"""What may exist only once in a fleet: a site's name, a device's id, a unit at an address."""

from dataclasses import dataclass, field

from fluxfast.config.expand import Unit
from fluxfast.config.fleet import Modbus


@dataclass
class Register:
    """Remembers where each name and address was used first."""

    _sites: dict[str, str] = field(default_factory=dict)
    _ids: dict[str, str] = field(default_factory=dict)
    _addresses: dict[tuple[str, int, int], str] = field(default_factory=dict)

    def site(self, name: str, place: str) -> str | None:
        """Register a site; return where its name was used first, when it is taken."""
        first = self._sites.setdefault(name.casefold(), place)
        return None if first is place else first

    def device(self, unit: Unit, place: str) -> tuple[str, str] | None:
        """Register a device; return (key, what is wrong) when its id or its address is taken."""
        if taken := self.id(unit.id, place):
            return "id", taken
        here = f"'{unit.id}' at {place}"
        address = _address(unit.modbus)
        if address is not None and (other := self._addresses.setdefault(address, here)) is not here:
            return "modbus", f"{_show(unit.modbus)} is already {other}"
        return None

    def id(self, id_: str, place: str) -> str | None:
        """Register a device's id; return what is wrong when it is taken."""
        here = f"'{id_}' at {place}"
        first = self._ids.setdefault(id_.casefold(), here)
        return None if first is here else f"the id is already that of {first}"


def _address(modbus: Modbus) -> tuple[str, int, int] | None:
    if modbus.host is not None:
        return modbus.host, modbus.port, modbus.unit
    return None if modbus.device is None else (modbus.device, 0, modbus.unit)


def _show(modbus: Modbus) -> str:
    if modbus.host is None:
        return f"{modbus.device} address {modbus.unit}"
    return f"{modbus.host} port {modbus.port} address {modbus.unit}"
