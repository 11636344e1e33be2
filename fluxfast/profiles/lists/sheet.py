"""A spreadsheet as rows of text: CSV in the forms that programs write it, or an Excel workbook."""

import csv
import io
import itertools
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxfast.errors import ConfigError, MissingExtraError
from fluxfast.profiles.document import MAX_FILE_BYTES, make_problem, read_file

DELIMITERS: Final = (",", ";", "\t", "|")
MAX_ROWS: Final = 100_000
MAX_COLUMNS: Final = 256  # of a workbook's sheet
MAX_UNPACKED_BYTES: Final = 8 * MAX_FILE_BYTES
HEAD_ROWS: Final = 60  # in which the headings are looked for
_EXCEL: Final = (".xlsx", ".xlsm")
_MERGED: Final = re.compile(rb'mergeCell\s[^>]*?ref="([A-Z]{1,3}[0-9]{1,7}:[A-Z]{1,3}[0-9]{1,7})"')

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
    data = read_file(path)
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


# ---- Excel ----


def _excel(path: Path, judge: Judge, name: str | None) -> Sheet:
    try:
        import openpyxl
    except ImportError:
        raise MissingExtraError(
            "Excel workbooks are read by openpyxl: pip install 'fluxfast[excel]' (or save it as .csv)"
        ) from None
    data = read_file(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(one.file_size for one in archive.infolist()) > MAX_UNPACKED_BYTES:
                raise wrong_file(path, f"unpacked it is larger than {MAX_UNPACKED_BYTES >> 20} MiB")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        names = [sheet.title for sheet in book.worksheets]
        if name is not None and name not in names:
            raise wrong_file(path, f"there is no sheet '{name}'", f"its sheets: {', '.join(names)}")
        chosen = name or max(names, key=lambda one: judge(list(_cells(book[one], HEAD_ROWS))))
        sheet, about = book[chosen], f"Excel, sheet '{chosen}'"
        formulas = openpyxl.load_workbook(io.BytesIO(data), read_only=True)[chosen]
        if not _is_calculated(sheet, formulas):
            sheet, about = formulas, f"{about}: its formulas have no values (open it in Excel and save it)"
        rows = tuple(_cells(sheet, MAX_ROWS))
    except ConfigError:
        raise
    except Exception as error:  # whatever a damaged archive or its XML leads to
        raise wrong_file(path, f"not a workbook: {error}", "open it in Excel and save it again") from None
    return Sheet(str(path), rows, about, tuple(one for one in names if one != chosen))


def _values(sheet: Any, most: int) -> Iterator[tuple[Any, ...]]:
    sheet.reset_dimensions()  # some programs write wrong ones
    yield from sheet.iter_rows(max_row=most, max_col=MAX_COLUMNS, values_only=True)


def _is_calculated(sheet: Any, formulas: Any) -> bool:
    """Whether formulas have values: other programs than Excel leave it to Excel to calculate them."""
    found = [
        value is not None
        for values, texts in zip(_values(sheet, MAX_ROWS), _values(formulas, MAX_ROWS), strict=False)
        for value, text in zip(values, texts, strict=False)
        if isinstance(text, str) and text.startswith("=")
    ]
    return any(found) or not found


def _cells(sheet: Any, most: int) -> Iterator[Row]:
    """Yield rows that are not empty; what stands in merged cells stands in each of them."""
    waiting = sorted(_merged(sheet), reverse=True)
    merged: list[tuple[int, int, int, str]] = []  # last row, columns, text
    for number, values in enumerate(_values(sheet, most), 1):
        cells = [_text(value) for value in values]
        while waiting and waiting[-1][0] <= number:
            _, last, left, right = waiting.pop()
            merged.append((last, left, right, cells[left - 1] if left <= len(cells) else ""))
        merged = [one for one in merged if one[0] >= number][:MAX_COLUMNS]
        for _, left, right, text in merged:
            right = min(right, len(cells))
            cells[left - 1 : right] = [text] * (right - left + 1)
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield Row(number, tuple(cells))


def _merged(sheet: Any) -> Iterator[tuple[int, int, int, int]]:
    """Yield (first row, last row, first column, last column) of merged cells; read_only knows none."""
    from openpyxl.utils import range_boundaries

    with sheet._get_source() as source:
        for match in _MERGED.finditer(source.read()):
            left, top, right, bottom = range_boundaries(match[1].decode())
            yield top, bottom, left, right


def _text(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return "" if value is None else " ".join(str(value).split())
