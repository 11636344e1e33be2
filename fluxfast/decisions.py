"""What was decided, tick by tick: the log's dataset ``decisions``.

What became of a tick's writes is known only later, so its rows are logged when the next tick has come, and
has written what it had to: nobody waits for the log.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluxfast.commander import FAILED as GIVEN_UP
from fluxfast.commander import OFF, OURS, TAKING, YIELDED, Commander
from fluxfast.config import Action
from fluxfast.control import reasons
from fluxfast.controller import Controller
from fluxfast.link import outcomes
from fluxfast.log import Column, Dataset, LogWriter, Words
from fluxfast.table import quality

NAME: Final = "decisions"
ACTIONS: Final[dict[int, Action]] = {0: "shadow", 1: "act"}
PHASES: Final = {OFF: "off", TAKING: "taking", OURS: "ours", YIELDED: "yielded", GIVEN_UP: "failed"}
NOTHING, PENDING, CONFIRMED, REFUSED, EXCEPTION, DIFFERS, UNKNOWN, FAILED = range(8)
WRITES: Final = {
    NOTHING: "none",  # there was nothing to write
    PENDING: "pending",  # no outcome until the next decision
    CONFIRMED: "confirmed",
    REFUSED: "refused",  # by us: outside its bounds, too soon …
    EXCEPTION: "exception",  # the unit's answer
    DIFFERS: "differs",  # another value was read back
    UNKNOWN: "unknown",  # no clear answer
    FAILED: "failed",  # never sent: no connection, or its readings had become too old
}
WORDS: Final = Words(
    ["bad" if reasons.UNUSABLE <= code < reasons.IMPORT else "good" for code in range(256)], reasons.TEXTS
)


class _About(NamedTuple):
    dtype: str
    unit: str
    description: str


_COLUMNS: Final = {
    "setpoint_kw": _About("float64", "kW", "what the unit is told; positive discharges"),
    "lower_kw": _About("float32", "kW", "what it could have been told at least"),
    "upper_kw": _About("float32", "kW", "at most"),
    "soe_pct": _About("float32", "%", "state of energy that was decided on"),
    "write": _About("int64", "", "what became of the setpoint's write"),
    "phase": _About("int64", "", "whose the unit is; null where nothing is written"),
    "mode": _About("int64", "", "of the site: the mode that sets its target; null: none applies"),
    "action": _About("int64", "", "of the site"),
    "target_kw": _About("float32", "kW", "of the site: what the mode wants, inside the limits"),
    "grid_kw": _About("float32", "kW", "of the site: its grid meter; positive imports"),
    "load_kw": _About("float32", "kW", "of the site: as estimated from grid and batteries"),
    "site_lower_kw": _About("float32", "kW", "of the site: its limits, null: none"),
    "site_upper_kw": _About("float32", "kW", "of the site: its limits, null: none"),
    "served_kw": _About("float32", "kW", "of the site: the sum of its setpoints"),
    "unserved_kw": _About("float32", "kW", "of the site: target minus that, beyond rounding"),
    "site_reason": _About("int64", "", "of the site: why not what its mode wants, or why some is unserved"),
    "enabled": _About("int64", "", "of the site: which of its modes are switched on; bit 0 is the first"),
    "clock_ns": _About("int64", "ns", "the station's monotonic clock at the decision"),
    "meter_ns": _About("int64", "ns", "that clock when the grid meter was asked for grid_kw"),
}


# Of the sites: numbers, which follow each other in the dataset and are null where they are not finite; and
# codes, times and flags.
_FLOATS: Final = (
    "target_kw", "grid_kw", "load_kw", "site_lower_kw", "site_upper_kw", "served_kw", "unserved_kw"
)  # fmt: skip
_CODES: Final = ("mode", "site_reason", "enabled", "meter_ns")


class Decisions:
    """Logs what a controller decides and what became of it. ``dataset`` has a row per unit."""

    def __init__(self, controller: Controller, commander: Commander | None, states: NDArray[np.void]) -> None:
        """``states``: structs.WRITE_STATE of all that may be written, as the reactor keeps it."""
        plan = controller.plan
        self._controller, self._commander, self._states = controller, commander, states
        self._site_of = plan.site_of
        self._acting = np.flatnonzero(plan.setpoints >= 0)
        self._entries = plan.setpoints[self._acting]
        names = sorted({mode.name for site in plan.sites for mode in site.control.modes})
        # [position in the site's list, site]; the last row stands for -1, no mode.
        self._mode_codes = np.full((1 + max(len(s.control.modes) for s in plan.sites), len(plan.sites)), -1)
        for s, site in enumerate(plan.sites):
            for position, mode in enumerate(site.control.modes):
                self._mode_codes[position, s] = names.index(mode.name)
        self._sites = np.arange(len(plan.sites))
        self._meter_ns = np.zeros(len(plan.sites), np.int64)
        labels: dict[str, Mapping[int, str]] = {
            "write": WRITES,
            "phase": PHASES,
            "action": ACTIONS,
            "mode": dict(enumerate(names)),
            "site_reason": {code: text for code, text in enumerate(reasons.TEXTS) if text is not None},
        }
        columns = [
            Column(
                name,
                about.dtype,
                [labels[name]] if name in labels else (),
                {"description": about.description} | ({"unit": about.unit} if about.unit else {}),
            )
            for name, about in _COLUMNS.items()
        ]
        self.dataset = Dataset(
            NAME,
            [device.site for device in plan.devices],
            [device.id for device in plan.devices],
            columns,
            words=WORDS,
        )
        n = len(plan.devices)
        self._values: dict[str, NDArray[Any]] = {name: np.zeros(n, c.dtype) for name, c in _COLUMNS.items()}
        self._valid = np.ones((len(columns), n), np.uint8)
        self._valid_of = dict(zip(_COLUMNS, self._valid, strict=True))
        self._latency_ms = np.full(n, np.nan, np.float32)
        self._reason = np.zeros(n, np.uint8)
        self._values["action"][:] = [plan.sites[s].control.action == "act" for s in plan.site_of.tolist()]
        self._valid_of["phase"][:] = plan.setpoints >= 0
        # What is of the site, a row for each column: filled by one gather from all sites to all units.
        self._floats, self._codes = (
            np.zeros((len(_FLOATS), n), np.float32),
            np.zeros((len(_CODES), n), np.int64),
        )
        self._values |= zip(_FLOATS, self._floats, strict=True)
        self._values |= zip(_CODES, self._codes, strict=True)
        self._columns = list(self._values.values())
        first = list(_COLUMNS).index(_FLOATS[0])
        self._floats_valid = self._valid[first : first + len(_FLOATS)]
        self._tick: tuple[int, int, float] | None = None

    def note(self, time_us: int, now_ns: int, took_ms: float) -> None:
        """Keep what was decided at ``now_ns``, so long after the tick of that grid time began."""
        self._tick = time_us, now_ns, took_ms
        units, values = self._controller.columns.units, self._values
        for name in ("setpoint_kw", "lower_kw", "upper_kw", "soe_pct"):
            values[name][:] = getattr(units, name)
        np.isfinite(units.soe_pct, out=self._valid_of["soe_pct"], casting="unsafe")
        values["clock_ns"].fill(now_ns)
        self._reason[:] = np.where(units.usable != reasons.NONE, units.usable, units.reason)
        if self._commander is not None:
            values["phase"][self._commander.units] = self._commander.phase
        self._spread_sites()

    def append(self, log: LogWriter, index: int, states: NDArray[np.void] | None = None) -> None:
        """Log the tick that was noted last, if it is not yet.

        ``states``: of the units that are commanded, before a newer tick has written anything; by default as
        they are.
        """
        if self._tick is None:
            return
        (time_us, now_ns, took_ms), self._tick = self._tick, None
        if self._commander is not None:
            self._see_writes(self._states[self._entries] if states is None else states, now_ns, took_ms)
        log.append(index, time_us, self._latency_ms, self._reason, self._columns, self._valid)

    def _spread_sites(self) -> None:
        """Give each unit what is known of its site."""
        controller, sites, loop = self._controller, self._controller.columns.sites, self._controller.loop
        # In the order of _FLOATS and of _CODES.
        floats = np.stack(
            (
                sites.target_kw,
                controller.measured.grid_kw,
                loop.estimate.load_kw,
                sites.lower_kw,
                sites.upper_kw,
                sites.setpoint_kw,
                sites.unserved_kw,
            )
        )
        for meters in controller.plan.meters:
            times_ns = controller.tables[meters.table].requested_ns[meters.slot]
            self._meter_ns[meters.sites] = times_ns[meters.rows]
        mode = self._mode_codes[loop.mode, self._sites]
        reason = np.where(loop.reason != reasons.NONE, loop.reason, sites.reason)
        codes = np.stack((mode, reason, controller.modes.enabled, self._meter_ns))
        with np.errstate(over="ignore"):  # what a user's mode wants may be more than a float32 holds
            self._floats[:] = floats.take(self._site_of, axis=1)
        self._codes[:] = codes.take(self._site_of, axis=1)
        self._floats_valid[:] = np.isfinite(floats).take(self._site_of, axis=1)
        self._valid_of["mode"][:] = (mode >= 0)[self._site_of]
        self._valid_of["site_reason"][:] = (reason != reasons.NONE)[self._site_of]
        self._valid_of["meter_ns"][:] = (self._meter_ns > 0)[self._site_of]

    def _see_writes(self, states: NDArray[np.void], now_ns: int, took_ms: float) -> None:
        asked = states["asked_ns"] >= now_ns
        ended = asked & (states["under_way"] == 0)
        good = states["quality"] == quality.GOOD
        outcome = _OUTCOMES[states["outcome"]]
        outcome[(states["outcome"] == outcomes.ANSWERED) & ~good] = EXCEPTION
        refused = ~asked & (states["refusal"] != 0)
        told = np.where(refused, REFUSED, NOTHING)
        self._values["write"][self._acting] = np.where(ended, outcome, np.where(asked, PENDING, told))
        confirmed = ended & (outcome == CONFIRMED)
        since_ms = (states["ended_ns"] - now_ns) / 1e6 + took_ms
        self._latency_ms[self._acting] = np.where(confirmed, since_ms, np.nan)


# By outcome of link/outcomes.py; ANSWERED is an exception where its quality says so.
_OUTCOMES: Final = np.array([CONFIRMED, FAILED, CONFIRMED, DIFFERS, UNKNOWN])
