"""The app: watches one station, and finds it again when it was away."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from rich.text import Text
from textual import events, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import ContentSwitcher, Input

from fluxfast.errors import FluxfastError
from fluxfast.running import Running, View
from fluxfast.top import header
from fluxfast.top.detail import DetailScreen
from fluxfast.top.devices import DeviceSheet
from fluxfast.top.grid import Grid
from fluxfast.top.screens import ChoiceScreen, HelpScreen
from fluxfast.top.sheet import Sheet
from fluxfast.top.sites import SiteSheet

STATUS_S: Final = 1.0
AGAIN_S: Final = 1.0  # until a station that has ended is looked for again


class TopApp(App[None]):
    """Shows the devices of one of ``stations()``."""

    TITLE = "fluxfast top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: ansi_default; color: ansi_default; }
    #title, #counts, #rates, #message, #bar, #keys { height: 1; }
    #message { display: none; }
    #message.open { display: block; }
    ContentSwitcher { height: 1fr; }
    Grid { height: 1fr; }
    #filter { display: none; height: 1; border: none; padding: 0; background: ansi_default; }
    #filter.open { display: block; }
    Grid, VerticalScroll {
        scrollbar-color: ansi_bright_black; scrollbar-color-hover: ansi_white;
        scrollbar-color-active: ansi_white; scrollbar-background: ansi_default;
        scrollbar-background-hover: ansi_default; scrollbar-background-active: ansi_default;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit"),
        Binding("ctrl+c", "quit", priority=True),  # from within the help, too
        Binding("question_mark", "help"),
        Binding("slash", "filter"),
        Binding("tab", "switch", priority=True),
        Binding("space", "pause"),
        Binding("d", "view('devices')"),
        Binding("s", "view('sites')"),
        Binding("escape", "leave"),
    ]
    HINTS: ClassVar = [
        ("q", "quit", "app.quit"), ("?", "help", "app.help"), ("/", "filter", "app.filter"),
        ("< >", "sort", "app.grid('sort_next(1)')"), ("r", "turn", "app.grid('reverse')"),
        ("Tab", "sites", "app.switch"), ("Enter", "open", "app.grid('open')"),
        ("Space", "pause", "app.pause"),
    ]  # fmt: skip

    def __init__(
        self,
        stations: Callable[[], Sequence[Running]],
        every_s: float,
        filter_: str = "",
        sort: str | None = None,
    ) -> None:
        """``stations`` finds those that may be watched: if there are several, it is asked which one."""
        super().__init__(ansi_color=True)
        self._stations, self._every_s = stations, every_s
        self.devices = DeviceSheet()
        self.sites = SiteSheet(self.devices)
        self.devices.filter, self._sort = filter_, sort
        self._about: dict[str, Any] | None = None
        self._status: dict[str, Any] | None = None
        self._state = "looking for the station"
        self._paused = False
        # Kept, not looked for: what the station tells may come in while the screen is being taken away.
        self._head = {id_: header.Lines(id=id_) for id_ in ("title", "counts", "rates", "message", "bar")}
        self._grids = {"devices": Grid(self.devices, id="devices"), "sites": Grid(self.sites, id="sites")}
        self._keys = header.Lines(id="keys")
        self._switcher = ContentSwitcher(initial="devices")
        self._box = Input(placeholder="filter", id="filter", select_on_focus=False)

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with Vertical():
            yield from self._head.values()
            with self._switcher:
                yield from self._grids.values()
        yield self._box
        yield self._keys

    def on_mount(self) -> None:
        """Begin to watch."""
        for number in (signal.SIGINT, signal.SIGTERM):  # the terminal must be as it was, however we end
            asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self._shown.focus()
        self._show_header()
        self._watch()

    # ---- what the station tells ----

    @work
    async def _watch(self) -> None:
        stations = await asyncio.to_thread(self._stations)
        chosen = stations[0] if len(stations) == 1 else None
        if len(stations) > 1:
            chosen = await self.push_screen_wait(ChoiceScreen(stations))
        while True:
            if chosen is not None:
                try:
                    await self._watch_one(chosen)
                except FluxfastError as error:
                    self._state = f"{error}: trying again"
                    self._show_header()
            await asyncio.sleep(AGAIN_S)
            found = await asyncio.to_thread(self._stations)
            chosen = next((one for one in found if chosen is None or one.sites == chosen.sites), chosen)

    async def _watch_one(self, station: Running) -> None:
        loop = asyncio.get_running_loop()
        async with View(station.socket) as view:
            about, fleet, status = await view.about(), await view.fleet(), await view.status()
            tick, newest = await view.devices()
            self._take_fleet(about, fleet)  # all at once: half of it would only flash
            self._take_status(status)
            self._take_values(newest)
            next_at = loop.time()
            status_at = next_at + STATUS_S
            while True:
                if loop.time() >= status_at:
                    status_at = loop.time() + STATUS_S
                    status = await view.status()  # while it pauses, to learn whether the station is there
                    if not self._paused:
                        self._take_status(status)
                if not self._paused:
                    if (detail := self._detail) is not None:
                        detail.show(await view.device(detail.device))
                    else:
                        tick, newest = await view.devices(tick)
                        if newest is not None:
                            self._take_values(newest)
                next_at = max(next_at + self._every_s, loop.time())
                await asyncio.sleep(next_at - loop.time())

    def _take_fleet(self, about: dict[str, Any], fleet: Any) -> None:
        ids = self.devices.texts["device"]
        self._about, self._state = about, ""
        self.devices.set_fleet(fleet)
        self.sites.set_fleet()
        if self._sort is not None:
            self.devices.sort_by(self._sort)
            self._sort = None
        if ids != self.devices.texts["device"]:
            for grid in self._grids.values():
                grid.forget()

    def _take_values(self, newest: Any) -> None:
        self.devices.set_values(newest)
        self.sites.set_values()
        self._shown.renew()
        self._show_bar()

    def _take_status(self, status: dict[str, Any]) -> None:
        self._status = status
        self.sites.set_status(status)
        self._show_header()

    # ---- what is on the screen ----

    @property
    def _shown(self) -> Grid:
        return self._grids[self._switcher.current or "devices"]

    @property
    def _detail(self) -> DetailScreen | None:
        """The device that is looked into."""
        stack = self.screen_stack
        return next((screen for screen in stack if isinstance(screen, DetailScreen)), None)

    def _renew(self) -> None:
        self._shown.renew()
        self._show_bar()
        self._show_header()

    def _show_header(self) -> None:
        width = self.size.width
        state = " ".join(filter(None, [self._state, "PAUSED" if self._paused else ""]))
        if (detail := self._detail) is not None:
            detail.show_state(state)
        self._keys.show(header.keys(self.HINTS, width))
        self._head["title"].show(header.title(self._about, self._status, state, width))
        if self._status is not None:
            self._head["counts"].show(header.counts(self._status, width))
            self._head["rates"].show(header.rates(self._status, width))
            self._head["message"].show(header.message(self._status))
            self._head["message"].set_class(bool(self._status["messages"]), "open")

    def _show_bar(self) -> None:
        shown = self._shown.sheet
        text = Text(no_wrap=True, overflow="ellipsis")
        for sheet, key in ((self.devices, "Devices"), (self.sites, "Sites")):
            text.append(f" {key} {len(sheet):,} ", "reverse" if sheet is shown else "bright_black")
            text.append(" ")
        if self.devices.site is not None and shown is self.devices:
            text.append(f" site {self.devices.site}", "yellow")
        if shown.filter:
            text.append(f' filter "{shown.filter}"', "yellow")
        if len(shown.order) < len(shown):
            text.append(f": {len(shown.order):,}", "yellow")
        self._head["bar"].show(text)

    def on_resize(self, _: events.Resize) -> None:
        """Fit the header anew."""
        self._show_header()

    # ---- keys and mouse ----

    def on_grid_opened(self, event: Grid.Opened) -> None:
        """Look into a device, or at the devices of a site."""
        sheet: Sheet = event.grid.sheet
        if sheet is self.devices:
            self.push_screen(DetailScreen(self.devices.name(event.row)))
            self._show_header()
        elif sheet is self.sites:
            self.devices.site = self.sites.name(event.row)
            self._grids["devices"].forget()
            self.action_view("devices")

    def action_view(self, which: str) -> None:
        """Show devices or sites."""
        if self._detail is not None:
            return
        if which == "sites":
            self.devices.site = None
        self._switcher.current = which
        self._shown.focus()
        self._renew()

    def action_switch(self) -> None:
        """Show the other of the two; inside a device go from its registers to its frames and back."""
        if isinstance(self.screen, ModalScreen):
            return
        if self._detail is not None:
            self.screen.focus_next(Grid)
            return
        if self._box.has_class("open"):
            self._close_filter()
            return
        self.action_view("sites" if self._shown.sheet is self.devices else "devices")

    async def action_grid(self, action: str) -> None:
        """Do what a key of the table does."""
        await self.run_action(action, self._shown)

    def action_pause(self) -> None:
        """Leave the screen as it is, or go on."""
        self._paused = not self._paused
        self._show_header()

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(HelpScreen())

    def action_filter(self) -> None:
        """Ask for a filter."""
        if self._detail is not None:
            return
        self._box.value = self._shown.sheet.filter
        self._box.add_class("open")
        self._box.focus()

    def action_leave(self) -> None:
        """End the filter, then the site that it was narrowed down to."""
        sheet = self._shown.sheet
        if self._box.has_class("open") or sheet.filter:
            sheet.filter = ""
            self._close_filter()
        elif self.devices.site is not None:
            self.action_view("sites")
        self._renew()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter as it is typed."""
        if event.input.has_class("open"):
            self._shown.sheet.filter = event.value
            self._renew()

    def on_input_submitted(self) -> None:
        """Keep the filter."""
        self._close_filter()

    def _close_filter(self) -> None:
        self._box.remove_class("open")
        self._shown.focus()
