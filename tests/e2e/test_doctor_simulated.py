"""A doctor before simulated devices: finds what is planted, nothing else, and says the cure."""

import asyncio
from pathlib import Path

import pytest

from fluxfast.doctor.judge_reach import judge_link
from fluxfast.doctor.link import LinkExam
from fluxfast.doctor.observed import UnitSeen
from fluxfast.plan.blocks import plan_blocks
from fluxfast.profiles import builtin_profiles, load_profile
from fluxfast.sim import Simulator
from tests.support.command import free_port
from tests.support.examined import BESS, HOST, at, cures, examined, found, site

PORT = free_port(f"{HOST}.0.1")
B, M, V = BESS, "type: acuvim2, role: grid", "type: acuvim2_vendor, role: grid"
FLOATS = [p.name for p in load_profile("acuvim2_vendor").points.values() if p.type == "float32"]
ALL = list(load_profile("acuvim2_vendor").points)


def points(names: list[str], change: str) -> str:
    return "points: {" + ", ".join(f"{name}: {{{change}}}" for name in names) + "}"


def shifted(profile: str, by: int) -> str:
    return "points: {" + ", ".join(
        f"{p.name}: {{address: {p.address + by}}}" for p in load_profile(profile).points.values()
    ) + "}"  # fmt: skip


ACUVIM2 = list(load_profile("acuvim2").points)
POWERPACK = list(load_profile("powerpack").points)

DEVICES = {"b": f"b: {B}", "m": f"m: {M}", "v": f"m: {V}"}
INTEGERS = sorted(set(ALL) - set(FLOATS))
POWERS = [name for name in ALL if "power" in name and "factor" not in name]
SOE_FLOAT = "type: float32, address: 2030"

# Device, what is served in place of its profile, what the site file says of it, who finds it, the cure.
PLANTED = {
    "words swapped": (
        "m", points(ACUVIM2, "byte_order: CDAB"), "", "byte-order", "power_total: {byte_order: CDAB}"
    ),
    "bytes swapped": (
        "m", points(ACUVIM2, "byte_order: BADC"), "", "byte-order", "power_total: {byte_order: BADC}"
    ),
    "not little-endian": (
        "m", "", points(ACUVIM2, "byte_order: DCBA"), "byte-order", "power_total: {byte_order: ABCD}"
    ),
    "words of 36 floats swapped": (
        "v", points(FLOATS, "byte_order: CDAB"), "", "byte-order", "frequency: {byte_order: CDAB}"
    ),
    "words of integers swapped": (
        "v", points(INTEGERS, "byte_order: CDAB"), "", "byte-order", "energy_import: {byte_order: CDAB}"
    ),
    "bytes of 16 bits swapped": (
        "b", points(POWERPACK, "byte_order: BA"), "", "byte-order", "soe: {byte_order: BA}"
    ),
    "soe in tenths": ("b", points(["soe"], "scale: 0.1"), "", "scale", "soe: {scale: 0.1}"),
    "soe in hundredths": ("b", points(["soe"], "scale: 0.01"), "", "scale", "soe: {scale: 0.01}"),
    "soe as a part of one": (
        "b", points(["soe"], f"{SOE_FLOAT}, scale: 100"), points(["soe"], SOE_FLOAT), "scale", "scale: 100"
    ),
    "kW read as W": ("m", "", points(["power_total"], "scale: 1"), "scale", "power_total: {scale: 1000}"),
    "W read as kW": ("m", points(["power_total"], "scale: 1"), "", "scale", "power_total: {scale: 1}"),
    "all powers in kW": ("v", points(POWERS, "scale: 1000"), "", "scale", "reactive_power_l2: {scale: 1000}"),
    "frequency in hundredths": (
        "v", points(["frequency"], "scale: 0.01"), "", "scale", "frequency: {scale: 0.01}"
    ),
    "holes refused": ("b", "quirks: {max_gap: 0}", "", "readable", "{max_gap: 0}; then 5 of 5"),
    "a long hole refused": (
        "b", "quirks: {readable: [[2000, 2010], [2026, 2028]]}", "", "readable", "{max_gap: 7}; then 5 of 5"
    ),
    "a point that is not there": (
        "b", "points: {available_blocks: null}, control: {blocks: null}", "", "readable",
        "available_blocks: null",
    ),
    "addresses from 1": ("b", "", shifted("powerpack", 1), "address", "take 1 off"),
    "addresses too low": ("b", "", shifted("powerpack", -1), "address", "add 1"),
    "far floats from 1": ("m", "", shifted("acuvim2", 1), "address", "take 1 off"),
    "floats from 1": ("v", "", shifted("acuvim2_vendor", 1), "address", "take 1 off"),
    "floats too low": ("v", "", shifted("acuvim2_vendor", -1), "address", "add 1"),
    "input registers": ("m", points(ACUVIM2, "register: input"), "", "function", "{register: input}"),
    "one connection": ("b", "quirks: {max_connections: 1}", "", "connections", "max_connections: 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found_and_nothing_else(tmp_path: Path, name: str) -> None:
    device, served, told, check, cure = PLANTED[name]
    lines = [", ".join(filter(None, (DEVICES[device], more, at(1, PORT)))) for more in (served, told)]
    with Simulator(site(tmp_path, lines[0], "served.yaml")).running():
        (report,) = examined(site(tmp_path, lines[1])).values()
    assert [one.check for one in report.findings] == [check], report.findings
    assert found(report) == [check]
    assert cure in cures(report), report.findings


def test_another_unit_answers(tmp_path: Path) -> None:
    with Simulator(site(tmp_path, f"b: {B}, {at(1, PORT, 7)}", "served.yaml")).running():
        (report,) = examined(site(tmp_path, f"b: {B}, {at(1, PORT)}")).values()
    assert found(report) == ["unit"]
    assert "modbus: {address: 7}" in cures(report)


# Device, what is served and said of it as above, values that the device is given, who finds it, the cure.
VALUES = {
    "a negative power read as a large one": (
        "b", "", points(["target_power"], "type: uint16"), {"target_power": -50},
        "sign", "target_power: {type: int16}",
    ),
    "a temperature below zero": (
        "b", "points: {cells: {address: 2030, type: int16, unit: °C}}",
        "points: {cells: {address: 2030, type: uint16, unit: °C}}", {"cells": -3},
        "sign", "cells: {type: int16}",
    ),
    "a setpoint in W": (
        "b", points(["target_power"], "scale: 0.01"), "", {"target_power": 180}, "scale",
        "target_power: {scale: ",
    ),
    "no value": (
        "b", "points: {limit: {address: 2030, type: uint16, unit: kW}}",
        "points: {limit: {address: 2030, type: uint16, unit: kW}}", {"limit": 65535},
        "values", "limit: {not_implemented: 0xFFFF}",
    ),
    "beyond its limits": (
        "b", "points: {cells: {address: 2030, type: int16, unit: V}}",
        "points: {cells: {address: 2030, type: int16, unit: V, limits: [2, 5]}}", {"cells": 12},
        "values", "limits:",
    ),
    "more blocks than all": ("b", "", "blocks: 8", {"available_blocks": 10}, "control", "blocks: 10"),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_judged(tmp_path: Path, name: str) -> None:
    device, served, told, values, check, cure = VALUES[name]
    lines = [", ".join(filter(None, (DEVICES[device], more, at(6, PORT)))) for more in (served, told)]
    simulator = Simulator(site(tmp_path, lines[0], "served.yaml"))
    with simulator.running():
        for point, value in values.items():
            simulator.set_value("b", point, value)
        (report,) = examined(site(tmp_path, lines[1]), gentle=True).values()
    assert found(report) == [check], report.findings
    assert cure in cures(report), report.findings


def test_a_unit_that_is_not_ready_is_noted_and_healthy(tmp_path: Path) -> None:
    fleet = site(tmp_path, f"b: {B}, {at(6, PORT)}")
    simulator = Simulator(fleet)
    with simulator.running():
        simulator.set_value("b", "status", 3)
        (report,) = examined(fleet, gentle=True).values()
    assert found(report) == []
    assert "status: {states: {3: READY}}" in cures(report)


@pytest.mark.parametrize("others", ["", "quirks: {max_connections: 1}"])
def test_where_a_station_polls_less_is_tried(tmp_path: Path, others: str) -> None:
    line = ", ".join(filter(None, (f"b: {B}", others, at(6, PORT))))
    fleet = site(tmp_path, line)
    simulator = Simulator(fleet)
    with simulator.running():
        unit = UnitSeen(fleet.devices[0], plan_blocks(fleet.devices[0].profile))
        exam = LinkExam([unit], strange=True, station=4711)
        asyncio.run(exam.run())
        accepted = simulator.counters().accepted
    (finding,) = judge_link(exam.seen)
    assert (finding.check, finding.severity.value) == ("station", "note")
    assert "4711" in finding.seen
    assert accepted == (0 if others else 1)
    assert bool(unit.reads) is not bool(others)


FAULTS = {
    "slow=300ms": ("time", "poll: {every: "),
    "hang": ("unit", "unit address"),
    "busy": ("exception", "busy"),
    "reset": ("connect", "allow list"),
    "refuse": ("connect", "nothing listens"),
    "blackhole": ("connect", "firewall"),
}


@pytest.mark.long
def test_faults_of_the_simulator_are_found(tmp_path: Path) -> None:
    lines = [f"b{n}: {B}, {at(30 + n, PORT, timeout='500ms')}" for n in range(len(FAULTS))]
    fleet = site(tmp_path, "\n".join(lines), head="poll: {every: 200ms}")
    simulator = Simulator(fleet)
    with simulator.running():
        for n, kind in enumerate(FAULTS):
            simulator.set_fault([f"b{n}"], kind)
        faulty = dict(zip(FAULTS, examined(fleet).values(), strict=True))
    assert {kind: found(report) for kind, report in faulty.items()} == {
        kind: [check] for kind, (check, _) in FAULTS.items()
    }
    for kind, (_, cure) in FAULTS.items():
        assert cure in cures(faulty[kind]), faulty[kind].findings


@pytest.mark.parametrize(("kind", "check"), [("silent", "unit"), ("gateway", "gateway")])
def test_one_unit_of_a_gateway_does_not_answer(tmp_path: Path, kind: str, check: str) -> None:
    fleet = site(tmp_path, "\n".join(f"b{n}: {B}, {at(4, PORT, n, timeout='300ms')}" for n in (1, 2, 3)))
    simulator = Simulator(fleet)
    with simulator.running():
        simulator.set_fault(["b2"], kind)
        reports = examined(fleet)
    assert [found(report) for report in reports.values()] == [[], [check], []]
    (finding,) = reports["b2"].findings
    assert (
        "units 1, 3 on the same link do" in finding.seen
        if kind == "silent"
        else "exception 11" in finding.seen
    )


@pytest.mark.long
def test_units_of_a_gateway_do_not_fit_in_a_tick(tmp_path: Path) -> None:
    fleet = site(
        tmp_path, "\n".join(f"b{n}: {B}, {at(4, PORT, n)}" for n in (1, 2, 3)), head="poll: {every: 200ms}"
    )
    with Simulator(fleet, faults=["slow=80ms"]).running():
        reports = examined(fleet)
    assert [found(report) for report in reports.values()] == [["time"]] * 3
    assert "3 units ×" in reports["b1"].findings[0].seen


@pytest.mark.parametrize("profile", builtin_profiles())
def test_a_healthy_device_has_no_finding(tmp_path: Path, profile: str) -> None:
    lines = [
        f"{'b' if profile == 'powerpack' else 'm'}{n}: type: {profile}, "
        + ("capacity_kwh: 400, rated_power_kw: 200, " if profile == "powerpack" else f"role: {role}, ")
        + at(10 + n // 4, PORT, 1 + n % 4)
        for n, role in enumerate(["grid", "load", "pv", "bess"] * 4)
    ]
    fleet = site(tmp_path, "\n".join(lines))
    with Simulator(fleet).running():
        reports = examined(fleet)
    assert {id_: report.findings for id_, report in reports.items() if report.findings} == {}
    assert all(report.good == len(report.device.profile.points) for report in reports.values())


def test_every_type_and_byte_order_is_healthy(tmp_path: Path) -> None:
    from tests.support.profiles import EVERYTHING

    (tmp_path / "everything.yaml").write_text(EVERYTHING)
    fleet = site(tmp_path, f"m: type: ./everything.yaml, {at(5, PORT)}")
    with Simulator(fleet).running():
        (report,) = examined(fleet).values()
    assert report.findings == ()
