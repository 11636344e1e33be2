"""How the sites that decide are shown: in the live view, in a line, and in sentences for ``control``."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fluxfast.status import SiteStatus, Status

SITES_SHOWN: Final = 5  # in the live view, those with something to tell first
NOTES_SHOWN: Final = 6
NAMES_SHOWN: Final = 10
SHADOW: Final = "shadow: nothing is written"
ENDED: Final = "control has ended: the watchdog died"
LOUD: Final = "red"
FAINT: Final = "bright_black"


def sentences(site: SiteStatus) -> list[str]:
    """Return what is to be told of a site, in a few lines."""
    lines = [f"{site.name}: {_action(site)}, {'mode ' + site.mode if site.mode else 'no mode applies'}"]
    if site.stopped:
        lines.append("  STOPPED, until acknowledged")
    target = f"  target {_kw(site.target_kw)}{f' ({site.limit})' if site.limit else ''}"
    lines.append(f"{target}, served {_kw(site.setpoint_kw)}, {_unserved(site)}")
    lines.append(f"  grid {_kw(site.grid_kw)}{' (stale)' if site.meter_stale else ''}")
    units = [f"{site.in_use} of {site.units} {'ours' if site.action == 'act' else 'usable'}", *_out(site)]
    if site.stopped and site.unconfirmed:
        units.append(f"{site.unconfirmed} have not confirmed 0 kW yet")
    return [*lines, f"  units: {'; '.join(units)}"]


def line(status: Status) -> str:
    """Return all sites' control as a part of a line of text."""
    sites = status.control
    target, served, unserved = (
        sum(getattr(site, name) for site in sites) for name in ("target_kw", "setpoint_kw", "unserved_kw")
    )
    modes = sorted({site.mode or "no mode" for site in sites})
    parts = [
        f"{', '.join(modes) if len(modes) < 3 else f'{len(modes)} modes'}: target {_kw(target)}"
        f", served {_kw(served)}, unserved {_kw(unserved)}{_why(sites)}",
        "; ".join([_in_use(sites), *_sum_out(sites)]),
        f"reaction p50 {_ms(status.reaction_p50_ms)}",
    ]
    if stopped := [site.name for site in sites if site.stopped]:
        parts.append(f"STOPPED: {_some(stopped)}")
    return " | ".join([*parts, *_warnings(status)])


def render(status: Status, width: int) -> RenderableType:
    """Return a table of the sites that need a look most, and why."""
    grid = Table(box=None, padding=0, width=width, header_style=FAINT)
    grid.add_column("site", ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column("mode", width=17, no_wrap=True, overflow="ellipsis")
    for name, cells in (("target kW", 12), ("served kW", 12), ("grid kW", 12), ("units", 9)):
        grid.add_column(name, justify="right", width=cells, no_wrap=True)
    shown = sorted(status.control, key=lambda site: not site.has_findings)[:SITES_SHOWN]
    notes = []
    for site in shown:
        units = Text(f"{site.in_use:,}/{site.units:,}", "yellow" if site.has_findings else "")
        mode = Text("STOPPED", LOUD) if site.stopped else Text(site.mode or "–")
        powers = map(_number, (site.target_kw, site.setpoint_kw, site.grid_kw))
        grid.add_row(site.name, mode, *powers, units)
        notes += [Text(f"  {site.name}: {note}", FAINT) for note in _notes(site)]
    notes = notes[:NOTES_SHOWN]
    if len(status.control) > len(shown):
        notes.append(Text(f"  and {len(status.control) - len(shown):,} sites more", FAINT))
    notes.append(Text(f"  reaction p50 {_ms(status.reaction_p50_ms)}", FAINT))
    notes += [Text(f"  {warning}", "yellow") for warning in _warnings(status)]
    for note in notes:
        note.truncate(width, overflow="ellipsis")
    return Group(grid, *notes)


def summary(status: Status) -> list[str]:
    """Return what control came to in the end."""
    lines = [f"control: {line(status)}"]
    if status.given_back:
        lines.append(f"{status.given_back:,} units were told 0 and given back")
    if status.commanded:
        to = "nobody: stop them by hand" if status.control_ended else "the watchdog, which stops them"
        lines.append(f"not given back, left to {to}: {_some(status.commanded_ids, status.commanded)}")
    return lines


def _notes(site: SiteStatus) -> Iterator[str]:
    if site.limit:
        yield site.limit
    if site.unserved_kw:
        yield _unserved(site)
    yield from _out(site)


def _warnings(status: Status) -> list[str]:
    shadow = [site.name for site in status.control if site.action == "shadow"]
    where = "" if len(shadow) == len(status.control) else f" ({_some(shadow)})"
    return [SHADOW + where] * bool(shadow) + [ENDED] * status.control_ended


def _action(site: SiteStatus) -> str:
    return site.action if site.action == "act" else SHADOW


def _unserved(site: SiteStatus) -> str:
    return f"unserved {_kw(site.unserved_kw)}{f' ({site.unserved_why})' if site.unserved_why else ''}"


def _why(sites: Sequence[SiteStatus]) -> str:
    reasons = sorted({site.unserved_why for site in sites if site.unserved_why and site.unserved_kw})
    return f" ({_some(reasons)})" if reasons else ""


def _out(site: SiteStatus) -> list[str]:
    return [
        f"{units.count:,} {units.reason} ({', '.join(units.ids)}{', …' * (units.count > len(units.ids))})"
        for units in site.out
    ]


def _in_use(sites: Sequence[SiteStatus]) -> str:
    return f"{sum(site.in_use for site in sites):,} of {sum(site.units for site in sites):,} units in use"


def _sum_out(sites: Sequence[SiteStatus]) -> list[str]:
    counts: dict[str, int] = {}
    for units in (units for site in sites for units in site.out):
        counts[units.reason] = counts.get(units.reason, 0) + units.count
    return [f"{count:,} {reason}" for reason, count in counts.items()]


def _some(names: Sequence[str], count: int = 0) -> str:
    """Return a few of the names, and how many more there are; ``count``: in all, if some are not given."""
    more = max(count, len(names)) - min(len(names), NAMES_SHOWN)
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more:,} more" if more else "")


def _kw(value: float | None) -> str:
    return "–" if value is None else f"{_number(value)} kW"


def _number(value: float | None) -> str:
    # Rounded first, so that no −0.0 is left.
    return "–" if value is None else f"{round(value, 1) + 0.0:,.1f}".replace("-", "−")


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f} ms"
