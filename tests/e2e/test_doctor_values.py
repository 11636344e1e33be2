"""A doctor before values that look like something else, and before gateways."""

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fluxfast.doctor import Report
from tests.support.examined import BESS, POWERPACK, cures, examined, found, site, values_of
from tests.support.scripted import Peer, serving

M = "type: acuvim2, role: grid"
V = "type: acuvim2_vendor, role: grid"
Answer = Callable[[Peer], Awaitable[None]]
NAN = [0x7FC0, 0]


def floats(values: dict[int, float]) -> dict[int, int]:
    """Return registers of float32 at these addresses."""
    pairs = {address: struct.unpack(">2H", struct.pack(">f", value)) for address, value in values.items()}
    return {address + n: words[n] for address, words in pairs.items() for n in (0, 1)}


METER = floats({0x00: 230.4, 0x10: 152.3, 0x40: 92.7, 0x100: 123456.7})
PHASES = {0x401C: 22500.0, 0x401E: 21800.0, 0x4020: 23100.0, 0x4022: 67400.0}
ELSE = {0x4000: 49.98, 0x4002: 230.1, 0x4004: 229.4, 0x4006: 231.0}


def holds(registers: dict[int, int], *, strict: bool = False) -> Answer:
    """Return a device with these registers; ``strict``: others are no address."""

    async def answer(peer: Peer) -> None:
        while True:
            request = await peer.request()
            wanted = range(request.address, request.address + request.quantity)
            if strict and not all(address in registers for address in wanted):
                await peer.send(request.reply(pdu=bytes([0x83, 2])))
            else:
                await peer.send(request.reply(values_of(registers, request.address, request.quantity)))

    return answer


def moved(registers: dict[int, int], by: int) -> dict[int, int]:
    return {address + by: value for address, value in registers.items()}


HEALTHY: dict[str, tuple[Answer, str]] = {
    "nearly empty": (holds(POWERPACK | {2026: 8}), f"{BESS}, points: {{soe: {{scale: 0.1}}}}"),
    "full, as a float": (
        holds(POWERPACK | {2026: 0x42C8, 2027: 0}),
        f"{BESS}, points: {{soe: {{type: float32}}}}",
    ),
    "exports": (holds(METER | floats({0x40: -92.7})), M),
    "night": (holds({}), M),
}
PLANTED: dict[str, tuple[Answer, str, str, str]] = {
    "strict, from 1": (holds(moved(POWERPACK, 1), strict=True), BESS, "address", "add 1"),
    "strict, from -1": (holds(moved(POWERPACK, -1), strict=True), BESS, "address", "take 1 off"),
    "floats with holes, from 1": (holds(moved(METER, 1)), M, "address", "add 1"),
    "no numbers": (holds(moved(dict(enumerate(NAN * 129)), 0)), M, "values", "sensor"),
    "soe as a part of one": (
        holds(POWERPACK | {2026: 0x3F0C, 2027: 0xCCCD}),
        f"{BESS}, points: {{soe: {{type: float32}}}}",
        "scale",
        "soe: {scale: 100}",
    ),
    "one phase in kW": (
        holds(floats(PHASES | ELSE | {0x401E: 21.8})),
        V,
        "scale",
        "points: {power_l2: {scale: 1000}}",
    ),
}


def examine_all(
    folder: Path, answers: list[Answer], lines: list[str], timeout: str = "400ms"
) -> list[Report]:
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(serving(answer)) for answer in answers]
        text = "\n".join(
            f"{'b' if 'powerpack' in line else 'm'}{n}: {line}, "
            f"modbus: {{host: 127.0.0.1, port: {server.port}, timeout: {timeout}}}"
            for n, (server, line) in enumerate(zip(servers, lines, strict=True))
        )
        reports = examined(site(folder, text, head="poll: {every: 2s}"))
    return [reports[id_] for id_ in sorted(reports, key=lambda id_: int(id_[1:]))]


def test_what_is_planted_is_found_and_nothing_else(tmp_path: Path) -> None:
    answers = [answer for answer, *_ in (*PLANTED.values(), *HEALTHY.values())]
    lines = [line for _, line, *_ in (*PLANTED.values(), *HEALTHY.values())]
    reports = dict(zip([*PLANTED, *HEALTHY], examine_all(tmp_path, answers, lines), strict=True))
    told = {name: found(report) for name, report in reports.items()}
    assert told == {name: [one[2]] for name, one in PLANTED.items()} | {name: [] for name in HEALTHY}
    for name, (_, _, _, cure) in PLANTED.items():
        assert cure in cures(reports[name]), reports[name].findings


def test_a_slow_gateway_makes_no_other_unit_look_missing(tmp_path: Path) -> None:
    # It waits for a second for a unit that is missing, and meanwhile for everybody.
    line_in_use = asyncio.Lock()

    async def gateway(peer: Peer) -> None:
        while True:
            request = await peer.request()
            async with line_in_use:
                there = request.unit_id != 2
                await asyncio.sleep(0 if there else 0.7)
                values = values_of(POWERPACK, request.address, request.quantity)
                await peer.send(request.reply(values) if there else request.reply(pdu=bytes([0x83, 11])))

    with serving(gateway) as server:
        where = f"modbus: {{host: 127.0.0.1, port: {server.port}, timeout: 300ms, address: "
        reports = examined(site(tmp_path, "\n".join(f"b{n}: {BESS}, {where}{n}}}" for n in (1, 2, 3))))
    assert [(found(report), report.good) for report in reports.values()] == [([], 5), (["unit"], 0), ([], 5)]
    assert "exception 11" in reports["b2"].findings[0].seen


@pytest.mark.parametrize("code", [11, 4])  # pymodbus says 4
def test_who_says_at_once_that_a_unit_is_missing_is_asked_for_all(tmp_path: Path, code: int) -> None:
    async def gateway(peer: Peer) -> None:
        while True:
            request = await peer.request()
            values = values_of(POWERPACK, request.address, request.quantity)
            there = request.unit_id == 247
            await peer.send(request.reply(values) if there else request.reply(pdu=bytes([0x83, code])))

    (report,) = examine_all(tmp_path, [gateway], [BESS])
    assert found(report) == ["unit"]
    assert "modbus: {address: 247}" in cures(report)
