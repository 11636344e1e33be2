"""Which profile a unit fits: by what it says of itself, or by whether its registers make sense.

A profile's ``title``, said as product name, names it; so does a match of its fingerprint's ``says``. Else the
points of its fingerprint are read, by the kernel that polls, and every one must lie in its range. Registers
that are all alike prove nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from fluxfast.config.reading import is_profile
from fluxfast.plan.blocks import BlockLayout, plan_blocks
from fluxfast.profiles import BatteryControl, Profile, builtin_profiles, load_profile
from fluxfast.profiles.store import build_profile, read_profile
from fluxfast.scan.questions import Question, Step, registers
from fluxfast.scan.result import Guess, Unit, shown
from fluxfast.values import Decoder, Reading

MAX_REASONS: Final = 3  # values that are shown as the reason


@dataclass(frozen=True)
class Candidate:
    """A profile that units are compared with; ``type`` is its name in a site file, or its absolute path."""

    profile: Profile
    type: str

    @cached_property
    def blocks(self) -> tuple[BlockLayout, ...]:
        """The reads of its fingerprint."""
        fingerprint = self.profile.fingerprint
        if fingerprint is None or not fingerprint.values:
            return ()
        points = {name: self.profile.points[name] for name in fingerprint.values}
        return plan_blocks(self.profile.model_copy(update={"points": points}))

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """The same as questions."""
        return tuple(_question(block) for block in self.blocks)

    def is_titled_by(self, unit: Unit) -> bool:
        """Whether the unit says the profile's very title."""
        title = self.profile.title.casefold()
        return bool(title) and any(text.casefold() == title for text in _texts(unit))

    def is_said_by(self, unit: Unit) -> bool:
        """Whether something that the unit says matches the fingerprint's ``says``."""
        fingerprint = self.profile.fingerprint
        says = fingerprint.says if fingerprint is not None else None
        return says is not None and any(re.search(says, text, re.IGNORECASE) for text in _texts(unit))

    def guess(self, is_said: bool, because: str) -> Guess:
        """Return it as a result."""
        title = self.profile.title or self.profile.name
        is_bess = isinstance(self.profile.control, BatteryControl)
        return Guess(self.profile.name, title, self.type, is_bess, is_said, because)

    def fits(self, answers: Sequence[bytes]) -> str | None:
        """Return which values make sense, if all of them do; ``answers`` are the data of ``blocks``."""
        fingerprint = self.profile.fingerprint
        assert fingerprint is not None
        words = {data[at : at + 2] for data in answers for at in range(0, len(data), 2)}
        if len(words) < 2:
            return None
        readings: Mapping[str, Reading] = {
            reading.point.name: reading
            for block, data in zip(self.blocks, answers, strict=True)
            for reading in Decoder(block).decode(data)
        }
        for name, (low, high) in fingerprint.values.items():
            value = readings[name].value
            if not isinstance(value, int | float) or not low <= value <= high:
                return None
        return ", ".join(_words(readings[name]) for name in list(fingerprint.values)[:MAX_REASONS])


def candidates(folder: Path | None = None) -> list[Candidate]:
    """Return the built-in profiles, and those in a folder, which may hold site files beside them.

    Raises ConfigError for a profile that is wrong.
    """
    found = [Candidate(load_profile(name), name) for name in builtin_profiles()]
    for path in sorted(folder.glob("*.yaml")) if folder is not None else ():
        document = read_profile(path)
        if is_profile(document):
            found.append(Candidate(build_profile(document), str(path.absolute())))
    return found


def named(unit: Unit, profiles: Sequence[Candidate]) -> list[Candidate]:
    """Return the profiles that a unit may mean by what it says of itself."""
    titled = [one for one in profiles if one.is_titled_by(unit)]
    return titled or [one for one in profiles if one.is_said_by(unit)]


def _texts(unit: Unit) -> list[str]:
    texts = [shown(value) for value in unit.identification.values()]
    if unit.server_id is not None:
        texts.append(shown(unit.server_id))
    if unit.sunspec is not None:
        texts += [unit.sunspec.manufacturer, unit.sunspec.model]
    return texts


def _question(block: BlockLayout) -> Question:
    """Return a read as a question whose answer is its data, in bytes."""
    plain = registers(Step.PROFILE, block.function_code, block.address, block.quantity)

    def parse(pdu: bytes) -> bytes:
        plain.parse(pdu)
        return pdu[2:]

    return replace(plain, parse=parse)


def _words(reading: Reading) -> str:
    value = f"{reading.value:.6g}" if isinstance(reading.value, float) else str(reading.shown)
    unit = f" {reading.point.unit}" if reading.point.unit else ""
    return f"{reading.point.name} {value}{unit}"
