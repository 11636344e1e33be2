"""PartEncoder: what goes in comes out, in every reader, whatever the encodings."""

import io
import math
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxfast.log import encoder
from fluxfast.log.dataset import ARROW_TYPES, TEXT
from fluxfast.log.encoder import PartEncoder

TIME = pa.timestamp("us", tz="UTC")
NOON_US = 1_790_000_000_000_000
RNG = np.random.default_rng(5)
N = 1600
VALUES = {
    "constant": pa.array([230.1] * N, pa.float64()),
    "few": pa.array(RNG.integers(-100, 100, N) / 10, pa.float64()),
    "many": pa.array(np.round(RNG.normal(0, 500, N)) / 10, pa.float64()),
    "noise": pa.array(RNG.normal(0, 1, N), pa.float64()),
    "noise32": pa.array(RNG.normal(0, 1, N).astype(np.float32)),
    "float32": pa.array(RNG.integers(0, 999, N).astype(np.float32)),
    "specials": pa.array([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e300, None] * (N // 8)),
    "nan_only": pa.array([math.nan] * N, pa.float64()),
    "null_only": pa.array([None] * N, pa.float64()),
    "counter": pa.array(np.cumsum(RNG.integers(0, 9, N)) + 2**62, pa.int64()),
    "random": pa.array(RNG.integers(-(2**63), 2**63 - 1, N), pa.int64()),
    "unsigned": pa.array([0, 2**64 - 1, 2**63, 7] * (N // 4), pa.uint64()),
    "bool": pa.array(RNG.random(N) < 0.3),
    "text": pa.array(RNG.choice(["", "Süd", "PP-1"], N).tolist()).cast(TEXT),
    "texts": pa.array([f"text {i % 700}" for i in range(N)]).cast(TEXT),
    "time": pa.array(np.arange(N) % 600 * 1_000_000 + NOON_US, TIME),
}


def with_nulls(column):
    return pa.array([v if i % 7 else None for i, v in enumerate(column.to_pylist())], column.type)


def encode(table, device_rows=None):
    return PartEncoder(table.schema).encode(table, device_rows or [table.num_rows])


def read(data):
    return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()


def bits(column):
    """Return values that compare by their bits; nulls are None."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_floating(column.type):
        column = column.view(pa.int64() if column.type == pa.float64() else pa.int32())
    return column.to_pylist()


@pytest.mark.parametrize("rows", [1, 7, N])
@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("name", VALUES)
def test_every_bit_comes_back(name, nulls, rows):
    column = VALUES[name].slice(0, rows)
    table = pa.table({"x": with_nulls(column) if nulls else column})
    back = read(encode(table))
    assert back.schema == table.schema
    assert bits(back["x"]) == bits(table["x"])


def test_columns_that_cannot_be_null():
    schema = pa.schema([pa.field(name, column.type, False) for name, column in VALUES.items()])
    table = pa.table({n: c if c.null_count == 0 else c.fill_null(1.0) for n, c in VALUES.items()}).cast(
        schema
    )
    back = read(encode(table))
    assert back.schema == schema
    assert all(bits(back[name]) == bits(table[name]) for name in VALUES)


def test_slices_and_chunks_of_any_offset():
    table = pa.table({name: with_nulls(column) for name, column in VALUES.items()})
    table = pa.concat_tables([table.slice(3, 500), table.slice(513, 998), table.slice(5, 1)])
    back = read(encode(table, [501, 300, 698]))
    assert all(bits(back[name]) == bits(table[name]) for name in VALUES)


def test_an_empty_table_is_a_file_with_its_schema():
    table = pa.table(VALUES).slice(0, 0).replace_schema_metadata({"dataset": "d"})
    back = read(encode(table, []))
    assert back.num_rows == 0
    assert back.schema.equals(table.schema, check_metadata=True)


def test_metadata_of_fields_and_file_is_there():
    schema = pa.schema([pa.field("x", pa.float64(), True, {"unit": "W"})], {"dataset": "d"})
    data = encode(pa.table({"x": [1.0]}, schema))
    assert read(data).schema.equals(schema, check_metadata=True)
    assert pq.read_metadata(pa.BufferReader(data)).metadata[b"dataset"] == b"d"


def test_row_groups_hold_whole_devices(monkeypatch):
    monkeypatch.setattr(encoder, "GROUP_ROWS", 1000)
    device_rows = [400, 500, 1, 3000, 99]
    table = pa.table({"device": pa.array(np.repeat(list("abcde"), device_rows)).cast(TEXT)})
    data = encode(table, device_rows)
    meta = pq.read_metadata(pa.BufferReader(data))
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    assert [group.num_rows for group in groups] == [901, 3000, 99]
    spans = [group.column(0).statistics for group in groups]
    assert [(span.min, span.max) for span in spans] == [("a", "c"), ("d", "d"), ("e", "e")]
    assert read(data).to_pylist() == table.to_pylist()


def test_statistics_and_page_index():
    table = pa.table(VALUES)
    meta = pq.read_metadata(pa.BufferReader(encode(table)))
    chunks = {
        meta.row_group(0).column(i).path_in_schema: meta.row_group(0).column(i) for i in range(len(VALUES))
    }
    assert all(c.has_offset_index for c in chunks.values())
    assert not chunks["nan_only"].has_column_index
    assert all(c.has_column_index for name, c in chunks.items() if name != "nan_only")
    many = chunks["many"].statistics
    assert (many.min, many.max, many.null_count) == (*np.sort(VALUES["many"])[[0, -1]], 0)
    specials = chunks["specials"].statistics
    assert (specials.min, specials.max, specials.null_count) == (-math.inf, math.inf, N // 8)
    assert (chunks["unsigned"].statistics.min, chunks["unsigned"].statistics.max) == (0, 2**64 - 1)
    assert chunks["time"].statistics.max == datetime.fromtimestamp(NOON_US / 1e6 + 599, UTC)


def test_zeros_of_statistics_have_both_signs():
    # A reader that looks for 0.0 must not skip a -0.0, nor the other way round.
    data = encode(pa.table({"x": [0.0], "y": [-0.0]}))
    group = pq.read_metadata(pa.BufferReader(data)).row_group(0)
    for i in range(2):
        stats = group.column(i).statistics
        assert (math.copysign(1, stats.min), math.copysign(1, stats.max)) == (-1, 1)


def test_pages_have_checksums():
    table = pa.table(VALUES)
    data = bytearray(encode(table).to_pybytes())
    meta = pq.read_metadata(io.BytesIO(data))
    for i in range(len(VALUES)):
        column = meta.row_group(0).column(i)
        broken = bytearray(data)
        broken[column.data_page_offset + column.total_compressed_size // 2] ^= 1
        if column.has_dictionary_page:
            end = column.dictionary_page_offset + column.total_compressed_size
            broken = bytearray(data)
            broken[end - 1] ^= 1
        with pytest.raises((OSError, pa.ArrowInvalid)):
            read(pa.py_buffer(broken))


@pytest.mark.parametrize("with_null", [False, True])
def test_other_readers_see_the_same(tmp_path, with_null):
    table = pa.table({name: with_nulls(c) if with_null else c for name, c in VALUES.items()})
    path = tmp_path / "part.parquet"
    path.write_bytes(encode(table))
    with duckdb.connect() as db:
        columns = db.sql(f"SELECT * REPLACE (epoch_us(time) AS time) FROM '{path}'").to_arrow_table()
    for name in VALUES:
        assert bits(columns[name]) == bits(table[name].cast(pa.int64()) if name == "time" else table[name])
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(path)
    for name in VALUES:
        assert bits(frame[name].to_arrow()) == bits(table[name])


def test_every_type_of_a_dataset_is_tried():
    assert {column.type for column in VALUES.values()} >= {*ARROW_TYPES.values(), TEXT, TIME}


def test_what_the_first_part_settles_stays():
    schema = pa.schema([pa.field("x", pa.float64())])
    parts = PartEncoder(schema)

    def encodings(column):
        table = pa.table({"x": column})
        data = parts.encode(table, [table.num_rows])
        assert read(data) == table
        return set(pq.read_metadata(pa.BufferReader(data)).row_group(0).column(0).encodings)

    assert "BYTE_STREAM_SPLIT" in encodings(VALUES["noise"])
    assert "BYTE_STREAM_SPLIT" in encodings(VALUES["few"])
