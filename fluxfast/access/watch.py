"""What was seen of a point over time: the last value, the extremes, how fast it moves, what failed."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from fluxfast.access.read import Answer

WINDOW_S: Final = 10.0  # over which a rate is taken


class Track:
    """One point's answers, read after read."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.last: Answer | None = None
        self.minimum: float | None = None
        self.maximum: float | None = None
        self.reads = 0
        self.failures = 0  # answers without a usable value
        self.has_changed = False  # with the last answer
        self._seen: deque[tuple[float, float]] = deque()  # (seconds, value), inside the window

    def add(self, answer: Answer) -> None:
        """Take the next answer."""
        before = None if self.last is None else self.last.reading.shown
        self.has_changed = before is not None and before != answer.reading.shown
        self.last = answer
        self.reads += 1
        value = answer.reading.value
        if value is None:
            self.failures += 1
        elif not isinstance(value, str):
            number, now_s = float(value), answer.time_us / 1e6
            self.minimum = number if self.minimum is None else min(self.minimum, number)
            self.maximum = number if self.maximum is None else max(self.maximum, number)
            self._seen.append((now_s, number))
            while self._seen[0][0] < now_s - WINDOW_S:
                self._seen.popleft()

    @property
    def rate_per_s(self) -> float | None:
        """How much the value changes each second, over the last ten; None until that can be said."""
        if len(self._seen) < 2 or self._seen[-1][0] <= self._seen[0][0]:
            return None
        (began_s, first), (ended_s, last) = self._seen[0], self._seen[-1]
        return (last - first) / (ended_s - began_s)


class Watched:
    """The tracks of all points that are read, in the order of the answers."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.tracks: list[Track] = []
        self.reads = 0

    def add(self, answers: Sequence[Answer]) -> None:
        """Take the answers of one more read of the same points."""
        if not self.tracks:
            self.tracks = [Track() for _ in answers]
        self.reads += 1
        for track, answer in zip(self.tracks, answers, strict=True):
            track.add(answer)
