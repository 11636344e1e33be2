"""Never two writers: no station may command a unit that a tool writes to, and none may start meanwhile."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from fluxfast.access.target import Unit
from fluxfast.config import Fleet
from fluxfast.errors import FluxfastError
from fluxfast.running import Running, running_stations
from fluxfast.watchdog import SiteLocks


@contextmanager
def sole_writer(unit: Unit, fleet: Fleet | None = None) -> Iterator[None]:
    """Hold the site of a unit while it is written to; FluxfastError says who else writes.

    ``fleet`` is what the unit's device is declared in, if it is: then its site is locked, as a station locks
    it that acts.
    """
    refuse_commanded(unit, running_stations())
    device = unit.device
    acting = [site.name for site in fleet.sites if site.control.action == "act"] if fleet is not None else []
    if device is None or device.site not in acting:
        yield
        return
    locks = SiteLocks([device.site], f"fluxfast write, {device.file}")
    try:
        yield
    finally:
        locks.close()


def refuse_commanded(unit: Unit, stations: Sequence[Running]) -> None:
    """Raise FluxfastError if one of some stations writes to the unit, under whatever name of its host."""
    ours: set[str] = set()
    for station in stations:
        for host, port, unit_id in station.commanded:
            if (port, unit_id) != (unit.port, unit.unit_id):
                continue
            ours = ours or _addresses(unit.host)
            if not ours.isdisjoint(_addresses(host)):
                raise FluxfastError(
                    f"{unit.name} is commanded by the station of {station.file} (process {station.pid}); two "
                    f"writers would fight (stop it, or use `fluxfast control {station.file}`)"
                )


def _addresses(host: str) -> set[str]:
    """Return a host as written, and its IP addresses as far as they can be looked up."""
    found = {host.lower()}
    with suppress(OSError, UnicodeError):
        found |= {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    return found
