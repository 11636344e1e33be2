"""Schedule files: CSV or Parquet with the columns start, power_kw and maybe end."""

import csv
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fluxfast.config.times import zone
from fluxfast.control.modes.view import Floats
from fluxfast.errors import ConfigError, Problem
from fluxfast.profiles.document import make_problem
from fluxfast.profiles.findings import nearest

LAST_MS: Final = (1 << 42) - 1  # 2109; rows of many files share one int64
MAX_PROBLEMS: Final = 10  # a file that is wrong throughout is not told line by line

_COLUMNS: Final = ("start", "power_kw", "end")
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


class ScheduleRows(NamedTuple):
    """A schedule: int64 [n] UTC milliseconds, sorted; ``end_ms`` is the next start at the latest."""

    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]
    power_kw: Floats  # nan: does not apply


class _Row(NamedTuple):
    """One row as it stands; texts of a CSV file, what Arrow made of it otherwise."""

    number: int
    start: Any
    power_kw: Any
    end: Any


class _CellError(Exception):
    """What is wrong with one cell: column, message, cure."""


def read_schedule(file: str, time_zone: str) -> ScheduleRows:
    """Read a schedule; times without a zone are of ``time_zone``. Raises ``ConfigError`` with all problems.

    Of a local time that comes twice the first is meant, or the second when the row above is not before the
    first. One that is skipped means the moment of the change; of several such rows the last holds.
    """
    is_csv = Path(file).suffix.lower() == ".csv"
    builder = _Builder(file, "line" if is_csv else "row", zone(time_zone))
    try:
        for row in _rows_of_csv(file) if is_csv else _rows_of_parquet(file):
            builder.add(row)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException, OverflowError) as error:  # year 10,000
        what = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ConfigError([make_problem(file, None, "", f"cannot be read: {what}")]) from None
    return builder.rows()


def _rows_of_csv(file: str) -> Iterator[_Row]:
    with open(file, encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        places: dict[str, int] | None = None
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if places is None:
                places = _places(file, cells, reader.line_num)
                width = len(cells)
                continue
            if len(cells) != width:
                message = f"{len(cells)} cells where the first line has {width}"
                raise ConfigError([make_problem(file, reader.line_num, "", message)])
            start, power, end = (cells[places[name]] if name in places else None for name in _COLUMNS)
            yield _Row(reader.line_num, start or None, power or None, end or None)
        if places is None:
            _places(file, [], None)


def _rows_of_parquet(file: str) -> Iterator[_Row]:
    with open(file, "rb") as stream:  # whose errors say in few words what is wrong
        table = pq.ParquetFile(stream).read()
    places = _places(file, table.column_names, None)
    columns: list[Iterable[Any]] = []
    for name in _COLUMNS:
        if name not in places:
            columns.append([None] * table.num_rows)
            continue
        column = table.column(name)
        if pa.types.is_timestamp(column.type):
            # Nanoseconds are finer than Python's datetime.
            column = column.cast(pa.timestamp("us", column.type.tz and "UTC"), safe=False)
        columns.append(column.to_pylist())
    for number, (start, power, end) in enumerate(zip(*columns, strict=True), 1):
        yield _Row(number, start, power, end)


def _places(file: str, names: list[str], line: int | None) -> dict[str, int]:
    problems = []
    for name in ("start", "power_kw"):
        if name not in names:
            cure = "separate the cells by commas" if any(";" in one for one in names) else ""
            problems.append(make_problem(file, line, "", f"there is no column '{name}'", cure))
    for index, name in enumerate(names):
        if name in names[:index]:
            problems.append(make_problem(file, line, "", f"two columns are called '{name}'"))
        elif name not in _COLUMNS and not problems:
            problems.append(make_problem(file, line, "", f"unknown column '{name}'", nearest(name, _COLUMNS)))
    if problems:
        raise ConfigError(problems)
    return {name: index for index, name in enumerate(names)}


class _Builder:
    """Makes numbers of rows, and sees that they are in order."""

    def __init__(self, file: str, unit: str, tz: tzinfo) -> None:
        self._file = file
        self._unit = unit
        self._tz = tz
        self._problems: list[Problem] = []
        self._numbers: list[int] = []
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._powers: list[float] = []
        self._skipped = False  # whether the last start is of an hour that its day does not have

    def add(self, row: _Row) -> None:
        try:
            self._add(row)
        except _CellError as fault:
            column, message, cure = fault.args
            line = row.number if self._unit == "line" else None
            place = column if line else f"row {row.number}: {column}"
            self._problems.append(make_problem(self._file, line, place, message, cure))
            if len(self._problems) == MAX_PROBLEMS:
                raise ConfigError(self._problems) from None

    def rows(self) -> ScheduleRows:
        if not self._starts and not self._problems:
            self._problems.append(make_problem(self._file, None, "", "there are no rows", "add one"))
        if self._problems:
            raise ConfigError(self._problems)
        starts = np.array(self._starts, np.int64)
        ends = np.minimum(np.array(self._ends, np.int64), np.append(starts[1:], LAST_MS))
        return ScheduleRows(starts, ends, np.array(self._powers, np.float64))

    def _add(self, row: _Row) -> None:
        above = self._starts[-1] if self._starts else -1
        if row.start is None:
            raise _CellError("start", "is empty", "write a date and time like 2026-10-25T07:00")
        start, skipped = self._instant("start", row.start, above)
        power = _power(row.power_kw)
        if start == above and self._skipped:  # a row that holds for no time
            for cells in (self._numbers, self._starts, self._ends, self._powers):
                cells.pop()
        elif start == above:
            first = f"{self._unit} {self._numbers[-1]}"
            raise _CellError("start", f"{row.start} stands twice, first in {first}", "remove one of them")
        elif start < above:
            other = f"{self._unit} {self._numbers[-1]}"
            raise _CellError("start", f"{row.start} is before that of {other}", "sort the rows by start")
        end = LAST_MS
        if row.end is not None:
            end, _ = self._instant("end", row.end, start)
            if end <= start and not skipped:
                raise _CellError("end", f"{row.end} is not after its start, {row.start}", "")
        self._skipped = skipped
        self._numbers.append(row.number)
        self._starts.append(start)
        self._ends.append(end)
        self._powers.append(power)

    def _instant(self, column: str, value: Any, after_ms: int) -> tuple[int, bool]:
        """Return UTC milliseconds, and whether it is a local time that its day skips."""
        moment = _moment(column, value)
        try:
            if moment.tzinfo is not None:
                return self._in_reach(column, value, (moment - _EPOCH) // _MS), False
            first, second = (self._utc_ms(moment, fold) for fold in (0, 1))
        except OverflowError:
            first = second = -1
        if first > second:
            return self._change(second, first), True
        return self._in_reach(column, value, first if first > after_ms else second), False

    def _utc_ms(self, moment: datetime, fold: int) -> int:
        return (moment.replace(tzinfo=self._tz, fold=fold) - _EPOCH) // _MS

    def _change(self, before_ms: int, after_ms: int) -> int:
        """Return when the clocks change, by halving the span in which they do."""
        offset = self._offset(before_ms)
        while after_ms - before_ms > 1:
            middle = (before_ms + after_ms) // 2
            if self._offset(middle) == offset:
                before_ms = middle
            else:
                after_ms = middle
        return after_ms

    def _offset(self, utc_ms: int) -> timedelta | None:
        return (_EPOCH + utc_ms * _MS).astimezone(self._tz).utcoffset()

    def _in_reach(self, column: str, value: Any, utc_ms: int) -> int:
        if not 0 <= utc_ms < LAST_MS:
            raise _CellError(column, f"{value} is out of reach", "use times from 1970 to 2109")
        return utc_ms


def _moment(column: str, value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        cure = "write it like 2026-10-25T07:00 or 2026-10-25T07:00+02:00"
        raise _CellError(column, f"'{str(value)[:40]}' is not a date and time", cure) from None


def _power(value: Any) -> float:
    if value is None:
        return np.nan
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value) else value
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    cure = "write a finite number, or nothing where the schedule does not apply"
    raise _CellError("power_kw", f"'{str(value)[:40]}' is not a power", cure)
