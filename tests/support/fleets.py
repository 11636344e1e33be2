"""Small fleets made in code, for tests that need sockets more than site files."""

from decimal import Decimal
from pathlib import Path

from fluxfast.config.fleet import Device, Fleet, Log, Modbus, Poll, Site
from fluxfast.profiles import Point, Profile, Quirks


def registers(first: int, count: int, *, name: str = "plain", **quirks: object) -> Profile:
    """Return a profile of ``count`` uint16 points r0, r1, … from address ``first``, one read."""
    points = {f"r{i}": Point(name=f"r{i}", address=first + i, type="uint16") for i in range(count)}
    return Profile(name=name, points=points, quirks=Quirks(**quirks))


def device(
    id_: str,
    profile: Profile,
    port: int,
    *,
    host: str = "127.0.0.1",
    unit: int = 1,
    timeout_ms: int = 1000,
    retry_count: int = 3,
) -> Device:
    """Return one Modbus TCP device."""
    modbus = Modbus("tcp", host, port, unit, timeout_ms * 1_000_000, retry_count)
    return Device(id_, id_, "S", "bess", profile.name, profile, None, 400.0, 200.0, modbus, "test", 1)


def fleet(*devices: Device, every_ms: int = 200, deadline: float = 0.8) -> Fleet:
    """Return a fleet of one site."""
    return Fleet(
        (Site("S", devices),),
        devices,
        Poll(every_ms * 1_000_000, float(Decimal(str(deadline)))),
        Log(Path("log")),
    )
