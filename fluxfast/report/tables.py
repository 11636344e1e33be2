"""The tables of a site's page: devices, gaps, energy, control, events. Every text of a device is escaped."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Final

from fluxfast.report.figures import DeviceFigures, Figures
from fluxfast.report.html import bar, section, table, tiles
from fluxfast.report.source import local
from fluxfast.report.words import duration, number, percent

SHOWN: Final = 20  # devices, events
ENERGIES_SHOWN: Final = 10
GAPS_SHOWN: Final = 12
SHARES_SHOWN: Final = 8


def devices(figures: Figures) -> str:
    """The worst devices."""
    head = ["device", "good", "good rows", "expected", "uncertain", "gaps", "longest", "main reason"]
    rows = [
        (
            escape(one.name), bar(one.complete), f"{one.good:,}", f"{one.expected:,.0f}",
            f"{one.uncertain:,}", f"{one.gaps:,}", duration(one.longest_gap_us) if one.gaps else "–",
            escape(one.reason) or "–", number(one.latency_ms[0]), number(one.latency_ms[1]),
        )
        for one in figures.devices[:SHOWN]
    ]  # fmt: skip
    more = len(figures.devices) - SHOWN
    note = f"; {more:,} better ones are not listed" if more > 0 else ""
    listed = table([*head, "p50 ms", "p99 ms"], rows, wide=(2, 3, 4, 8, 9), texts=(7,))
    title = "Worst devices" if more > 0 else "Devices"
    return section(title, f"good rows of those expected, worst first{note}", listed)


def gaps(figures: Figures) -> str:
    """The longest gaps; those of a single tick are only counted."""
    total = sum(one.gaps for one in figures.devices)
    if not total:
        return ""
    n = len(figures.devices)
    tick_us = max(int(tally.tick_us.max()) for tally in figures.day.tallies.values())
    longer = [gap for gap in figures.gaps if gap.to_us - gap.from_us > 1.5 * tick_us]
    fine = any(us % 60_000_000 for gap in longer[:GAPS_SHOWN] for us in (gap.from_us, gap.to_us))
    rows = [
        (
            figures.clock(gap.from_us, fine), figures.clock(gap.to_us, fine),
            duration(gap.to_us - gap.from_us),
            escape(_names(gap.devices, n)), escape(gap.reason or "unknown"),
        )
        for gap in longer[:GAPS_SHOWN]
    ]  # fmt: skip
    if rows:
        which = f"the {len(rows)} longest" if len(longer) > len(rows) else "those of more than a tick"
        note = f"{total:,} in all, counted for each device; {which}, together where they coincide"
        listed = table(["from", "to", "length", "devices", "because"], rows, texts=(3, 4))
        return section("Gaps", note, listed)
    return section("Gaps", f"{total:,} in all, counted for each device; none longer than a tick", "")


def _names(names: Sequence[str], all_of_them: int) -> str:
    if len(names) == all_of_them > 1:
        return f"all {all_of_them:,}"
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3:,} more"
    return ", ".join(names)


def energy(figures: Figures) -> str:
    """What each battery and meter took and gave."""
    units = _energies(figures.of_kind("battery"), "batteries", "charged", "discharged")
    meters = _energies(figures.of_kind("meter"), "meters", "export", "import")
    if not units and not meters:
        return ""
    note = "kWh, integrated from power; covered: how much of the time that power was read"
    if units and figures.battery_is_setpoint:
        note += ". Of batteries it is the power that they were told, for they report no measured one"
    return section("Energy", note, f'<div class="shares">{units}{meters}</div>')


def _energies(devices: Sequence[DeviceFigures], title: str, in_: str, out: str) -> str:
    devices = [one for one in devices if one.has_power]
    if not devices:
        return ""
    rows = [
        (
            escape(one.name) + (" (grid)" if one.is_grid and len(devices) > 1 else ""),
            number(one.in_kwh, digits=1), number(one.out_kwh, digits=1), percent(one.coverage),
        )
        for one in sorted(devices, key=lambda one: (one.coverage, -one.out_kwh - one.in_kwh))[:ENERGIES_SHOWN]
    ]  # fmt: skip
    last = None
    if len(devices) > 1:
        expected = sum(one.expected for one in devices)
        covered = sum(one.coverage * one.expected for one in devices) / expected if expected else 0.0
        sums = sum(one.in_kwh for one in devices), sum(one.out_kwh for one in devices)
        last = (f"all {len(devices):,}", *(number(kwh, digits=1) for kwh in sums), percent(covered))
    return f"<div>{table([title, in_, out, 'covered'], rows, last=last)}</div>"


def control(figures: Figures) -> str:
    """What control wanted, what kept it from more, and what became of its writes."""
    found = figures.control
    if found is None:
        return ""
    key = tiles(
        [
            ("units", f"{found.units:,}"),
            ("target met", percent(found.met)),
            ("unserved", number(found.unserved_kwh, "kWh")),
            ("write confirmed p50 / p99", " / ".join(number(ms) for ms in found.confirm_ms) + " ms"),
        ]
    )
    written = [(text, share) for text, share in found.shares["write"] if text not in ("none", None)]
    all_written = sum(share for _, share in written)
    lists = [
        _shares("mode that set the target", found.shares["mode"], "none applies"),
        _shares("action", found.shares["action"], "–"),
        _shares("what kept the site from more", found.shares["site_reason"], "nothing"),
        _shares("what kept units from more, or out", found.shares["reason"], "nothing"),
        _shares("writes", [(text, share / all_written) for text, share in written], ""),
        _shares("whose the units were", found.shares["phase"], "nothing is written"),
    ]
    note = "from the decisions of every tick, as shares of the time"
    return section("Control", note, f'{key}<div class="shares">{"".join(lists)}</div>')


def _shares(title: str, shares: Sequence[tuple[str | None, float]], nothing: str) -> str:
    if not shares:
        return ""
    rows = [
        (escape(nothing if text is None else text), bar(share, 0.0)) for text, share in shares[:SHARES_SHOWN]
    ]
    body = "".join(f'<tr><td class="text">{name}</td><td>{value}</td></tr>' for name, value in rows)
    return f"<div><h3>{escape(title)}</h3><table><tbody>{body}</tbody></table></div>"


def events(figures: Figures) -> str:
    """How many of each kind, and the first ones."""
    if not figures.events:
        return ""
    kinds = Counter(str(event["kind"]) for event in figures.events)
    note = ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common())
    if len(figures.events) > SHOWN:
        note += f"; the first {SHOWN}"
    rows = [
        (
            f"{local(int(one['time_us']), figures.day.zone):%H:%M:%S}",
            escape(str(one["kind"])),
            escape(str(one["text"])),
        )
        for one in sorted(figures.events, key=lambda event: int(event["time_us"]))[:SHOWN]
    ]
    return section("Events", note, table(["time", "kind", "what"], rows, texts=(1, 2)))
