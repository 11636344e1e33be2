"""Devices whose every register proves itself: ``proof.py SITE SEED FAULT...`` serves them.

Each of the two blocks of a device begins with the time of the physics' last step (milliseconds, UTC), and
every other register pair is a number made from that time, the device and its own address. So a logged row
tells by itself whether each value was served by this device, at this address, in the same answer as its
neighbours, and when: a reply credited to another request, another unit or another tick can't hide.
"""

import json
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fluxfast.config import Fleet, load
from fluxfast.sim import Counters, Simulator

BLOCKS = {"a": 1000, "b": 2000}  # first addresses, too far apart for one read
NUMBERS = 12  # beside the time; uint32 each
# How long before its answer a served moment may lie: a step of the physics, and a machine that is busy.
STALE_MS = 50 + 450
LATE_START_MS = 100  # latency_ms counts from when a tick really began, a little after its time


def proof(ms: NDArray[np.int64], device: NDArray[np.int64], address: int) -> NDArray[np.int64]:
    """Return the number that a device serves at an address while the time is ``ms``; 32 bits, well mixed."""
    x = ms.astype(np.uint64) & np.uint64(0xFFFFFFFF)
    x = x << np.uint64(32) | device.astype(np.uint64) << np.uint64(16) | np.uint64(address)
    for _ in range(2):
        x ^= x >> np.uint64(31)
        x *= np.uint64(0x9E3779B97F4A7C15)
    return (x >> np.uint64(32)).astype(np.int64)


def profile(name: str, **quirks: object) -> str:
    """Return the profile of such a device as YAML."""
    points = "".join(
        f"  {block}_ms: {{address: {first}, type: uint32}}\n"
        + "".join(
            f"  {block}{n}: {{address: {first + 2 * n}, type: uint32}}\n" for n in range(1, NUMBERS + 1)
        )
        for block, first in BLOCKS.items()
    )
    return f"name: {name}\nquirks: {json.dumps(quirks)}\npoints:\n{points}"


class ProofSimulator(Simulator):
    """A simulator whose physics is replaced by proofs. A device's number is its identifier's digits."""

    def __init__(self, fleet: Fleet, seed: int, faults: list[str]) -> None:
        super().__init__(fleet, seed, faults=faults)
        inner = self.physics
        numbers = [np.zeros(image.count, np.int64) for image in inner.images]
        for device, (image, row) in inner.place.items():
            numbers[image][row] = number_of(device)

        def show(*_: object) -> None:
            ms = np.int64(time.time() * 1000)
            for image, devices in zip(inner.images, numbers, strict=True):
                for block, first in BLOCKS.items():
                    image.columns[f"{block}_ms"].put_raw(np.uint32(ms & 0xFFFFFFFF))
                    for n in range(1, NUMBERS + 1):
                        image.columns[f"{block}{n}"].put_raw(proof(ms[None], devices, first + 2 * n))

        inner.start = inner.step = show  # type: ignore[method-assign]


def number_of(device: str) -> int:
    return int(device.lstrip("abcdefghijklmnopqrstuvwxyz"))


@dataclass
class Findings:
    """What a log came to."""

    rows: int = 0
    values: int = 0
    good: dict[str, int] = field(default_factory=dict)  # rows of each device
    reasons: dict[str | None, int] = field(default_factory=dict)
    ticks: set[int] = field(default_factory=set)  # microseconds, UTC
    last_not_good_ms: int = 0
    wrong: list[str] = field(default_factory=list)  # one line for each value that proves nothing


def check_log(files: Iterable[Path], period_ms: int, timeout_ms: int) -> Findings:
    """Check every value of every row; an answer that came late may be a tick and a timeout old."""
    found = Findings()
    for file in files:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            _check(parquet.read(), found, STALE_MS, STALE_MS + period_ms + timeout_ms, period_ms)
    return found


def _check(table: pa.Table, found: Findings, stale_ms: int, late_ms: int, period_ms: int) -> None:
    device = table["device"].cast(pa.string()).combine_chunks().dictionary_encode()
    names = device.dictionary.to_pylist()
    which = device.indices.to_numpy()
    numbers = np.array([number_of(name) for name in names], np.int64)[which]
    tick_us = table["time"].cast(pa.int64()).to_numpy()
    good = pc.equal(table["quality"].cast(pa.string()), "good").to_numpy(zero_copy_only=False)
    latency_ms = table["latency_ms"].to_numpy()
    found.rows += len(table)
    found.ticks.update(np.unique(tick_us).tolist())
    for name, count in zip(names, np.bincount(which[good], minlength=len(names)).tolist(), strict=True):
        found.good[name] = found.good.get(name, 0) + count
    for entry in table["reason"].cast(pa.string()).value_counts().to_pylist():
        found.reasons[entry["values"]] = found.reasons.get(entry["values"], 0) + entry["counts"]
    if not good.all():
        found.last_not_good_ms = max(found.last_not_good_ms, int(tick_us[~good].max()) // 1000)

    def note(bad: NDArray[np.bool_], what: str) -> None:
        for row in np.flatnonzero(bad)[:5].tolist():
            found.wrong.append(f"{what}: {table.slice(row, 1).to_pylist()[0]}")

    for block, first in BLOCKS.items():
        ms, has_ms = _numbers(table[f"{block}_ms"])
        found.values += int(has_ms.sum())
        for n in range(1, NUMBERS + 1):
            value, has_value = _numbers(table[f"{block}{n}"])
            found.values += int(has_value.sum())
            note(has_value != has_ms, f"{block}{n} is not there as {block}_ms is")
            note(
                has_value & has_ms & (value != proof(ms, numbers, first + 2 * n)),
                f"{block}{n} is not its own",
            )
        age_ms = ((tick_us // 1000 - ms) + 2**31) % 2**32 - 2**31  # at the tick's begin; less than 0: later
        note(has_ms & good & (age_ms > stale_ms), f"{block} is old")
        note(has_ms & (age_ms > late_ms), f"{block} is older than any late answer")
        note(
            has_ms & good & (-age_ms > latency_ms + LATE_START_MS),
            f"{block} was received before it was served",
        )
        note(has_ms & (-age_ms > period_ms), f"{block} is of another tick")
    note(good & ~(pc.is_valid(table["a_ms"]).to_numpy() & pc.is_valid(table["b_ms"]).to_numpy()), "not good")


def _numbers(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    return pc.fill_null(column, 0).cast(pa.int64()).to_numpy(), pc.is_valid(column).to_numpy()


def serve(site: Path, seed: int, faults: list[str]) -> None:
    simulator = ProofSimulator(load(site), seed, faults=faults)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: simulator.stop())

    def report(counters: Counters) -> None:
        print(json.dumps(vars(counters)), flush=True)

    simulator.open()
    print(json.dumps({"began_s": time.time(), "faulty": simulator.chosen}), flush=True)
    try:
        simulator.run(None, report)
    finally:
        simulator.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
