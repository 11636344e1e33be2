"""What the watchdog needs to stop a station's units: an address and finished frames for each."""

import socket
from pathlib import Path

import numpy as np

from fluxfast.errors import FluxfastError
from fluxfast.link.writes import encode_write
from fluxfast.modbus import build_mbap
from fluxfast.plan import Plan, structs
from fluxfast.plan.control import ControlPlan
from fluxfast.watchdog import SiteLocks, StopUnit, Watchdog


def open_watchdog(
    control: ControlPlan, plan: Plan, hang_s: float, report: Path | None, locks: SiteLocks
) -> Watchdog:
    """Start the watchdog of the units that have entries in ``control.writes``, in their order."""
    addresses: dict[str, str] = {}
    units = []
    writes = control.writes.view(np.uint8)
    for device, setpoint, source in zip(control.devices, control.setpoints, control.sources, strict=True):
        if setpoint < 0:
            continue
        entry = control.writes[setpoint]
        host, port = plan.endpoints[entry["link"]]
        if host not in addresses:
            addresses[host] = _address(host, device.id)
        frames = [
            None if i < 0 else _frame(encode_write(writes, int(i), 0.0), int(entry["unit_id"]), device.id)
            for i in (setpoint, source)
        ]
        quirks = device.profile.quirks
        assert frames[0] is not None
        order = () if source < 0 else _order(control.writes[source])
        units.append(
            StopUnit(
                device.id, addresses[host], port, frames[0], frames[1], order,
                quirks.connect_delay_ns / 1e9, quirks.request_gap_ns / 1e9,
            )
        )  # fmt: skip
    return Watchdog(units, hang_s, report, locks=locks.descriptors)


def _frame(encoded: tuple[int, bytes, float], unit_id: int, device: str) -> bytes:
    refusal, pdu, held = encoded
    if refusal or held != 0:
        raise FluxfastError(f"{device}: its setpoint's register cannot hold 0, so it cannot be stopped")
    return build_mbap(0, unit_id, pdu)


def _order(entry: np.void) -> list[int]:
    """Return which byte of a value, counted from its most significant, stands first, second … on the wire."""
    order = np.arange(int(entry["size"]))
    if entry["swap"] & structs.SWAP_WORDS:
        order = order.reshape(-1, 2)[::-1].reshape(-1)
    if entry["swap"] & structs.SWAP_BYTES:
        order = order.reshape(-1, 2)[:, ::-1].reshape(-1)
    return order.tolist()


def _address(host: str, device: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise FluxfastError(
            f"{device}: the watchdog needs its address, but {host}: {error.strerror}"
        ) from None
    # IPv4 first, as link/driver.py has it.
    return str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])
