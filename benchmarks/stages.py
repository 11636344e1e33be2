"""The stages of a tick, each as a call that can be counted or timed, with how many items it does.

A stage is made once, with everything that the product makes once; the call is what happens every tick. Each
checks its own result once before it is measured. This is the one place where they are made: instructions.py
counts them, the files of cases time them beside others.
"""

import asyncio
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import uvloop
from apart import simulator
from meters import site_file
from numpy.typing import NDArray

from fluxfast import modbus
from fluxfast.control import reasons
from fluxfast.control.columns import Columns
from fluxfast.control.kernel import Kernel
from fluxfast.log import Column, Dataset
from fluxfast.log.block import Layout, Ticks
from fluxfast.plan.blocks import plan_blocks
from fluxfast.plan.program import column_value, decode_program
from fluxfast.poller import Poller
from fluxfast.profiles import Point, Profile, load_profile
from fluxfast.profiles.types import BYTE_ORDERS, TYPES
from fluxfast.table import Table, decode_replies, quality
from fluxfast.table.arrow import device_array, record_batch

DEVICES: Final = 500
POINTS: Final = 30
FRAMES: Final = 100
LINKS: Final = 100
TICKS: Final = 8
ADDRESS: Final = 0x4000
REGISTERS: Final = 90
DT_S: Final = 0.5
CYCLE: Final = 8  # ticks of control, after which targets come again
CODES: Final = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """``run`` does ``items`` of what ``of`` says, and returns its result (of many alike, the last one)."""

    name: str
    of: str
    items: int
    run: Callable[[], Any]


def stages() -> Iterator[Stage]:
    """Yield every stage, ready to run."""
    yield codec_build()
    yield codec_parse()
    yield codec_split()
    for type_ in CODES:
        for order in BYTE_ORDERS[TYPES[type_].width]:
            yield decode(type_, order)
    yield decode("int16", "AB", "0.1")
    for name in ("powerpack", "acuvim2_vendor"):
        yield decode_profile(name)
    yield close()
    yield ages()
    yield arrow()
    yield kernel(10_000, 100)
    yield append()
    yield from polling()


# ---- codec ----


def response() -> bytes:
    """Return the PDU that answers a read of 90 registers, 0 to 89."""
    return modbus.ReadHoldingRegisters(ADDRESS, REGISTERS).build_response(range(REGISTERS))


def stream() -> bytes:
    """Return 100 responses as one stream of ADUs, transaction identifiers from 0."""
    return b"".join(modbus.build_mbap(number, 1, response()) for number in range(FRAMES))


def codec_build() -> Stage:
    def run() -> bytes:
        for number in range(FRAMES):
            adu = modbus.build_mbap(number, 1, modbus.ReadHoldingRegisters(ADDRESS, REGISTERS).pdu)
        return adu

    assert run() == struct.pack(">HHHBBHH", FRAMES - 1, 0, 6, 1, 3, ADDRESS, REGISTERS)
    return Stage("codec.build", "request", FRAMES, run)


def codec_parse() -> Stage:
    request, reply = modbus.ReadHoldingRegisters(ADDRESS, REGISTERS), response()

    def run() -> Sequence[int]:
        for _ in range(FRAMES):
            registers = request.parse_response(reply)
        return registers

    assert run() == tuple(range(REGISTERS))
    return Stage("codec.parse", "response of 90 registers", FRAMES, run)


def codec_split() -> Stage:
    frames, splitter = stream(), modbus.MbapSplitter()

    def run() -> list[bytes]:
        return splitter.feed(frames)

    assert [modbus.parse_mbap(adu) for adu in run()] == [(n, 1, response()) for n in range(FRAMES)]
    return Stage("codec.split", "frame", FRAMES, run)


# ---- decode, table ----


def replies(type_: str, order: str, devices: int = DEVICES, points: int = POINTS) -> NDArray[np.uint8]:
    """Return a reply's data of each device, uint8 [devices, bytes]: 1, 2, 3, … of a type and byte order."""
    plain = struct.pack(f">{points}{CODES[type_]}", *range(1, points + 1))
    places = ["ABCDEFGH".index(letter) for letter in order]
    values = np.frombuffer(plain, np.uint8).reshape(points, len(places))
    return np.tile(values[:, places].reshape(-1), (devices, 1))


def decode(type_: str, order: str, scale: str = "1", devices: int = DEVICES, points: int = POINTS) -> Stage:
    """Decode ``replies`` into a column for each point; the result is the Table."""
    size = TYPES[type_].width // 16
    profile = Profile(
        name="t",
        points={
            f"p{i}": Point(name=f"p{i}", address=size * i, type=type_, byte_order=order, scale=Decimal(scale))
            for i in range(min(points, 125 // size))
        },
    )
    name = decode_name(type_, order, scale)
    data = replies(type_, order, devices, len(profile.points))
    stage = _decoding(name, profile, data)
    assert [float(column[-1]) for column in stage.run().values] == [
        n / 10 if scale == "0.1" else n for n in range(1, len(profile.points) + 1)
    ]
    return stage


def decode_name(type_: str, order: str, scale: str) -> str:
    return f"decode.{type_}.{order}" + (".scaled" if scale != "1" else "")


def profile_replies(name: str) -> NDArray[np.uint8]:
    """Return the data of a reply of each of 500 devices of one of our profiles, all registers 1."""
    (block,) = plan_blocks(load_profile(name))
    return np.tile(np.uint8([0, 1]), (DEVICES, block.data_size // 2))


def decode_profile(name: str) -> Stage:
    """Decode ``profile_replies``: points of several kinds."""
    stage = _decoding(f"decode.{name}", load_profile(name), profile_replies(name))
    assert (stage.run().quality == quality.GOOD).all()
    return stage


def _decoding(name: str, profile: Profile, data: NDArray[np.uint8]) -> Stage:
    (block,) = plan_blocks(profile)
    devices, values = len(data), [column_value(point) for point in block.points]
    columns = [(p.name, v.kind, v.width) for p, v in zip(block.points, values, strict=True)]
    table = Table(name, columns, devices, np.zeros((len(columns), devices), bool))
    ops, sentinels = decode_program([(block, range(len(columns)))], [value.kind for value in values])
    rows, structs, program = (
        np.arange(devices, dtype=np.int32),
        table.structs.view(np.uint8),
        ops.view(np.uint8),
    )

    def run() -> Table:
        decode_replies(program, sentinels, data, structs, rows)
        return table

    return Stage(name, "value", devices * len(columns), run)


def closed_table() -> Table:
    """Return a table of 500 devices with 30 float32, all answered 1 ms into a tick that began at 1 ms."""
    table = decode("float32", "ABCD").run()
    table.requested_ns[:], table.received_ns[:] = 1_500_000, 2_000_000
    table.close(1_000_000)
    return table


def close() -> Stage:
    table = closed_table()

    def run() -> Table:
        table.close(1_000_000)
        return table

    run()
    assert not table.row_quality.any()
    assert table.valid.all()
    assert (table.latency_ms == 1).all()
    return Stage("table.close", "cell", POINTS * DEVICES, run)


def ages() -> Stage:
    table = closed_table()

    def run() -> NDArray[np.int64]:
        for name in table.names:
            age = table.age_ns(name, 5_000_000)
        return age

    assert (run() == 3_500_000).all()
    return Stage("table.ages", "cell", POINTS * DEVICES, run)


def arrow() -> Stage:
    table, devices = closed_table(), device_array([f"d{n}" for n in range(DEVICES)])

    def run() -> pa.RecordBatch:
        return record_batch(table, devices)

    batch = run()
    assert batch.num_rows == DEVICES
    assert batch.column("p29").to_pylist() == [30.0] * DEVICES
    return Stage("table.arrow", "cell", POINTS * DEVICES, run)


# ---- control ----


def make_columns(units_count: int, sites_count: int) -> Columns:
    """Return columns with every stage of a decision on."""
    rng = np.random.default_rng(units_count + sites_count)
    columns = Columns.make([units_count // sites_count] * sites_count)
    units, sites = columns.units, columns.sites
    units.capacity_kwh[:] = rng.choice([200, 400, 800], units.rows)
    units.charge_kw[:] = units.discharge_kw[:] = units.capacity_kwh / 2
    units.soe_min_pct[:], units.soe_max_pct[:], units.reserve_pct[:] = 10, 90, 15
    units.soe_pct[:] = rng.integers(5, 95, units.rows)
    units.ramp_kw_per_s[:], units.rise_kw_per_s[:] = 100, 25
    units.usable[rng.random(units.rows) < 0.01] = reasons.STALE
    sites.deadband_kw[:], sites.efficient_kw[:] = 5, 60
    return columns


def targets(columns: Columns, ticks: int) -> NDArray[np.float64]:
    """Return targets between 0 and 60 % of what the units are rated: kW [ticks, sites]."""
    rng = np.random.default_rng(1)
    rated = np.add.reduceat(columns.units.discharge_kw, columns.first[:-1])
    swing = np.sin(np.arange(ticks)[:, None] / 9 + rng.random(len(rated)) * 6)
    return (0.3 + 0.3 * swing + 0.02 * rng.random((ticks, len(rated)))) * rated


def deciding(columns: Columns, decide: Callable[[float], Any], ticks: int) -> Callable[[], Columns]:
    """Return what decides the next ticks, so many: their targets move by more than the deadband."""
    wanted = cycle(targets(columns, CYCLE))

    def run() -> Columns:
        for row in islice(wanted, ticks):
            columns.sites.target_kw[:] = row
            decide(DT_S)
        return columns

    return run


def kernel(units: int, sites: int, ticks: int = CYCLE) -> Stage:
    columns = make_columns(units, sites)
    run = deciding(columns, Kernel(columns).decide, ticks)
    run()
    assert abs(columns.units.setpoint_kw.sum()) > 0
    return Stage("control.kernel", "unit", units * ticks, run)


# ---- log, whole tick ----


def append() -> Stage:
    points = [Column(f"p{i}", "float32") for i in range(POINTS)]
    ids = [f"d{n}" for n in range(DEVICES)]
    ticks = Ticks(Layout(Dataset("t", ["site"] * DEVICES, ids, points), 8))
    latency, codes = np.zeros(DEVICES, np.float32), np.zeros(DEVICES, np.uint8)
    values, valid = [np.ones(DEVICES, np.float32)] * POINTS, np.ones((POINTS, DEVICES), np.uint8)

    def run() -> None:
        ticks.count = 0
        for tick in range(8):
            ticks.append(tick, latency, codes, values, valid)

    run()
    assert ticks.to_message().size > 8 * POINTS * DEVICES
    return Stage("log.append", "reading", 8 * POINTS * DEVICES, run)


def polling() -> Iterator[Stage]:
    """A whole tick over real sockets, from the loop's wake-up to the closed table; 90 registers a request."""
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        site = Path(folder) / "site.yaml"
        site.write_text(site_file(LINKS, 500, "127.44.9.1", 5411))
        with simulator(site):
            poller = Poller(site)
            runner.run(poller.__aenter__())

            async def ticks() -> None:
                async for tick in poller.ticks(TICKS * 0.5):
                    assert tick.unanswered == 0

            table = poller["acuvim2_vendor"]
            runner.run(ticks())
            assert table.valid.all()
            yield Stage("poll.tick", "request of 90 registers", LINKS * TICKS, lambda: runner.run(ticks()))
            poller.close()
