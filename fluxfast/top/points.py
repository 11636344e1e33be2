"""One device's registers and frames as sheets, of what a station tells of it (DeviceView.as_dict)."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxfast.top.devices import CLASSES, SIGNS
from fluxfast.top.sheet import Cell, Column, Sheet, ranks, seconds
from fluxfast.trace import Frame

FRAMES_KEPT: Final = 1000


class PointSheet(Sheet):
    """A row per point, in the order in which they are read."""

    searched = ("name", "value", "address", "reference", "why")
    columns = (
        Column("quality", "", 1, descending=True),
        Column("name", "point", 14, 0, 32),
        Column("value", "value", 12, 0, 20, right=True),
        Column("unit", "unit", 4, 0, 8),
        Column("age_s", "age", 6, 1, right=True),
        Column("address", "addr", 5, 0, right=True),
        Column("reference", "ref", 6, 2, right=True),
        Column("table", "table", 8, 5),
        Column("type", "type", 12, 4),
        Column("group", "group", 6, 6),
        Column("raw", "raw", 9, 3, 24),
        Column("why", "why", 8, 0, 40),
    )

    def __init__(self) -> None:
        """Begin without points."""
        super().__init__()
        self._points: Sequence[dict[str, Any]] = ()

    def set_points(self, points: Sequence[dict[str, Any]]) -> None:
        """Take the newest."""
        self._points = points

    def __len__(self) -> int:
        """Return how many points there are."""
        return len(self._points)

    def name(self, row: int) -> str:
        """Return a point's name."""
        return str(self._points[row]["name"])

    def cell(self, row: int, key: str) -> Cell:
        """Return what stands in a column."""
        point = self._points[row]
        if key == "quality":
            return SIGNS[CLASSES.index(point["quality"])], point["quality"]
        if key == "value":
            return _shown(point), "" if point["quality"] == "good" else point["quality"]
        if key == "age_s":
            return seconds(point["age_s"]), "faint"
        if key == "type":
            order = f" {point['byte_order']}" if len(point["byte_order"]) > 2 else ""
            return point["type"] + order, "faint"
        if key == "why":
            return point["reason"] or "", point["quality"]
        return str(point[key] if point[key] is not None else ""), "" if key == "name" else "faint"

    def values(self, key: str) -> NDArray[np.float64]:
        """Return what a column is sorted by."""
        if key == "quality":
            return np.array([CLASSES.index(point["quality"]) for point in self._points], np.float64)
        if key in ("address", "age_s"):
            of = [point[key] for point in self._points]
            return np.array([np.nan if value is None else value for value in of], np.float64)
        return ranks(self.cell(row, key)[0] for row in range(len(self)))


def _shown(point: dict[str, Any]) -> str:
    value = point["value"]
    if point["label"] is not None:
        return f"{point['label']} ({value})"
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


class FrameSheet(Sheet):
    """A row per frame, the newest last."""

    columns = (
        Column("time", "time (UTC)", 12),
        Column("arrow", "", 2),
        Column("number", "#", 6, 1),
        Column("took", "ms", 7, 2, right=True),
        Column("text", "frame", 24, 0, 36),
        Column("adu", "bytes", 8, 0, 2000),
    )

    def __init__(self) -> None:
        """Begin without frames."""
        super().__init__()
        self._frames: deque[Frame] = deque(maxlen=FRAMES_KEPT)
        self._shown: list[Frame] = []  # as of the newest ``arrange``

    def add(self, frames: Sequence[dict[str, Any]]) -> None:
        """Take those that have passed."""
        self._frames.extend(Frame.from_dict(frame) for frame in frames)

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self._shown)

    def name(self, row: int) -> str:
        """Return a frame's time and number."""
        frame = self._shown[row]
        return f"{frame.time_us} {frame.kind} {frame.transaction_id}"

    def cell(self, row: int, key: str) -> Cell:
        """Return what stands in a column."""
        frame = self._shown[row]
        failed = frame.kind in ("failed", "broken", "down")
        if key == "time":
            return str(np.datetime64(frame.time_us, "us"))[11:23], "faint"
        if key == "arrow":
            return frame.arrow, "bad" if failed else "good" if frame.kind in ("reply", "up") else ""
        if key == "number":
            return str(frame.transaction_id) if frame.kind in ("sent", "reply", "failed") else "", "faint"
        if key == "took":
            return "" if frame.round_trip_ms is None else f"{frame.round_trip_ms:.2f}", ""
        if key == "adu":
            return frame.adu.hex(" "), "faint"
        return frame.text, "bad" if failed else ""

    def arrange(self) -> None:
        """Take what has passed, in the order of time."""
        self._shown = list(self._frames)
        self.order = np.arange(len(self))
