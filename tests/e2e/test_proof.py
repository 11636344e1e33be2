"""The soak's judge: it finds nothing wrong in an honest log, and every lie in a forged one."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxfast.config import load
from fluxfast.station import Station
from tests.support.command import free_port, parquet_files
from tests.support.proof import NUMBERS, Findings, ProofSimulator, check_log, profile

HOST = "127.41.50.1"
TICKS, PERIOD_MS, TIMEOUT_MS, DEVICES = 4, 1000, 500, 3
BLOCK_A = ["a_ms", *(f"a{n}" for n in range(1, NUMBERS + 1))]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """What a station logs of three units behind one address: sorted by device, then time."""
    folder = tmp_path_factory.mktemp("proof")
    (folder / "proof.yaml").write_text(profile("proof", max_in_flight=2))
    place = f"host: {HOST}, port: {free_port(HOST)}, timeout: {TIMEOUT_MS}ms"
    devices = "".join(
        f"    - {{id: d{n}, type: ./proof.yaml, modbus: {{{place}, address: {n}}}}}\n"
        for n in range(1, DEVICES + 1)
    )
    (folder / "site.yaml").write_text(f"poll: {{every: {PERIOD_MS}ms}}\ndevices:\n  meters:\n{devices}")
    fleet = load(folder / "site.yaml")

    async def poll() -> None:
        async with Station(fleet, log_dir=folder / "log") as station:
            async for _ in station.ticks(TICKS * PERIOD_MS / 1000):
                pass

    with ProofSimulator(fleet, 1, []).running():
        asyncio.run(poll())
    [file] = parquet_files(folder / "log" / "proof")
    return pq.read_table(file)


def judge(table: pa.Table, folder: Path) -> Findings:
    pq.write_table(table, folder / "forged.parquet")
    return check_log([folder / "forged.parquet"], PERIOD_MS, TIMEOUT_MS)


def with_column(table: pa.Table, name: str, change: Callable[[list], list]) -> pa.Table:
    column = table[name]
    forged = pa.array(change(column.to_pylist()), column.type)
    return table.set_column(table.column_names.index(name), name, forged)


def test_an_honest_log(log: pa.Table, tmp_path: Path) -> None:
    found = judge(log, tmp_path)
    assert found.wrong == []
    assert (found.rows, found.values) == (TICKS * DEVICES, TICKS * DEVICES * 2 * (NUMBERS + 1))
    assert found.good == {f"d{n}": TICKS for n in range(1, DEVICES + 1)}
    assert found.reasons == {None: TICKS * DEVICES}


def swapped(table: pa.Table, one: str, other: str) -> pa.Table:
    first, second = table[one].to_pylist(), table[other].to_pylist()
    return with_column(with_column(table, one, lambda _: second), other, lambda _: first)


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda t: with_column(t, "a3", lambda v: [v[0] ^ 1, *v[1:]]), "a3 is not its own"),
        (lambda t: swapped(t, "b3", "b4"), "b3 is not its own"),
        (lambda t: swapped(t, "a3", "b3"), "b3 is not its own"),
        # One register of another answer of the same device, and one device's value in another's row.
        (lambda t: with_column(t, "b12", lambda v: [v[1], *v[1:]]), "b12 is not its own"),
        (lambda t: with_column(t, "b12", lambda v: [v[TICKS], *v[1:]]), "b12 is not its own"),
        (lambda t: with_column(t, "a7", lambda v: [None, *v[1:]]), "a7 is not there as a_ms is"),
        (lambda t: with_column(t, "latency_ms", lambda v: [-500.0, *v[1:]]), "a was received before"),
    ],
)
def test_a_forged_value_is_found(
    log: pa.Table, tmp_path: Path, forge: Callable[[pa.Table], pa.Table], said: str
) -> None:
    found = judge(forge(log), tmp_path)
    assert any(line.startswith(said) for line in found.wrong), found.wrong


def moved(table: pa.Table, rows: int) -> pa.Table:
    """Put whole answers of one block that many rows further, with all that makes them consistent."""
    for name in BLOCK_A:
        table = with_column(table, name, lambda values: np.roll(np.array(values), rows).tolist())
    return table


@pytest.mark.parametrize(
    ("rows", "said"),
    [(1, "a is old"), (-1, "a was received before"), (TICKS, "a1 is not its own")],
)
def test_a_whole_answer_in_the_wrong_row_is_found(
    log: pa.Table, tmp_path: Path, rows: int, said: str
) -> None:
    found = judge(moved(log, rows), tmp_path)
    assert any(line.startswith(said) for line in found.wrong), found.wrong
