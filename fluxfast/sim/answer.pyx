"""What a Modbus server does with one request: judge it, read or write the device's image, answer.

In comes one request PDU, out goes one response PDU (MAP v1.1b3; section numbers beside each function)::

    +---------------+------ - -
    | function_code | data            1..253 bytes
    +---------------+------ - -

Invariants:

1. Nothing is read at or past ``end``; at most 253 bytes are written to ``out``. ``check_request`` sees each
   PDU first, so that all others find every byte that its function code and counts promise.
2. A request is judged whole before a byte of the image changes, in the specification's order:
   function (exception 1), quantity and sizes (3), addresses (2), values (3).
3. The image belongs to NumPy (``image.py``). The server is the only one to write it while it serves; between
   two calls of ``serve`` the physics does, in the same thread.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fluxfast.modbus.constants cimport (
    FX_ILLEGAL_DATA_ADDRESS,
    FX_ILLEGAL_DATA_VALUE,
    FX_ILLEGAL_FUNCTION,
    FX_MASK_WRITE_REGISTER,
    FX_MEI_READ_DEVICE_IDENTIFICATION,
    FX_READ_COILS,
    FX_READ_DISCRETE_INPUTS,
    FX_READ_HOLDING_REGISTERS,
    FX_READ_INPUT_REGISTERS,
    FX_READ_WRITE_MULTIPLE_REGISTERS,
    FX_WRITE_MULTIPLE_COILS,
    FX_WRITE_MULTIPLE_REGISTERS,
    FX_WRITE_SINGLE_COIL,
    FX_WRITE_SINGLE_REGISTER,
)
from fluxfast.modbus.server cimport check_request
from fluxfast.native.endian cimport load_u16
from fluxfast.native.half cimport half_to_double


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
            return FX_ILLEGAL_DATA_ADDRESS
    for i in range(m.rule_count):
        rule = m.rules + i
        if rule.offset >= offset + size or rule.offset + rule.size <= offset:
            continue
        raw = 0
        for j in range(rule.size):  # the point as it would be: new bytes where they fall, old ones beside
            at = rule.offset + rule.order[j]
            raw = (raw << 8) | (data[at - offset] if offset <= at < offset + size else row[at])
        if not obeys(rule, raw):
            return FX_ILLEGAL_DATA_VALUE
    return 0


cdef Py_ssize_t read_bits(
    const device_map *m, const uint8_t *row, const uint8_t *pdu, uint8_t *out
) noexcept nogil:
    # MAP 6.1, 6.2. The image has a byte for each bit; the response packs eight, the first one lowest.
    cdef uint8_t function_code = pdu[0]
    cdef uint32_t table = TABLE_COIL if function_code == FX_READ_COILS else TABLE_DISCRETE
    cdef uint32_t quantity = load_u16(pdu + 3)
    cdef uint32_t i
    cdef Py_ssize_t offset, byte_count
    if quantity > m.max_bits:
        return refuse(out, function_code, FX_ILLEGAL_DATA_VALUE)
    offset = locate(m, table, load_u16(pdu + 1), quantity)
    if offset < 0:
        return refuse(out, function_code, FX_ILLEGAL_DATA_ADDRESS)
    byte_count = (quantity + 7) // 8
    out[0] = function_code
    out[1] = <uint8_t>byte_count
    for i in range(<uint32_t>byte_count):
        out[2 + i] = 0
    for i in range(quantity):
        out[2 + (i >> 3)] |= <uint8_t>((row[offset + i] & 1) << (i & 7))
    return 2 + byte_count


cdef Py_ssize_t read_registers(
    const device_map *m, const uint8_t *row, const uint8_t *pdu, uint8_t *out
) noexcept nogil:
    # MAP 6.3, 6.4. The image holds registers as they travel, so this is one copy.
    cdef uint8_t function_code = pdu[0]
    cdef uint32_t table = TABLE_HOLDING if function_code == FX_READ_HOLDING_REGISTERS else TABLE_INPUT
    cdef uint32_t quantity = load_u16(pdu + 3)
    cdef Py_ssize_t offset
    if quantity > m.max_registers:
        return refuse(out, function_code, FX_ILLEGAL_DATA_VALUE)
    offset = locate(m, table, load_u16(pdu + 1), quantity)
    if offset < 0:
        return refuse(out, function_code, FX_ILLEGAL_DATA_ADDRESS)
    out[0] = function_code
    out[1] = <uint8_t>(2 * quantity)
    memcpy(out + 2, row + offset, 2 * quantity)
    return 2 + 2 * <Py_ssize_t>quantity


cdef Py_ssize_t write_single_coil(
    const device_map *m, uint8_t *row, const uint8_t *pdu, uint8_t *out
) noexcept nogil:
    # MAP 6.5: 0xFF00 is on.
    cdef Py_ssize_t offset
    offset = locate(m, TABLE_COIL, load_u16(pdu + 1), 1)
    if offset < 0 or not m.writable[offset]:
        return refuse(out, pdu[0], FX_ILLEGAL_DATA_ADDRESS)
    row[offset] = 1 if pdu[3] else 0
    memcpy(out, pdu, 5)
    return 5


cdef Py_ssize_t write_multiple_coils(
    const device_map *m, uint8_t *row, const uint8_t *pdu, uint8_t *out
) noexcept nogil:
    # MAP 6.11.
    cdef uint32_t quantity, i
    cdef Py_ssize_t offset
    quantity = load_u16(pdu + 3)
    offset = locate(m, TABLE_COIL, load_u16(pdu + 1), quantity)
    if offset < 0:
        return refuse(out, pdu[0], FX_ILLEGAL_DATA_ADDRESS)
    for i in range(quantity):
        if not m.writable[offset + i]:
            return refuse(out, pdu[0], FX_ILLEGAL_DATA_ADDRESS)
    for i in range(quantity):
        row[offset + i] = (pdu[6 + (i >> 3)] >> (i & 7)) & 1
    memcpy(out, pdu, 5)
    return 5


cdef Py_ssize_t write_single_register(
    const device_map *m, uint8_t *row, const uint8_t *pdu, uint8_t *out
) noexcept nogil:
    # MAP 6.6.
    cdef Py_ssize_t offset
    cdef uint8_t code
    offset = locate(m, TABLE_HOLDING, load_u16(pdu + 1), 1)
    if offset < 0:
        return refuse(out, pdu[0], FX_ILLEGAL_DATA_ADDRESS)
    code = check_write(m, row, offset, pdu + 3, 2)
    if code:
        return refuse(out, pdu[0], code)
    memcpy(row + offset, pdu + 3, 2)
    memcpy(out, pdu, 5)
    return 5


cdef Py_ssize_t write_multiple_registers(
    const device_map *m, uint8_t *row, const uint8_t *pdu, uint8_t *out
) noexcept nogil:
    # MAP 6.12.
    cdef uint32_t quantity
    cdef Py_ssize_t offset
    cdef uint8_t code
    quantity = load_u16(pdu + 3)
    offset = locate(m, TABLE_HOLDING, load_u16(pdu + 1), quantity)
    if offset < 0:
        return refuse(out, pdu[0], FX_ILLEGAL_DATA_ADDRESS)
    code = check_write(m, row, offset, pdu + 6, 2 * <Py_ssize_t>quantity)
    if code:
        return refuse(out, pdu[0], code)
    memcpy(row + offset, pdu + 6, 2 * quantity)
    memcpy(out, pdu, 5)
    return 5


cdef Py_ssize_t mask_write_register(
    const device_map *m, uint8_t *row, const uint8_t *pdu, uint8_t *out
) noexcept nogil:
    # MAP 6.16: new = (old AND and_mask) OR (or_mask AND NOT and_mask).
    cdef Py_ssize_t offset
    cdef uint8_t code
    cdef uint8_t changed[2]
    cdef int i
    offset = locate(m, TABLE_HOLDING, load_u16(pdu + 1), 1)
    if offset < 0:
        return refuse(out, pdu[0], FX_ILLEGAL_DATA_ADDRESS)
    for i in range(2):
        changed[i] = (row[offset + i] & pdu[3 + i]) | (pdu[5 + i] & ~pdu[3 + i])
    code = check_write(m, row, offset, changed, 2)
    if code:
        return refuse(out, pdu[0], code)
    memcpy(row + offset, changed, 2)
    memcpy(out, pdu, 7)
    return 7


cdef Py_ssize_t read_write_registers(
    const device_map *m, uint8_t *row, const uint8_t *pdu, uint8_t *out
) noexcept nogil:
    # MAP 6.17: the write comes before the read.
    cdef uint32_t read_quantity, write_quantity
    cdef Py_ssize_t read_offset, write_offset
    cdef uint8_t code
    read_quantity = load_u16(pdu + 3)
    write_quantity = load_u16(pdu + 7)
    if read_quantity > m.max_registers:
        return refuse(out, pdu[0], FX_ILLEGAL_DATA_VALUE)
    read_offset = locate(m, TABLE_HOLDING, load_u16(pdu + 1), read_quantity)
    write_offset = locate(m, TABLE_HOLDING, load_u16(pdu + 5), write_quantity)
    if read_offset < 0 or write_offset < 0:
        return refuse(out, pdu[0], FX_ILLEGAL_DATA_ADDRESS)
    code = check_write(m, row, write_offset, pdu + 10, 2 * <Py_ssize_t>write_quantity)
    if code:
        return refuse(out, pdu[0], code)
    memcpy(row + write_offset, pdu + 10, 2 * write_quantity)
    out[0] = pdu[0]
    out[1] = <uint8_t>(2 * read_quantity)
    memcpy(out + 2, row + read_offset, 2 * read_quantity)
    return 2 + 2 * <Py_ssize_t>read_quantity


cdef Py_ssize_t identify(
    const device_map *m, const uint8_t *pdu, uint8_t *out
) noexcept nogil:
    # MAP 6.21, conformity level 0x81: the three basic objects, as a stream or one alone. They fit into
    # one response (image.py sees to it), so nothing ever follows.
    cdef const uint8_t *object = m.identity
    cdef const uint8_t *objects_end = m.identity + m.identity_size
    cdef uint8_t wanted, count = 0
    cdef bint single
    cdef Py_ssize_t n = 7
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
        return refuse(out, pdu[0], FX_ILLEGAL_DATA_ADDRESS)
    out[0] = pdu[0]
    out[1] = FX_MEI_READ_DEVICE_IDENTIFICATION
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
    cdef uint8_t exception_code = check_request(pdu, end)
    if (
        (function_code == FX_WRITE_SINGLE_REGISTER and m.flags & FLAG_NO_SINGLE_WRITE)
        or (function_code == FX_WRITE_MULTIPLE_REGISTERS and m.flags & FLAG_NO_MULTIPLE_WRITE)
    ):
        exception_code = FX_ILLEGAL_FUNCTION
    if exception_code:
        return refuse(out, function_code & 0x7F, exception_code)
    if function_code == FX_READ_HOLDING_REGISTERS or function_code == FX_READ_INPUT_REGISTERS:
        return read_registers(m, memory, pdu, out)
    if function_code == FX_READ_COILS or function_code == FX_READ_DISCRETE_INPUTS:
        return read_bits(m, memory, pdu, out)
    if function_code == FX_WRITE_SINGLE_REGISTER:
        return write_single_register(m, memory, pdu, out)
    if function_code == FX_WRITE_MULTIPLE_REGISTERS:
        return write_multiple_registers(m, memory, pdu, out)
    if function_code == FX_WRITE_SINGLE_COIL:
        return write_single_coil(m, memory, pdu, out)
    if function_code == FX_WRITE_MULTIPLE_COILS:
        return write_multiple_coils(m, memory, pdu, out)
    if function_code == FX_MASK_WRITE_REGISTER:
        return mask_write_register(m, memory, pdu, out)
    if function_code == FX_READ_WRITE_MULTIPLE_REGISTERS:
        return read_write_registers(m, memory, pdu, out)
    return identify(m, pdu, out)
