"""The decode kernel: the data of read responses go in, cells of columns come out.

    data of one reply   | 09 C4 | 41 C8 00 00 | ...      op: source 2, size 4, float, column 7
                                  └─────────┘
    column 7            | ... | 25.0 | ...               values[row], quality[row]

Ops that continue each other, in the reply as in the columns, are a run and decoded together; most replies
are a few runs. plan/program.py finds them.

Invariants: a reply's length was checked against its block before it comes here, so an op never reads past
it (plan/program.py never lets a point cross its block); the value of a cell whose quality is bad means
nothing, and readers look at the quality first. The Table owns the columns; nothing is allocated here.
"""

from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport NAN, isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fluxfast.native.endian cimport (
    load_u16,
    load_u16_le,
    load_u32,
    load_u32_le,
    load_u64,
    load_u64_le,
)
from fluxfast.native.half cimport float_of, half_to_double
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
    RUN = 128                # values that are decoded at once: all of a reply, but for bits
    EXPONENT32 = 0x7F800000  # all ones: infinite, or not a number


# A run is decoded in steps, each a loop over small arrays that compilers unroll or make vectors of:
#
#     data ─▶ raw[n] ─▶ number[n] ─▶ value[n] ─▶ cells        (what a kind of point does not need is left out)
#
# Whether any of its values may not be good is found out on the way; if so, `blame` says what each one is.

cdef inline void load_run(const Op *op, Py_ssize_t n, const uint8_t *data, uint64_t *raw) noexcept nogil:
    # The raw bits of n values.
    cdef const uint8_t *p = data + op.source
    cdef bint little = op.swap == SWAP_BYTES + SWAP_WORDS or (op.size == 2 and op.swap)
    cdef Py_ssize_t i
    if op.raw == RAW_BIT:
        for i in range(n):
            raw[i] = (data[(op.source + i) >> 3] >> ((op.source + i) & 7)) & 1
    elif op.size == 4:
        if little:
            for i in range(n):
                raw[i] = load_u32_le(p + 4 * i)
        else:
            for i in range(n):
                raw[i] = load_u32(p + 4 * i)
    elif op.size == 2:
        if little:
            for i in range(n):
                raw[i] = load_u16_le(p + 2 * i)
        else:
            for i in range(n):
                raw[i] = load_u16(p + 2 * i)
    elif little:
        for i in range(n):
            raw[i] = load_u64_le(p + 8 * i)
    else:
        for i in range(n):
            raw[i] = load_u64(p + 8 * i)
    if op.swap and not little:
        turn_run(op, n, raw)


cdef inline void turn_run(const Op *op, Py_ssize_t n, uint64_t *raw) noexcept nogil:
    # The bytes in each word, or the words of each value, are turned around.
    cdef Py_ssize_t i
    if op.swap == SWAP_BYTES:
        for i in range(n):
            raw[i] = ((raw[i] >> 8) & 0x00FF00FF00FF00FFULL) | ((raw[i] & 0x00FF00FF00FF00FFULL) << 8)
    elif op.size == 4:
        for i in range(n):
            raw[i] = (raw[i] >> 16) | ((raw[i] & 0xFFFF) << 16)
    else:
        for i in range(n):
            raw[i] = ((raw[i] >> 16) & 0x0000FFFF0000FFFFULL) | ((raw[i] & 0x0000FFFF0000FFFFULL) << 16)
            raw[i] = (raw[i] >> 32) | (raw[i] << 32)


cdef inline void number_run(const Op *op, Py_ssize_t n, const uint64_t *raw, int64_t *number) noexcept nogil:
    # Fields of bits taken out, signs extended.
    cdef uint64_t mask = op.mask if op.mask else ~<uint64_t>0
    cdef uint64_t sign = (<uint64_t>1) << (8 * op.size - 1) if op.raw == RAW_INT else 0
    cdef int shift = op.shift
    cdef Py_ssize_t i
    for i in range(n):
        number[i] = <int64_t>((((raw[i] >> shift) & mask) ^ sign) - sign)


cdef inline void value_run(
    const Op *op, Py_ssize_t n, const uint64_t *raw, const int64_t *number, double *value
) noexcept nogil:
    # In engineering units.
    cdef double mul = op.mul, add = op.add, div = op.div
    cdef Py_ssize_t i
    if op.raw == RAW_FLOAT:
        if op.size == 4:
            for i in range(n):
                value[i] = float_of(<uint32_t>raw[i])
        elif op.size == 8:
            memcpy(value, raw, n * sizeof(double))
        else:
            for i in range(n):
                value[i] = half_to_double(<uint16_t>raw[i])
    elif op.raw == RAW_UINT and op.size == 8:
        for i in range(n):
            value[i] = <double><uint64_t>number[i]
    else:
        for i in range(n):
            value[i] = <double>number[i]
    if op.scaled:
        for i in range(n):
            value[i] = (value[i] * mul + add) / div


cdef inline bint is_odd_run(
    const Op *op, Py_ssize_t n, const uint64_t *sentinels, const uint64_t *raw, const double *value,
    double largest
) noexcept nogil:
    # Whether any value may be something else than good.
    cdef double low = max(op.low, -largest), high = min(op.high, largest)
    cdef uint64_t sentinel
    cdef bint odd = False
    cdef Py_ssize_t i, k
    for i in range(n):
        odd |= not (low <= value[i] <= high)  # whatever is not finite, too
    for k in range(op.n_sentinels):
        sentinel = sentinels[op.first_sentinel + k]
        for i in range(n):
            odd |= raw[i] == sentinel
    return odd


cdef uint8_t blame(
    const Op *op, const uint64_t *sentinels, uint64_t raw, double value, int32_t kind
) noexcept nogil:
    # What is wrong with a value, or Q_GOOD.
    cdef Py_ssize_t k
    for k in range(op.n_sentinels):
        if sentinels[op.first_sentinel + k] == raw:
            return Q_NOT_IMPLEMENTED
    if not isfinite(<float>value if kind == VALUE_FLOAT32 else value):
        return Q_NAN
    return Q_GOOD if op.low <= value <= op.high else Q_RANGE


cdef inline void floats_run(
    const Op *op, Py_ssize_t n, const uint8_t *data, const Column *columns, Py_ssize_t row, uint8_t quality
) noexcept nogil:
    # What most values are, and so in one step: float32 that go into columns as they are.
    cdef const uint8_t *p = data + op.source
    cdef uint8_t not_a_number = max(Q_NAN, quality)
    cdef bint little = op.swap & SWAP_BYTES
    cdef int turn = 16 if op.swap == SWAP_BYTES or op.swap == SWAP_WORDS else 0
    cdef uint32_t bits
    cdef Py_ssize_t i
    for i in range(n):
        bits = load_u32_le(p + 4 * i) if little else load_u32(p + 4 * i)
        bits = bits << turn | bits >> (-turn & 31)
        (<uint32_t *>columns[i].values)[row] = bits
        (<uint8_t *>columns[i].quality)[row] = not_a_number if (bits & EXPONENT32) == EXPONENT32 else quality


cdef void decode_run(
    const Op *op, Py_ssize_t n, const uint64_t *sentinels, const uint8_t *data,
    const Column *columns, Py_ssize_t row, uint8_t quality,
) noexcept nogil:
    # `op` is the first of n that are alike, `columns` the first of theirs.
    cdef uint64_t raw[RUN]
    cdef int64_t whole[RUN]
    cdef int64_t *number = <int64_t *>raw
    cdef double value[RUN]
    cdef int32_t kind = columns.kind
    cdef uint8_t own
    cdef bint odd = False
    cdef Py_ssize_t i
    if op.plain and op.raw == RAW_FLOAT:
        floats_run(op, n, data, columns, row, quality)
        return
    load_run(op, n, data, raw)
    if op.raw == RAW_INT or op.mask:
        number = whole
        number_run(op, n, raw, number)
    if not op.plain:
        value_run(op, n, raw, number, value)
        odd = is_odd_run(op, n, sentinels, raw, value, FLT_MAX if kind == VALUE_FLOAT32 else DBL_MAX)
    if kind == VALUE_FLOAT64:
        for i in range(n):
            (<double *>columns[i].values)[row] = value[i]
            (<uint8_t *>columns[i].quality)[row] = quality
    elif kind == VALUE_FLOAT32:
        for i in range(n):
            (<float *>columns[i].values)[row] = <float>value[i]
            (<uint8_t *>columns[i].quality)[row] = quality
    elif kind == VALUE_BOOL:
        for i in range(n):
            (<uint8_t *>columns[i].values)[row] = number[i] != 0
            (<uint8_t *>columns[i].quality)[row] = quality
    else:
        for i in range(n):
            (<int64_t *>columns[i].values)[row] = number[i]
            (<uint8_t *>columns[i].quality)[row] = quality
    if odd:
        for i in range(n):
            own = blame(op, sentinels, raw[i], value[i], kind)
            (<uint8_t *>columns[i].quality)[row] = max(own, quality)


cdef void decode_single(
    const Op *op, const uint8_t *data, const Column *column, Py_ssize_t row, uint8_t quality
) noexcept nogil:
    # A whole number that stands alone and always is good: registers that are scattered, bits of status words.
    cdef uint64_t raw
    cdef int64_t number
    load_run(op, 1, data, &raw)
    number_run(op, 1, &raw, &number)
    if column.kind == VALUE_BOOL:
        (<uint8_t *>column.values)[row] = number != 0
    else:
        (<int64_t *>column.values)[row] = number
    (<uint8_t *>column.quality)[row] = quality


cdef void decode_string(
    const Op *op, const uint8_t *data, const Column *column, Py_ssize_t row, uint8_t quality
) noexcept nogil:
    cdef uint8_t *out = (<uint8_t *>column.values) + row * column.width
    cdef Py_ssize_t i, flip = op.swap & SWAP_BYTES
    (<uint8_t *>column.quality)[row] = quality
    memset(out, 0, column.width)
    for i in range(op.size):
        out[i] = data[op.source + (i ^ flip)]
        if out[i] == 0:
            return


cdef void decode_block(
    const Op *ops, Py_ssize_t n_ops, const uint64_t *sentinels, const uint8_t *data,
    const Column *columns, Py_ssize_t row, uint8_t quality,
) noexcept nogil:
    # `quality` is what the whole reply is worth (good, or late); a value's own defect weighs more.
    cdef const Op *op
    cdef Py_ssize_t n, i = 0
    while i < n_ops:
        op = &ops[i]
        n = min(1 + <Py_ssize_t>op.alike, min(n_ops - i, <Py_ssize_t>RUN))
        if op.raw == RAW_STRING:
            decode_string(op, data, &columns[op.column], row, quality)
        elif n == 1 and op.plain and op.raw != RAW_FLOAT:
            decode_single(op, data, &columns[op.column], row, quality)
        else:
            decode_run(op, n, sentinels, data, &columns[op.column], row, quality)
        i += n


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
