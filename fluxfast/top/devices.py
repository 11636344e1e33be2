"""The devices of a station as a sheet."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fluxfast.control import reasons
from fluxfast.table import quality
from fluxfast.top.sheet import Cell, Column, Sheet, number, ranks, seconds

GOOD, UNCERTAIN, BAD = range(3)
CLASSES: Final = ("good", "uncertain", "bad")
SIGNS: Final = ("+", "~", "!")
# Of each quality code its class.
CLASS_OF: Final = np.array([CLASSES.index(name) for name in quality.QUALITY_NAMES], np.uint8)
_WORDS: Final = [f"{quality.quality_name(c)} {quality.reason(c) or ''}".lower() for c in range(256)]
_CONTROL_WORDS: Final = [(text or "").lower() for text in reasons.TEXTS]
SORTABLE: Final = (
    "quality", "device", "name", "site", "profile", "endpoint", "unit", "latency_ms", "age_s", "soe_pct",
    "power_kw", "setpoint_kw", "shown_kw", "why",
)  # fmt: skip
_TEXTS: Final = ("device", "name", "site", "profile", "kind", "endpoint")
_NUMBERS: Final = ("latency_ms", "age_s", "soe_pct", "power_kw", "shown_kw", "setpoint_kw")


class DeviceSheet(Sheet):
    """A row per device, in the order of the site file. ``site``: only the devices of this one."""

    def __init__(self) -> None:
        """Begin without devices."""
        super().__init__()
        self.site: str | None = None
        self.texts: dict[str, list[str]] = {name: [] for name in _TEXTS}
        self.units: list[int] = []
        self.codes = np.empty(0, np.uint8)
        self.usable = np.empty(0, np.uint8)
        self.numbers: dict[str, NDArray[np.float32]] = {}
        self._ranks: dict[str, NDArray[np.float64]] = {}
        self._found: dict[str, NDArray[np.bool_]] = {}
        self._hay: list[str] = []
        self._seen: set[str] = set()  # columns that have ever held something

    def set_fleet(self, fleet: pa.RecordBatch) -> None:
        """Take what does not change (View.fleet)."""
        self.texts = {name: [str(text) for text in fleet.column(name).to_pylist()] for name in _TEXTS}
        self.units = fleet.column("unit").to_pylist()
        self.codes = np.full(len(self.units), quality.NEVER, np.uint8)
        self.usable = np.full(len(self.units), reasons.NOT_CONTROLLED, np.uint8)
        self.numbers = {name: np.full(len(self.units), np.nan, np.float32) for name in _NUMBERS}
        self._ranks, self._found, self._seen = {}, {}, set()
        columns = zip(*(self.texts[name] for name in _TEXTS), strict=True)
        self._hay = ["\n".join(words).lower() for words in columns]
        self._choose_columns()

    def set_values(self, newest: pa.RecordBatch) -> None:
        """Take what a tick has brought (View.devices); ValueError if that is not of the same rows."""
        if newest.num_rows != len(self):
            raise ValueError(f"{newest.num_rows} rows of {len(self)} devices")
        self.codes, self.usable = newest.column("code").to_numpy(), newest.column("usable").to_numpy()
        self.numbers = {name: newest.column(name).to_numpy() for name in _NUMBERS}
        seen = {name for name in _NUMBERS if name not in self._seen and np.isfinite(self.numbers[name]).any()}
        if seen:
            self._seen |= seen
            self._choose_columns()

    def _choose_columns(self) -> None:
        """Columns that say nothing take no room: no site where there is one, no SOE of meters."""

        def longest(name: str, most: int) -> int:
            return min(max(len(name), *map(len, {*self.texts[name]})), most) if self.units else len(name)

        id_, site = longest("device", 40), longest("site", 24)
        name = longest("name", 40) if self.texts["name"] != self.texts["device"] else 0
        several = len(set(self.texts["site"])) > 1
        kw = ("power_kw", "setpoint_kw", "shown_kw")
        power, setpoint, shown = (column in self._seen for column in kw)
        self.columns = [
            Column("quality", "", 1, descending=True),
            Column("device", "device", min(id_, 14), 0, id_),
            *([Column("name", "name", min(name, 16), 7, name)] if name else []),
            *([Column("site", "site", min(site, 12), 4, site)] if several else []),
            Column("profile", "profile", longest("profile", 16), 10),
            Column("endpoint", "endpoint", longest("endpoint", 28), 9),
            Column("unit", "unit", 4, 8, right=True),
            Column("latency_ms", "latency ms", 10, 2, right=True, descending=True),
            Column("age_s", "age", 6, 5, right=True, descending=True),
            *([Column("soe_pct", "SOE %", 5, 1, right=True)] if "soe_pct" in self._seen else []),
            *([Column("power_kw", "power kW", 9, 1, right=True)] if power else []),
            *([Column("setpoint_kw", "set kW", 8, 1, right=True)] if setpoint else []),
            *([Column("shown_kw", "shows kW", 8, 6, right=True)] if shown else []),
            Column("why", "why", 14, 0, 60),
        ]

    def __len__(self) -> int:
        """Return how many devices there are."""
        return len(self.units)

    def name(self, row: int) -> str:
        """Return a device's id."""
        return self.texts["device"][row]

    def cell(self, row: int, key: str) -> Cell:
        """Return what stands in a column."""
        code = self.codes[row]
        class_ = int(CLASS_OF[code])
        if key == "quality":
            return SIGNS[class_], CLASSES[class_]
        if key == "why":
            return self.why(row), CLASSES[class_] if class_ else "uncertain"
        if key == "unit":
            return str(self.units[row]), "faint"
        if key in self.texts:
            return self.texts[key][row], "" if key == "device" else "faint"
        value = float(self.numbers[key][row])
        if key == "age_s":
            return seconds(value), CLASSES[class_] if class_ == BAD else "faint"
        if np.isnan(value):
            return "", ""
        style = "faint" if key == "setpoint_kw" and self.usable[row] else ""
        return number(value), style

    def why(self, row: int) -> str:
        """Return why a device is not good, else why it takes no part in control; empty if all is well."""
        code, usable = self.codes[row], self.usable[row]
        if code != quality.GOOD:
            return quality.reason(int(code)) or ""
        return "" if usable in (reasons.NONE, reasons.NOT_CONTROLLED) else f"out: {reasons.TEXTS[usable]}"

    def values(self, key: str) -> NDArray[np.float64]:
        """Return what a column is sorted by."""
        if key in self.texts:
            if key not in self._ranks:
                self._ranks[key] = ranks(self.texts[key])
            return self._ranks[key]
        if key == "unit":
            return np.array(self.units, np.float64)
        if key in ("quality", "why"):  # the worst last, then by the reason
            out = np.where(self.usable == reasons.NOT_CONTROLLED, 0, self.usable)
            return CLASS_OF[self.codes] * 65536.0 + self.codes * 256.0 + out
        return self.numbers[key].astype(np.float64)

    def matches(self, word: str) -> NDArray[np.bool_]:
        """Return the devices with a word in one of their texts, their quality or their reason."""
        if word not in self._found:
            if len(self._found) > 64:
                self._found.clear()
            self._found[word] = np.array([word in hay for hay in self._hay], np.bool_)
        by_code = np.array([word in words for words in _WORDS])
        by_control = np.array([word in words for words in _CONTROL_WORDS])
        found: NDArray[np.bool_] = self._found[word] | by_code[self.codes] | by_control[self.usable]
        return found

    def arrange(self) -> None:
        """Work out ``order`` anew."""
        super().arrange()
        if self.site is not None:
            sites = self.texts["site"]
            self.order = np.array([row for row in self.order if sites[row] == self.site], np.intp)

    def as_dict(self, row: int) -> dict[str, Any]:
        """Return a device ready for JSON."""
        code, usable = int(self.codes[row]), int(self.usable[row])
        numbers = {name: float(values[row]) for name, values in self.numbers.items()}
        return {
            **{name: self.texts[name][row] for name in _TEXTS},
            "unit": self.units[row],
            "quality": quality.quality_name(code),
            "reason": quality.reason(code),
            **{name: None if np.isnan(value) else round(value, 3) for name, value in numbers.items()},
            "in_use": None if usable == reasons.NOT_CONTROLLED else usable == reasons.NONE,
            "out_reason": None if usable == reasons.NOT_CONTROLLED else reasons.TEXTS[usable],
        }
