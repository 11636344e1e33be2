"""What was observed of a link and of the units behind it; no judgement yet."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from fluxfast.config import Device
from fluxfast.doctor.line import Answer
from fluxfast.plan.blocks import BlockLayout
from fluxfast.profiles import Point

BOTH: Final = "both work"


@dataclass(frozen=True, slots=True)
class Read:
    """A read that was answered with data."""

    block: BlockLayout
    data: bytes
    seconds: float


@dataclass(slots=True)
class Refusals:
    """Why planned reads were refused, found out by shorter ones."""

    code: int = 0  # the exception; 0: no answer, or an illegal one
    block: BlockLayout | None = None  # the first that was refused
    points: list[Point] = field(default_factory=list)  # refused also when read alone
    gaps: list[tuple[int, int]] = field(default_factory=list)  # [first, last] that must not be read over
    longest: int | None = None  # registers, or bits, of one read
    split: bool = False  # neighbours without a gap that are not read together
    other_table: str = ""  # where the same addresses can be read
    works: bool = False  # all other points were read with the cure


@dataclass(slots=True)
class UnitSeen:
    """One unit, which is one device of the site file."""

    device: Device
    blocks: tuple[BlockLayout, ...]  # as planned
    answer: Answer | None = None  # the one that ended it, if nothing could be read
    reads: list[Read] = field(default_factory=list)
    moved: dict[int, list[Read]] = field(default_factory=dict)  # all of them one address higher or lower
    failed: list[tuple[BlockLayout, Answer]] = field(default_factory=list)  # and not explained by refusals
    round_trips_s: list[float] = field(default_factory=list)  # of one small read
    tick_s: float = 0.0  # what its reads of a tick take, one after the other
    refusals: Refusals | None = None
    late_s: float = 0.0  # the longest answer, where that was beyond the configured timeout
    asked_units: tuple[int, ...] = ()  # when it was silent
    heard_units: tuple[int, ...] = ()  # which of them answered
    answers_as: tuple[int, ...] = ()
    zero_ids: bool = False
    mishaps: int = 0  # requests that worked only when they were repeated
    codes: Counter[int] = field(default_factory=Counter)  # of exceptions in all its answers; 0: data


@dataclass(slots=True)
class DepthSeen:
    """How many requests at once it stands. ``safe`` is 1, 2, 4, 8 or 16; ``gain`` in speed at that depth."""

    safe: int = 1
    gain: float = 1.0
    tried: int = 1
    trouble: str = ""  # what happened beyond it


@dataclass(slots=True)
class LinkSeen:
    """One host and port."""

    host: str
    port: int
    units: list[UnitSeen] = field(default_factory=list)
    addresses: tuple[str, ...] = ()
    address: str = ""  # the one that was connected to
    connect_s: float | None = None
    failure: str = ""  # name, refused, unreachable, silent, closed: why there is no connection
    failure_text: str = ""
    foreign: str = ""  # what the peer speaks, if that is not Modbus TCP
    modbus_at: int | None = None  # another port at which Modbus is spoken
    second: str = ""  # BOTH, or what became of two connections at once; empty: not tried
    closes: bool = False  # after each answer
    gap_s: float | None = None  # the pauses that it was found to need
    delay_s: float | None = None
    busy: bool = False  # that it says so where it needs one
    lost: tuple[int, int] | None = None  # (requests without answer, of so many), though paced
    depth: DepthSeen | None = None
    station: int | None = None  # process of the station that polls it
    left_alone: bool = False  # because of that
    gave_up_s: float | None = None  # after how long, where the examination was not ended
