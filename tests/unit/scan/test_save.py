"""What a scan found, as a site file: it loads, whatever devices are called and say."""

from dataclasses import replace
from pathlib import Path

import pytest

from fluxfast.config import load
from fluxfast.errors import FluxfastError
from fluxfast.scan import Result, Unit, Verdict, candidates, save_site

POWERPACK = next(one for one in candidates() if one.profile.name == "powerpack")


def recognised(unit: int, type_: str = "powerpack") -> Unit:
    return Unit(unit, guesses=[replace(POWERPACK.guess(False, "status READY"), type=type_)])


def test_hosts_of_all_kinds(tmp_path: Path) -> None:
    results = [
        Result("10.0.0.1", 502, Verdict.DEVICE, units=(recognised(1),)),
        Result("10.0.0.1", 503, Verdict.DEVICE, units=(recognised(1),)),
        Result("10.0.0.2", 502, Verdict.GATEWAY, units=(recognised(2), recognised(247))),
        Result("fd00::7", 502, Verdict.DEVICE, units=(recognised(255),)),
        Result("10.0.0.3", 502, Verdict.DEVICE, units=(recognised(1),), name="plc-7.local"),
        Result("10.0.0.4", 502, Verdict.DEVICE, units=(recognised(0),)),  # no address of a site file
        Result("10.0.0.5", 502, Verdict.CLOSED),
    ]
    file = tmp_path / "site.yaml"
    assert save_site(results, file, False) == 6
    assert [(d.modbus.host, d.modbus.port, d.modbus.unit) for d in load(file).devices] == [
        ("10.0.0.1", 502, 1), ("10.0.0.1", 503, 1), ("10.0.0.2", 502, 2), ("10.0.0.2", 502, 247),
        ("fd00::7", 502, 255), ("plc-7.local", 502, 1),
    ]  # fmt: skip
    assert "# - 10.0.0.4:502 unit 0: looks like powerpack (status READY)" in file.read_text()


def test_what_devices_say_cannot_break_out_of_a_comment(tmp_path: Path) -> None:
    evil = Unit(1, identification={0: b"\n  bess: [", 1: "\u2028x\x85y".encode(), 2: b"\x1b[2J"})
    results = [
        Result("10.0.0.1", 502, Verdict.DEVICE, units=(evil,)),
        Result("10.0.0.2", 502, Verdict.DEVICE, units=(recognised(1),)),
    ]
    file = tmp_path / "site.yaml"
    assert save_site(results, file, False) == 1
    assert len(load(file).devices) == 1
    assert all(line.isprintable() for line in file.read_text().split("\n"))


def test_profiles_of_ones_own_are_named_from_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "my profiles"
    folder.mkdir()
    (folder / "own.yaml").write_text("points: {a: {address: 1, type: int16}}\n")
    (tmp_path / "sites").mkdir()
    for file in (tmp_path / "site.yaml", tmp_path / "sites" / "site.yaml", folder / "site.yaml"):
        unit = recognised(1, str(folder / "own.yaml"))
        save_site([Result("10.0.0.1", 502, Verdict.DEVICE, units=(unit,))], file, False)
        assert load(file).devices[0].profile.name == "own"


def test_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    found = [Result("10.0.0.1", 502, Verdict.DEVICE, units=(recognised(1),))]
    with pytest.raises(FluxfastError, match="nothing to save"):
        save_site([Result("10.0.0.1", 502, Verdict.DEVICE, units=(Unit(1),))], file, False)
    assert not file.exists()
    file.write_text("mine")
    with pytest.raises(FluxfastError, match="--force"):
        save_site(found, file, False)
    assert file.read_text() == "mine"
    assert save_site(found, file, True) == 1
    with pytest.raises(FluxfastError, match="cannot write"):
        save_site(found, tmp_path / "none" / "site.yaml", True)
