"""500 replies of 30 float32 into a column each: the decoder beside a plain loop in C, NumPy and struct.

What it does not show: replies come from a link one by one, not side by side in memory.
"""

import struct

import numpy as np
import pytest
from floors import floors

from fluxfast.plan.blocks import plan_blocks
from fluxfast.plan.program import column_value, point_op
from fluxfast.plan.structs import OP
from fluxfast.profiles import Point, Profile
from fluxfast.table import Table, decode_replies

DEVICES, POINTS = 500, 30
DATA = np.random.default_rng(1).standard_normal((DEVICES, POINTS)).astype(">f4")


def fluxfast():
    points = {f"p{i}": Point(name=f"p{i}", address=2 * i, type="float32") for i in range(POINTS)}
    (block,) = plan_blocks(Profile(name="t", points=points))
    columns = [(p.name, column_value(p).kind, column_value(p).width) for p in block.points]
    table = Table("t", columns, DEVICES, np.zeros((POINTS, DEVICES), bool))
    ops = np.array([point_op(p, block, c, 0) for c, p in enumerate(block.points)], OP).view(np.uint8)
    replies, rows = DATA.view(np.uint8), np.arange(DEVICES, dtype=np.int32)
    structs, none = table.structs.view(np.uint8), np.zeros(0, np.uint64)

    def run():
        decode_replies(ops, none, replies, structs, rows)
        return table.values

    return run


def c_floor():
    columns = np.zeros((POINTS, DEVICES), np.float32)
    addresses = np.array([column.ctypes.data for column in columns], np.uint64)
    decode, replies, to = floors().floor_decode_float32, DATA.ctypes.data, addresses.ctypes.data

    def run():
        decode(replies, DEVICES, POINTS, to)
        return columns

    return run


def numpy():
    return lambda: DATA.astype(np.float32).T.copy()


def by_struct():
    replies = [row.tobytes() for row in DATA]
    return lambda: list(zip(*(struct.unpack(f">{POINTS}f", reply) for reply in replies), strict=True))


WAYS = {"C floor": c_floor, "fluxfast": fluxfast, "NumPy": numpy, "struct": by_struct}


@pytest.mark.parametrize("way", WAYS)
def test_decode(contend, way):
    columns = contend("decode/float32", way, DEVICES * POINTS, "value", WAYS[way]())
    np.testing.assert_array_equal(np.array(columns), DATA.T)
