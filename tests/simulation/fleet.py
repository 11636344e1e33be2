"""A random fleet for one schedule, and the arrays that make a Reactor of it.

A point is a uint64 in four registers that says whose it is and when it was read out:

    | unit, 12 bits | function code, 4 | address, 16 | moment, 32 |

``moment`` counts what the devices of this world have carried out. So a value in a column proves by itself
which request it answers.
"""

import random
from dataclasses import dataclass, field

import numpy as np

from fluxfast.link.reactor import Reactor
from fluxfast.plan import structs
from fluxfast.plan.program import find_runs
from fluxfast.table import quality
from fluxfast.table.table import COLUMN

MS = 1_000_000
LINK_FIELDS = [
    "request_gap_ns", "connect_delay_ns", "timeout_ns", "first_block", "n_blocks", "n_units", "max_in_flight",
    "phase_ns",
]  # fmt: skip
WIDTH = 4  # registers of a point
MAX_POINTS = 12  # of a unit
CALLS_FROM = 2000  # addresses below are the plan's, those from here on the calls': 20 for each slot
CALL_ROOM = 20


@dataclass(slots=True, eq=False)
class Block:
    unit: "Unit"
    function_code: int
    address: int
    quantity: int
    points: list[int]
    every: int
    phase: int
    due_ns: int = -1  # when the newest tick began whose turn it was
    asked: tuple[int, int] = (0, 0)  # the link's reads and timeouts when it was asked for


@dataclass(slots=True, eq=False)
class Unit:
    number: int  # its row
    link: int
    unit_id: int
    retry_count: int
    timeout_ns: int
    blocks: list[Block] = field(default_factory=list)

    def tag(self, function_code: int, address: int) -> int:
        return self.number << 52 | function_code << 48 | address << 32


@dataclass(slots=True, eq=False)
class Link:
    number: int
    request_gap_ns: int
    connect_delay_ns: int
    timeout_ns: int
    max_in_flight: int
    phase_ns: int = 0
    units: list[Unit] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Fleet:
    links: list[Link]
    units: list[Unit]
    column: dict[tuple[int, int, int], int]  # (unit, function code, address) of a point: its cell
    n_points: int


def make_fleet(rng: random.Random) -> Fleet:
    links, units, column = [], [], {}
    n_points = 0
    for number in range(rng.choice((1, 1, 1, 2, 3))):
        timeout_ns = rng.randrange(40, 400) * MS
        link = Link(
            number,
            rng.choice((0, 0, 0, rng.randrange(1, 20))) * MS,
            rng.choice((0, 0, 0, rng.randrange(1, 100))) * MS,
            timeout_ns,
            rng.choice((1, 1, 2, 4, 16)),
        )
        for unit_id in rng.sample(range(248), rng.choice((1, 1, 2, 3, 5))):
            own = timeout_ns if rng.random() < 0.8 else rng.randrange(30, timeout_ns // MS + 1) * MS
            unit = Unit(len(units), number, unit_id, rng.choice((0, 1, 3)), own)
            index = 0
            for b in range(rng.choice((1, 1, 2, 3))):
                function_code = rng.choice((3, 3, 4))
                address = 100 * b + rng.randrange(20)
                points = []
                at = address
                for _ in range(rng.choice((1, 1, 2, 4))):
                    points.append(at)
                    column[unit.number, function_code, at] = index
                    index += 1
                    at += WIDTH + rng.choice((0, 0, 3))
                every = rng.choice((1, 1, 1, 2, 5))
                unit.blocks.append(
                    Block(
                        unit, function_code, address, points[-1] + WIDTH - address, points, every,
                        rng.randrange(every),
                    )
                )  # fmt: skip
            n_points = max(n_points, index)
            link.units.append(unit)
            units.append(unit)
        links.append(link)
    for link, phase_ns in zip(
        links, sorted(rng.choice((0, 0, rng.randrange(200))) * MS for _ in links), strict=True
    ):
        link.phase_ns = phase_ns
    cells = {key: index * len(units) + key[0] for key, index in column.items()}
    return Fleet(links, units, cells, n_points)


class Columns:
    """The cells: ``values`` and ``quality`` have shape [points, units], flat."""

    def __init__(self, fleet: Fleet) -> None:
        points, rows = fleet.n_points, len(fleet.units)
        self.values = np.zeros(points * rows, np.uint64)
        self.quality = np.full(points * rows, quality.NEVER, np.uint8)
        # By the unit's blocks: when what was answered had been asked for, and when the answer came.
        slots = max(len(unit.blocks) for unit in fleet.units)
        self.requested_ns = np.zeros(slots * rows, np.int64)
        self.received_ns = np.zeros(slots * rows, np.int64)
        self.times = np.array([self.requested_ns.ctypes.data, self.received_ns.ctypes.data, rows], np.uint64)
        self.structs = np.array(
            [
                (self.values.ctypes.data + 8 * rows * p, self.quality.ctypes.data + rows * p, 3, 8)
                for p in range(points)
            ],
            COLUMN,
        )


def make_reactor(
    fleet: Fleet, columns: Columns, connects_per_s: float, probe_interval_ns: int, seed: int, n_calls: int
) -> Reactor:
    links, units, blocks, ops = [], [], [], []
    for link in fleet.links:
        first = len(blocks)
        for unit in link.units:
            units.append((link.number, len(blocks), len(unit.blocks), unit.retry_count))
            for slot, block in enumerate(unit.blocks):
                first_op = len(ops)
                for point in block.points:
                    index = fleet.column[unit.number, block.function_code, point] // len(fleet.units)
                    ops.append(
                        (index, 2 * (point - block.address), 2 * WIDTH, structs.UINT, 0, 0, 0, 0, 0, 1, 0,
                         0, 1, 0, 1, -np.inf, np.inf)
                    )  # fmt: skip
                blocks.append(
                    (unit.timeout_ns, unit.number, 0, unit.number, first_op, len(block.points), block.every,
                     block.phase, block.address, block.quantity, unit.unit_id, block.function_code,
                     (unit.unit_id, unit.unit_id), slot)
                )  # fmt: skip
        links.append(
            (link.request_gap_ns, link.connect_delay_ns, link.timeout_ns, first, len(blocks) - first,
             len(link.units), link.max_in_flight, link.phase_ns)
        )  # fmt: skip
    program = np.array(ops, structs.OP)
    find_runs(program, columns.structs["kind"])
    plans = np.zeros(len(links), structs.LINK)  # whatever else a plan may ask of a link, this one does not
    plans[LINK_FIELDS] = np.array(links, plans[LINK_FIELDS].dtype)
    return Reactor(
        plans.view(np.uint8),
        np.array(units, structs.UNIT).view(np.uint8),
        np.array(blocks, structs.BLOCK).view(np.uint8),
        program.view(np.uint8),
        np.zeros(0, np.uint64),
        columns.structs.view(np.uint8),
        columns.times,
        columns,
        connects_per_s,
        probe_interval_ns,
        seed,
        n_calls,
    )
