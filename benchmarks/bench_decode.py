"""Replies of 500 devices with 30 values each into a column for each value, for every type and byte order.

The work is a value in its column's own type, and a byte of quality beside it; a float that is not a number
has another one. How each does that:

- C floor, memcpy: nothing of it; copies the replies' bytes.
- C floor, decodes: a loop for just this type and order; values, quality.
- fluxfast: by the program that the plan makes of a profile; values, quality. The same call would look for
  limits and "not implemented" values, which these points do not have.
- NumPy: all replies at once, into columns that are there; values, quality.
- pandas: a frame of all replies at once; values, and a mask for quality.
- struct: one unpack for each reply, tuples of Python floats by zip; no quality.
- pymodbus: ``convert_from_registers`` for each reply, lists by zip, no quality. Its registers are given to
  it, not made of bytes here.

``decode/powerpack`` and ``decode/acuvim2_vendor`` are our own profiles: scattered points, and 45 of
three kinds.

What it does not show: replies come from a link one by one, not side by side in memory, and with other work
in between. Times are of memory in the cache, up to 1,000 devices.
"""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import stages
from floors import addresses, floor
from stages import CODES, POINTS

from fluxfast.profiles.types import BYTE_ORDERS, SWAPPED_BYTES, SWAPPED_WORDS, TYPES
from fluxfast.table.quality import NAN

ORDERS = [
    *((type_, order, "1") for type_ in CODES for order in BYTE_ORDERS[TYPES[type_].width]),
    ("int16", "AB", "0.1"),
]
WELL_KNOWN = [("float32", "ABCD", "1"), ("float32", "CDAB", "1"), ("int16", "AB", "0.1")]
COLUMN_TYPES = {"float16": "f4", "float32": "f4", "float64": "f8", "uint64": "u8"}  # others: i8
FEW = 50  # replies for what takes long
Columns = tuple[Any, Any]  # values and quality, both [points, devices]; quality None where there is none


def ours(stage: stages.Stage) -> Callable[[], Columns]:
    def run() -> Columns:
        table = stage.run()
        return table.values, table.quality

    return run


def column_type(type_: str, scale: str) -> str:
    return "f8" if scale != "1" else COLUMN_TYPES.get(type_, "i8")


def copies(data: np.ndarray) -> Callable[[], np.ndarray]:
    to = np.empty_like(data)
    return floor("floor_copy", to, data, data.nbytes, result=to)


def c_floor(data: np.ndarray, type_: str, order: str, scale: str) -> Callable[[], Columns]:
    width = TYPES[type_].width // 8
    devices, points = len(data), data.shape[1] // width
    values = np.zeros((points, devices), column_type(type_, scale))
    quality, to = np.ones((points, devices), np.uint8), addresses(list(values))
    swaps = (order in SWAPPED_BYTES, order in SWAPPED_WORDS)
    number = {(False, False): 0, (True, True): 1, (True, False): 2, (False, True): 3}[swaps]
    return floor(
        "floor_decode", data, devices, points, CODES[type_].encode(), number, scale != "1", to, quality,
        result=(values, quality),
    )  # fmt: skip


def in_usual_order(data: np.ndarray, type_: str, order: str) -> np.ndarray:
    """Return the raw values [devices, points], of either endianness, as a view where that is possible."""
    size, code = TYPES[type_].width // 8, CODES[type_]
    swaps_bytes, swaps_words = order in SWAPPED_BYTES, order in SWAPPED_WORDS
    if swaps_bytes == swaps_words or size == 2:
        return data.view(("<" if swaps_bytes else ">") + np.dtype(code).str[1:])
    words = data.view(">u2").reshape(len(data), -1, size // 2)[..., ::-1]
    return np.ascontiguousarray(words).view(("<" if swaps_bytes else ">") + np.dtype(code).str[1:])[..., 0]


def numpy(data: np.ndarray, type_: str, order: str, scale: str) -> Callable[[], Columns]:
    first = in_usual_order(data, type_, order)
    values = np.zeros(first.T.shape, column_type(type_, scale))
    quality = np.zeros(values.shape, np.uint8)

    def run() -> Columns:
        raw = in_usual_order(data, type_, order)
        if scale != "1":
            np.divide(raw.T, 10.0, out=values)
        else:
            np.copyto(values, raw.T)
        if values.dtype.kind == "f" and scale == "1":
            np.copyto(quality, np.where(np.isfinite(values), 0, NAN), casting="unsafe")
        else:
            quality.fill(0)
        return values, quality

    return run


def pandas(data: np.ndarray, type_: str, order: str, scale: str) -> Callable[[], Columns]:
    import pandas as pd

    def run() -> Columns:
        raw = in_usual_order(data, type_, order)
        frame = pd.DataFrame(raw.astype(raw.dtype.newbyteorder("=")), copy=False)
        if scale != "1":
            frame = frame / 10.0
        return frame, frame.isna()

    def checked() -> Columns:
        frame, mask = run()
        return frame.to_numpy().T, mask.to_numpy().T.astype(np.uint8)

    run.checked = checked
    return run


def by_struct(data: np.ndarray, type_: str, order: str, scale: str) -> Callable[[], Columns]:
    replies, points = [row.tobytes() for row in data], data.shape[1] * 8 // TYPES[type_].width
    pattern = struct.Struct(f">{points}{CODES[type_]}")
    words = struct.Struct(f">{data.shape[1] // 2}H")
    turned = struct.Struct(f">{data.shape[1] // 2}H")

    def values(reply: bytes) -> tuple[float, ...]:
        if order in SWAPPED_WORDS:
            registers = list(words.unpack(reply))
            registers[::2], registers[1::2] = registers[1::2], registers[::2]
            reply = turned.pack(*registers)
        return pattern.unpack(reply)

    def run() -> Columns:
        columns = list(zip(*map(values, replies), strict=True))
        if scale != "1":
            columns = [[raw / 10 for raw in column] for column in columns]
        return columns, None

    return run


def pymodbus(data: np.ndarray, type_: str, order: str, scale: str) -> Callable[[], Columns]:
    from pymodbus.client.mixin import ModbusClientMixin

    convert, kind = ModbusClientMixin.convert_from_registers, ModbusClientMixin.DATATYPE[type_.upper()]
    replies, words = data.view(">u2").tolist(), "little" if order in SWAPPED_WORDS else "big"

    def run() -> Columns:
        columns = list(zip(*(convert(reply, kind, words) for reply in replies), strict=True))
        if scale != "1":
            columns = [[raw / 10 for raw in column] for column in columns]
        return columns, None

    return run


FLOORS = ["C floor, memcpy", "C floor, decodes", "fluxfast", "NumPy"]
RIVALS = {"pandas": pandas, "struct": by_struct, "pymodbus": pymodbus}
CONTENDERS = {"C floor, decodes": c_floor, "NumPy": numpy, **RIVALS}


def contest(
    contend: Any,
    case: str,
    contender: str,
    kind: tuple[str, str, str],
    sizes: tuple[int, int],
    items: tuple[int, str] | None = None,
) -> None:
    """Time a contender at a type, order and scale, for (devices, points); check what it made.

    An item is a value unless ``items`` says how many of what it is.
    """
    data = stages.replies(kind[0], kind[1], *sizes)
    points = data.shape[1] * 8 // TYPES[kind[0]].width
    items = items or (len(data) * points, "value")
    if contender == "C floor, memcpy":
        np.testing.assert_array_equal(contend(case, contender, *items, copies(data)), data)
        return
    if contender == "fluxfast":
        run = ours(stages.decode(*kind, *sizes))
    else:
        run = CONTENDERS[contender](data, *kind)
    result = contend(case, contender, *items, run)
    values, quality = getattr(run, "checked", lambda: result)()
    expected = np.arange(1, points + 1) / (10 if kind[2] != "1" else 1)
    np.testing.assert_array_equal(np.array(values), np.tile(expected[:, None], len(data)))
    assert quality is None or not np.any(quality)


@pytest.mark.parametrize("kind", ORDERS, ids=".".join)
@pytest.mark.parametrize("contender", FLOORS)
def test_type_and_order(contend, kind, contender):
    contest(
        contend, stages.decode_name(*kind).replace(".", "/", 1), contender, kind, (stages.DEVICES, POINTS)
    )


@pytest.mark.parametrize("kind", WELL_KNOWN, ids=".".join)
@pytest.mark.parametrize("contender", RIVALS)
def test_rivals(contend, kind, contender):
    devices = stages.DEVICES if contender == "pandas" else FEW
    contest(contend, stages.decode_name(*kind).replace(".", "/", 1), contender, kind, (devices, POINTS))


@pytest.mark.parametrize("profile", ["powerpack", "acuvim2_vendor"])
@pytest.mark.parametrize("contender", ["C floor, memcpy", "fluxfast"])
def test_profile(contend, profile, contender):
    stage = stages.decode_profile(profile)
    if contender == "fluxfast":
        table = contend(f"decode/{profile}", contender, stage.items, stage.of, stage.run)
        assert not table.quality.any()
    else:
        data = stages.profile_replies(profile)
        copied = contend(f"decode/{profile}", contender, stage.items, stage.of, copies(data))
        np.testing.assert_array_equal(copied, data)
