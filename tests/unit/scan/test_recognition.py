"""Which profile a unit fits, by what it says and by its registers."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxfast.errors import ConfigError
from fluxfast.profiles import builtin_profiles
from fluxfast.scan import candidates
from fluxfast.scan.recognition import Candidate, named
from fluxfast.scan.result import Unit, shown
from fluxfast.values import encode

BUILTIN = {one.profile.name: one for one in candidates()}
AT_WORK = {
    "powerpack": {"status": "READY", "target_power": "-120", "command_source": "REMOTE", "soe": "64",
                  "available_blocks": "4"},
    "acuvim2": {"voltage_l1_n": "231.5", "current_l1": "0", "power_total": "-12000", "energy_import": "88"},
    "acuvim2_vendor": {"frequency": "59.98", "voltage_l1_n": "120", "voltage_ln_average": "121"},
}  # fmt: skip


def data(candidate: Candidate, values: dict[str, str]) -> list[bytes]:
    """Return the answers of a device that holds these values, and 0 elsewhere."""
    answers = []
    for block in candidate.blocks:
        words = [0] * block.quantity
        for point in block.points:
            at = point.address - block.address
            words[at : at + point.size] = encode(point, values[point.name])
        answers.append(b"".join(word.to_bytes(2, "big") for word in words))
    return answers


def test_each_built_in_profile_has_a_fingerprint() -> None:
    assert set(BUILTIN) == set(AT_WORK) == set(builtin_profiles())
    for candidate in BUILTIN.values():
        assert candidate.blocks


@pytest.mark.parametrize("name", AT_WORK)
def test_a_device_at_work_fits(name: str) -> None:
    candidate = BUILTIN[name]
    because = candidate.fits(data(candidate, AT_WORK[name]))
    assert because is not None
    first = next(iter(candidate.profile.fingerprint.values))  # type: ignore[union-attr]
    assert because.startswith(first)


@pytest.mark.parametrize("name", AT_WORK)
@pytest.mark.parametrize("word", [0, 1, 50, 0x7FFF, 0x8000, 0xFFFF, 0x4366])
def test_registers_that_are_all_alike_fit_nothing(name: str, word: int) -> None:
    candidate = BUILTIN[name]
    assert candidate.fits([word.to_bytes(2, "big") * block.quantity for block in candidate.blocks]) is None


@pytest.mark.parametrize("name", AT_WORK)
def test_random_registers_hardly_ever_fit(name: str) -> None:
    candidate, numbers = BUILTIN[name], random.Random(7)
    fits = sum(
        candidate.fits([numbers.randbytes(block.data_size) for block in candidate.blocks]) is not None
        for _ in range(500)
    )
    assert fits <= 3


def test_counting_registers_fit_nothing() -> None:
    for candidate in BUILTIN.values():
        answers = [
            b"".join(n.to_bytes(2, "big") for n in range(block.address, block.address + block.quantity))
            for block in candidate.blocks
        ]
        assert candidate.fits(answers) is None


@pytest.mark.parametrize(
    ("says", "profiles"),
    [
        ("PowerPack BESS", ["powerpack"]),
        ("powerpack bess", ["powerpack"]),
        ("Tesla Power Pack 2", ["powerpack"]),
        ("Acuvim II meter", ["acuvim2"]),  # the very title
        ("Acuvim II meter, vendor map", ["acuvim2_vendor"]),
        ("ACUVIM IIR", ["acuvim2", "acuvim2_vendor"]),  # either
        ("Modicon M340", []),
        ("", []),
    ],
)
def test_what_it_says(says: str, profiles: list[str]) -> None:
    for unit in (Unit(1, identification={1: says.encode()}), Unit(1, server_id=says.encode())):
        assert [one.profile.name for one in named(unit, list(BUILTIN.values()))] == profiles


def test_a_folder_of_profiles(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("devices: {meters: []}\n")
    (tmp_path / "own.yaml").write_text("points: {a: {address: 1, type: int16}}\n")
    assert [one.profile.name for one in candidates(tmp_path)] == [*builtin_profiles(), "own"]
    assert candidates(tmp_path)[-1].blocks == ()
    (tmp_path / "wrong.yaml").write_text("points: {a: {address: 1}}\n")
    with pytest.raises(ConfigError, match=r"wrong\.yaml"):
        candidates(tmp_path)


@given(st.binary(max_size=40))
def test_what_a_device_says_is_shown_and_not_obeyed(text: bytes) -> None:
    assert shown(text).isprintable()
