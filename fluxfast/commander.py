"""The commander: takes units over, writes what was decided, and gives them back. The only one that writes.

Each unit goes its way alone::

    OFF ──ready, fresh──▶ TAKING ──a later poll shows our command source──▶ OURS ──stop──▶ given back
     ▲                      │ not taken                                     │ │
     └──────10 s────────────┴────── FAILED ◀────two writes failed───────────┘ └─another writes─▶ YIELDED,
                                                                                        until acknowledged

Rules, each with tests (tests/e2e/test_guard_*.py):

1. A setpoint is written only to a unit that is ours, READY, with fresh and good data; it expires when its
   inputs get too old, up to the moment of sending.
2. A unit that was commanded and is no longer usable is told 0 until it has confirmed that; then nothing.
3. Where another's command source or setpoint stands in place of ours, the unit is left to that other.
4. An unchanged setpoint is written again every ``refresh``, and heartbeats go out, only after a decision.
5. The watchdog knows of a unit before the first byte is written to it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.control import reasons
from fluxfast.controller import NOT_KNOWN, Controller
from fluxfast.link import Reactor, outcomes
from fluxfast.profiles import BatteryControl
from fluxfast.table import quality
from fluxfast.watchdog import Watchdog

OFF, TAKING, OURS, YIELDED, FAILED = range(5)

SECOND_NS: Final = 1_000_000_000
TAKE_NS: Final = 5 * SECOND_NS  # until the command source shows as taken
AGAIN_NS: Final = 10 * SECOND_NS  # a unit whose writes failed is taken again after that
MAX_FAILURES: Final = 2  # in a row
LAG_NS: Final = SECOND_NS  # a unit may show its last setpoint so long after a new one
LAG_ROWS: Final = 100  # observations of that time that are kept, at the most
TOLERANCE_KW: Final = 1e-3  # two setpoints that are closer are the same one
SAME: Final = 1e-6  # of a setpoint, or kW: what the register's type may round off
STOP_S: Final = 1.4  # how long a clean stop waits for the zeros, and then
RELEASE_S: Final = 0.4  # for the command sources
STEP_S: Final = 0.01  # between two looks at what was confirmed,
STEPS_PER_TRY: Final = 20  # of which so many are waited for before a stop is written again
HALT_STEPS: Final = 100  # so many are made after an emergency stop
REACTIONS_KEPT: Final = 2048  # ticks
EVENTS_EACH: Final = 8  # of like events in one tick so many are told one by one, the rest as a number


class Commander:
    """Commands the units of the sites that act; a row for each of them.

    ``units``: int32, its row in control's columns; ``phase``: uint8; ``states``: structs.WRITE_STATE of its
    setpoint, as of the newest ``observe``.
    """

    def __init__(
        self,
        controller: Controller,
        reactor: Reactor,
        states: NDArray[np.void],
        watchdog: Watchdog,
        follow: Callable[[], None],
        on_event: Callable[[int, str], None],
    ) -> None:
        """``states``: what the reactor tells of its writes; ``follow`` is called after each that is sent.

        ``on_event`` hears (row of the columns, text).
        """
        plan = controller.plan
        self._controller, self._reactor, self._watchdog = controller, reactor, watchdog
        self._follow, self._on_event = follow, on_event
        self.units = np.flatnonzero(plan.setpoints >= 0).astype(np.int32)
        self._site_of = plan.site_of[self.units]
        n = len(self.units)
        self._all_states = states
        self._setpoints, self._sources = plan.setpoints[self.units], plan.sources[self.units]
        self._has_source = self._sources >= 0
        self._heartbeats = plan.heartbeats[self.units]
        self._refresh_ns, self._heartbeat_ns = plan.refresh_ns[self.units], plan.heartbeat_ns[self.units]
        ours = np.zeros(len(plan.devices), np.int64)
        for group in plan.groups:
            ours[group.units] = group.ours
        self._ours = ours[self.units]
        self.phase = np.full(n, OFF, np.uint8)
        self.states = self._all_states[self._setpoints]
        self._since_ns = np.zeros(n, np.int64)  # in its phase
        self._fit = np.zeros(n, np.bool_)  # its data would let it be commanded
        self._silent = np.zeros(n, np.bool_)  # its data are old or bad
        self._taken = np.zeros(n, np.bool_)  # its command source has been seen to be ours
        self._was_away = np.zeros(n, np.bool_)  # it has been silent since it was last seen as ours
        self._yielded_to = np.zeros(n, np.uint8)  # reasons.FOREIGN_...
        self._failures = np.zeros(n, np.int32)
        self._stopping = np.zeros(n, np.bool_)  # what it was told last was not a decision but to stop
        self._n_ended = np.zeros(n, np.uint32)
        self._before_kw = np.full(n, np.nan)  # what it held before the newest setpoint
        # What it held at each observation of late: a ring.
        rows = int(min(LAG_NS // controller.every_ns + 2, LAG_ROWS))
        self._held_kw, self._held_ns = np.full((rows, n), np.nan), np.zeros(rows, np.int64)
        self._row = 0
        self._armed = np.zeros(n, np.bool_)  # the watchdog knows of it
        self._given_back = np.full(n, NOT_KNOWN, np.int64)  # the command source that it had before
        self._beats = np.zeros(n)
        self._beat_ns = np.zeros(n, np.int64)
        self._beat_top, self._beat_value = self._heartbeat_kinds()
        self._told = np.zeros(n, np.uint8)  # refusal that was last told of
        self.handed_ns = 0  # when the newest setpoints had been handed to the sockets (reactor's clock)
        self.reactions_ms: deque[float] = deque(maxlen=REACTIONS_KEPT)  # since a meter's newest answer
        self.given_back = 0  # units that ``stop`` has told 0 and given back
        self.ended = False  # for good: nothing is commanded any more

    @property
    def in_charge(self) -> bool:
        """Whether a unit has been commanded that was not given back."""
        return bool(self._armed.any())

    @property
    def commanded(self) -> NDArray[np.int32]:
        """Rows of the columns: the units that have been commanded and were not given back."""
        return self.units[self._armed]

    @property
    def unconfirmed(self) -> NDArray[np.int32]:
        """Rows of the columns: the commanded units that have not confirmed their newest setpoint."""
        states = self._all_states[self._setpoints]
        open_ = self._armed & (states["n_asked"] > 0) & (states["held"] != states["asked"])
        return np.asarray(self.units[open_])

    def _heartbeat_kinds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the number that each unit's heartbeat counts up to (0: it does not), and its constant."""
        top, value = np.zeros(len(self.units)), np.zeros(len(self.units))
        for i, row in enumerate(self.units):
            profile = self._controller.plan.devices[row].profile
            beat = profile.control.heartbeat if isinstance(profile.control, BatteryControl) else None
            if beat is None:
                continue
            point = profile.points[beat.point]
            if beat.kind == "count":
                top[i] = 2.0 ** (16 * point.size - (point.kind == "signed")) - 1
            elif beat.kind == "toggle":
                top[i] = 1
            else:
                value[i] = beat.value
        return top, value

    # ---- before the decision ----

    def observe(self, now_ns: int) -> None:
        """See what became of the writes and who else writes; mark who must not be commanded as unusable."""
        self._reactor.take_calls()
        self.states = self._all_states[self._setpoints]
        usable = self._controller.columns.units.usable
        codes = usable[self.units]
        self._fit = codes == reasons.NONE
        self._silent = (codes == reasons.STALE) | (codes == reasons.BAD)
        self._watchdog.silent[:] = codes == reasons.STALE
        if not self.ended:
            self._count_failures(now_ns)
            self._see_what_was_taken(now_ns)
            self._see_who_else_writes(now_ns)
        why = _WHY_NOT[self.phase]
        why = np.where(self.phase == YIELDED, self._yielded_to, why)
        usable[self.units] = np.where(self._fit, why, codes)

    def _count_failures(self, now_ns: int) -> None:
        states = self.states
        ended = states["n_ended"] != self._n_ended
        self._n_ended = states["n_ended"].copy()
        worked = _worked(states)
        # A 0 that works after each setpoint that does not is no recovery.
        self._failures[ended & worked & ~self._stopping] = 0
        self._failures[ended & ~worked] += 1
        failed = (self._failures >= MAX_FAILURES) & (self.phase == OURS)
        self._go(failed, FAILED, now_ns)
        self._tell(
            failed, lambda i: f"its setpoint could not be written: {_outcome(states[i])}; tried again in 10 s"
        )
        again = (self.phase == FAILED) & (now_ns - self._since_ns > AGAIN_NS)
        self._failures[again] = 0
        self._go(again, OFF, now_ns)

    def _see_what_was_taken(self, now_ns: int) -> None:
        at = np.flatnonzero(self.phase == TAKING)
        if not len(at):
            return
        states = self._all_states[self._sources[at]]
        rows = self.units[at]
        later = self._controller.oldest_ns[rows] > states["ended_ns"]
        seen = (states["under_way"] == 0) & later & self._controller.readable[rows]
        source = self._controller.source
        taken = seen & (source[rows] == self._ours[at])
        self._go(at[taken], OURS, now_ns)
        self._taken[at[taken]] = True
        late = at[~taken & (now_ns - self._since_ns[at] > TAKE_NS)]
        self._go(late, FAILED, now_ns)
        # One that shows another's after our write has ended is not ours, also not to be stopped. It gets
        # back what it shows: it may have been taken all the same.
        others = at[seen & ~taken & np.isin(at, late)]
        self._watchdog.disarm(others)
        self._armed[others] = False
        back = others[source[self.units[others]] == self._given_back[others]]
        orders = _Orders()
        orders.add(self._sources[back], self._given_back[back], now_ns + SECOND_NS)
        self._send(orders)
        worked = _worked(states)

        def why(i: int) -> str:
            place = int(np.searchsorted(at, i))
            return f"it still shows {source[self.units[i]]}" if worked[place] else _outcome(states[place])

        self._tell(late, lambda i: f"its command source could not be taken: {why(i)}; tried again in 10 s")

    def _see_who_else_writes(self, now_ns: int) -> None:
        controller, states, rows = self._controller, self.states, self.units
        held, oldest_ns = states["held"], controller.oldest_ns[rows]
        ours = self._taken & controller.readable[rows]
        source = controller.source[rows]
        not_ours = self._has_source & controller.readable[rows] & (source != self._ours)
        not_ours &= oldest_ns > self._since_ns
        foreign = not_ours & self._taken
        if not_ours.any():
            # One that was away and has its former source again has restarted: nobody took it.
            restarted = foreign & self._was_away & (source == self._given_back)
            self._go(restarted, OFF, now_ns)
            self._taken[restarted] = False
            self._tell(restarted, lambda i: "it has restarted, and is taken again")
            foreign &= ~restarted
            ours &= ~restarted
        seen = ours & self._fit & (source == self._ours)
        self._was_away = (self._was_away & ~seen) | self._taken & self._silent
        if not_ours.any():
            # Until that is done, its former source is nobody's word, and any other is somebody's.
            waits = self._armed & (self.phase == OFF) & ~self._taken
            foreign |= not_ours & waits & (source != self._given_back)
            self._yield(foreign, reasons.FOREIGN_SOURCE, now_ns)
            self._tell(
                foreign,
                lambda i: (
                    f"another has set its command source to {source[i]}; left to that one until acknowledged"
                ),
            )
        shown = controller.shown_kw[rows]
        quiet = ours & ~foreign & (states["under_way"] == 0) & (oldest_ns > states["ended_ns"])
        apart_kw = np.abs(shown - held)
        differs = quiet & (apart_kw > TOLERANCE_KW)  # false where one of them is not known
        # Once it has shown the new setpoint, to go back to the old one is another's deed.
        self._before_kw[quiet & (apart_kw <= TOLERANCE_KW)] = np.nan
        if len(at := np.flatnonzero(differs)):
            recent = self._held_ns > now_ns - LAG_NS
            lately = self._held_kw[np.ix_(recent, at)]
            differs[at] = ~(np.abs(shown[at] - lately) <= TOLERANCE_KW).any(axis=0)
        self._row = (self._row + 1) % len(self._held_ns)
        self._held_ns[self._row] = now_ns
        self._held_kw[self._row] = np.where(np.isnan(held), shown, held)
        if not differs.any():
            return
        # A unit that leaves READY may go to 0 by itself.
        reset = differs & ~self._fit & (shown == 0)
        entries = self._setpoints[reset]
        self._all_states["held"][entries] = self._all_states["asked"][entries] = 0
        differs &= ~reset
        ignored = differs & (np.abs(shown - self._before_kw) <= TOLERANCE_KW)
        self._all_states["held"][self._setpoints[ignored]] = np.nan
        failed = ignored & (self.phase == OURS)
        self._go(failed, FAILED, now_ns)
        self._tell(
            failed,
            lambda i: (
                f"it confirmed a setpoint of {held[i]:g} kW and still shows {shown[i]:g}; tried again in 10 s"
            ),
        )
        differs &= ~ignored
        self._yield(differs, reasons.FOREIGN_TARGET, now_ns)
        self._tell(
            differs,
            lambda i: (
                f"another has set its target power to {shown[i]:g} kW where we had {held[i]:g}; "
                "left to that one until acknowledged"
            ),
        )

    def _yield(self, units: NDArray[np.bool_], to: int, now_ns: int) -> None:
        self._go(units, YIELDED, now_ns)
        self._yielded_to[units] = to
        self._watchdog.disarm(np.flatnonzero(units))
        self._armed[units] = self._taken[units] = False

    def _go(self, units: NDArray[np.bool_] | NDArray[np.intp], phase: int, now_ns: int) -> None:
        self.phase[units] = phase
        self._since_ns[units] = now_ns

    # ---- after it ----

    def command(self, now_ns: int) -> None:
        """Hand the new setpoints to the links, and whatever else is due."""
        if self.ended:
            return
        columns, states = self._controller.columns.units, self.states
        orders = _Orders()
        off = (self.phase == OFF) & self._fit & ~self._controller.loop.stopped[self._site_of]
        if off.any():
            self._take(np.flatnonzero(off), orders, now_ns)
        self._take_again(orders, now_ns)

        go = (self.phase == OURS) & (columns.usable[self.units] == reasons.NONE)
        wanted = columns.setpoint_kw[self.units]
        idle = states["under_way"] == 0
        changed = ~(np.abs(wanted - states["asked"]) <= SAME * np.maximum(np.abs(wanted), 1))
        changed |= states["n_asked"] == 0
        due = go & (
            changed
            | (now_ns - states["asked_ns"] >= self._refresh_ns)
            | (idle & np.isnan(states["held"]))
            | (idle & ~_worked(states))
        )
        shown = self._controller.shown_kw[self.units]
        before = np.where(np.isnan(states["held"]), shown, states["held"])
        np.copyto(self._before_kw, before, where=due & changed)
        orders.add(self._setpoints[due], wanted[due], self._controller.expires_ns[self.units[due]])

        stop = self._armed & (self.phase != TAKING) & ~go & (states["n_asked"] > 0)
        stop &= ((states["asked"] != 0) | (states["held"] != 0)) & ~((states["asked"] == 0) & ~idle)
        orders.add(self._setpoints[stop], 0.0, now_ns + SECOND_NS)
        self._stopping = stop | self._stopping & ~due

        beat = go & (self._heartbeats >= 0) & (now_ns - self._beat_ns >= self._heartbeat_ns)
        if beat.any():
            self._beat(np.flatnonzero(beat), orders, now_ns)
        self._send(orders)
        self.handed_ns = self._reactor.now_ns()
        if newest_ns := self._controller.newest_meter_ns():
            self.reactions_ms.append((self.handed_ns - newest_ns) / 1e6)
        self._tell_refusals(due | stop)

    def _take(self, at: NDArray[np.intp], orders: "_Orders", now_ns: int) -> None:
        with_source = at[self._has_source[at]]
        shown, known = self._controller.source[self.units[with_source]], self._given_back[with_source]
        # One that still shows ours, because it was given up and not given back, had another before.
        before = np.where((shown == self._ours[with_source]) & (known != NOT_KNOWN), known, shown)
        self._watchdog.release(with_source, before)
        self._given_back[with_source] = before
        self._watchdog.arm(at)
        self._armed[at] = True
        self._failures[at] = 0
        self._all_states["held"][self._setpoints[at]] = np.nan  # others may have set it since
        self._go(at, OURS, now_ns)
        self._go(with_source, TAKING, now_ns)
        self._taken[at] = ~self._has_source[at]
        orders.add(self._sources[with_source], self._ours[with_source], now_ns + SECOND_NS)

    def _take_again(self, orders: "_Orders", now_ns: int) -> None:
        at = np.flatnonzero((self.phase == TAKING) & self._fit)
        if not len(at):
            return
        states = self._all_states[self._sources[at]]
        again = at[(states["under_way"] == 0) & ~_worked(states) & (now_ns - states["ended_ns"] > SECOND_NS)]
        orders.add(self._sources[again], self._ours[again], now_ns + SECOND_NS)

    def _beat(self, at: NDArray[np.intp], orders: "_Orders", now_ns: int) -> None:
        self._beat_ns[at] = now_ns
        values = np.where(self._beat_top[at] == 0, self._beat_value[at], self._beats[at])
        self._beats[at] = np.where(self._beats[at] >= self._beat_top[at], 0, self._beats[at] + 1)
        orders.add(self._heartbeats[at], values, now_ns + SECOND_NS)

    def _tell_refusals(self, asked: NDArray[np.bool_]) -> None:
        refusals = self._all_states["refusal"][self._setpoints]
        refusals[refusals == outcomes.TOO_OFTEN] = 0  # a tick that was late: the next one writes it
        new = asked & (refusals != self._told) & (refusals != 0)
        self._told[asked] = refusals[asked]
        self._tell(new, lambda i: f"its setpoint was refused: {outcomes.REFUSALS[refusals[i]]}")

    # ---- when a person says so, and at the end ----

    def halt(self, site: int) -> None:
        """Tell a site's units 0 now; that they stay there is for the next decisions to say."""
        if self.ended:
            return
        self._reactor.take_calls()
        states = self._all_states[self._setpoints]
        told = (self._site_of == site) & self._armed & (self.phase != TAKING)
        told &= states["n_asked"] > 0
        np.copyto(self._before_kw, states["held"], where=told & (states["held"] != 0))
        orders = _Orders()
        orders.add(self._setpoints[told], 0.0, self._reactor.now_ns() + SECOND_NS)
        self._stopping |= told
        self._send(orders)
        self._urge(self._setpoints[told], HALT_STEPS)

    def _urge(self, entries: NDArray[np.int32], steps: int) -> None:
        # A setpoint that is on the wire keeps the 0 back until its outcome has been taken.
        if self._reactor.fileno() < 0:
            return  # closed in the meantime
        self._reactor.take_calls()
        self._follow()
        if steps and self._all_states["under_way"][entries].any():
            asyncio.get_running_loop().call_later(STEP_S, self._urge, entries, steps - 1)

    async def stop(self) -> bool:
        """Tell every unit that was commanded 0, then give its command source back, within two seconds.

        Returns whether all have confirmed both; the others stay with the watchdog.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + STOP_S
        at = np.flatnonzero(self._armed)
        written = self._all_states[self._setpoints[at]]["n_asked"] > 0
        stopped = await self._until_held(at[written], self._setpoints, np.zeros(len(self.phase)), end)
        done = np.concatenate([at[~written], stopped])
        end = loop.time() + RELEASE_S
        with_source = done[self._has_source[done]]
        back = await self._until_held(with_source, self._sources, self._given_back, end)
        done = np.concatenate([done[~self._has_source[done]], back])
        self._watchdog.disarm(done)
        self._armed[done] = self._taken[done] = False
        self._go(done, OFF, self._reactor.now_ns())
        self.given_back += len(done)
        return not self._armed.any()

    async def _until_held(
        self, at: NDArray[np.intp], entries: NDArray[np.int32], values: NDArray[Any], end_s: float
    ) -> NDArray[np.intp]:
        """Write each unit's value until it has confirmed it; return those that have."""
        step = 0
        while True:
            self._reactor.take_calls()
            states = self._all_states[entries[at]]
            left = (
                (states["held"] != values[at]) | (states["asked"] != values[at]) | (states["under_way"] != 0)
            )
            if not left.any() or asyncio.get_running_loop().time() > end_s:
                held: NDArray[np.intp] = at[~left]
                return held
            if step % STEPS_PER_TRY == 0:
                again = at[left & ~((states["asked"] == values[at]) & (states["under_way"] != 0))]
                orders = _Orders()
                orders.add(entries[again], values[again], self._reactor.now_ns() + SECOND_NS)
                self._send(orders)
            self._watchdog.beat()
            step += 1
            await asyncio.sleep(STEP_S)

    def acknowledge(self, site: int) -> None:
        """Let units of a site be taken again that were left to another."""
        back = (self._site_of == site) & (self.phase == YIELDED)
        self._go(back, OFF, 0)

    def _send(self, orders: "_Orders") -> None:
        if columns := orders.columns():
            self._reactor.write(*columns)
            self._follow()

    def _tell(self, units: NDArray[np.bool_] | NDArray[np.intp], text: Callable[[int], str]) -> None:
        at = np.flatnonzero(units) if units.dtype == np.bool_ else units
        for i in at[:EVENTS_EACH]:
            self._on_event(int(self.units[i]), text(int(i)))
        if len(at) > EVENTS_EACH:
            self._on_event(
                int(self.units[at[EVENTS_EACH]]), f"and {len(at) - EVENTS_EACH} units more likewise"
            )


class _Orders:
    """What is to be written in one go: entries of the allow-list, values, and when they expire."""

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]] = []

    def add(self, entries: NDArray[np.int32], values: Any, expires_ns: Any) -> None:
        """Add some; values and times may be one for all."""
        if n := len(entries):
            self._parts.append((entries, np.full(n, values, float), np.full(n, expires_ns, np.int64)))

    def columns(self) -> list[NDArray[Any]]:
        """Return all entries, all values, all times."""
        return [np.concatenate(column) for column in zip(*self._parts, strict=True)]


_WHY_NOT: Final = np.array(
    [reasons.NOT_OURS, reasons.NOT_OURS, reasons.NONE, reasons.FOREIGN_SOURCE, reasons.WRITE_FAILED], np.uint8
)


def _worked(states: NDArray[np.void]) -> NDArray[np.bool_]:
    """Whether the newest write of each that ended was confirmed; true before the first."""
    outcome = states["outcome"]
    good = (outcome == outcomes.CONFIRMED) | (
        (outcome == outcomes.ANSWERED) & (states["quality"] == quality.GOOD)
    )
    return np.asarray(good | (states["n_ended"] == 0))


def _outcome(state: np.void) -> str:
    if state["outcome"] == outcomes.DIFFERS:
        return "another value was read back"
    return quality.reason(int(state["quality"])) or "no answer"
