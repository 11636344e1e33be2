"""The status view: fits, tells what is wrong, and is the same as text and as JSON."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

from fluxfast.cli.status import line, render
from fluxfast.status import Status, TableStatus

MESSAGES = ("b3: exception 4", "m17 127.0.2.17:5020: connection refused")
STATUS = Status(
    elapsed_s=3684.3,
    tables=(TableStatus("powerpack", 390, 4, 6), TableStatus("acuvim2", 98, 0, 2)),
    readings_per_s=4800.4,
    requests_per_s=1000.0,
    tick_p50_ms=11.23,
    tick_p99_ms=23.4,
    ticks=168,
    overruns=2,
    unanswered=7,
    rows_dropped=0,
    rows_logged=84_000,
    log_bytes=123_456,
    links_up=498,
    links_total=500,
    cpu_percent=34.2,
    messages=MESSAGES,
    round_trip_p50_ms=1.24,
    round_trip_p99_ms=9.87,
    retries=12,
    reconnects=34,
    late=5,
    foreign=6,
)
START = Status(0.0, (), 0.0, 0.0, None, None, 0, 0, 0, 0, 0, 0, 0, 0, 0.0)
HUGE = Status(
    720_000.0,
    (TableStatus("a_table_with_a_name_that_is_far_too_long", 9_989, 0, 11),),
    readings_per_s=4_812_345.0,
    requests_per_s=2_000_000.0,
    tick_p50_ms=411.2,
    tick_p99_ms=11_423.4,
    ticks=1_234_567,
    overruns=0,
    unanswered=0,
    rows_dropped=0,
    rows_logged=18_123_456_789,
    log_bytes=12_345_678_999_000,
    links_up=10_000,
    links_total=10_000,
    cpu_percent=1134.2,
    messages=("x" * 200,) * 9,
)


def text(status):
    console = Console(width=80)
    with console.capture() as captured:
        console.print(render(status))
    return captured.get()


def words(status):
    return " ".join(text(status).split())


@pytest.mark.parametrize("status", [STATUS, START, HUGE])
def test_fits_in_80_columns(status):
    assert max(map(len, text(status).splitlines())) <= 78


def test_view():
    for part in (
        "fluxfast 01:01:24 488 good 4 uncertain 8 bad",
        "readings/s 4,800 tick p50 11.2 ms rows logged 84,000",
        "requests/s 1,000 tick p99 23.4 ms journal 123 kB",
        "links up 498/500 overruns 2 of 168 CPU 34 %",
        "reconnects 34 trip p50 1.2 ms late 5",
        "retries 12 trip p99 9.9 ms foreign 6",
        "powerpack 400 390 4 6",
        "acuvim2 100 98 0 2",
        "! b3: exception 4 ! m17 127.0.2.17:5020: connection refused",
    ):
        assert part in words(STATUS)


def test_before_the_first_tick():
    assert "tick p50 –" in words(START)
    assert "!" not in text(START)


def test_numbers_are_not_cut():
    for number in (
        "4,812,345",
        "10,000/10,000",
        "0 of 1,234,567",
        "11,423.4 ms",
        "18,123,456,789",
        "12.3 TB",
    ):
        assert number in text(HUGE)


def test_only_the_latest_messages_are_shown():
    shown = text(replace(STATUS, messages=tuple(f"message {i}" for i in range(9))))
    assert [f"message {i}" in shown for i in range(9)] == [False] * 5 + [True] * 4


def test_markup_in_a_message_is_only_text():
    assert "[red]x[/]" in text(replace(STATUS, messages=("[red]x[/]",)))


@pytest.mark.parametrize(
    ("good", "bad", "cells"), [(9_989, 11, (77, 1)), (1, 9_999, (1, 77)), (5, 5, (39, 39))]
)
def test_bar_shows_whatever_is_there(good, bad, cells):
    view = render(replace(STATUS, tables=(TableStatus("t", good, 0, bad),)))
    bar = view.renderables[1]
    assert [(span.end - span.start, span.style) for span in bar.spans] == [
        (cells[0], "green"),
        (cells[1], "red"),
    ]


def test_line():
    assert line(STATUS) == (
        "01:01:24 | 488 of 500 devices good, 4 uncertain, 8 bad | 4,800 readings/s"
        " | tick p50 11.2 ms, p99 23.4 ms | round trip p50 1.2 ms, p99 9.9 ms"
        " | 2 overruns | 84,000 rows logged"
    )
    assert "\n" not in line(START)


def test_json():
    data = json.loads(json.dumps(STATUS.as_dict()))
    assert data["devices_good"] == 488
    assert data["devices"] == 500
    assert data["tables"][0] == {
        "name": "powerpack",
        "devices": 400,
        "good": 390,
        "uncertain": 4,
        "bad": 6,
    }
    assert data["messages"] == list(MESSAGES)
    assert data["tick_p50_ms"] == 11.23
    assert json.loads(json.dumps(START.as_dict()))["tick_p50_ms"] is None


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_600, "1.0 MB"),
    ],
)
def test_sizes(size_bytes, shown):
    assert f"journal {shown} " in words(replace(STATUS, log_bytes=size_bytes))
