"""ADUs: PDUs in their envelope, MBAP for TCP and CRC for RTU, one by one or cut out of a byte stream.

::

      0              2             4        6         7                          (big-endian)
     +--------------+-------------+--------+---------+------ - -
     |transaction_id| protocol_id | length | unit_id | PDU         at most 260 bytes
     +--------------+-------------+--------+---------+------ - -
     +---------+------ - - ---------+-----------+
     | unit_id | PDU                | CRC       |                  at most 256 bytes; CRC is little-endian
     +---------+------ - - ---------+-----------+

Invariants of a splitter: it keeps at most the 260 bytes of one unfinished ADU; what it returns is independent
of how the stream was cut into chunks; once broken it stays broken, because a guessed new beginning could turn
payload into a plausible response.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcpy

from fluxfast.modbus.constants cimport (
    FX_MAX_PDU_SIZE,
    FX_MAX_RTU_ADU_SIZE,
    FX_MAX_TCP_ADU_SIZE,
    FX_MBAP_SIZE,
)
from fluxfast.modbus.frame cimport (
    FX_BAD_CRC,
    FX_BAD_FUNCTION,
    FX_BAD_LENGTH,
    FX_BAD_PROTOCOL_ID,
    FX_COMPLETE,
    FX_NEED_DATA,
    frame_status,
    split_mbap,
)
from fluxfast.modbus.request cimport pack_number, to_bytes
from fluxfast.modbus.rtu cimport crc16 as _crc16
from fluxfast.modbus.rtu cimport split_rtu
from fluxfast.native.endian cimport load_u16, store_u16

from fluxfast.errors import FramingError


cdef bint _is_rtu(const uint8_t *p, const uint8_t *end) noexcept nogil:
    cdef Py_ssize_t size = 0
    return split_rtu(p, end, False, &size) == FX_COMPLETE or split_rtu(p, end, True, &size) == FX_COMPLETE


cdef bint _is_text(const uint8_t *p, const uint8_t *end) noexcept nogil:
    # Three printable bytes are an unlikely transaction id and an impossible protocol id.
    cdef Py_ssize_t i
    if end - p < 3:
        return False
    for i in range(min(end - p, 8)):
        if not (32 <= p[i] < 127 or p[i] == 13 or p[i] == 10):
            return False
    return True


cdef str _hint(const uint8_t *p, const uint8_t *end):
    if _is_rtu(p, end):
        return "RTU over TCP?"
    if _is_text(p, end):
        return f"not Modbus: {to_bytes(p, min(end - p, 24))!r}"
    if end - p >= 3 and 0x14 <= p[0] <= 0x17 and p[1] == 3 and p[2] <= 4:
        return "not Modbus: TLS"
    if end - p >= 3 and p[0] == 0xFF and 0xFB <= p[1] <= 0xFE:
        return "not Modbus: telnet"
    return ""


cdef object _framing_error(frame_status status, const uint8_t *p, const uint8_t *end):
    # p is where the ADU should have begun.
    head = to_bytes(p, min(end - p, FX_MBAP_SIZE + 1)).hex(" ")
    if status == FX_BAD_PROTOCOL_ID or status == FX_BAD_LENGTH:
        what = "protocol id is not 0" if status == FX_BAD_PROTOCOL_ID else "impossible length"
        hint = _hint(p, end)
        return FramingError(f"{what}: {head} ({hint})" if hint else f"{what}: {head}")
    if status == FX_BAD_CRC:
        return FramingError(f"wrong CRC: {head}")
    if status == FX_BAD_FUNCTION:
        return FramingError(f"no ADU length is known for this function code: {head}")
    return FramingError(f"{end - p} bytes are not one whole ADU: {head}")


def framing_hint(data):
    """Return what a byte stream that is not Modbus TCP looks like, such as "RTU over TCP?"; "" if unknown."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return _hint(<const uint8_t *>view.buf, <const uint8_t *>view.buf + view.len)
    finally:
        PyBuffer_Release(&view)


def crc16(data):
    """Return the CRC-16/MODBUS of some bytes; its low byte is sent first."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return _crc16(<const uint8_t *>view.buf, <const uint8_t *>view.buf + view.len)
    finally:
        PyBuffer_Release(&view)


def build_mbap(transaction_id, unit_id, pdu):
    """Return the TCP ADU around a PDU of 1 to 253 bytes; LocalProtocolError for anything out of range."""
    cdef uint8_t out[FX_MAX_TCP_ADU_SIZE]
    cdef Py_buffer view
    cdef int size
    store_u16(out, <uint16_t>pack_number(transaction_id, "transaction id", 0, 0xFFFF))
    store_u16(out + 2, 0)
    out[6] = <uint8_t>pack_number(unit_id, "unit id", 0, 0xFF)
    PyObject_GetBuffer(pdu, &view, PyBUF_SIMPLE)
    try:
        size = pack_number(view.len, "PDU size", 1, FX_MAX_PDU_SIZE)
        store_u16(out + 4, <uint16_t>(1 + size))
        memcpy(out + FX_MBAP_SIZE, view.buf, <size_t>size)
        return to_bytes(out, FX_MBAP_SIZE + size)
    finally:
        PyBuffer_Release(&view)


def parse_mbap(adu):
    """Return (transaction_id, unit_id, pdu) of exactly one TCP ADU; FramingError for anything else."""
    cdef Py_buffer view
    cdef const uint8_t *p
    cdef Py_ssize_t size = 0
    cdef frame_status status
    PyObject_GetBuffer(adu, &view, PyBUF_SIMPLE)
    try:
        p = <const uint8_t *>view.buf
        status = split_mbap(p, p + view.len, &size)
        if status != FX_COMPLETE or size != view.len:
            raise _framing_error(status, p, p + view.len)
        return load_u16(p), p[6], to_bytes(p + FX_MBAP_SIZE, size - FX_MBAP_SIZE)
    finally:
        PyBuffer_Release(&view)


def build_rtu(unit_id, pdu):
    """Return the RTU ADU around a PDU of 1 to 253 bytes; LocalProtocolError for anything out of range."""
    cdef uint8_t out[FX_MAX_RTU_ADU_SIZE]
    cdef Py_buffer view
    cdef int size
    cdef uint16_t crc
    out[0] = <uint8_t>pack_number(unit_id, "unit id", 0, 0xFF)
    PyObject_GetBuffer(pdu, &view, PyBUF_SIMPLE)
    try:
        size = pack_number(view.len, "PDU size", 1, FX_MAX_PDU_SIZE)
        memcpy(out + 1, view.buf, <size_t>size)
        crc = _crc16(out, out + 1 + size)
        out[1 + size] = <uint8_t>(crc & 0xFF)
        out[2 + size] = <uint8_t>(crc >> 8)
        return to_bytes(out, 3 + size)
    finally:
        PyBuffer_Release(&view)


def parse_rtu(adu):
    """Return (unit_id, pdu) of exactly one RTU ADU; FramingError if its size or CRC is wrong."""
    cdef Py_buffer view
    cdef const uint8_t *p
    cdef const uint8_t *crc
    PyObject_GetBuffer(adu, &view, PyBUF_SIMPLE)
    try:
        p = <const uint8_t *>view.buf
        if view.len < 4 or view.len > FX_MAX_RTU_ADU_SIZE:
            raise _framing_error(FX_NEED_DATA, p, p + view.len)
        crc = p + view.len - 2
        if _crc16(p, crc) != (crc[0] | (crc[1] << 8)):
            raise _framing_error(FX_BAD_CRC, p, p + view.len)
        return p[0], to_bytes(p + 1, view.len - 3)
    finally:
        PyBuffer_Release(&view)


cdef class _Splitter:
    cdef uint8_t _held[FX_MAX_TCP_ADU_SIZE]
    cdef int _size
    cdef object _error

    def __cinit__(self):
        self._size = 0
        self._error = None

    @property
    def pending(self):
        """How many bytes of an unfinished ADU are held: 0 between ADUs."""
        return self._size

    @property
    def error(self):
        """The FramingError that broke the stream, or None."""
        return self._error

    def feed(self, data):
        """Return the ADUs, as bytes, that these bytes complete; FramingError once the stream is broken.

        ADUs before the break are returned first; ``error`` is set with them and the next call raises it.
        """
        cdef Py_buffer view
        cdef list adus = []
        if self._error is not None:
            raise self._error.with_traceback(None)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self._cut(<const uint8_t *>view.buf, <const uint8_t *>view.buf + view.len, adus)
        finally:
            PyBuffer_Release(&view)
        if self._error is not None and not adus:
            raise self._error.with_traceback(None)
        return adus

    cdef frame_status _split(self, const uint8_t *p, const uint8_t *end, Py_ssize_t *size) noexcept:
        return FX_NEED_DATA

    cdef int _cut(self, const uint8_t *p, const uint8_t *end, list adus) except -1:
        cdef Py_ssize_t size = 0
        cdef int before, room
        cdef frame_status status
        while p < end:
            if self._size == 0:
                # The usual case: whole ADUs in the caller's buffer, nothing copied but the result.
                status = self._split(p, end, &size)
                if status == FX_COMPLETE:
                    adus.append(to_bytes(p, size))
                    p += size
                    continue
                if status != FX_NEED_DATA:
                    self._error = _framing_error(status, p, end)
                    return 0
            before = self._size
            room = <int>min(end - p, FX_MAX_TCP_ADU_SIZE - before)
            memcpy(self._held + before, p, <size_t>room)
            self._size += room
            status = self._split(self._held, self._held + self._size, &size)
            if status == FX_COMPLETE:
                adus.append(to_bytes(self._held, size))
                p += size - before
                self._size = 0
            elif status == FX_NEED_DATA:
                # Nothing is left: an ADU that fills _held is complete or broken.
                p += room
            else:
                self._error = _framing_error(status, self._held, self._held + self._size)
                self._size = 0
                return 0
        return 0


@cython.final
cdef class MbapSplitter(_Splitter):
    """Cuts a TCP stream into ADUs; one for each connection and direction."""

    cdef frame_status _split(self, const uint8_t *p, const uint8_t *end, Py_ssize_t *size) noexcept:
        return split_mbap(p, end, size)


@cython.final
cdef class RtuSplitter(_Splitter):
    """Cuts a stream of RTU ADUs by their function codes: responses for a "client", requests for a "server".

    For streams between one client and one unit: on a shared line, where a server hears the answers of others,
    only silence separates ADUs. ValueError for another role.
    """

    cdef bint _is_server

    def __init__(self, role):
        if role not in ("client", "server"):
            raise ValueError(f"role {role!r}: must be 'client' or 'server'")
        self._is_server = role == "server"

    cdef frame_status _split(self, const uint8_t *p, const uint8_t *end, Py_ssize_t *size) noexcept:
        return split_rtu(p, end, self._is_server, size)
