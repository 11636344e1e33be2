"""The page that lists the sites of a day, the least complete first."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

import numpy as np

from fluxfast.report.day import Day
from fluxfast.report.figures import Figures
from fluxfast.report.html import bar, document, section, table, tiles
from fluxfast.report.words import number, percent, zone_name


@dataclass(frozen=True)
class Entry:
    """A site's line; numbers are nan where it has none."""

    site: str
    file: str
    devices: int
    expected: float
    complete: float
    import_kwh: float
    export_kwh: float
    charged_kwh: float
    discharged_kwh: float
    peak_kw: float
    met: float


def entry_of(figures: Figures, file: str) -> Entry:
    """Return a site's line."""
    peak = figures.peak()
    nan = float("nan")
    return Entry(
        figures.site,
        file,
        len(figures.devices),
        sum(one.expected for one in figures.devices),
        figures.complete,
        *(figures.grid_kwh or (nan, nan)),
        *(figures.battery_kwh or (nan, nan)),
        peak[0] if peak else nan,
        figures.control.met if figures.control else nan,
    )


def render_index(day: Day, entries: Sequence[Entry]) -> str:
    """Return the page."""
    ranked = sorted(entries, key=lambda entry: (entry.complete, entry.site))
    expected = sum(entry.expected for entry in entries)
    complete = sum(entry.complete * entry.expected for entry in entries) / expected if expected else 0.0
    rows = [
        (
            f'<a href="{escape(quote(entry.file))}">{escape(entry.site)}</a>', bar(entry.complete),
            f"{entry.devices:,}", number(entry.import_kwh, digits=1), number(entry.export_kwh, digits=1),
            number(entry.charged_kwh, digits=1), number(entry.discharged_kwh, digits=1),
            number(entry.peak_kw, digits=1), percent(entry.met),
        )
        for entry in ranked
    ]  # fmt: skip
    key = tiles(
        [
            ("sites", f"{len(entries):,}"),
            ("devices", f"{sum(entry.devices for entry in entries):,}"),
            ("good readings", percent(complete)),
            ("grid import", number(_sum(entries, "import_kwh"), "kWh")),
            ("grid export", number(_sum(entries, "export_kwh"), "kWh")),
            ("charged", number(_sum(entries, "charged_kwh"), "kWh")),
            ("discharged", number(_sum(entries, "discharged_kwh"), "kWh")),
            ("complete sites", f"{sum(entry.complete >= 1 for entry in entries):,}"),
        ]
    )
    head = ["site", "good", "devices", "import", "export", "charged", "discharged", "peak kW", "target met"]
    body = (
        f"<header><h1>{len(entries):,} sites</h1><p>{day.day:%A, {day.day.day} %B %Y} · "
        f"{escape(zone_name(day.start_us, day.end_us, day.zone))}</p></header>{key}"
        + section("Sites", "the least complete first; energy in kWh", table(head, rows, wide=(2, 4, 5, 6)))
    )
    return document(f"{len(entries):,} sites, {day.day}", body)


def _sum(entries: Sequence[Entry], name: str) -> float:
    values = np.array([getattr(entry, name) for entry in entries], float)
    return float("nan") if np.isnan(values).all() else float(np.nansum(values))
