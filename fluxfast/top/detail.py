"""One device on the screen: how it is, its registers, and its frames as they pass."""

from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen

from fluxfast.top.devices import CLASSES, SIGNS
from fluxfast.top.grid import Grid
from fluxfast.top.header import Lines, fit_parts, keys
from fluxfast.top.points import FRAMES_KEPT, FrameSheet, PointSheet
from fluxfast.top.sheet import number, seconds

WIDE: Final = 150  # from here on registers and frames stand side by side
_COLOURS: Final = {"good": "green", "uncertain": "yellow", "bad": "bold red"}
_FAINT: Final = "bright_black"


class DetailScreen(Screen[None]):
    """``device``: the id of the device that is watched."""

    DEFAULT_CSS = """
    DetailScreen #about { height: 4; }
    DetailScreen #keys { height: 1; }
    DetailScreen #both { layout: vertical; height: 1fr; }
    DetailScreen.wide #both { layout: horizontal; }
    DetailScreen Grid { width: 1fr; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "app.pop_screen"),
    ]
    HINTS: ClassVar = [
        ("Esc", "back", "app.pop_screen"), ("Tab", "registers/frames", "app.switch"),
        ("?", "help", "app.help"), ("Space", "pause", "app.pause"), ("q", "quit", "app.quit"),
    ]  # fmt: skip

    def __init__(self, device: str) -> None:
        """Watch a device."""
        super().__init__()
        self.device = device
        self._points, self._frames = PointSheet(), FrameSheet()
        self._newest: dict[str, Any] | None = None
        self._state = ""
        self._about, self._keys = Lines(id="about"), Lines(id="keys")
        self._grids = (Grid(self._points, id="points"), Grid(self._frames, tail=FRAMES_KEPT, id="frames"))

    def compose(self) -> ComposeResult:
        """Lay it out."""
        yield self._about
        with Container(id="both"):
            yield from self._grids
        yield self._keys

    def on_mount(self) -> None:
        """Let the keys go to the registers first."""
        self._grids[0].focus()
        self._show_about()

    def on_resize(self) -> None:
        """Side by side where there is room."""
        self.set_class(self.size.width >= WIDE, "wide")
        self._keys.show(keys(self.HINTS, self.size.width))
        self._show_about()

    def show(self, device: dict[str, Any]) -> None:
        """Show the newest of it (View.device)."""
        self._newest = device
        self._points.set_points(device["points"])
        self._frames.add(device["frames"])
        self._show_about()
        for grid in self._grids:
            grid.renew()

    def show_state(self, state: str) -> None:
        """Show what is not as it should be: below are values of before."""
        self._state = state
        self._show_about()

    def _show_about(self) -> None:
        state: list[_Part] = [(f" {self._state} ", "reverse bold")] if self._state else []
        device = self._newest
        if device is None:
            lines = [[*state, (f"{self.device} …", "bold")]]
        else:
            lines = [
                [*state, *_who(device)], _how(device), _link(device["link"]), _requests(device["requests"])
            ]  # fmt: skip
        text = Text("\n").join(fit_parts(line, self.size.width) for line in lines)
        self._about.show(text)


_Part = tuple[str, str]


def _who(device: dict[str, Any]) -> list[_Part]:
    name = [(device["name"], "")] if device["name"] != device["id"] else []
    end = f"{device['host']}:{device['port']} unit {device['unit']}"
    return [(device["id"], "bold"), *name, (end, ""), (device["profile"], _FAINT), (device["site"], _FAINT)]


def _how(device: dict[str, Any]) -> list[_Part]:
    quality = device["quality"]
    word = f"{SIGNS[CLASSES.index(quality)]} {quality}"
    reason = f": {device['reason']}" if device["reason"] else ""
    parts = [(word + reason, _COLOURS[quality])]
    if device["latency_ms"] is not None:
        parts.append((f"latency {number(device['latency_ms'])} ms", ""))
    control = device["control"]
    if control is None:
        return [*parts, ("not controlled", _FAINT)]
    doing = "commanded" if control["action"] == "act" else "shadow"
    parts.append((f"{doing}: set {number(control['setpoint_kw'])} kW", "bold"))
    if not control["in_use"]:
        parts.append((f"out: {control['reason']}", "yellow"))
    elif control["limit"]:
        parts.append((f"limited: {control['limit']}", ""))
    return parts


def _link(link: dict[str, Any]) -> list[_Part]:
    if link["up"]:
        parts = [("link up", "green")]
    else:
        parts = [(f"link down: {link['reason']}", "bold red")]
        if link["next_try_s"] is not None:
            parts.append((f"next try in {seconds(link['next_try_s'])}", ""))
    shared = [(f"shared by {link['units']} units", "")] if link["units"] > 1 else []
    counts = [
        (f"{link[name]:,} {name}", "yellow" if name != "connects" and link[name] else _FAINT)
        for name in ("connects", "late", "foreign")
    ]
    return [*parts, *shared, *counts]


def _requests(requests: dict[str, Any]) -> list[_Part]:
    trips = [number(requests[f"round_trip_{which}_ms"]) for which in ("p50", "p99", "max")]
    parts = [
        (f"{requests['requests']:,} requests", ""),
        (f"trip p50 {trips[0]} p99 {trips[1]} max {trips[2]} ms", ""),
    ]
    for name in ("timeouts", "exceptions", "malformed", "lost", "retries"):
        if requests[name]:
            parts.append((f"{requests[name]:,} {name}", "yellow"))
    codes = requests["exception_codes"]
    if codes:
        parts.append(("codes " + ", ".join(f"{code}: {n:,}" for code, n in codes.items()), "yellow"))
    return parts
