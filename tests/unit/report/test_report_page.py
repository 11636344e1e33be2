"""A page is whole, needs nothing else, and shows hostile names as text."""

import re
from datetime import UTC
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxfast.log.events import SCHEMA
from fluxfast.log.reading import open_log
from fluxfast.report import Day, entry_of, figures_of, render, render_index
from fluxfast.report.heat import png
from fluxfast.report.svg import value_ticks
from fluxfast.report.words import clock, duration, number, percent
from tests.support.day_logs import DAY, SECOND, START_US, battery, meter, report, ticks, timeouts, write

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>$x_1$"
VOID = {"meta", "img", "br", "path"}


class Page(HTMLParser):
    """Collects tags, and fails when they do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.text += data


def check(text: str) -> Page:
    """Return a page that runs nothing and loads nothing."""
    page = Page(text)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "link", "object", "embed", "form", "base"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        if "src" in attributes:
            assert attributes["src"].startswith("data:image/png;base64,")
    assert "://" not in text
    assert "url(" not in text
    assert "nan" not in re.sub(r"<[^>]*>", "", text.split("</style>")[1])
    return page


def with_events(log, rows):
    names = ("time", "site", "device", "kind", "text", "run")
    found = [dict(zip(names, (*row, "00c0ffee"), strict=True)) for row in rows]
    columns = [pa.array([row[field.name] for row in found]).cast(field.type) for field in SCHEMA]
    folder = log / "events" / f"date={DAY}"
    folder.mkdir(parents=True)
    table = pa.Table.from_arrays(columns, schema=SCHEMA)
    pq.write_table(table, folder / "20261122T000000Z-00c0ffee-0000000099.parquet")


def test_a_page_says_what_was_found(tmp_path):
    write(
        tmp_path,
        "powerpack",
        [battery(f"b{k}", ticks(1200), 10 * k, bad=timeouts(100, 20 * k)) for k in range(4)],
    )
    write(tmp_path, "acuvim2", [meter("m1", ticks(1200), 360_000)])
    with_events(
        tmp_path, [(START_US + SECOND, "S", "b1", "link", "it is down"), (START_US, None, None, "log", "x")]
    )
    page = check(render(report(tmp_path)))
    for text in (
        "Sunday, 22 November 2026", "00:00:00 to 00:20:00, a reading every 1 s",
        "3 of 5 devices missed readings", "the worst is b3 with 95.0 % good, mostly timeout",
        "Completeness", "Answer time", "State of energy", "Energy", "Gaps", "it is down",
    ):  # fmt: skip
        assert text in page.text, text
    assert page.text.index("b3") < page.text.index("b0")


def test_hostile_names_are_text(tmp_path):
    bad = dict.fromkeys(range(5), HOSTILE)
    write(tmp_path, "powerpack", [battery(HOSTILE, ticks(60), site=HOSTILE, bad=bad)])
    with_events(tmp_path, [(START_US, HOSTILE, HOSTILE, HOSTILE, HOSTILE)])
    figures = report(tmp_path, HOSTILE)
    page = check(render(figures, HOSTILE))
    assert page.text.count(HOSTILE) >= 6
    index = check(render_index(figures.day, [entry_of(figures, "a b.html"), entry_of(figures, HOSTILE)]))
    assert HOSTILE in index.text


def test_pages_of_sites_that_lack_things(tmp_path):
    bad = dict.fromkeys(range(60), "timeout")
    for name, datasets in {
        "batteries": {"powerpack": [battery("b1", ticks(60))]},
        "meters": {"acuvim2": [meter("m1", ticks(60))]},
        "one row": {"acuvim2": [meter("m1", ticks(1))]},
        "bad": {
            "powerpack": [battery("b1", ticks(60), bad=bad)],
            "acuvim2": [meter("m1", ticks(60), bad=bad)],
        },
        "many": {"powerpack": [battery(f"b{k:03}", ticks(20), bad=timeouts(0, k % 3)) for k in range(100)]},
    }.items():
        for dataset, devices in datasets.items():
            write(tmp_path / name, dataset, devices)
        page = check(render(report(tmp_path / name)))
        assert "Completeness" in page.text, name


def test_a_page_of_a_site_among_others(tmp_path):
    write(tmp_path, "powerpack", [battery("b1", ticks(60)), battery("b2", ticks(60), site="T")])
    day = Day(open_log(tmp_path), None, UTC)
    day.read()
    assert day.sites == ["S", "T"]
    pages = {site: check(render(figures_of(day, site), "index.html")) for site in day.sites}
    assert "b2" not in pages["S"].text
    assert ("a", {"href": "index.html"}) in pages["T"].tags


def test_the_heat_map_is_a_png_with_the_levels_as_pixels(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    levels = np.array([[0, 1, 5], [6, 2, 4]])
    (tmp_path / "a.png").write_bytes(png(levels))
    pixels = image.imread(tmp_path / "a.png")
    assert pixels.shape == (2, 3, 4)
    assert len({tuple(pixel) for pixel in pixels.reshape(-1, 4).tolist()}) == 6


def test_numbers_and_times_in_words():
    assert [number(v, "kW") for v in (0, 0.001, 3.14159, 31.4159, 31415.9, -2.5, -0.001, float("nan"))] == [
        "0 kW", "0.00 kW", "3.14 kW", "31.4 kW", "31,416 kW", "−2.50 kW", "0.00 kW", "–",
    ]  # fmt: skip
    assert [percent(v) for v in (1, 0.999999, 0.5, 1e-9, 0)] == [
        "100 %",
        "99.99 %",
        "50.0 %",
        "0.01 %",
        "0 %",
    ]
    assert [duration(s * 1e6) for s in (0.45, 20, 119, 125, 720, 3599.6, 11_100, 86_400)] == [
        "450 ms", "20 s", "119 s", "2 min 05 s", "12 min", "1 h", "3 h 05 min", "24 h",
    ]  # fmt: skip
    assert clock(START_US + 1_500_000, UTC, fine=True) == "00:00:01.500"


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 17), (0, 1e9), (-1e-3, 1e-3), (99.5, 100)])
def test_ticks_are_round_and_span_the_values(low, high):
    found = value_ticks(low, high)
    assert found[0] <= low + 1e-12
    assert found[-1] >= high - 1e-12
    assert 3 <= len(found) <= 8
