"""A sheet on the screen: only lines that are seen are made, and drawn only if they changed."""

from typing import Any, ClassVar, Final

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from fluxfast.top.sheet import GAP, Column, Sheet, fit, fitted

STYLES: Final = {
    "": Style(),
    "good": Style(color="green"),
    "uncertain": Style(color="yellow"),
    "bad": Style(color="red", bold=True),
    "faint": Style(color="bright_black"),
    "head": Style(underline=True),
    "sorted": Style(underline=True, bold=True),
    "cursor": Style(reverse=True),
}
HEAD: Final = STYLES["head"]
_Line = tuple[tuple[str, str], ...]  # pieces of text and their styles


class Grid(ScrollView, can_focus=True):
    """Shows a sheet. The cursor stays on its row wherever sorting puts it, once it has been moved there.

    ``tail``: it shows the last rows, and holds still while somebody has scrolled up. There are so many at the
    most, and room for all of them from the start, above the first: what grows is laid out again and again.
    """

    DEFAULT_CSS = """
    Grid { overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; background: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup", "page(-1)"),
        Binding("pagedown", "page(1)"),
        Binding("home,g", "move_to(0)"),
        Binding("end,G", "move_to(-1)"),
        Binding("left,h", "shift(-12)"),
        Binding("right,l", "shift(12)"),
        Binding("enter", "open"),
        Binding("greater_than_sign", "sort_next(1)"),
        Binding("less_than_sign", "sort_next(-1)"),
        Binding("r", "reverse"),
    ]

    class Opened(Message):
        """Somebody wants to see more of a row."""

        def __init__(self, grid: "Grid", row: int) -> None:
            """``row`` of the sheet."""
            super().__init__()
            self.grid, self.row = grid, row

    def __init__(self, sheet: Sheet, *, tail: int = 0, **options: Any) -> None:
        """Show a sheet, and what it becomes whenever ``renew`` is called."""
        super().__init__(**options)
        self.sheet = sheet
        self._tail = tail
        self._shift = 0  # characters of the last column that have gone to the left
        self._row: int | None = None  # which the cursor is on; None: on the first, whichever that is
        self._fitted: list[tuple[Column, int]] = []
        self._lines: list[_Line] = []  # as they are on the screen

    # ---- what is shown ----

    @property
    def cursor(self) -> int:
        """Where in the order the cursor is."""
        if self._row is None:
            return 0
        found = np.flatnonzero(self.sheet.order == self._row)
        return int(found[0]) if len(found) else 0

    @property
    def row(self) -> int | None:
        """The row that the cursor is on; None if no row is shown."""
        order = self.sheet.order
        return int(order[self.cursor]) if len(order) else None

    def forget(self) -> None:
        """Put the cursor on the first row again: the rows are others now."""
        self._row = None
        self.scroll_to(y=0, animate=False)

    def renew(self) -> None:
        """Show what the sheet holds now; what looks as it did is not drawn again."""
        before = self.cursor - self.scroll_offset.y
        at_end = self.scroll_offset.y >= self.max_scroll_y
        if at_end or not self._tail:
            self.sheet.arrange()
        if self._row is not None and not (self.sheet.order == self._row).any():
            self._row = None
        size = Size(self.size.width, (self._tail or len(self.sheet.order)) + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        if self._tail and at_end:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)
        elif self._row is not None and 0 <= before < self._room and not self._tail:
            y = self.cursor - before  # the cursor stays where it is, and the rows move past it
            if y != self.scroll_offset.y:
                self.scroll_to(y=y, animate=False, immediate=True)
        self._fitted = fit(self.sheet.columns, self.size.width - 1)
        lines = [self._line(y) for y in range(self.size.height)]
        for y, line in enumerate(lines):
            if y >= len(self._lines) or line != self._lines[y]:
                self.refresh(Region(0, y, self.size.width, 1))
        self._lines = lines

    @property
    def _room(self) -> int:
        return max(self.size.height - 1, 0)

    def _at(self, y: int) -> int:
        """Return the place in the order that a line of the screen shows."""
        above = self._tail - len(self.sheet.order) if self._tail else 0
        return y - 1 + self.scroll_offset.y - above

    def _line(self, y: int) -> _Line:
        if y == 0:
            return self._head()
        at = self._at(y)
        if not 0 <= at < len(self.sheet.order):
            return ()
        row = int(self.sheet.order[at])
        pieces = []
        for n, (column, width) in enumerate(self._fitted):
            text, style = self.sheet.cell(row, column.key)
            if self._shift and n == len(self._fitted) - 1:
                text = "…" + text[self._shift + 1 :]
            gap = " " * GAP if n else ""
            pieces.append((gap + fitted(text, width, column.right), style))
        if at == self.cursor and not self._tail:
            pieces.append(("", "cursor"))
        return tuple(pieces)

    def _head(self) -> _Line:
        pieces = []
        for n, (column, width) in enumerate(self._fitted):
            gap, title, style = " " * GAP if n else "", column.title, "head"
            if column.key == self.sheet.sort:
                sign, style = "▼" if self.sheet.reverse else "▲", "sorted"
                if column.right and len(title) == width:
                    gap = sign
                else:
                    title = sign + title if column.right else title[: width - 1] + sign
            pieces.append((gap + fitted(title, width, column.right), style))
        return tuple(pieces)

    def render_line(self, y: int) -> Strip:
        """Return one line of the screen."""
        if y >= len(self._lines):
            return Strip.blank(self.size.width)
        line, rest = self._lines[y], HEAD if y == 0 else STYLES[""]
        if line and line[-1][1] == "cursor":
            line, rest = (("".join(text for text, _ in line), "cursor"),), STYLES["cursor"]
        segments: list[Segment] = []
        for text, name in line:
            if segments and segments[-1].style == STYLES[name]:  # the fewer changes, the fewer bytes
                segments[-1] = Segment(segments[-1].text + text, STYLES[name])
            else:
                segments.append(Segment(text, STYLES[name]))
        return Strip(segments).adjust_cell_length(self.size.width, rest)

    def on_resize(self) -> None:
        """Fit the columns into the new width."""
        self._lines = []
        self.renew()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Show other rows."""
        super().watch_scroll_y(old_value, new_value)
        self._lines = [self._line(y) for y in range(self.size.height)]

    # ---- keys and mouse ----

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self._move_to(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Move it by a screen."""
        self._move_to(self.cursor + by * max(self._room - 1, 1))

    def action_move_to(self, place: int) -> None:
        """Move it to the first row, where it then stays, or to the last."""
        if place:
            self._move_to(len(self.sheet.order) - 1)
        else:
            self._row = None
            above = self._tail - len(self.sheet.order) if self._tail else 0
            self.scroll_to(y=above, animate=False, immediate=True)
            self.renew()

    def _move_to(self, at: int) -> None:
        order = self.sheet.order
        if not len(order):
            return
        if self._tail:
            self.scroll_to(y=self.scroll_offset.y + at - self.cursor, animate=False, immediate=True)
            self.renew()
            return
        at = min(max(at, 0), len(order) - 1)
        self._row = int(order[at])
        top = self.scroll_offset.y
        if not top <= at < top + self._room:
            self.scroll_to(y=at if at < top else at - self._room + 1, animate=False, immediate=True)
        self.renew()

    def action_shift(self, by: int) -> None:
        """Move the last column's text to the left or to the right."""
        self._shift = max(self._shift + by, 0)
        self.renew()

    def action_open(self) -> None:
        """Say that somebody wants to see more of the row under the cursor."""
        row = self.row
        if row is not None and not self._tail:
            self._row = row
            self.post_message(self.Opened(self, row))

    def action_sort_next(self, by: int) -> None:
        """Sort by the column to the left or right of the one that it is sorted by."""
        keys = [column.key for column, _ in self._fitted]
        at = keys.index(self.sheet.sort) if self.sheet.sort in keys else (-1 if by > 0 else len(keys))
        self._sort_by(keys[(at + by) % len(keys)])

    def action_reverse(self) -> None:
        """Turn the order round."""
        if self.sheet.sort is not None:
            self._sort_by(self.sheet.sort)

    def _sort_by(self, key: str) -> None:
        if self._tail:
            return
        self.sheet.sort_by(key)
        self.renew()

    def on_click(self, event: events.Click) -> None:
        """Sort by a column, or open a row."""
        if event.y == 0:
            x = 0
            for column, width in self._fitted:
                if event.x < x + width + GAP:
                    self._sort_by(column.key)
                    return
                x += width + GAP
            return
        at = self._at(event.y)
        if at < len(self.sheet.order) and not self._tail:
            self._move_to(at)
            self.action_open()
