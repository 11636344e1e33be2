"""Schedules from files: what they mean at any time, and everything that is refused."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxfast.control.modes.schedule_file import MAX_PROBLEMS, read_schedule
from fluxfast.errors import ConfigError
from tests.support.views import decide, modes, target, view

BERLIN = "Europe/Berlin"
HOUR_MS = 3_600_000


@pytest.fixture
def csv(tmp_path: Path) -> Any:
    def write(text: str, name: str = "plan.csv") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def problems(file: str, time_zone: str = BERLIN) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_schedule(file, time_zone)
    return [str(problem).removeprefix(file) for problem in caught.value.problems]


def starts(file: str, time_zone: str = BERLIN) -> list[str]:
    rows = read_schedule(file, time_zone)
    return [datetime.fromtimestamp(ms / 1000, UTC).strftime("%d %H:%M") for ms in rows.start_ms.tolist()]


def test_a_value_holds_until_the_next_start_or_its_end(csv: Any, tmp_path: Path) -> None:
    csv(
        "\ufeffstart, power_kw, end\n"
        "2026-06-01T10:00+02:00, 50.5,\n"
        "\n"
        "2026-06-01T09:00Z,-20,2026-06-01T09:30Z\n"
        "2026-06-01T10:00Z,,\n"
        '"2026-06-01T11:00Z",1e1,2026-06-01T12:00Z\n'
    )
    asked = modes("[{type: schedule, file: plan.csv}]", folder=tmp_path)
    for moment, expected in [
        ("07:59:59.9", None),
        ("08:00", 50.5),
        ("08:59:59.9", 50.5),
        ("09:00", -20),
        ("09:29:59.9", -20),
        ("09:30", None),
        ("10:30", None),
        ("11:00", 10),
        ("12:00", None),
        ("08:30", 50.5),
    ]:
        assert target(asked, view(f"2026-06-01T{moment}Z")) == expected, moment


def test_the_last_value_holds_for_ever_and_nothing_before_the_first(csv: Any, tmp_path: Path) -> None:
    csv("start,power_kw\n2026-06-01,7\n")
    asked = modes("[{type: schedule, file: plan.csv}]", folder=tmp_path)
    assert target(asked, view("2026-05-31T23:59:59Z")) is None
    assert target(asked, view("2090-01-01T00:00Z")) == 7
    assert target(asked, view(-1.0)) is None


def test_many_files_are_looked_up_together(csv: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    expected: list[list[tuple[float, float]]] = []
    for site in range(30):
        times = np.sort(rng.choice(10_000, 1 + site * 7, replace=False))
        rows = [(float(at), float(rng.integers(-50, 50))) for at in times]
        expected.append(rows)
        lines = [f"{datetime.fromtimestamp(at, UTC).isoformat()},{power}" for at, power in rows]
        csv("start,power_kw\n" + "\n".join(lines), f"{site}.csv")
    asked = modes(
        *(f"[{{type: schedule, file: {site}.csv}}]" for site in range(30)),
        f"[{{type: schedule, file: 3.csv}}, {{type: schedule, name: b, file: {tmp_path}/4.csv}}]",
        folder=tmp_path,
    )
    for time in rng.uniform(-10, 10_100, 300):
        answers = decide(asked, view(float(time), 31))
        for rows, (power, index) in zip(expected, answers, strict=False):
            begun = [value for at, value in rows if at <= time]
            assert (power, index) == (begun[-1], 0) if begun else index == -1
        if answers[3][1] == 0:
            assert answers[30] == answers[3]


def test_times_without_a_zone_are_of_the_time_zone(csv: Any) -> None:
    file = csv("start,power_kw\n2026-01-10T12:00,1\n2026-07-10 12:00,2\n2026-07-11T12:00Z,3\n2026-07-12,4\n")
    assert starts(file) == ["10 11:00", "10 10:00", "11 12:00", "11 22:00"]
    assert starts(file, "UTC") == ["10 12:00", "10 12:00", "11 12:00", "12 00:00"]


def test_an_hour_that_comes_twice(csv: Any) -> None:
    once = csv("start,power_kw\n2026-10-25T01:00,1\n2026-10-25T02:00,2\n2026-10-25T03:00,3\n")
    assert starts(once) == ["24 23:00", "25 00:00", "25 02:00"]
    quarters = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    twice = csv("start,power_kw\n" + "".join(f"2026-10-25T{at},1\n" for at in quarters))
    assert starts(twice) == ["24 23:30", "25 00:00", "25 00:30", "25 01:00", "25 01:30", "25 02:00"]
    ends = csv(
        "start,power_kw,end\n2026-10-25T02:15,1,2026-10-25T02:45\n2026-10-25T02:50,1,2026-10-25T02:10\n"
    )
    rows = read_schedule(ends, BERLIN)
    assert (rows.end_ms - rows.start_ms).tolist() == [HOUR_MS // 2, HOUR_MS // 3]
    thrice = csv("start,power_kw\n" + "2026-10-25T02:00,1\n" * 3)
    assert problems(thrice) == [
        ":4: start: 2026-10-25T02:00 stands twice, first in line 3 (remove one of them)"
    ]


def test_an_hour_that_does_not_come(csv: Any) -> None:
    quarters = csv(
        "start,power_kw\n"
        + "".join(f"2026-03-29T{at},{at[:2]}\n" for at in ("01:45", "02:00", "02:30", "03:00"))
    )
    assert starts(quarters) == ["29 00:45", "29 01:00"]
    assert read_schedule(quarters, BERLIN).power_kw.tolist() == [1, 3]
    last = csv(
        "start,power_kw,end\n2026-03-29T01:45,1,2026-03-29T02:10\n2026-03-29T02:30,2,2026-03-29T03:30\n"
    )
    assert starts(last) == ["29 00:45", "29 01:00"]
    rows = read_schedule(last, BERLIN)
    assert (rows.end_ms - rows.start_ms).tolist() == [HOUR_MS // 4, HOUR_MS // 2]
    within = csv("start,power_kw,end\n2026-03-29T02:15,1,2026-03-29T02:45\n2026-03-29T04:00,2,\n")
    rows = read_schedule(within, BERLIN)
    assert (rows.end_ms - rows.start_ms).tolist()[0] == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [": there is no column 'start'", ": there is no column 'power_kw'"]),
        ("start,power_kw\n", [": there are no rows (add one)"]),
        (
            "start;power_kw\n2026-01-01;1\n",
            [
                ":1: there is no column 'start' (separate the cells by commas)",
                ":1: there is no column 'power_kw' (separate the cells by commas)",
            ],
        ),
        ("start,power_kw,ends\n", [":1: unknown column 'ends' (did you mean 'end'?)"]),
        ("start,power_kw,start\n", [":1: two columns are called 'start'"]),
        ("start,power_kw\n\n2026-01-01\n", [":3: 1 cells where the first line has 2"]),
        ("start,power_kw\n2026-01-01,3,5\n", [":2: 3 cells where the first line has 2"]),
        (
            "start,power_kw\n,1\n01.02.2026,1\n",
            [
                ":2: start: is empty (write a date and time like 2026-10-25T07:00)",
                ":3: start: '01.02.2026' is not a date and time"
                " (write it like 2026-10-25T07:00 or 2026-10-25T07:00+02:00)",
            ],
        ),
        (
            "start,power_kw\n2026-01-02,1\n2026-01-01,1\n2026-01-02T00:00+01:00,2\n",
            [
                ":3: start: 2026-01-01 is before that of line 2 (sort the rows by start)",
                ":4: start: 2026-01-02T00:00+01:00 stands twice, first in line 2 (remove one of them)",
            ],
        ),
        (
            "start,power_kw\n" + "".join(f"2026-01-0{day},{day_text}\n" for day, day_text in
                                         enumerate(("nan", "-inf", "1_0", "ten", "1e999"), 1)),
            [
                f":{line}: power_kw: '{text}' is not a power"
                " (write a finite number, or nothing where the schedule does not apply)"
                for line, text in enumerate(("nan", "-inf", "1_0", "ten", "inf"), 2)
            ],
        ),
        (
            "start,power_kw,end\n2026-01-02,1,2026-01-02\n2026-01-03,1,2026-01-01T00:00Z\n",
            [
                ":2: end: 2026-01-02 is not after its start, 2026-01-02",
                ":3: end: 2026-01-01T00:00Z is not after its start, 2026-01-03",
            ],
        ),
        (
            "start,power_kw\n1900-01-01,1\n0001-01-01,1\n2200-01-01T00:00Z,1\n",
            [
                f":{line}: start: {text} is out of reach (use times from 1970 to 2109)"
                for line, text in ((2, "1900-01-01"), (3, "0001-01-01"), (4, "2200-01-01T00:00Z"))
            ],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_has_a_line_and_a_cure(csv: Any, text: str, expected: list[str]) -> None:
    assert problems(csv(text)) == expected


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert problems(str(tmp_path / "none.csv")) == [": cannot be read: No such file or directory"]
    assert problems(str(tmp_path / "none.parquet")) == [": cannot be read: No such file or directory"]
    for name, data in [("a.csv", b"start,power_kw\n\xff\xfe,1\n"), ("b.csv", b'start,power_kw\n"2026'),
                       ("c.parquet", b"start,power_kw\n"), ("d.parquet", b"")]:  # fmt: skip
        (tmp_path / name).write_bytes(data)
        (problem,) = problems(str(tmp_path / name))
        assert problem.startswith(": cannot be read: ")
        assert problem.isprintable()


def test_a_file_that_is_wrong_throughout_is_told_in_few_lines(csv: Any) -> None:
    assert len(problems(csv("start,power_kw\n" + "x,1\n" * 1000))) == MAX_PROBLEMS


def test_all_files_are_reported(csv: Any, tmp_path: Path) -> None:
    csv("start,power_kw\nx,1\n", "a.csv")
    csv("start,power_kw\ny,1\n", "b.csv")
    with pytest.raises(ConfigError) as caught:
        modes("[{type: schedule, file: a.csv}]", "[{type: schedule, file: b.csv}]", folder=tmp_path)
    assert [(Path(one.file).name, one.line) for one in caught.value.problems] == [("a.csv", 2), ("b.csv", 2)]


LOCAL = [datetime(2026, 10, 25, hour) for hour in (1, 2, 3)]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(LOCAL, pa.timestamp("us")), ["24 23:00", "25 00:00", "25 02:00"]),
        (pa.array(LOCAL, pa.timestamp("ns")), ["24 23:00", "25 00:00", "25 02:00"]),
        (pa.array(LOCAL, pa.timestamp("s", BERLIN)), ["25 01:00", "25 02:00", "25 03:00"]),
        (pa.array([at.isoformat() for at in LOCAL]), ["24 23:00", "25 00:00", "25 02:00"]),
        (pa.array([f"{at.isoformat()}+01:00" for at in LOCAL]), ["25 00:00", "25 01:00", "25 02:00"]),
    ],
)
@pytest.mark.parametrize(
    "power",
    [
        pa.array([1.5, None, 3]),
        pa.array([1.5, None, 3], pa.float32()),
        pa.array([Decimal("1.5"), None, Decimal(3)], pa.decimal128(4, 1)),
    ],
)
def test_parquet(tmp_path: Path, column: Any, power: Any, expected: list[str]) -> None:
    file = str(tmp_path / "plan.parquet")
    pq.write_table(pa.table({"power_kw": power, "start": column}), file)
    assert starts(file) == expected
    np.testing.assert_array_equal(read_schedule(file, BERLIN).power_kw, [1.5, np.nan, 3])


def test_parquet_that_is_wrong(tmp_path: Path) -> None:
    file = str(tmp_path / "plan.parquet")
    start = pa.array(
        [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 2)] + [None], pa.timestamp("us", "UTC")
    )
    pq.write_table(pa.table({"start": start, "power_kw": [1.0, np.nan, 3, 4]}), file)
    assert problems(file) == [
        ": row 2: power_kw: 'nan' is not a power"
        " (write a finite number, or nothing where the schedule does not apply)",
        ": row 4: start: is empty (write a date and time like 2026-10-25T07:00)",
    ]
    pq.write_table(pa.table({"start": start, "kw": [1.0, 2, 3, 4]}), file)
    assert problems(file)[0] == ": there is no column 'power_kw'"
    far = pa.array([9 * 10**15], pa.timestamp("ms"))  # beyond what Python's datetime holds
    pq.write_table(pa.table({"start": far, "power_kw": [1.0]}), file)
    assert problems(file) == [": cannot be read: date value out of range"]


def test_a_big_schedule(tmp_path: Path) -> None:
    """100,000 rows: every quarter of an hour for nearly three years, local, without zone."""
    file = tmp_path / "plan.csv"
    first = datetime(2024, 1, 1)
    with file.open("w") as stream:
        stream.write("start,power_kw\n")
        stream.writelines(f"{first + timedelta(minutes=15 * row)},{row}\n" for row in range(100_000))
    asked = modes(f"[{{type: schedule, file: plan.csv, time_zone: {BERLIN}}}]", folder=tmp_path)
    for moment, row in [
        ("2024-01-01T00:00+01:00", 0),
        ("2024-07-01T00:07+02:00", 182 * 96),
        ("2025-01-01T00:15+01:00", 366 * 96 + 1),
    ]:
        assert target(asked, view(moment)) == row
