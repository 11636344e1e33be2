"""Who is ill, of what, and when: the faults that a simulated fleet is told to have.

``KIND[=AMOUNT][:SHARE][:FROM-TO]``, for example ``hang:10%``, ``slow=200ms:5%``, ``blackhole:10s-20s``,
``random``. Each kind is what field engineers meet:

=========== ===================================================================================
hang        takes connections and requests, never answers
blackhole   off the network: SYN gets no answer, connections fall silent, no FIN comes (Linux only; as root
            nothing is acknowledged either)
reset       takes connections, answers each request with RST
refuse      nothing listens; connections are closed
slow        answers after AMOUNT (200ms), give or take half of it
lossy       AMOUNT (20%) of the requests get no answer
busy        exception 6
silent      one of the units behind the address gets no answer
gateway     one of the units behind the address: exception 11
random      one of these after another, for 2 to 12 s each, with 3 to 15 s of health between
=========== ===================================================================================

An endpoint (host:port) has one fault at a time. Everything follows from the seed.
"""

import heapq
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from pydantic_core import PydanticCustomError

from fluxfast.errors import ConfigError, Problem
from fluxfast.profiles.fields import parse_duration

# In the order of fault.pxd's fault_kind, from 1.
KINDS: Final = ("hang", "blackhole", "reset", "refuse", "slow", "lossy", "busy", "silent", "gateway")
RANDOM: Final = "random"
# What a kind's AMOUNT is when none is given: seconds of slow, a part of the requests of lossy.
AMOUNTS: Final = {"slow": 0.2, "lossy": 0.2}
ILL_S: Final = (2.0, 12.0)
WELL_S: Final = (3.0, 15.0)
FOREVER: Final = float("inf")
PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)%")


@dataclass(frozen=True)
class Fault:
    """One fault: its kind, its amount, which part of the endpoints has it, from and to when (seconds)."""

    kind: str
    amount: float = 0.0
    share: float = 1.0
    from_s: float = 0.0
    to_s: float = FOREVER
    unit: int = 0  # of silent and gateway, once it is known whose endpoint it is


def parse_fault(text: str) -> Fault:
    """Return the fault that ``KIND[=AMOUNT][:SHARE][:FROM-TO]`` says, or raise ConfigError."""
    head, *rest = text.split(":")
    kind, has_amount, amount_text = head.partition("=")
    if kind not in (*KINDS, RANDOM):
        raise _wrong(text, f"there is no fault {kind!r}", f"use one of {', '.join((*KINDS, RANDOM))}")
    amount = AMOUNTS.get(kind, 0.0)
    if has_amount and kind not in AMOUNTS:
        raise _wrong(text, f"{kind} takes no amount", f"write {kind}, then :SHARE")
    if has_amount:
        amount = _seconds(text, amount_text) if kind == "slow" else _part(text, amount_text)
    fault = Fault(kind, amount)
    if rest and "-" not in rest[0]:
        fault = replace(fault, share=_part(text, rest.pop(0)))
    if rest:
        begin, dash, end = rest.pop(0).partition("-")
        if rest or not dash:
            raise _wrong(text, "is not KIND[=AMOUNT][:SHARE][:FROM-TO]", "write one like hang:10%:5s-20s")
        fault = replace(fault, from_s=_seconds(text, begin), to_s=_seconds(text, end))
        if fault.from_s >= fault.to_s:
            raise _wrong(text, "ends before it begins", "write the earlier time first, as in 5s-20s")
    if sys.platform != "linux" and kind == "blackhole":
        raise _wrong(text, "a black hole can be simulated on Linux only", "use hang")
    return fault


class Schedule:
    """The changes that faults make to endpoints, in the order of time. ``due`` hands them out."""

    def __init__(self, faults: Sequence[Fault], units: Sequence[Sequence[int]], seed: int) -> None:
        """Choose who has which fault; ``units`` are the unit identifiers behind each endpoint.

        ConfigError if a fault's share is more than the endpoints that have no other fault meanwhile.
        """
        self._units = units
        self._random = random.Random(seed)
        self._order = count()
        # (seconds, whether it begins, a number, endpoint, fault or None, what drew it if that was `random`)
        self._changes: list[tuple[float, bool, int, int, Fault | None, Fault | None]] = []
        taken: list[list[Fault]] = [[] for _ in units]
        for fault in faults:
            free = [
                endpoint
                for endpoint, others in enumerate(taken)
                if all(fault.from_s >= other.to_s or other.from_s >= fault.to_s for other in others)
            ]
            wanted = max(1, round(fault.share * len(units))) if fault.share else 0
            if wanted > len(free):
                many = f"{fault.kind} for {wanted} of {len(units)} addresses"
                message = f"{many}: {len(free)} have no other fault meanwhile"
                raise _wrong("", message, "make the shares smaller")
            for endpoint in sorted(self._random.sample(free, wanted)):
                taken[endpoint].append(fault)
                if fault.kind == RANDOM:
                    self._draw(fault.from_s, endpoint, fault)
                else:
                    self._push(fault.from_s, endpoint, self._of_one(fault, endpoint), None)
                    self._push(fault.to_s, endpoint, None, None)
        self.faulty = [endpoint for endpoint, own in enumerate(taken) if own]

    def due(self, now_s: float) -> list[tuple[int, Fault | None]]:
        """Return the changes up to a time since the start, as (endpoint, fault or None); each comes once."""
        found: list[tuple[int, Fault | None]] = []
        while self._changes and self._changes[0][0] <= now_s:
            at_s, _, _, endpoint, fault, drawn_by = heapq.heappop(self._changes)
            found.append((endpoint, fault))
            if fault is None and drawn_by is not None:
                self._draw(at_s, endpoint, drawn_by)
        return found

    def _draw(self, now_s: float, endpoint: int, by: Fault) -> None:
        # Health, then one fault that ends when the window of `random` does.
        begin_s = now_s + self._random.uniform(*WELL_S)
        end_s = min(begin_s + self._random.uniform(*ILL_S), by.to_s)
        if begin_s >= end_s:
            return
        kinds = [kind for kind in KINDS if kind != "blackhole" or sys.platform == "linux"]
        kind = self._random.choice(kinds)
        fault = self._of_one(Fault(kind, AMOUNTS.get(kind, 0.0)), endpoint)
        self._push(begin_s, endpoint, fault, by)
        self._push(end_s, endpoint, None, by)

    def _of_one(self, fault: Fault, endpoint: int) -> Fault:
        return replace(fault, unit=self._random.choice(self._units[endpoint]))

    def _push(self, at_s: float, endpoint: int, fault: Fault | None, drawn_by: Fault | None) -> None:
        if at_s < FOREVER:
            change = (at_s, fault is not None, next(self._order), endpoint, fault, drawn_by)
            heapq.heappush(self._changes, change)


def _seconds(text: str, duration: str) -> float:
    try:
        return parse_duration(duration) / 1e9
    except PydanticCustomError:
        raise _wrong(text, f"{duration!r} is no time", "write one like 500ms, 5s or 1m") from None


def _part(text: str, percent: str) -> float:
    match = PERCENT.fullmatch(percent)
    if match is None or float(match[1]) > 100:
        raise _wrong(text, f"{percent!r} is no share", "write one from 0% to 100%, like 10%")
    return float(match[1]) / 100


def _wrong(text: str, message: str, cure: str) -> ConfigError:
    return ConfigError([Problem("fault", None, text, message, cure)])
