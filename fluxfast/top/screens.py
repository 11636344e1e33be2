"""What else may stand on the screen: the help, and the choice of a station."""

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from fluxfast.running import Running
from fluxfast.top.sheet import printable

HELP: Final = """\
fluxfast top

 ↑ ↓ PgUp PgDn  move; Home, End: first, last
 ← →            more of the last column
 Enter, click   one device: registers, frames
 Esc            back; end a filter
 Tab, d, s      devices, sites
 /              filter: words that all must match:
                id, name, site, host:port, good,
                bad, timeout, …
 < >, click     sort by another column
 r, click again the other way round
 Space          pause, go on
 q, Ctrl-C      quit

 +  good   ~  uncertain   !  bad
 age: since its newest answer
 set kW: what the station tells the unit
 shows kW: what the unit's register shows

Nothing here writes to a device."""


class HelpScreen(ModalScreen[None]):
    """Which keys there are, and what the columns mean."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen VerticalScroll { width: 54; height: auto; max-height: 100%; border: round; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter,space", "dismiss", priority=True)
    ]

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with VerticalScroll():
            yield Static(HELP, markup=False)

    def on_click(self) -> None:
        """A click goes back."""
        self.dismiss()


class ChoiceScreen(ModalScreen[Running]):
    """Several stations run: which one?"""

    DEFAULT_CSS = """
    ChoiceScreen { align: center middle; }
    ChoiceScreen OptionList { width: 90%; height: auto; max-height: 80%; }
    ChoiceScreen OptionList, ChoiceScreen OptionList:focus { border: round; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "app.quit", priority=True)]

    def __init__(self, stations: Sequence[Running]) -> None:
        """Offer some stations."""
        super().__init__()
        self._stations = stations

    def compose(self) -> ComposeResult:
        """Lay it out."""
        options = OptionList(*(Option(described(station)) for station in self._stations), markup=False)
        options.border_title = "Which station?"
        yield options

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take it."""
        self.dismiss(self._stations[event.option_index])


def described(station: Running) -> str:
    """Return a station on one line."""
    n = len(station.sites)
    sites = station.sites[0] if n == 1 else f"{n:,} sites"
    text = f"process {station.pid}: {sites}, {len(station.endpoints):,} endpoints, {station.file}"
    return printable(text)
