"""The simulator: a fleet's devices on their own addresses, answered for by one process.

Time goes like this, in one thread::

    serve (C, no GIL) until the next step is due -> step the physics (NumPy) -> serve …

so a request never sees half a step. What is repeatable: with the same site file, seed and moment, everything
that is a function of the clock (load, voltages, wandering values), and the start of SOE and counters. Those
integrate what happens from then on, so they depend on how long the simulator has run and what it was told.
"""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from fluxfast.config import Device, Fleet
from fluxfast.errors import ConfigError, FluxfastError, Problem
from fluxfast.sim.column import Value
from fluxfast.sim.faults import KINDS, RANDOM, Fault, Schedule, parse_fault
from fluxfast.sim.image import ENDPOINT, UNIT
from fluxfast.sim.listen import Address, Listeners, loopback_ips, open_listeners
from fluxfast.sim.physics import STEP_S, Physics
from fluxfast.sim.server import STOPPED, Server, now_ns

STEP_NS: Final = int(STEP_S * 1e9)
ORDER_WITHIN_S: Final = 10.0  # it takes a step, unless the machine is very busy
NEED_LISTENERS: Final = ("blackhole", "refuse")  # of their own, for each address


@dataclass(frozen=True)
class Counters:
    """What the server has done so far; ``connections`` and ``faulty`` (addresses) are of this moment."""

    requests: int = 0
    exceptions: int = 0
    broken: int = 0
    accepted: int = 0
    refused: int = 0
    connections: int = 0
    faulty: int = 0


class Simulator:
    """Answers for every Modbus TCP device of a fleet. ``run`` blocks; ``running`` uses a thread."""

    def __init__(
        self,
        fleet: Fleet,
        seed: int = 1,
        clock: Callable[[], float] = time.time,
        faults: Sequence[str] = (),
    ) -> None:
        """Build images and physics; nothing listens yet. A host that is not ours is a ``ConfigError``.

        ``faults`` (faults.py says how they are written) count their time from ``run``; a wrong one is a
        ``ConfigError`` too.
        """
        parsed = [parse_fault(text) for text in faults]
        self.seed = seed
        self._clock = clock
        self._stopped = False
        self.devices = [d for d in fleet.devices if d.modbus.transport == "tcp"]
        if not self.devices:
            file = fleet.devices[0].file if fleet.devices else "site"
            raise ConfigError([Problem(file, None, "devices", "there is no Modbus TCP device to simulate")])
        self.skipped = len(fleet.devices) - len(self.devices)  # on serial lines
        self._units_at = _group_by_address(self.devices)
        self.physics = Physics(fleet, self.devices, seed)
        self._listeners: Listeners | None = None
        self._server: Server | None = None
        self._endpoints_of: defaultdict[str, list[int]] = defaultdict(list)
        for number, members in enumerate(self._units_at.values()):
            for device in members:
                self._endpoints_of[device.id].append(number)
        self._units_of = {device.id: device.modbus.unit for device in self.devices}
        units = [[device.modbus.unit for device in members] for members in self._units_at.values()]
        self._schedule = Schedule(parsed, units, seed)
        self._alone = any(fault.kind in (*NEED_LISTENERS, RANDOM) for fault in parsed)
        self._closed: dict[int, str] = {}  # endpoints whose listener takes nobody, and why
        self._orders: deque[tuple[list[tuple[int, Fault | None]], Future[None]]] = deque()
        self._thread: threading.Thread | None = None

    @property
    def addresses(self) -> int:
        """How many host:port pairs are served."""
        return len(self._units_at)

    @property
    def chosen(self) -> list[str]:
        """The devices whose addresses ``faults`` makes ill at some time; all others stay well."""
        places = list(self._units_at.values())
        return sorted({device.id for endpoint in self._schedule.faulty for device in places[endpoint]})

    @property
    def note(self) -> str:
        """What is unusual about this run, in one line; empty when nothing is."""
        notes = [self._listeners.note] if self._listeners and self._listeners.note else []
        if self.skipped:
            some = "1 device" if self.skipped == 1 else f"{self.skipped} devices"
            notes.append(f"{some} on serial lines not simulated")
        return "; ".join(notes)

    def types(self) -> dict[str, int]:
        """Return how many devices there are of each profile, most first."""
        return dict(Counter(d.profile.name for d in self.devices).most_common())

    def open(self) -> Self:
        """Listen at every address; a client that connects is answered once ``run`` runs."""
        if self._server is not None:
            return self
        addresses = list(self._units_at)
        units: list[tuple[int, int, int]] = []
        endpoints: list[tuple[int, int, int, int]] = []
        for members in self._units_at.values():
            limits = [m for d in members if (m := d.profile.quirks.max_connections) is not None]
            endpoints.append((len(units), len(members), min(limits, default=0), 0))
            for device in members:
                number, row = self.physics.place[device.id]
                units.append((device.modbus.unit, number, row))
        keys = np.array([a.key for a in addresses], np.uint64)
        order = np.argsort(keys)
        self._listeners = open_listeners(addresses)
        try:
            if self._alone:
                self._need_listeners()
            self._server = Server(
                self.physics.images,
                np.array(units, UNIT),
                np.array(endpoints, ENDPOINT),
                keys[order],
                order.astype(np.int32),
                self._listeners.sockets,
                np.array(self._listeners.endpoints, np.int32),
                self.seed,
            )
        except BaseException:
            self._listeners.close()
            raise
        self.physics.start(self._clock())
        return self

    def close(self) -> None:
        """Close every connection and listener."""
        if self._server is not None:
            self._server.close()
        if self._listeners is not None:
            self._listeners.close()

    def stop(self) -> None:
        """Make ``run`` return within a step; may be called from a signal handler or another thread."""
        self._stopped = True
        if self._server is not None:
            self._server.stop()

    def run(
        self, duration_s: float | None = None, each_second: Callable[[Counters], None] | None = None
    ) -> None:
        """Serve until ``stop``, or for a time; ``each_second`` is called with the counters."""
        server = self.open()._server
        assert server is not None
        began = stepped = now = now_ns()
        end = None if duration_s is None else now + int(duration_s * 1e9)
        due, report_due = now + STEP_NS, now + 1_000_000_000
        while not self._stopped and (end is None or now < end):
            self._change(self._schedule.due((now - began) / 1e9))
            while self._orders:
                self._obey(*self._orders.popleft())
            # A signal ends `serve` early so that Python's handler can run; its `stop` ends the next one.
            if server.serve(due if end is None else min(due, end)) == STOPPED:
                return
            now = now_ns()
            if now < due:
                continue
            self.physics.step(self._clock(), (now - stepped) / 1e9)
            stepped = now
            due += STEP_NS * ((now - due) // STEP_NS + 1)  # a missed step is not made up for; its time is
            if each_second and now >= report_due:
                report_due = now + 1_000_000_000
                each_second(self.counters())

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Open, and serve from a thread while the block runs."""
        failures: list[BaseException] = []

        def work() -> None:
            try:
                self.run()
            except BaseException as error:
                failures.append(error)

        self.open()
        self._thread = threading.Thread(target=work, name="fluxfast-sim", daemon=True)
        self._thread.start()
        try:
            yield self
        finally:
            self.stop()
            self._thread.join()
            self._thread = None
            self.close()
        if failures:
            raise failures[0]

    def counters(self) -> Counters:
        """Return what the server has done so far."""
        s = self._server
        if s is None:
            return Counters()
        return Counters(s.requests, s.exceptions, s.broken, s.accepted, s.refused, s.connections, s.faulty)

    def value(self, device_id: str, point: str) -> Value:
        """Return what a device serves for a point at this moment, decoded."""
        number, row = self._place(device_id)
        return self.physics.images[number].columns[point].value(row)

    def raw(self, device_id: str, point: str) -> int | float:
        """Return the raw value that a device serves for a numeric point."""
        number, row = self._place(device_id)
        raw: int | float = self.physics.images[number].columns[point].raw()[row].item()
        return raw

    def set_value(self, device_id: str, point: str, value: float | bool) -> None:
        """Overwrite a point, for tests; physics that fills the point every step will overwrite it again.

        ``soe`` of a battery moves its energy, so it stays. Numbers of a point with states are raw codes.
        """
        number, row = self._place(device_id)
        battery = self.physics.batteries.get(number)
        if battery is not None and point == "soe":
            battery.set_soe(row, float(value))
        else:
            self.physics.images[number].columns[point].put(float(value), slice(row, row + 1))

    def set_fault(self, device_ids: Iterable[str], kind: str | None) -> None:
        """Make devices ill from now on, ``kind`` as in ``hang`` or ``slow=200ms``, or well by ``None``.

        A fault is its endpoint's, so devices share it with others behind the same host and port, but for
        ``silent`` and ``gateway``, which are those of one unit. It holds when this returns.
        """
        fault = None if kind is None else parse_fault(kind)
        if fault is not None and (fault.kind == RANDOM or ":" in str(kind)):
            raise FluxfastError(f"set_fault takes one of {', '.join(KINDS)}, not {kind!r}")
        changes: list[tuple[int, Fault | None]] = []
        for device_id in device_ids:
            self._place(device_id)
            own = fault and replace(fault, unit=self._units_of[device_id])
            changes += [(endpoint, own) for endpoint in self._endpoints_of[device_id]]
        self.open()
        if self._thread is None or self._thread is threading.current_thread():
            self._change(changes)
            return
        done: Future[None] = Future()
        self._orders.append((changes, done))  # between two calls of `serve`, as everything else
        done.result(timeout=ORDER_WITHIN_S)

    def _obey(self, changes: list[tuple[int, Fault | None]], done: "Future[None]") -> None:
        try:
            self._change(changes)
        except (FluxfastError, OSError) as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    def _change(self, changes: Sequence[tuple[int, Fault | None]]) -> None:
        server, listeners = self._server, self._listeners
        assert server is not None
        assert listeners is not None
        for endpoint, fault in changes:
            if fault is not None and fault.kind in NEED_LISTENERS:
                self._need_listeners()
            before = self._closed.pop(endpoint, None)
            if before == "refuse":
                server.listen(endpoint, listeners.reopen(endpoint))
            elif before == "blackhole":
                listeners.unblock(endpoint)
            if fault is None:
                server.set_fault(endpoint, 0, 0, 0, 0)
                continue
            share = min(int(fault.amount * 2**32), 2**32 - 1) if fault.kind == "lossy" else 0
            delay_ns = int(fault.amount * 1e9) if fault.kind == "slow" else 0
            server.set_fault(endpoint, 1 + KINDS.index(fault.kind), fault.unit, share, delay_ns)
            if fault.kind in NEED_LISTENERS:
                self._closed[endpoint] = fault.kind
            if fault.kind == "refuse":
                listeners.sockets[endpoint].close()
            elif fault.kind == "blackhole":
                listeners.block(endpoint)

    def _need_listeners(self) -> None:
        # Then the listener of an endpoint has its number.
        assert self._listeners is not None
        if -1 in self._listeners.endpoints:
            raise FluxfastError(
                f"{', '.join(NEED_LISTENERS)} need a listener for each address: raise `ulimit -n`"
            )

    def _place(self, device_id: str) -> tuple[int, int]:
        if device_id not in self.physics.place:
            raise FluxfastError(f"the simulator has no device {device_id!r}")
        return self.physics.place[device_id]


def _group_by_address(devices: Sequence[Device]) -> dict[Address, list[Device]]:
    """Return the devices at each address in file order; raise one ``ConfigError`` for all that cannot be."""
    problems: list[Problem] = []
    ips: dict[str, list[str]] = {}
    found: defaultdict[Address, list[Device]] = defaultdict(list)
    units: dict[tuple[Address, int], Device] = {}
    for device in devices:
        host = device.modbus.host or ""
        if host not in ips:
            ips[host] = loopback_ips(host)
        if not ips[host]:
            message = f"{host} is not a loopback address, so it cannot be simulated here"
            problems.append(_problem(device, message, "use 127.x.y.z, ::1 or localhost"))
        for ip in ips[host]:
            address = Address(ip, device.modbus.port)
            other = units.setdefault((address, device.modbus.unit), device)
            if other is not device:
                message = f"{address} unit {device.modbus.unit} is taken by device {other.id}"
                problems.append(_problem(device, message, "give it another address, port or unit"))
            found[address].append(device)
    if problems:
        raise ConfigError(problems)
    return found


def _problem(device: Device, message: str, cure: str) -> Problem:
    return Problem(device.file, device.line, f"{device.id}: modbus.host", message, cure)
