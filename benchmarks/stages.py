"""The stages of a tick, each as a call that can be counted or timed, with how many items it does.

A stage is made once, with everything that the product makes once; the call is what happens every tick. Each
checks its own result once before it is measured.
"""

import asyncio
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import uvloop
from apart import simulator
from bench_kernel import DT_S, make, targets
from meters import site_file

from fluxfast import modbus
from fluxfast.control.kernel import Kernel
from fluxfast.log import Column, Dataset
from fluxfast.log.block import Layout, Ticks
from fluxfast.plan.blocks import plan_blocks
from fluxfast.plan.program import column_value, point_op
from fluxfast.plan.structs import OP
from fluxfast.poller import Poller
from fluxfast.profiles import Point, Profile
from fluxfast.profiles.types import BYTE_ORDERS, TYPES
from fluxfast.table import Table, decode_replies
from fluxfast.table.decode import close_rows

DEVICES: Final = 500
POINTS: Final = 30
FRAMES: Final = 100
LINKS: Final = 100
TICKS: Final = 8
REGISTERS: Final = 90
_CODES: Final = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """``run`` does ``items`` of what ``of`` says."""

    name: str
    of: str
    items: int
    run: Callable[[], object]


def stages() -> Iterator[Stage]:
    """Yield every stage, ready to run."""
    yield from _codec()
    for type_ in _CODES:
        for order in BYTE_ORDERS[TYPES[type_].width]:
            yield _decode(type_, order, "1")
    yield _decode("int16", "AB", "0.1")
    yield _close()
    yield _kernel()
    yield _append()
    yield from _polling()


def _codec() -> Iterator[Stage]:
    request = modbus.ReadHoldingRegisters(0x4000, REGISTERS)
    reply = request.build_response(range(REGISTERS))
    frames = b"".join(modbus.build_mbap(number, 1, reply) for number in range(FRAMES))
    splitter = modbus.MbapSplitter()
    assert [modbus.parse_mbap(adu)[2] for adu in splitter.feed(frames)] == [reply] * FRAMES
    assert request.parse_response(reply) == tuple(range(REGISTERS))

    def build() -> None:
        for number in range(FRAMES):
            modbus.build_mbap(number, 1, modbus.ReadHoldingRegisters(0x4000, REGISTERS).pdu)

    def parse() -> None:
        for _ in range(FRAMES):
            request.parse_response(reply)

    yield Stage("codec.build", "request", FRAMES, build)
    yield Stage("codec.parse", "response of 90 registers", FRAMES, parse)
    yield Stage("codec.split", "frame", FRAMES, lambda: list(splitter.feed(frames)))


def _decode(type_: str, order: str, scale: str) -> Stage:
    size = TYPES[type_].width // 16
    points = {
        f"p{i}": Point(name=f"p{i}", address=size * i, type=type_, byte_order=order, scale=float(scale))
        for i in range(POINTS)
    }
    block = plan_blocks(Profile(name="t", points=points))[0]
    points_read = block.points
    values = [column_value(point) for point in points_read]
    table = Table(
        "t", [(p.name, v.kind, v.width) for p, v in zip(points_read, values, strict=True)], DEVICES,
        np.zeros((len(points_read), DEVICES), bool),
    )  # fmt: skip
    ops = np.array([point_op(p, block, c, 0) for c, p in enumerate(points_read)], OP).view(np.uint8)
    plain = struct.pack(f">{len(points_read)}{_CODES[type_]}", *range(1, len(points_read) + 1))
    width = 2 * size
    wire = b"".join(
        bytes(plain[at + "ABCDEFGH".index(letter)] for letter in order) for at in range(0, len(plain), width)
    )
    replies = np.tile(np.frombuffer(wire, np.uint8), (DEVICES, 1))
    rows, structs, none = (
        np.arange(DEVICES, dtype=np.int32),
        table.structs.view(np.uint8),
        np.zeros(0, np.uint64),
    )

    def run() -> Table:  # which owns the columns that `structs` points to
        decode_replies(ops, none, replies, structs, rows)
        return table

    run()
    assert [float(column[-1]) for column in table.values] == [
        n / 10 if scale == "0.1" else n for n in range(1, len(points_read) + 1)
    ]
    name = f"decode.{type_}.{order}" + (".scaled" if scale != "1" else "")
    return Stage(name, "value", DEVICES * len(points_read), run)


def _close() -> Stage:
    quality = np.zeros((POINTS, DEVICES), np.uint8)
    row_quality, valid = np.ones(DEVICES, np.uint8), np.zeros((POINTS, DEVICES), np.uint8)
    received, latency = np.full(DEVICES, 2_000_000, np.int64), np.zeros(DEVICES, np.float32)

    def run() -> None:
        close_rows(quality, row_quality, valid, received, 1_000_000, latency)

    run()
    assert not row_quality.any()
    assert valid.all()
    assert (latency == 1).all()
    return Stage("table.close", "cell", POINTS * DEVICES, run)


def _kernel() -> Stage:
    columns = make(10_000, 100)
    kernel, wanted = Kernel(columns), targets(columns, 8)

    def run() -> None:
        for row in wanted:
            columns.sites.target_kw[:] = row
            kernel.decide(DT_S)

    run()
    assert abs(columns.units.setpoint_kw.sum()) > 0
    return Stage("control.kernel", "unit", 10_000 * len(wanted), run)


def _append() -> Stage:
    points = [Column(f"p{i}", "float32") for i in range(POINTS)]
    ids = [f"d{n}" for n in range(DEVICES)]
    ticks = Ticks(Layout(Dataset("t", ["site"] * DEVICES, ids, points), 8))
    latency, quality = np.zeros(DEVICES, np.float32), np.zeros(DEVICES, np.uint8)
    values, valid = [np.ones(DEVICES, np.float32)] * POINTS, np.ones((POINTS, DEVICES), np.uint8)

    def run() -> None:
        ticks.count = 0
        for tick in range(8):
            ticks.append(tick, latency, quality, values, valid)

    run()
    assert ticks.to_message().size > 8 * POINTS * DEVICES
    return Stage("log.append", "reading", 8 * POINTS * DEVICES, run)


def _polling() -> Iterator[Stage]:
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
