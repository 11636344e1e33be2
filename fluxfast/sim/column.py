"""One point of all devices, encoded and decoded at once: NumPy values on one side, bytes on the other."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluxfast.profiles import Point

# Decoded: engineering value, text, state label or bit.
Value = float | bool | str


def number_format(type_name: str) -> str:
    """Return NumPy's code of a numeric point type, big-endian without the sign of it: ``i2``, ``f4`` …"""
    kind = {"uint": "u", "int": "i", "float": "f"}[type_name.rstrip("0123456789")]
    return kind + str(int(type_name.lstrip("abcdefghijklmnopqrstuvwxyz")) // 8)


class Column:
    """A view on the bytes of one point in every row of an image; owns nothing."""

    def __init__(self, point: Point, memory: NDArray[np.uint8], offset: int) -> None:
        """Work out where each byte of the value is."""
        self.point = point
        self.offset = offset
        self.is_bit = point.register in ("coil", "discrete")
        self.is_text = point.type == "string"
        self.size = point.size if self.is_bit else 2 * point.size
        self.scale, self.shift_value = float(point.scale), float(point.offset)
        self._bytes = memory[:, offset : offset + self.size]
        # Big-endian byte i of the value is byte order[i] of the point.
        words = self.size // 2
        self.order = [
            2 * (words - 1 - w if point.swap_words else w) + (b ^ point.swap_bytes)
            for w in range(words)
            for b in range(2)
        ]
        self.shift, self.mask = 0, 2**64 - 1
        if self.is_bit or self.is_text:
            return
        if point.bit is not None:
            self.shift, self.mask = point.bit, 1
        elif point.bits is not None:
            low, high = point.bits
            self.shift, self.mask = low, 2 ** (high - low + 1) - 1
        self._format = f"u{self.size}" if point.type == "bool" else number_format(point.type)
        straight = list(range(self.size))
        self._direct: NDArray[Any] | None = None
        if self.order == straight:
            self._direct = self._bytes.view(">" + self._format)[:, 0]
        elif self.order == straight[::-1]:
            self._direct = self._bytes.view("<" + self._format)[:, 0]

    @property
    def is_part(self) -> bool:
        """Whether the point is one bit or a field of its registers, so that others may share them."""
        return self.mask != 2**64 - 1

    def raw(self) -> NDArray[Any]:
        """Return the raw value of every device, in machine order."""
        if self.is_bit:
            return self._bytes[:, 0].copy()
        words = self._load()
        return (words >> self.shift) & self.mask if self.is_part else words

    def _load(self) -> NDArray[Any]:
        if self._direct is not None:
            return self._direct.astype(self._format)
        # (Picking columns leaves them strided, and bytes that form a number must lie side by side.)
        picked = np.ascontiguousarray(self._bytes[:, self.order])
        return picked.view(">" + self._format)[:, 0].astype(self._format)

    def put_raw(self, raw: ArrayLike, rows: slice = slice(None)) -> None:
        """Write raw values; one for all rows, or one for each."""
        if self.is_bit:
            self._bytes[rows, 0] = raw
            return
        if self.is_part:
            words = self._load()[rows]
            kept = words & ~np.array(self.mask << self.shift, words.dtype)
            raw = kept | (np.asarray(raw).astype(words.dtype) << self.shift)
        if self._direct is not None:
            self._direct[rows] = raw
            return
        numbers = np.broadcast_to(np.asarray(raw), self._bytes[rows, 0].shape).astype(">" + self._format)
        self._bytes[rows, self.order] = numbers.view(np.uint8).reshape(-1, self.size)

    def values(self) -> NDArray[np.float64]:
        """Return the engineering value of every device."""
        return self.raw().astype(np.float64) * self.scale + self.shift_value

    def put(self, values: ArrayLike, rows: slice = slice(None)) -> None:
        """Write engineering values, rounded to the register's step and held inside its type."""
        raw = (np.asarray(values, np.float64) - self.shift_value) / self.scale
        if self.is_bit or self._format[0] != "f":
            raw = np.rint(raw)
        self.put_raw(np.clip(raw, *self.raw_range()), rows)

    def raw_range(self) -> tuple[float, float]:
        """Return what the type can hold, as doubles that convert back into it."""
        if self.is_bit or self.mask == 1:
            return 0.0, 1.0
        if self.is_part:
            return 0.0, float(self.mask)
        bits = 8 * self.size
        if self._format[0] == "f":
            most = float(np.finfo(self._format).max)
            return -most, most
        low, high = (0.0, 2.0**bits) if self._format[0] == "u" else (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1))
        return low, (high - 1 if bits < 64 else float(np.nextafter(high, 0)))

    def put_text(self, text: str, rows: slice = slice(None)) -> None:
        """Write the same text, padded with NUL, to every row."""
        data = np.frombuffer(text.encode("ascii", "replace")[: self.size].ljust(self.size, b"\0"), np.uint8)
        self._bytes[rows, self.order] = data

    def value(self, row: int) -> Value:
        """Return what one device serves, decoded: a state's label, a text, a bit or a number."""
        if self.is_text:
            return self._bytes[row, self.order].tobytes().rstrip(b"\0").decode("ascii", "replace")
        raw = self.raw()[row].item()
        if self.is_bit or self.point.type == "bool":
            return bool(raw)
        label = (self.point.states or {}).get(raw)
        return label if label is not None else raw * self.scale + self.shift_value
