import numpy as np
import pytest

from fluxfast.plan import structs
from fluxfast.table import COLUMN, Table, quality
from fluxfast.table.decode import struct_sizes
from fluxfast.table.table import NEVER_NS


def test_struct_layouts_agree_with_c():
    assert struct_sizes() == (structs.OP.itemsize, COLUMN.itemsize)


def make(codes, absent=None):
    codes = np.array(codes, np.uint8)
    table = Table("t", [(f"c{i}", 0, 8) for i in range(codes.shape[0])], codes.shape[1], absent)
    table.quality[:] = codes
    table.received_ns[:] = 3_500_000
    table.close(1_000_000)
    return table


G, L, T, N, A = quality.GOOD, quality.LATE, quality.TIMEOUT, quality.NAN, quality.ABSENT


@pytest.mark.parametrize(
    ("cells", "row", "name", "why"),
    [
        ([G, G], G, "good", None),
        ([G, L], L, "uncertain", "late"),
        ([T, T], T, "bad", "timeout"),
        ([N, T], T, "bad", "timeout"),
        ([G, T], T | quality.PARTIAL, "uncertain", "timeout"),
        ([L, N], N | quality.PARTIAL, "uncertain", "not a number"),
        ([A, G], G, "good", None),
        ([A, T], T, "bad", "timeout"),
        ([A, L], L, "uncertain", "late"),
    ],
)
def test_a_row_is_as_good_as_its_cells(cells, row, name, why):
    table = make([[c] for c in cells], np.zeros((len(cells), 1), bool))
    assert table.row_quality[0] == row
    assert quality.quality_name(row) == name
    assert quality.reason(row) == why
    assert table.valid[:, 0].tolist() == [c < quality.BAD for c in cells]
    np.testing.assert_equal(table.latency_ms[0], np.nan if name == "bad" else 2.5)


def test_rows_are_summed_up_each_for_itself_however_many_there_are():
    codes = np.random.default_rng(1).choice([G, L, T, N, A], (3, 1000))
    together = make(codes, codes == A)
    for row in range(1000):
        alone = make(codes[:, [row]], codes[:, [row]] == A)
        assert together.row_quality[row] == alone.row_quality[0]
        assert (together.valid[:, row] == alone.valid[:, 0]).all()
        np.testing.assert_equal(together.latency_ms[row], alone.latency_ms[0])


def test_a_new_table_was_never_read():
    table = Table("t", [("a", 2, 8), ("b", 5, 4)], 3, np.array([[0, 0, 0], [0, 1, 0]], bool))
    table.close(0)
    assert {quality.reason(c) for c in table.row_quality} == {"never read"}
    assert not table.valid.any()
    assert table["b"].dtype == np.dtype("S4")


def test_each_cell_is_as_old_as_the_request_that_it_answered():
    """Two variants: in the second, column c does not exist and a is read by another block."""
    absent = np.array([[0, 0, 0], [0, 0, 0], [0, 1, 0]], bool)
    slots = np.array([[0, 1], [1, 1], [0, -1]], np.int16)
    columns = [(name, 2, 8) for name in "abc"]
    table = Table("t", columns, 3, absent, slots, np.array([0, 1, 0], np.int32))
    assert table.requested_ns.shape == table.received_ns.shape == (2, 3)
    table.requested_ns[:] = [[100, 200, 0], [400, 500, 600]]
    never = NEVER_NS
    assert table.age_ns("a", 1000).tolist() == [900, 500, never]
    assert table.age_ns("b", 1000).tolist() == [600, 500, 400]
    assert table.age_ns("c", 1000).tolist() == [900, never, never]


def test_without_variants_a_column_s_age_is_its_slot_s():
    slots = np.array([[1], [0], [-1]], np.int16)
    table = Table("t", [(name, 2, 8) for name in "abc"], 2, np.zeros((3, 2), bool), slots)
    table.requested_ns[:] = [[100, 0], [300, 400]]
    assert table.age_ns("a", 1000).tolist() == [700, 600]
    assert table.age_ns("b", 1000).tolist() == [900, NEVER_NS]
    assert table.age_ns("c", 1000).tolist() == [NEVER_NS, NEVER_NS]


def test_exception_codes_have_the_specifications_names():
    assert quality.reason(quality.EXCEPTION + 2) == "exception 2 illegal data address"
    assert quality.reason(quality.EXCEPTION + 11) == "exception 11 gateway target device failed to respond"
    assert quality.reason(quality.EXCEPTION) == "unknown exception"


def answered(slots, codes, received_ns, variant=None):
    """A table that was read at these times; rows x columns of ``codes`` say what became of it."""
    codes = np.array(codes, np.uint8).T
    columns = [(f"c{i}", 0, 8) for i in range(len(codes))]
    variant = None if variant is None else np.array(variant, np.int32)
    table = Table("t", columns, codes.shape[1], codes == A, np.array(slots, np.int16), variant)
    table.quality[:] = codes
    table.received_ns[:] = received_ns
    table.close(10_000_000)
    return table


def samples(table):
    return [
        [float(ms) if valid else None for ms, valid in zip(*block, strict=True)]
        for block in zip(table.samples.ms, table.samples.valid, strict=True)
    ]


def test_each_block_has_the_time_of_its_answer():
    received_ns = [[13_512_345, 10_000_000], [9_000_000, 0]]
    table = answered([[0], [0], [1]], [[G, T, L], [T, T, T]], received_ns)
    assert samples(table) == [[np.float32(3.5), None], [-1.0, None]]
    assert len(table.logged) == len(table.logged_valid) == 5
    assert table.logged[0].dtype == np.float32
    assert table.logged[2] is table["c0"]
    assert (table.logged_valid[2:] == table.valid).all()


def test_blocks_of_other_variants_have_other_columns():
    slots = [[0, 1], [1, 0], [1, -1]]
    table = answered(
        slots, [[G, T, T], [G, T, A], [T, G, G]], [[11_000_000] * 3, [12_000_000] * 3], [0, 1, 0]
    )
    assert samples(table) == [[1.0, None, None], [None, 2.0, 2.0]]


def test_columns_that_are_not_neighbours_share_their_block():
    table = answered([[0], [1], [0]], [[T, G, G], [G, T, T]], [[11_000_000] * 2, [12_000_000] * 2])
    assert samples(table) == [[1.0, 1.0], [2.0, None]]


def test_the_time_of_a_single_block_is_its_rows():
    table = answered([[0], [0]], [[G, G]], [[11_000_000]])
    assert len(table.logged) == 2
    assert table.samples.ms.size == 0
