"""Registers read by Debian's mbpoll, by ``fluxfast read`` and by ``fluxfast modpoll``: one answer."""

import random
import re
import struct
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest

from tests.support.memory import Memory
from tests.support.scripted import ScriptedServer, Servers
from tests.support.tool import tool

HOST = "127.33.20.1"
WORDS = 124
EDGES = [0, 1, 0x7FFF, 0x8000, 0xFFFF, 0xFFFE, 0x0100, 0x00FF]
FLOATS = [
    0.0, -0.0, 1.0, -1.5, 230.1, -0.1, 1e-10, 123456.78, 16777217.0, 3.4028235e38, -3.4028235e38,
    1.1754944e-38, 1e-40, float("nan"), float("inf"), float("-inf"), 9999995.0, 0.00001234567,
]  # fmt: skip
INTS = [0, 1, -1, 2**31 - 1, -(2**31), 65536, -65536, 123456789, -987654321]


def pairs(format_: str, values: list[float]) -> list[int]:
    return [word for value in values for word in struct.unpack(">HH", struct.pack(format_, value))]


def content(seed: int) -> list[int]:
    """Return registers that are edge cases in either word order, and some of chance."""
    dice = random.Random(seed)
    words = EDGES + pairs(">f", FLOATS) + pairs(">i", INTS)
    swapped = [word for at in range(0, len(words) - 1, 2) for word in (words[at + 1], words[at])]
    return (words + swapped + [dice.randrange(65536) for _ in range(WORDS)])[:WORDS]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    memory = Memory()
    for table, seed in (("holding", 1), ("input", 2)):
        memory.cells[table] = dict(enumerate(content(seed)))
    dice = random.Random(3)
    for table in ("coil", "discrete"):
        memory.cells[table] = {address: dice.randrange(2) for address in range(WORDS)}
    server = ScriptedServer(memory, HOST)
    with Servers([server]):
        yield server.port


def printed(text: str) -> dict[int, str]:
    return {int(number): value for number, value in re.findall(r"^\[(\d+)\]:\s*(.+)$", text, re.MULTILINE)}


def by_mbpoll(mbpoll: str, port: int, type_: str, count: int, *options: str) -> dict[int, str]:
    command = [
        mbpoll,
        "-m",
        "tcp",
        "-p",
        str(port),
        "-a",
        "1",
        "-t",
        type_,
        "-r",
        "1",
        "-c",
        str(count),
        "-1",
    ]
    done = subprocess.run([*command, *options, HOST], capture_output=True, text=True, timeout=10, check=True)
    found = printed(done.stdout)
    assert len(found) == count
    return found


def by_modpoll(port: int, type_: str, count: int, *options: str) -> dict[int, str]:
    done = tool("modpoll", "-p", port, "-t", type_, "-r", 1, "-c", count, "-1", *options, HOST)
    assert (done.code, done.err) == (0, "")
    return printed(done.out)


TABLES = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}


@pytest.mark.parametrize("type_", ["0", "1", "3", "4", "3:hex", "4:hex"])
def test_bits_and_registers(mbpoll: str, port: int, type_: str) -> None:
    theirs = by_mbpoll(mbpoll, port, type_, WORDS)
    assert by_modpoll(port, type_, WORDS) == theirs  # to the letter
    table = TABLES[type_[0]]
    rows = tool("read", f"{HOST}:{port}", f"1:{WORDS}", "--base", "1", "--table", table, "--json").rows
    if type_.endswith("hex"):
        ours = {row["address"] + 1: f"0x{row['raw'].upper()}" for row in rows}
        assert ours == theirs
    else:
        assert {row["address"] + 1: str(int(row["value"])) for row in rows} == {
            number: value.split()[0] for number, value in theirs.items()
        }


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("table", ["3", "4"])
def test_integers_of_32_bits(mbpoll: str, port: int, table: str, big: bool) -> None:
    count = WORDS // 2
    theirs = by_mbpoll(mbpoll, port, f"{table}:int", count, *["-B"] * big)
    assert by_modpoll(port, f"{table}:int", count, *["-i"] * big) == theirs
    order = "ABCD" if big else "CDAB"
    done = tool("read", f"{HOST}:{port}", f"0:{count}", "--table", TABLES[table], "--type", "int32",
                "--order", order, "--json")  # fmt: skip
    assert {row["address"] + 1: str(row["value"]) for row in done.rows} == theirs
    signed = tool(
        "read", f"{HOST}:{port}", f"0:{WORDS}", "--table", TABLES[table], "--type", "int16", "--json"
    )
    sixteen = by_mbpoll(mbpoll, port, table, WORDS)
    assert {row["address"] + 1: str(row["value"]) for row in signed.rows} == {
        number: value.split("(")[-1].rstrip(")") for number, value in sixteen.items()
    }


def as_mbpoll(value: float) -> str:
    """Return what C prints of a float32 by %g; it marks the sign of a nan, which says nothing."""
    return re.sub("-?nan", "nan", f"{float(np.float32(value)):g}")


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("table", ["3", "4"])
def test_floats(mbpoll: str, port: int, table: str, big: bool) -> None:
    count = WORDS // 2
    theirs = {
        number: value.replace("-nan", "nan")
        for number, value in by_mbpoll(mbpoll, port, f"{table}:float", count, *["-B"] * big).items()
    }
    ours = by_modpoll(port, f"{table}:float", count, *["-f"] * big)
    with np.errstate(over="ignore"):
        assert {number: as_mbpoll(float(value)) for number, value in ours.items()} == theirs
    order = "big" if big else "word-swap"
    done = tool("read", f"{HOST}:{port}", f"0:{count}", "--table", TABLES[table], "--type", "float32",
                "--order", order, "--json")  # fmt: skip
    not_finite = {number for number, value in theirs.items() if value in ("nan", "inf", "-inf")}
    assert {row["address"] + 1 for row in done.rows if row["reason"] == "not a number"} == not_finite
    read = {row["address"] + 1: row["value"] for row in done.rows if row["value"] is not None}
    assert {number: as_mbpoll(value) for number, value in read.items()} == {
        number: value for number, value in theirs.items() if number not in not_finite
    }


def test_what_mbpoll_writes_is_read_and_the_other_way_round(mbpoll: str, port: int) -> None:
    place = f"{HOST}:{port}"
    command = [mbpoll, "-p", str(port), "-r", "501", "-t", "4:float", HOST, "--", "-12.5", "3.25"]
    subprocess.run(command, capture_output=True, timeout=10, check=True)
    done = tool("read", place, "500:2", "--type", "float32", "--order", "CDAB", "--json")
    assert [row["value"] for row in done.rows] == [-12.5, 3.25]
    assert tool("modpoll", "-p", port, "-r", 521, "-t", "4:int", "-i", HOST, "-70000", "7").code == 0
    assert tool("write", place, "524=-2,5", "--type", "int32", "--yes").code == 0
    command = [mbpoll, "-p", str(port), "-B", "-r", "521", "-c", "4", "-t", "4:int", "-1", HOST]
    out = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    assert list(printed(out).values()) == ["-70000", "7", "-2", "5"]
