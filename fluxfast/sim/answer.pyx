"""What a Modbus server does with one request: judge it, read or write the device's image, answer.

In comes one request PDU, out goes one response PDU (MAP v1.1b3; section numbers beside each function)::

    +---------------+------ - -
    | function_code | data            1..253 bytes
    +---------------+------ - -

Invariants:

1. Nothing is read at or past ``end``; at most 253 bytes are written to ``out``.
2. A request is judged whole before a byte of the image changes, in the specification's order:
   function (exception 1), quantity and sizes (3), addresses (2), values (3).
3. The image belongs to NumPy (``image.py``). The server is the only one to write it while it serves; between
   two calls of ``serve`` the physics does, in the same thread.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fluxfast.native.endian cimport load_u16

cdef enum:
    ILLEGAL_FUNCTION = 1
    ILLEGAL_DATA_ADDRESS = 2
    ILLEGAL_DATA_VALUE = 3


cdef inline Py_ssize_t refuse(uint8_t *out, uint8_t function_code, uint8_t exception_code) noexcept nogil:
    out[0] = function_code | 0x80
    out[1] = exception_code
    return 2


cdef inline Py_ssize_t locate(
    const device_map *m, uint32_t table, uint32_t starting_address, uint32_t quantity
) noexcept nogil:
    # Offset in the row of a run of addresses, -1 when the device does not have all of them.
    cdef Py_ssize_t i
    cdef const segment *s
    for i in range(m.segment_count):
        s = m.segments + i
        if s.table == table and s.first <= starting_address and starting_address + quantity - 1 <= s.last:
            if table <= TABLE_DISCRETE:
                return s.offset + (starting_address - s.first)
            return s.offset + 2 * <Py_ssize_t>(starting_address - s.first)
    return -1


cdef inline double half_to_double(uint16_t half) noexcept nogil:
    # IEEE 754 binary16. Infinities and NaN become a NaN, which no limit lets through.
    cdef double value = half & 0x3FF
    cdef int exponent = (half >> 10) & 31
    if exponent == 31:
        return 0.0 / (value - value)
    if exponent:
        value += 1024
    else:
        exponent = 1
    while exponent > 25:
        value *= 2
        exponent -= 1
    while exponent < 25:
        value /= 2
        exponent += 1
    return -value if half & 0x8000 else value


cdef bint obeys(const write_rule *rule, uint64_t raw) noexcept nogil:
    # raw is the point's big-endian value, right-aligned.
    cdef double value
    cdef int64_t number
    cdef uint32_t bits_32
    cdef float single
    cdef int unused = 64 - 8 * <int>rule.size
    if rule.kind == KIND_FLOAT:
        if rule.size == 2:
            value = half_to_double(<uint16_t>raw)
        elif rule.size == 4:
            bits_32 = <uint32_t>raw
            memcpy(&single, &bits_32, 4)
            value = single
        else:
            memcpy(&value, &raw, 8)
        value = value * rule.scale + rule.shift_value
        return value >= rule.low and value <= rule.high
    raw = (raw >> rule.shift) & rule.mask
    number = <int64_t>raw
    if rule.kind == KIND_SIGNED:
        number = (<int64_t>(raw << unused)) >> unused
    value = <double>number if rule.kind == KIND_SIGNED else <double>raw
    value = value * rule.scale + rule.shift_value
    return value >= rule.low and value <= rule.high


cdef uint8_t check_write(
    const device_map *m, const uint8_t *row, Py_ssize_t offset, const uint8_t *data, Py_ssize_t size
) noexcept nogil:
    # The exception code that writing these bytes at that offset deserves, or 0.
    cdef Py_ssize_t i, at
    cdef uint32_t j
    cdef uint64_t raw
    cdef const write_rule *rule
    for i in range(offset, offset + size):
        if not m.writable[i]:
            return ILLEGAL_DATA_ADDRESS
    for i in range(m.rule_count):
        rule = m.rules + i
        if rule.offset >= offset + size or rule.offset + rule.size <= offset:
            continue
        raw = 0
        for j in range(rule.size):  # the point as it would be: new bytes where they fall, old ones beside
            at = rule.offset + rule.order[j]
            raw = (raw << 8) | (data[at - offset] if offset <= at < offset + size else row[at])
        if not obeys(rule, raw):
            return ILLEGAL_DATA_VALUE
    return 0


cdef Py_ssize_t read_bits(
    const device_map *m, const uint8_t *row, const uint8_t *pdu, const uint8_t *end, uint8_t *out
) noexcept nogil:
    # MAP 6.1, 6.2. The image has a byte for each bit; the response packs eight, the first one lowest.
    cdef uint8_t function_code = pdu[0]
    cdef uint32_t quantity, i
    cdef Py_ssize_t offset, byte_count
    if end - pdu != 5:
        return refuse(out, function_code, ILLEGAL_DATA_VALUE)
    quantity = load_u16(pdu + 3)
    if quantity < 1 or quantity > 2000 or quantity > m.max_bits:
        return refuse(out, function_code, ILLEGAL_DATA_VALUE)
    offset = locate(m, TABLE_COIL if function_code == 1 else TABLE_DISCRETE, load_u16(pdu + 1), quantity)
    if offset < 0:
        return refuse(out, function_code, ILLEGAL_DATA_ADDRESS)
    byte_count = (quantity + 7) // 8
    out[0] = function_code
    out[1] = <uint8_t>byte_count
    for i in range(<uint32_t>byte_count):
        out[2 + i] = 0
    for i in range(quantity):
        out[2 + (i >> 3)] |= <uint8_t>((row[offset + i] & 1) << (i & 7))
    return 2 + byte_count


cdef Py_ssize_t read_registers(
    const device_map *m, const uint8_t *row, const uint8_t *pdu, const uint8_t *end, uint8_t *out
) noexcept nogil:
    # MAP 6.3, 6.4. The image holds registers as they travel, so this is one copy.
    cdef uint8_t function_code = pdu[0]
    cdef uint32_t quantity
    cdef Py_ssize_t offset
    if end - pdu != 5:
        return refuse(out, function_code, ILLEGAL_DATA_VALUE)
    quantity = load_u16(pdu + 3)
    if quantity < 1 or quantity > 125 or quantity > m.max_registers:
        return refuse(out, function_code, ILLEGAL_DATA_VALUE)
    offset = locate(m, TABLE_HOLDING if function_code == 3 else TABLE_INPUT, load_u16(pdu + 1), quantity)
    if offset < 0:
        return refuse(out, function_code, ILLEGAL_DATA_ADDRESS)
    out[0] = function_code
    out[1] = <uint8_t>(2 * quantity)
    memcpy(out + 2, row + offset, 2 * quantity)
    return 2 + 2 * <Py_ssize_t>quantity


cdef Py_ssize_t write_single_coil(
    const device_map *m, uint8_t *row, const uint8_t *pdu, const uint8_t *end, uint8_t *out
) noexcept nogil:
    # MAP 6.5: only 0x0000 and 0xFF00 mean something.
    cdef uint16_t value
    cdef Py_ssize_t offset
    if end - pdu != 5:
        return refuse(out, pdu[0], ILLEGAL_DATA_VALUE)
    value = load_u16(pdu + 3)
    if value != 0 and value != 0xFF00:
        return refuse(out, pdu[0], ILLEGAL_DATA_VALUE)
    offset = locate(m, TABLE_COIL, load_u16(pdu + 1), 1)
    if offset < 0 or not m.writable[offset]:
        return refuse(out, pdu[0], ILLEGAL_DATA_ADDRESS)
    row[offset] = 1 if value else 0
    memcpy(out, pdu, 5)
    return 5


cdef Py_ssize_t write_multiple_coils(
    const device_map *m, uint8_t *row, const uint8_t *pdu, const uint8_t *end, uint8_t *out
) noexcept nogil:
    # MAP 6.11.
    cdef uint32_t quantity, i
    cdef Py_ssize_t offset
    if end - pdu < 6:
        return refuse(out, pdu[0], ILLEGAL_DATA_VALUE)
    quantity = load_u16(pdu + 3)
    if (
        quantity < 1 or quantity > 1968
        or pdu[5] != (quantity + 7) // 8 or end - pdu != 6 + <Py_ssize_t>pdu[5]
    ):
        return refuse(out, pdu[0], ILLEGAL_DATA_VALUE)
    offset = locate(m, TABLE_COIL, load_u16(pdu + 1), quantity)
    if offset < 0:
        return refuse(out, pdu[0], ILLEGAL_DATA_ADDRESS)
    for i in range(quantity):
        if not m.writable[offset + i]:
            return refuse(out, pdu[0], ILLEGAL_DATA_ADDRESS)
    for i in range(quantity):
        row[offset + i] = (pdu[6 + (i >> 3)] >> (i & 7)) & 1
    memcpy(out, pdu, 5)
    return 5


cdef Py_ssize_t write_single_register(
    const device_map *m, uint8_t *row, const uint8_t *pdu, const uint8_t *end, uint8_t *out
) noexcept nogil:
    # MAP 6.6.
    cdef Py_ssize_t offset
    cdef uint8_t code
    if m.flags & FLAG_NO_SINGLE_WRITE:
        return refuse(out, pdu[0], ILLEGAL_FUNCTION)
    if end - pdu != 5:
        return refuse(out, pdu[0], ILLEGAL_DATA_VALUE)
    offset = locate(m, TABLE_HOLDING, load_u16(pdu + 1), 1)
    if offset < 0:
        return refuse(out, pdu[0], ILLEGAL_DATA_ADDRESS)
    code = check_write(m, row, offset, pdu + 3, 2)
    if code:
        return refuse(out, pdu[0], code)
    memcpy(row + offset, pdu + 3, 2)
    memcpy(out, pdu, 5)
    return 5


cdef Py_ssize_t write_multiple_registers(
    const device_map *m, uint8_t *row, const uint8_t *pdu, const uint8_t *end, uint8_t *out
) noexcept nogil:
    # MAP 6.12.
    cdef uint32_t quantity
    cdef Py_ssize_t offset
    cdef uint8_t code
    if m.flags & FLAG_NO_MULTIPLE_WRITE:
        return refuse(out, pdu[0], ILLEGAL_FUNCTION)
    if end - pdu < 6:
        return refuse(out, pdu[0], ILLEGAL_DATA_VALUE)
    quantity = load_u16(pdu + 3)
    if quantity < 1 or quantity > 123 or pdu[5] != 2 * quantity or end - pdu != 6 + 2 * <Py_ssize_t>quantity:
        return refuse(out, pdu[0], ILLEGAL_DATA_VALUE)
    offset = locate(m, TABLE_HOLDING, load_u16(pdu + 1), quantity)
    if offset < 0:
        return refuse(out, pdu[0], ILLEGAL_DATA_ADDRESS)
    code = check_write(m, row, offset, pdu + 6, 2 * <Py_ssize_t>quantity)
    if code:
        return refuse(out, pdu[0], code)
    memcpy(row + offset, pdu + 6, 2 * quantity)
    memcpy(out, pdu, 5)
    return 5


cdef Py_ssize_t mask_write_register(
    const device_map *m, uint8_t *row, const uint8_t *pdu, const uint8_t *end, uint8_t *out
) noexcept nogil:
    # MAP 6.16: new = (old AND and_mask) OR (or_mask AND NOT and_mask).
    cdef Py_ssize_t offset
    cdef uint8_t code
    cdef uint8_t changed[2]
    cdef int i
    if end - pdu != 7:
        return refuse(out, pdu[0], ILLEGAL_DATA_VALUE)
    offset = locate(m, TABLE_HOLDING, load_u16(pdu + 1), 1)
    if offset < 0:
        return refuse(out, pdu[0], ILLEGAL_DATA_ADDRESS)
    for i in range(2):
        changed[i] = (row[offset + i] & pdu[3 + i]) | (pdu[5 + i] & ~pdu[3 + i])
    code = check_write(m, row, offset, changed, 2)
    if code:
        return refuse(out, pdu[0], code)
    memcpy(row + offset, changed, 2)
    memcpy(out, pdu, 7)
    return 7


cdef Py_ssize_t read_write_registers(
    const device_map *m, uint8_t *row, const uint8_t *pdu, const uint8_t *end, uint8_t *out
) noexcept nogil:
    # MAP 6.17: the write comes before the read.
    cdef uint32_t read_quantity, write_quantity
    cdef Py_ssize_t read_offset, write_offset
    cdef uint8_t code
    if end - pdu < 10:
        return refuse(out, pdu[0], ILLEGAL_DATA_VALUE)
    read_quantity = load_u16(pdu + 3)
    write_quantity = load_u16(pdu + 7)
    if (
        read_quantity < 1 or read_quantity > 125 or read_quantity > m.max_registers
        or write_quantity < 1 or write_quantity > 121
        or pdu[9] != 2 * write_quantity or end - pdu != 10 + 2 * <Py_ssize_t>write_quantity
    ):
        return refuse(out, pdu[0], ILLEGAL_DATA_VALUE)
    read_offset = locate(m, TABLE_HOLDING, load_u16(pdu + 1), read_quantity)
    write_offset = locate(m, TABLE_HOLDING, load_u16(pdu + 5), write_quantity)
    if read_offset < 0 or write_offset < 0:
        return refuse(out, pdu[0], ILLEGAL_DATA_ADDRESS)
    code = check_write(m, row, write_offset, pdu + 10, 2 * <Py_ssize_t>write_quantity)
    if code:
        return refuse(out, pdu[0], code)
    memcpy(row + write_offset, pdu + 10, 2 * write_quantity)
    out[0] = pdu[0]
    out[1] = <uint8_t>(2 * read_quantity)
    memcpy(out + 2, row + read_offset, 2 * read_quantity)
    return 2 + 2 * <Py_ssize_t>read_quantity


cdef Py_ssize_t identify(
    const device_map *m, const uint8_t *pdu, const uint8_t *end, uint8_t *out
) noexcept nogil:
    # MAP 6.21, conformity level 0x81: the three basic objects, as a stream or one alone. They fit into
    # one response (image.py sees to it), so nothing ever follows.
    cdef const uint8_t *object = m.identity
    cdef const uint8_t *objects_end = m.identity + m.identity_size
    cdef uint8_t wanted, count = 0
    cdef bint single
    cdef Py_ssize_t n = 7
    if end - pdu < 2 or pdu[1] != 0x0E:
        return refuse(out, pdu[0], ILLEGAL_FUNCTION)
    if end - pdu != 4 or pdu[2] < 1 or pdu[2] > 4:
        return refuse(out, pdu[0], ILLEGAL_DATA_VALUE)
    single = pdu[2] == 4
    wanted = pdu[3]
    if not single and wanted > 2:
        wanted = 0  # MAP: an unknown object restarts the stream
    while object < objects_end:
        if object[0] == wanted or (not single and object[0] > wanted):
            memcpy(out + n, object, 2 + object[1])
            n += 2 + object[1]
            count += 1
        object += 2 + object[1]
    if count == 0:
        return refuse(out, pdu[0], ILLEGAL_DATA_ADDRESS)
    out[0] = pdu[0]
    out[1] = 0x0E
    out[2] = pdu[2]
    out[3] = 0x81
    out[4] = 0
    out[5] = 0
    out[6] = count
    return n


cdef Py_ssize_t answer_pdu(
    const device_map *m, uint32_t row, const uint8_t *pdu, const uint8_t *end, uint8_t *out
) noexcept nogil:
    # The caller has cut the PDU out of a whole ADU, so it has its function code at least.
    cdef uint8_t *memory = m.image + <Py_ssize_t>row * m.row_size
    cdef uint8_t function_code = pdu[0]
    if function_code == 3 or function_code == 4:
        return read_registers(m, memory, pdu, end, out)
    if function_code == 1 or function_code == 2:
        return read_bits(m, memory, pdu, end, out)
    if function_code == 6:
        return write_single_register(m, memory, pdu, end, out)
    if function_code == 16:
        return write_multiple_registers(m, memory, pdu, end, out)
    if function_code == 5:
        return write_single_coil(m, memory, pdu, end, out)
    if function_code == 15:
        return write_multiple_coils(m, memory, pdu, end, out)
    if function_code == 22:
        return mask_write_register(m, memory, pdu, end, out)
    if function_code == 23:
        return read_write_registers(m, memory, pdu, end, out)
    if function_code == 43:
        return identify(m, pdu, end, out)
    return refuse(out, function_code & 0x7F, ILLEGAL_FUNCTION)
