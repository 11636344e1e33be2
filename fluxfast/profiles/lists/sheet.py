"""A spreadsheet as rows of text: CSV in the forms that programs write it, or an Excel workbook."""

import csv
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxfast.errors import ConfigError, MissingExtraError
from fluxfast.profiles.document import MAX_FILE_BYTES, make_problem

DELIMITERS: Final = (",", ";", "\t", "|")
MAX_ROWS: Final = 100_000
HEAD_ROWS: Final = 60  # in which the headings are looked for
_EXCEL: Final = (".xlsx", ".xlsm")

Judge = Callable[[Sequence["Row"]], float]  # how much rows look like the beginning of what is wanted


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a row, without blanks around them, and the line on which it begins."""

    line: int
    cells: tuple[str, ...]

    def cell(self, column: int) -> str:
        """Return a cell, empty where the row is too short."""
        return self.cells[column] if column < len(self.cells) else ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """All rows; ``about`` says how the file was understood, ``others`` are the workbook's other sheets."""

    file: str
    rows: tuple[Row, ...]
    about: str
    others: tuple[str, ...] = ()


def read_sheet(path: Path, judge: Judge, name: str | None = None) -> Sheet:
    """Read a file; of several ways to read it, or several sheets, that which ``judge`` likes most.

    ``name`` chooses a workbook's sheet. Raises ConfigError, and MissingExtraError for Excel without openpyxl.
    """
    if path.suffix.lower() in _EXCEL:
        return _excel(path, judge, name)
    if path.suffix.lower() == ".xls":
        raise wrong_file(path, "the old Excel format is not read", "save it as .xlsx or .csv")
    if name is not None:
        raise wrong_file(path, "only a workbook (.xlsx) has sheets", "leave --sheet away")
    text, encoding = _decoded(path)
    best = max(DELIMITERS, key=lambda delimiter: judge(list(_rows(path, text, delimiter, HEAD_ROWS))))
    named = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}[best]
    return Sheet(str(path), tuple(_rows(path, text, best, MAX_ROWS)), f"CSV, {named}, {encoding}")


def wrong_file(path: Path | str, message: str, cure: str = "", line: int | None = None) -> ConfigError:
    """Return the error for a file of which nothing can be made."""
    return ConfigError([make_problem(str(path), line, "", message, cure)])


def _decoded(path: Path) -> tuple[str, str]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise wrong_file(path, f"the file is larger than {MAX_FILE_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise wrong_file(path, f"cannot be read: {error.strerror}") from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace"), "UTF-16"
    if data[:4] == b"PK\x03\x04":
        raise wrong_file(path, "this is an Excel workbook", "name it .xlsx")
    if b"\0" in data[:4096]:
        raise wrong_file(path, "this is no text", "save the table as .csv or .xlsx")
    try:
        return data.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), "Windows-1252"


def _rows(path: Path, text: str, delimiter: str, most: int) -> Iterator[Row]:
    """Yield rows that are not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    line = 1
    try:
        for cells in itertools.islice(reader, most):
            row = Row(line, tuple(" ".join(cell.split()) for cell in cells))
            line = reader.line_num + 1
            if any(row.cells):
                yield row
    except csv.Error as error:
        raise wrong_file(path, f"not a table: {error}", "is a quotation mark missing above?", line) from None


def _excel(path: Path, judge: Judge, name: str | None) -> Sheet:
    try:
        import openpyxl
    except ImportError:
        raise MissingExtraError(
            "Excel workbooks are read by openpyxl: pip install 'fluxfast[excel]' (or save it as .csv)"
        ) from None
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise wrong_file(path, f"the file is larger than {MAX_FILE_BYTES >> 20} MiB")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except OSError as error:
        raise wrong_file(path, f"cannot be read: {error.strerror or error}") from None
    except ConfigError:
        raise
    except Exception as error:  # whatever a damaged archive or its XML leads to
        raise wrong_file(path, f"not a workbook: {error}", "open it in Excel and save it again") from None
    try:
        names = [sheet.title for sheet in book.worksheets]
        if name is not None and name not in names:
            raise wrong_file(path, f"there is no sheet '{name}'", f"its sheets: {', '.join(names)}")
        chosen = name or max(names, key=lambda one: judge(list(_cells(book[one], HEAD_ROWS))))
        rows = tuple(_cells(book[chosen], MAX_ROWS))
    except ConfigError:
        raise
    except Exception as error:  # read_only: the XML of a sheet is read only now
        raise wrong_file(path, f"not a workbook: {error}", "open it in Excel and save it again") from None
    finally:
        book.close()
    return Sheet(str(path), rows, f"Excel, sheet '{chosen}'", tuple(one for one in names if one != chosen))


def _cells(sheet: Any, most: int) -> Iterator[Row]:
    for number, values in enumerate(sheet.iter_rows(max_row=most, values_only=True), 1):
        row = Row(number, tuple(_text(value) for value in values))
        if any(row.cells):
            yield row


def _text(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return "" if value is None else " ".join(str(value).split())
