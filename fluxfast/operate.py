"""What people tell a running station, by the names of its sites, and what it tells them of these.

Everything here is called on the station's loop. An emergency stop is latched in a file beside the site's lock
too, so that a station that is started again is still stopped.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from fluxfast.commander import Commander
from fluxfast.control import reasons
from fluxfast.controller import Controller
from fluxfast.errors import FluxfastError
from fluxfast.profiles.findings import nearest
from fluxfast.status import SiteStatus, UnitsOut

IDS_SHOWN: Final = 3


class Operator:
    """Stops sites, lets them go on, switches modes. ``acts`` is called once units may be commanded."""

    def __init__(self, controller: Controller, on_event: Callable[[str, str], None]) -> None:
        """Take the controller of the sites that decide; ``on_event`` hears (site, what people did there)."""
        self._controller, self._on_event = controller, on_event
        self._names = [site.name for site in controller.plan.sites]
        self._commander: Commander | None = None
        self._latches: dict[int, Path] = {}

    def acts(self, commander: Commander, latches: Path) -> None:
        """Take the commander; sites whose latch is in this folder are stopped from the beginning."""
        self._commander = commander
        for s, site in enumerate(self._controller.plan.sites):
            if site.control.action == "act":
                self._latches[s] = latches / f"{site.name}.stopped"
                if self._latches[s].exists():
                    self._controller.loop.stop(s)
                    self._on_event(site.name, "it was stopped before this start; acknowledge it")

    def stop(self, site: str) -> None:
        """Emergency stop; raises FluxfastError for an unknown site.

        Also when the latch cannot be kept in its file: then the site is stopped, but not after a restart.
        """
        s = self._index(site)
        self._controller.loop.stop(s)
        if self._commander is not None:
            self._commander.halt(s)
        self._on_event(site, "emergency stop, until acknowledged")
        if s in self._latches:
            try:
                self._latches[s].touch()
            except OSError as error:
                raise FluxfastError(
                    f"site {site} is stopped, but would not be after a restart: "
                    f"{self._latches[s]}: {error.strerror}"
                ) from error

    def acknowledge(self, site: str) -> None:
        """Let a site go on after a stop, and take again the units that were left to another.

        Raises FluxfastError for an unknown site, and when a latch cannot be taken away: it stays stopped.
        """
        s = self._index(site)
        if s in self._latches:
            try:
                self._latches[s].unlink(missing_ok=True)
            except OSError as error:
                raise FluxfastError(
                    f"site {site} stays stopped: {self._latches[s]}: {error.strerror}; remove it"
                ) from error
        self._controller.loop.acknowledge(s)
        if self._commander is not None:
            self._commander.acknowledge(s)
        self._on_event(site, "acknowledged")

    def set_mode(self, site: str, mode: str, enabled: bool) -> None:
        """Switch a mode of a site on or off; raises FluxfastError for an unknown site or mode."""
        s = self._index(site)
        try:
            self._controller.modes.set_enabled(s, mode, enabled)
        except FluxfastError as error:
            raise FluxfastError(f"site {site}: {error}") from None
        self._on_event(site, f"mode {mode} switched {'on' if enabled else 'off'}")

    def sites(self) -> tuple[SiteStatus, ...]:
        """Return all sites that decide, as of the newest decision."""
        return self._sites(0, len(self._names))

    def site(self, name: str) -> SiteStatus:
        """Return one of them; raises FluxfastError for an unknown site."""
        s = self._index(name)
        return self._sites(s, s + 1)[0]

    def _index(self, site: str) -> int:
        if site not in self._names:
            raise FluxfastError(f"no site '{site}' is controlled here ({nearest(site, self._names)})")
        return self._names.index(site)

    def _sites(self, first: int, end: int) -> tuple[SiteStatus, ...]:
        controller = self._controller
        sites, loop, starts = controller.columns.sites, controller.loop, controller.columns.first
        units = slice(starts[first], starts[end])
        out = self._out(units)
        site_of = controller.plan.site_of
        in_use = np.bincount(site_of[units][controller.columns.units.usable[units] == 0], minlength=end)
        waiting = self._commander.unconfirmed if self._commander is not None else np.empty(0, np.int32)
        unconfirmed = np.bincount(site_of[waiting], minlength=end)
        grid_kw = loop.estimate.grid_kw
        return tuple(
            SiteStatus(
                name=self._names[s],
                action=controller.plan.sites[s].control.action,
                stopped=bool(loop.stopped[s]),
                mode=controller.modes.names[s][loop.mode[s]] if loop.mode[s] >= 0 else None,
                target_kw=float(sites.target_kw[s]),
                limit=reasons.TEXTS[loop.reason[s]],
                setpoint_kw=float(sites.setpoint_kw[s]),
                unserved_kw=float(sites.unserved_kw[s]),
                unserved_why=reasons.TEXTS[sites.reason[s]],
                grid_kw=None if np.isnan(grid_kw[s]) else float(grid_kw[s]),
                meter_stale=bool(loop.estimate.stale[s] and loop.metered[s]),
                units=int(starts[s + 1] - starts[s]),
                in_use=int(in_use[s]),
                out=tuple(out[s]),
                unconfirmed=int(unconfirmed[s]),
            )
            for s in range(first, end)
        )

    def _out(self, units: slice) -> dict[int, list[UnitsOut]]:
        """Return, for each site that has some, its units that take no part, by their reason."""
        plan = self._controller.plan
        usable = self._controller.columns.units.usable[units]
        at = np.flatnonzero(usable)
        kind = plan.site_of[units][at] * 256 + usable[at]
        at = at[np.argsort(kind, kind="stable")]
        kinds, begins, counts = np.unique(np.sort(kind), return_index=True, return_counts=True)
        out = defaultdict(list)
        for one, begin, count in zip(kinds.tolist(), begins.tolist(), counts.tolist(), strict=True):
            rows = at[begin : begin + min(count, IDS_SHOWN)] + units.start
            ids = tuple(plan.devices[row].id for row in rows)
            out[one // 256].append(UnitsOut(reasons.TEXTS[one % 256] or "", count, ids))
        return out
