"""NumPy and texts to Arrow by their buffers: as pa.array does it, without what that imports."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxfast.log.arrays import primitive, texts, valid, values


@settings(deadline=None)
@given(st.lists(st.none() | st.text()))
def test_texts(given_texts):
    array = texts(given_texts)
    array.validate(full=True)
    assert array.to_pylist() == [None if t is None else t for t in given_texts]


def test_what_is_no_text_is_no_error():
    assert texts(["a\udcffb"]).to_pylist() == ["a?b"]


@pytest.mark.parametrize("type_", [pa.int64(), pa.float32(), pa.uint8(), pa.timestamp("us", tz="UTC")])
def test_numbers(type_):
    kinds = {pa.int64(): "i8", pa.float32(): "f4", pa.uint8(): "u1"}
    numbers = np.arange(17).astype(kinds.get(type_, "i8"))
    there = (np.arange(17) % 3).astype("u1")
    array = primitive(numbers, type_, there)
    array.validate(full=True)
    integers = array.view(pa.int64()) if pa.types.is_timestamp(type_) else array
    assert integers.to_pylist() == [k if k % 3 else None for k in range(17)]
    assert values(array, numbers.dtype).tolist() == numbers.tolist()
    assert np.array_equal(valid(array), there != 0)
    assert valid(primitive(numbers, type_)) is None
    assert valid(primitive(numbers, type_, np.ones(17, "u1"))) is None


LIFE = """
import sys
from dataclasses import replace
import numpy as np
from fluxfast.log import Words, events, rows
from fluxfast.log.block import Block, Layout
from tests.support import proved_log

dataset = proved_log.datasets()[0]
words = Words(["good"] * 256, [None] * 256)
block = Block([Layout(dataset, 1)])
ticks = np.zeros(6, np.int64), np.arange(6)
code, latency = np.zeros(6, "u1"), np.ones(6, "f4")
block.ticks[0].append(proved_log.FIRST_US, latency, code, proved_log.cells(0, *ticks), np.ones((6, 6), bool))
message = block.ticks[0].to_message()
events.to_table([events.to_message([events.Event(0, None, None, "kind", "text")])], "run")
[day] = rows.Rows(replace(dataset, words=words), "run").days([message])
assert day.ticks == 1
print("pandas" in sys.modules)
"""


def test_journal_and_rows_need_no_pandas():
    """Its import takes a second and more, wherever it is installed, in which no tick begins."""
    command = [sys.executable, "-c", LIFE]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")
