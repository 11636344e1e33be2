"""The heat map's pixels: a PNG of a few colours, one pixel a cell, that the page stretches."""

import base64
import struct
import zlib
from typing import Final

import numpy as np

from fluxfast.report.figures import ABSENT, COMPLETE, HALF, MOST, NOT_EXPECTED, NOTHING, SOME
from fluxfast.report.rows import Array

# Red, green, blue, opacity. From pale to dark, so that they can be told apart without seeing colours, and
# good ones nearly transparent, so that they are quiet on a light page and on a dark one.
COLOURS: Final = {
    NOT_EXPECTED: (0, 0, 0, 0),
    COMPLETE: (59, 130, 246, 70),
    MOST: (253, 224, 120, 255),
    HALF: (245, 158, 11, 255),
    SOME: (217, 83, 20, 255),
    NOTHING: (140, 20, 20, 255),
    ABSENT: (120, 120, 130, 255),
}
LEGEND: Final = {
    COMPLETE: "99 % or more good",
    MOST: "90 % or more",
    HALF: "50 % or more",
    SOME: "less",
    NOTHING: "none good",
    ABSENT: "no rows",
}


def data_uri(levels: Array) -> str:
    """Return levels [rows, cells] as a picture."""
    return f"data:image/png;base64,{base64.b64encode(png(levels)).decode()}"


def png(levels: Array) -> bytes:
    """Return levels [rows, cells] as the bytes of a PNG with a palette."""
    rows, cells = levels.shape
    lines = np.zeros((rows, cells + 1), np.uint8)  # each line begins with its filter: none
    lines[:, 1:] = levels
    colours = [COLOURS[level] for level in sorted(COLOURS)]
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", cells, rows, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", bytes(part for colour in colours for part in colour[:3])),
            _chunk(b"tRNS", bytes(colour[3] for colour in colours)),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
