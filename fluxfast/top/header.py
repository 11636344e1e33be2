"""What stands above the devices: which station it is, and how it goes, in three lines; below: the keys."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from fluxfast.top.sheet import number, printable

_Part = tuple[str, str]  # text and style
_FAINT: Final = "bright_black"


class Lines(Widget):
    """Some lines of text; unlike a Static, a new text of them does not lay the screen out anew."""

    DEFAULT_CSS = """
    Lines { link-style: none; link-style-hover: reverse; link-background-hover: ansi_default; }
    """

    def __init__(self, **options: Any) -> None:
        """Begin empty."""
        super().__init__(**options)
        self._text = Text()

    def show(self, text: Text) -> None:
        """Show something else."""
        if text != self._text:  # what looks as it did is not drawn again
            self._text = text
            self.refresh()

    def render(self) -> Text:
        """Return it."""
        return self._text


def title(about: dict[str, Any] | None, status: dict[str, Any] | None, state: str, width: int) -> Text:
    """Return the first line; ``state`` is what is not as it should be."""
    parts: list[_Part] = [("fluxfast top", "bold")]
    if state:
        parts.append((f" {state} ", "reverse bold"))
    if about is not None:
        sites = about["sites"]
        parts.append((f"{len(sites):,} sites" if len(sites) != 1 else str(sites[0]), "bold"))
        parts.append((str(Path(about["file"]).name), ""))
        parts.append((f"process {about['pid']}", _FAINT))
    if status is not None:
        parts.append((_clock(status["elapsed_s"]), ""))
    if about is not None:
        parts.append((f"every {about['every_ms']:g} ms", _FAINT))
    return fit_parts(parts, width)


def counts(status: dict[str, Any], width: int) -> Text:
    """Return the second line: devices by quality, links, ticks."""
    parts = [
        (f"{status[f'devices_{name}']:,} {name}", style if status[f"devices_{name}"] else _FAINT)
        for name, style in (("good", "green"), ("uncertain", "yellow"), ("bad", "bold red"))
    ]
    up, links = status["links_up"], status["links_total"]
    parts.append((f"links {up:,}/{links:,}", "bold red" if up < links else ""))
    parts.append((f"tick p50 {number(status['tick_p50_ms'])} p99 {number(status['tick_p99_ms'])} ms", ""))
    overruns = status["overruns"]
    parts.append((f"{overruns:,} overruns", "yellow" if overruns else _FAINT))
    parts.append((f"{status['retries']:,} retries", _FAINT))
    return fit_parts(parts, width)


def rates(status: dict[str, Any], width: int) -> Text:
    """Return the third line: rates and what they cost, and the newest message where there is room."""
    trips = f"trip p50 {number(status['round_trip_p50_ms'])} p99 {number(status['round_trip_p99_ms'])} ms"
    parts = [
        (f"{status['readings_per_s']:,.0f} readings/s", "bold"),
        (f"{status['requests_per_s']:,.0f} requests/s", ""),
        (trips, ""),
        (f"CPU {status['cpu_percent']:.0f} %", ""),
    ]
    if status["rows_logged"]:
        parts.append((f"{status['rows_logged']:,} rows logged", _FAINT))
    return fit_parts(parts, width)


def message(status: dict[str, Any]) -> Text:
    """Return the newest message, if there is one."""
    texts = status["messages"]
    return Text(f"! {printable(texts[-1])}" if texts else "", "red", no_wrap=True, overflow="ellipsis")


def fit_parts(parts: list[tuple[str, str]], width: int) -> Text:
    """Return as many of the parts, from the first on, as there is room for."""
    line = Text(no_wrap=True, overflow="ellipsis")
    for text, style in ((printable(text), style) for text, style in parts):
        gap = "   " if line else ""
        if line and line.cell_len + len(gap) + len(text) > width:
            continue
        line.append(gap)
        line.append(text, style)
    return line


def keys(hints: Sequence[tuple[str, str, str]], width: int) -> Text:
    """Return the line of keys: (key, what it does, its action, which a click does too)."""
    line = Text(no_wrap=True)
    for key, text, action in hints:
        hint = Text.assemble((key, "bold"), f" {text}")
        hint.stylize(Style.from_meta({"@click": action}))
        gap = "  " if line else ""
        if line.cell_len + len(gap) + hint.cell_len <= width:
            line.append(gap)
            line.append_text(hint)
    return line


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}"
