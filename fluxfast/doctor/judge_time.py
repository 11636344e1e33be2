"""Findings about time: answers against timeout and tick, all reads of a link against the tick, depth."""

from collections.abc import Iterator
from typing import Final

from fluxfast.config import Poll
from fluxfast.doctor.finding import Finding, fault, note, warning
from fluxfast.doctor.judge_reach import shown_time
from fluxfast.doctor.observed import LinkSeen, UnitSeen

MUCH: Final = 2.0  # a gain of so many times is worth a quirk
WORTH: Final = 0.25  # of the time that a tick has, which reads must take before it is
NEAR: Final = 0.7  # of a timeout


def judge_time(seen: LinkSeen, poll: Poll) -> dict[str, list[Finding]]:
    """Return what is wrong with the times of a link and with its depth, by device."""
    depth = min(unit.device.profile.quirks.max_in_flight for unit in seen.units)
    late = list(_tick(seen, poll, depth))
    shared = [*late, *_depth(seen, poll, depth)]
    return {unit.device.id: [*_timeout(unit, bool(late)), *shared] for unit in seen.units}


def _timeout(unit: UnitSeen, is_late: bool) -> Iterator[Finding]:
    timeout_s = unit.device.modbus.timeout_ns / 1e9
    if unit.answer is not None:
        return
    longest_s = max([unit.late_s, *unit.round_trips_s, *(read.seconds for read in unit.reads)])
    if longest_s > timeout_s:
        yield fault(
            "time",
            f"answers come after up to {shown_time(longest_s)}; its timeout is {shown_time(timeout_s)}",
            f"modbus: {{timeout: {_nice(2 * longest_s)}}}",
        )
    elif longest_s > NEAR * timeout_s and not is_late:
        yield warning(
            "time",
            f"answers take up to {shown_time(longest_s)} of its timeout of {shown_time(timeout_s)}",
            f"modbus: {{timeout: {_nice(2 * longest_s)}}}",
        )


def _tick(seen: LinkSeen, poll: Poll, depth: int) -> Iterator[Finding]:
    has_s, takes_s = _time_of_tick(seen, poll, depth)
    if takes_s <= has_s:
        return
    each = [unit.tick_s for unit in seen.units if unit.reads]
    reads = sum(len(unit.reads) for unit in seen.units)
    what = f"{len(each)} units × {shown_time(takes_s / len(each))}" if len(each) > 1 else (
        f"{reads} reads" if reads > 1 else "its read"
    )  # fmt: skip
    cure = f"poll: {{every: {_nice(1.25 * takes_s / poll.deadline)}}}"
    if reads > 1:
        cure += ", or a slower group (groups: {slow: 10}) for points that can wait"
    found = seen.depth
    if found is not None and reads > 1 and found.safe > depth and takes_s / found.gain < has_s:
        cure = f"quirks: {{max_in_flight: {found.safe}}} makes it {found.gain:.1f} times as fast; or {cure}"
    text = f"{what} take {shown_time(takes_s)}; a tick of {shown_time(poll.every_ns / 1e9)} has "
    if what == "its read":
        text = text.replace("take", "takes", 1)
    yield fault("time", text + f"{shown_time(has_s)} for it", cure, "link")


def _time_of_tick(seen: LinkSeen, poll: Poll, depth: int) -> tuple[float, float]:
    """Return the seconds that a tick has, and those that its reads take."""
    takes_s = sum(unit.tick_s for unit in seen.units)
    if depth > 1 and seen.depth is not None and seen.depth.safe >= depth:
        takes_s /= max(1.0, seen.depth.gain ** min(1.0, depth / seen.depth.safe))
    return poll.every_ns / 1e9 * poll.deadline, takes_s


def _depth(seen: LinkSeen, poll: Poll, depth: int) -> Iterator[Finding]:
    found = seen.depth
    if found is None:
        return
    if found.trouble and depth > found.safe:
        yield fault(
            "pipelining",
            f"max_in_flight is {depth}; of {found.tried} requests at once {found.trouble}",
            f"quirks: {{max_in_flight: {found.safe}}}",
            "link",
        )
        return
    has_s, takes_s = _time_of_tick(seen, poll, depth)
    reads = sum(len(unit.reads) for unit in seen.units)
    if reads > 1 and depth < found.safe and found.gain > MUCH and WORTH * has_s < takes_s <= has_s:
        yield note(
            "pipelining",
            f"its {reads} reads take {shown_time(takes_s)} one after the other; {found.safe} at once are "
            f"answered rightly, and {found.gain:.1f} times as fast",
            f"quirks: {{max_in_flight: {found.safe}}}",
            "link",
        )


def _nice(seconds: float) -> str:
    """Return the next longer duration that people would write: 1, 2 or 5 of something."""
    size = 1e-3
    while True:
        for step in (1, 2, 5):
            if seconds <= step * size * (1 + 1e-9):
                return shown_time(step * size, "")
        size *= 10
