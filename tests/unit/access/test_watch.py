"""What a watched point shows: extremes, change per second, failures."""

from fluxfast.access.read import Answer
from fluxfast.access.target import Unit
from fluxfast.access.watch import WINDOW_S, Track
from fluxfast.profiles import Point
from fluxfast.table import quality
from fluxfast.values import Reading

POINT = Point(name="p", address=0, type="int16")


def answer(at_s: float, value: int | None) -> Answer:
    code = quality.TIMEOUT if value is None else quality.GOOD
    return Answer(Unit("h", 502, 1), Reading(POINT, value, code, b""), None, 1.0, round(at_s * 1e6))


def test_extremes_rate_and_failures() -> None:
    track = Track()
    assert track.rate_per_s is None
    changes = []
    for at_s, value in ((0, 5), (1, 5), (2, None), (3, -7), (4, 13)):
        track.add(answer(at_s, value))
        changes.append(track.has_changed)
    assert changes == [False, False, True, True, True]
    assert (track.minimum, track.maximum, track.reads, track.failures) == (-7, 13, 5, 1)
    assert track.rate_per_s == (13 - 5) / 4


def test_the_rate_is_that_of_the_last_seconds() -> None:
    track = Track()
    for second in range(100):
        track.add(answer(second, 0 if second < 50 else 2 * (second - 50)))
    assert track.rate_per_s == 2.0
    track.add(answer(100 + 2 * WINDOW_S, 7))
    assert track.rate_per_s is None
