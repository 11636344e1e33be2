"""Ticks as messages: what goes in comes out of Arrow's own reader, whatever the types, and how many ticks."""

import numpy as np
import pyarrow as pa
import pytest

from fluxfast.log import Column, Dataset, batches
from fluxfast.log.block import Layout, Ticks
from fluxfast.log.gather import gather, pack

TYPES = ["float64", "float32", "int64", "uint64", "bool", "S5", "S8"]


def dataset(rows, types=TYPES):
    columns = [Column(f"c{c}", dtype) for c, dtype in enumerate(types)]
    return Dataset("d", ["s"] * rows, [f"d{row}" for row in range(rows)], columns)


def tick(of, rng):
    """Return (latency_ms, quality, values, valid); a third of the columns has no nulls."""
    values = [
        rng.integers(0, 2 if column.dtype == "bool" else 1000, of.rows).astype(column.dtype)
        for column in of.columns
    ]
    valid = rng.integers(0, 2, (len(values), of.rows), np.uint8) | (rng.random((len(values), 1)) < 1 / 3)
    return rng.random(of.rows, "f4"), rng.integers(0, 200, of.rows, np.uint8), values, valid


def expected(ticks, column):
    return [
        value if there else None
        for _, _, values, valid in ticks
        for value, there in zip(values[column].tolist(), valid[column].tolist(), strict=True)
    ]


@pytest.mark.parametrize("rows", [0, 1, 3, 8, 500])
@pytest.mark.parametrize("types", [TYPES, ["bool"], []])
def test_arrow_reads_what_was_put_in(rows, types):
    of, rng = dataset(rows, types), np.random.default_rng(rows)
    held = Ticks(Layout(of, 5))
    for n in (5, 1, 4, 5):  # what an earlier block has left is not seen
        held.count = 0
        ticks = [tick(of, rng) for _ in range(n)]
        for k, one in enumerate(ticks):
            held.append(k, *one)
        assert held.rows == n * rows
        assert held.is_full == (n == 5)
        batch = pa.ipc.read_record_batch(held.to_message(), batches.schema(of))
        batch.validate(full=True)
        assert batch["time"].cast(pa.int64()).to_pylist() == [k for k in range(n) for _ in range(rows)]
        assert batch["latency_ms"].to_pylist() == [ms for one in ticks for ms in one[0].tolist()]
        assert batch["quality"].to_pylist() == [code for one in ticks for code in one[1].tolist()]
        for c, column in enumerate(of.columns, batches.FIRST_COLUMN):
            wanted = expected(ticks, c - batches.FIRST_COLUMN)
            read = batch.column(c).to_pylist()
            if column.dtype.startswith("S"):
                read = [text if text is None else text.rstrip(b"\0") for text in read]
            assert read == wanted
            assert batch.column(c).null_count == wanted.count(None)


def test_what_an_earlier_block_has_left_is_not_written_again():
    of = dataset(8, ["float64"])
    held = Ticks(Layout(of, 2))
    ones = np.ones(8, "f4"), np.ones(8, "u1"), [np.full(8, 1234.5)], np.ones((1, 8), "u1")
    held.append(1, *ones)
    held.append(1, *ones)
    assert held.to_message().to_pybytes().count(np.float64(1234.5).tobytes()) == 16
    held.count = 0
    held.append(1, *ones)
    assert held.to_message().to_pybytes().count(np.float64(1234.5).tobytes()) == 8


def test_other_types_of_the_same_kind_and_strides_are_taken():
    of, held = dataset(3, ["float64", "bool"]), Ticks(Layout(dataset(3, ["float64", "bool"]), 1))
    values = [np.arange(6, dtype=np.float32)[::2], np.array([0, 7, 0])]
    held.append(0, np.zeros(3, "f4"), np.zeros(3, "u1"), values, np.asfortranarray(np.ones((2, 3), bool)))
    batch = pa.ipc.read_record_batch(held.to_message(), batches.schema(of))
    assert batch.column(3).to_pylist() == [0.0, 2.0, 4.0]
    assert batch.column(4).to_pylist() == [False, True, False]
    with pytest.raises(TypeError, match="same_kind"):
        held.append(0, np.zeros(3, "f4"), np.zeros(3), values, np.ones((2, 3), bool))


def test_strided_values_of_the_right_type_are_taken():
    held = Ticks(Layout(dataset(3, ["float64"]), 1))
    held.append(0, np.zeros(3, "f4"), np.zeros(3, "u1"), [np.arange(6.0)[::2]], np.ones((1, 3), "u1"))
    batch = pa.ipc.read_record_batch(held.to_message(), batches.schema(dataset(3, ["float64"])))
    assert batch.column(3).to_pylist() == [0.0, 2.0, 4.0]


def test_nothing_is_copied_outside_of_the_memory():
    memory, one, of = np.zeros(64, "u1"), np.ones(8, "u1"), [np.dtype("u1")]
    with pytest.raises(IndexError, match="tick 8"):
        gather(memory, np.array([[0, 1, 8, 0]]), of, 8, [one])
    with pytest.raises(IndexError, match="tick 0"):
        gather(memory, np.array([[-8, 1, 8, 0]]), of, 0, [one])
    with pytest.raises(ValueError, match="2 arrays, not 1"):
        gather(memory, np.array([[0, 1, 8, 0]] * 2), of * 2, 0, [one])
    assert not gather(memory, np.array([[0, 2, 4, 4]]), of, 0, [np.ones((4, 2), "u1").T])
    assert not gather(memory, np.array([[0, 1, 8, 0]]), of, 0, [one.astype(bool)])
    for packing in ([60, 0, -1], [0, 64, -1], [0, 0, 60], [-1, 0, -1]):
        with pytest.raises(IndexError, match="packing 0"):
            pack(memory, np.array([packing]), 8)
    assert not memory.any()
