"""Frames: what a journal consists of. Bytes in, bytes out.

::

     0        4         8           16            20       22      24        28
    +--------+---------+-----------+-------------+--------+-------+---------+-----------
    | "ffj1" | length  | sequence  | full length | kind   | 0     | crc32   | payload …
    +--------+---------+-----------+-------------+--------+-------+---------+-----------
      magic    of the    rises by    unpacked      what     uint16  of bytes 0 to 24 and
               payload   one                       it is            of the payload

Little-endian. The payload is packed as one LZ4 block. A reader trusts nothing but the checksum: behind
damage it looks for the next frame that is whole.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import pyarrow as pa

MAGIC: Final = b"ffj1"
HEADER: Final = struct.Struct("<4sIQIHHI")
SIGNED: Final = HEADER.size - 4  # bytes of the header under the checksum
MAX_LENGTH: Final = 1 << 30

_LZ4: Final = pa.Codec("lz4_raw")


class Frame(NamedTuple):
    """One whole frame: where it lies, and its payload, still packed."""

    start: int
    end: int
    kind: int
    sequence: int
    full_length: int
    packed: memoryview

    def payload(self) -> pa.Buffer:
        """Return what was packed."""
        return _LZ4.decompress(pa.py_buffer(self.packed), self.full_length)


class Damage(NamedTuple):
    """Bytes that belong to no whole frame; those at the end of a file may just be torn."""

    start: int
    end: int
    at_end: bool


def pack(kind: int, sequence: int, payload: pa.Buffer | bytes) -> bytes:
    """Return a frame."""
    packed = _LZ4.compress(payload, asbytes=True)
    full_length = len(payload) if isinstance(payload, bytes) else payload.size
    header = HEADER.pack(MAGIC, len(packed), sequence, full_length, kind, 0, 0)
    crc = zlib.crc32(packed, zlib.crc32(header[:SIGNED]))
    return b"".join((header[:SIGNED], crc.to_bytes(4, "little"), packed))


def frames(data: bytes | memoryview) -> Iterator[Frame | Damage]:
    """Yield what a journal holds, in its order, every byte in a frame or in damage."""
    view = memoryview(data)
    at = 0
    while at < len(view):
        frame = _frame_at(view, at)
        if frame is None:
            following = _next_frame(view, at + 1)
            end = len(view) if following is None else following.start
            yield Damage(at, end, following is None)
            at = end
        else:
            yield frame
            at = frame.end


def _frame_at(view: memoryview, at: int) -> Frame | None:
    if len(view) - at < HEADER.size:
        return None
    magic, length, sequence, full_length, kind, _, crc = HEADER.unpack_from(view, at)
    end = at + HEADER.size + length
    if magic != MAGIC or length > MAX_LENGTH or full_length > MAX_LENGTH or end > len(view):
        return None
    packed = view[at + HEADER.size : end]
    if zlib.crc32(packed, zlib.crc32(view[at : at + SIGNED])) != crc:
        return None
    return Frame(at, end, kind, sequence, full_length, packed)


def _next_frame(view: memoryview, at: int) -> Frame | None:
    step = 1 << 16
    while at < len(view):
        # The window ends with the beginning of a magic that may go on behind it.
        found = bytes(view[at : at + step + len(MAGIC) - 1]).find(MAGIC)
        if found < 0:
            at += step
        elif frame := _frame_at(view, at + found):
            return frame
        else:
            at += found + 1
    return None
