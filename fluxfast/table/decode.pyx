"""The decode kernel: the data of read responses go in, cells of columns come out.

    data of one reply   | 09 C4 | 41 C8 00 00 | ...      op: source 2, size 4, float, column 7
                                  └─────────┘
    column 7            | ... | 25.0 | ...               values[row], quality[row]

Invariants: a reply's length was checked against its block before it comes here, so an op never reads past
it (plan/program.py never lets a point cross its block); a cell whose quality is bad keeps whatever value
it had, and readers look at the quality first. The Table owns the columns; nothing is allocated here.
"""

from libc.math cimport NAN, isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fluxfast.native.endian cimport load_u16, load_u32, load_u64
from fluxfast.native.half cimport half_to_double
from fluxfast.table.quality cimport (
    Q_ABSENT,
    Q_BAD,
    Q_GOOD,
    Q_NAN,
    Q_NOT_IMPLEMENTED,
    Q_PARTIAL,
    Q_RANGE,
)


cdef enum:
    ROWS_AT_ONCE = 256       # what close_rows keeps at hand
    EXPONENT32 = 0x7F800000  # all ones: infinite, or not a number


cdef inline uint64_t load_raw(const uint8_t *p, Py_ssize_t size, int swap) noexcept nogil:
    # `size` is 2, 4 or 8. First as in the usual order; then the bytes in each word, and the words, are turned
    # around as the order asks.
    cdef uint64_t raw = load_u32(p) if size == 4 else load_u16(p) if size == 2 else load_u64(p)
    if swap & SWAP_BYTES:
        raw = ((raw >> 8) & 0x00FF00FF00FF00FFULL) | ((raw & 0x00FF00FF00FF00FFULL) << 8)
    if swap & SWAP_WORDS:
        raw = ((raw >> 16) & 0x0000FFFF0000FFFFULL) | ((raw & 0x0000FFFF0000FFFFULL) << 16)
        if size == 8:
            raw = (raw >> 32) | (raw << 32)
    return raw


cdef inline double raw_to_double(uint64_t raw, int size) noexcept nogil:
    cdef uint32_t bits
    cdef float f
    cdef double d
    if size == 4:
        bits = <uint32_t>raw
        memcpy(&f, &bits, 4)
        return f
    if size == 8:
        memcpy(&d, &raw, 8)
        return d
    return half_to_double(<uint16_t>raw)


cdef inline int64_t sign_extend(uint64_t raw, int size) noexcept nogil:
    cdef int unused = 64 - 8 * size
    return (<int64_t>(raw << unused)) >> unused


cdef inline void decode_string(
    const Op *op, const uint8_t *data, uint8_t *out, Py_ssize_t width
) noexcept nogil:
    cdef Py_ssize_t i, flip = op.swap & SWAP_BYTES
    memset(out, 0, width)
    for i in range(op.size):
        out[i] = data[op.source + (i ^ flip)]
        if out[i] == 0:
            return


cdef uint8_t decode_value(
    const Op *op, const uint64_t *sentinels, const uint8_t *data, const Column *column,
    Py_ssize_t row,
) noexcept nogil:
    # Stores one value; returns Q_GOOD or what is wrong with it.
    cdef uint64_t raw
    cdef int64_t signed_raw = 0
    cdef double value
    cdef uint8_t *cell = (<uint8_t *>column.values) + row * column.width
    cdef Py_ssize_t i
    if op.raw == RAW_STRING:
        decode_string(op, data, cell, column.width)
        return Q_GOOD

    # (A bit goes on like a number: its column may be one, where another device has the point in a register.)
    if op.raw == RAW_BIT:
        raw = (data[op.source >> 3] >> (op.source & 7)) & 1
    else:
        raw = load_raw(data + op.source, op.size, op.swap)
    for i in range(op.n_sentinels):
        if sentinels[op.first_sentinel + i] == raw:
            return Q_NOT_IMPLEMENTED
    if op.mask:
        raw = (raw >> op.shift) & op.mask

    if op.raw == RAW_FLOAT:
        value = raw_to_double(raw, op.size)
        if not isfinite(value):
            return Q_NAN
    elif op.raw == RAW_INT:
        signed_raw = sign_extend(raw, op.size)
        value = <double>signed_raw
    else:
        signed_raw = <int64_t>raw
        value = <double>raw

    if op.scaled:
        value = (value * op.mul + op.add) / op.div
        if not isfinite(value):
            return Q_NAN
    if column.kind == VALUE_FLOAT64:
        (<double *>cell)[0] = value
    elif column.kind == VALUE_FLOAT32:
        (<float *>cell)[0] = <float>value
        if not isfinite((<float *>cell)[0]):
            return Q_NAN
    elif column.kind == VALUE_BOOL:
        cell[0] = raw != 0
    else:
        (<int64_t *>cell)[0] = signed_raw
    if value < op.low or value > op.high:
        return Q_RANGE
    return Q_GOOD


cdef inline uint8_t decode_plain(
    const Op *op, const uint8_t *data, const Column *column, Py_ssize_t row
) noexcept nogil:
    # What most points are: a raw value that is the value. Q_ABSENT: it is another kind.
    cdef uint64_t raw
    cdef uint8_t *cell = (<uint8_t *>column.values) + row * column.width
    if op.raw == RAW_FLOAT:
        if op.size != 4 or column.kind != VALUE_FLOAT32:
            return Q_ABSENT
        raw = load_raw(data + op.source, 4, op.swap)
        (<uint32_t *>cell)[0] = <uint32_t>raw
        return Q_NAN if (raw & EXPONENT32) == EXPONENT32 else Q_GOOD
    if op.raw > RAW_INT or column.kind < VALUE_INT64 or column.kind > VALUE_UINT64:
        return Q_ABSENT
    raw = load_raw(data + op.source, op.size, op.swap)
    (<int64_t *>cell)[0] = sign_extend(raw, op.size) if op.raw == RAW_INT else <int64_t>raw
    return Q_GOOD


cdef void decode_block(
    const Op *ops, Py_ssize_t n_ops, const uint64_t *sentinels, const uint8_t *data,
    const Column *columns, Py_ssize_t row, uint8_t quality,
) noexcept nogil:
    # `quality` is what the whole reply is worth (good, or late); a value's own defect weighs more.
    cdef const Op *op
    cdef const Column *column
    cdef uint8_t own
    cdef Py_ssize_t i
    for i in range(n_ops):
        op = &ops[i]
        column = &columns[op.column]
        own = decode_plain(op, data, column, row) if op.plain else Q_ABSENT
        if own == Q_ABSENT:
            own = decode_value(op, sentinels, data, column, row)
        (<uint8_t *>column.quality)[row] = max(own, quality)


cdef void mark_block(
    const Op *ops, Py_ssize_t n_ops, const Column *columns, Py_ssize_t row, uint8_t quality,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n_ops):
        (<uint8_t *>columns[ops[i].column].quality)[row] = quality


def decode_replies(
    const uint8_t[::1] ops, const uint64_t[::1] sentinels, const uint8_t[:, ::1] data,
    const uint8_t[::1] columns, const int32_t[::1] rows, int quality=Q_GOOD,
):
    """Decode n replies of one block shape, data[n, bytes], into rows[n] of the columns.

    ``ops`` and ``columns`` are the raw bytes of plan.program.OP and COLUMN arrays. The caller has made sure
    that every row exists and that every op lies inside a reply. This is the batch face of what the reactor
    calls for each reply.
    """
    cdef const Op *first_op = <const Op *>&ops[0]
    cdef const Column *first_column = <const Column *>&columns[0]
    cdef const uint64_t *first_sentinel = &sentinels[0] if sentinels.shape[0] else NULL
    cdef Py_ssize_t i, n_ops = ops.shape[0] // sizeof(Op)
    with nogil:
        for i in range(data.shape[0]):
            decode_block(
                first_op, n_ops, first_sentinel, &data[i, 0], first_column, rows[i], <uint8_t>quality
            )


cdef inline void close_column(
    const uint8_t *quality, uint8_t *valid, uint8_t *worst, uint8_t *best, Py_ssize_t n
) noexcept nogil:
    # Without branches, so that the compiler makes vectors of it.
    cdef Py_ssize_t r
    cdef uint8_t code, counted
    for r in range(n):
        code = quality[r]
        counted = Q_GOOD if code == Q_ABSENT else code
        valid[r] = code < Q_BAD
        worst[r] = max(worst[r], counted)
        best[r] = min(best[r], code)


def close_rows(
    const uint8_t[:, ::1] quality, uint8_t[::1] row_quality, uint8_t[:, ::1] valid,
    const int64_t[::1] received_ns, int64_t began_ns, float[::1] latency_ms,
):
    """Sum up quality[columns, rows]: row_quality[rows], and valid[columns, rows] as 0 or 1.

    A row is good if all its cells are, bad (with the worst reason) if none is usable, and otherwise
    uncertain for its worst cell's reason. Cells of points that a device does not have do not count.
    latency_ms[rows] is from began_ns to received_ns[rows]; of a bad row it is NaN, whatever came before.
    """
    cdef Py_ssize_t c, r, n, at = 0, n_columns = quality.shape[0], n_rows = quality.shape[1]
    cdef uint8_t worst[ROWS_AT_ONCE]
    cdef uint8_t best[ROWS_AT_ONCE]
    with nogil:
        while at < n_rows:
            n = min(<Py_ssize_t>ROWS_AT_ONCE, n_rows - at)
            memset(worst, Q_GOOD, sizeof(worst))
            memset(best, Q_ABSENT, sizeof(best))
            for c in range(n_columns):
                close_column(&quality[c, at], &valid[c, at], worst, best, n)
            for r in range(n):
                if worst[r] >= Q_BAD and best[r] < Q_BAD:
                    worst[r] |= Q_PARTIAL
                row_quality[at + r] = worst[r]
                latency_ms[at + r] = (
                    NAN if Q_BAD <= worst[r] < Q_PARTIAL else <float>((received_ns[at + r] - began_ns) / 1e6)
                )
            at += n
    return None


def struct_sizes():
    """Return sizeof(Op), sizeof(Column): what the NumPy dtypes of the plan must agree with."""
    return sizeof(Op), sizeof(Column)
