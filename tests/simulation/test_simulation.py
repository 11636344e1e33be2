"""Random schedules of the whole engine in simulated time: whatever the peers do, the invariants hold.

A failing seed prints the end of its trace, and how to replay it.
"""

import re
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from .__main__ import explain
from .devices import Peer
from .fleet import CALLS_FROM
from .model import ViolationError
from .world import World

ROOT = Path(__file__).parents[2]
SHORT, LONG = 300, 3000
LEAK_KIB = 16 * 1024  # far less than LONG - SHORT reactors, far more than noise


def run_all(seeds: Iterable[int]) -> None:
    for seed in seeds:
        World(seed).run()


def live(seeds: Iterable[int]) -> None:
    for seed in seeds:
        try:
            World(seed).run()
        except ViolationError:
            pytest.fail(f"{explain(seed)}\nreplay it: python -m tests.simulation {seed}", pytrace=False)


def test_every_invariant_holds() -> None:
    live(range(SHORT))


@pytest.mark.long
def test_every_invariant_holds_for_thousands_of_schedules_without_a_leak() -> None:
    """In a process of their own, whose memory nobody else has stretched."""
    command = [sys.executable, "-m", "tests.simulation", str(SHORT), str(SHORT + LONG)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    (grew_kib,) = re.findall(r"memory grew by (\d+) KiB", done.stdout)
    assert int(grew_kib) < LEAK_KIB


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_is_the_same_schedule(seed: int) -> None:
    traces: list[list[str]] = [[], []]
    digests = [World(seed, trace).run() for trace in traces]
    assert digests[0] == digests[1] == World(seed).run()
    assert traces[0] == traces[1]
    assert len(traces[0]) > 10
    assert digests[0] != World(seed + 5).run()


class Liar(Peer):
    """Gives what no protocol could find out, so the checks of values and writes must."""

    lie = ""

    def do(self, unit, pdu):
        answer = super().do(unit, pdu)
        reads_points = pdu[0] in (3, 4) and struct.unpack(">H", pdu[1:3])[0] < CALLS_FROM
        if self.lie == "an older value" and reads_points and len(answer) > 9:
            return answer[:6] + struct.pack(">I", 0) + answer[10:]
        if self.lie == "another point's value" and reads_points and len(answer) > 9:
            return answer[:2] + bytes([answer[2] ^ 1]) + answer[3:]
        if self.lie == "a write that was not carried out" and pdu[0] in (6, 16):
            self.world.calls.by_pdu[unit.number, pdu].done -= 1
        if self.lie == "a write carried out twice" and pdu[0] in (6, 16):
            super().do(unit, pdu)
        return answer


@pytest.mark.parametrize(
    "lie",
    [
        "an older value",
        "another point's value",
        "a write that was not carried out",
        "a write carried out twice",
    ],
)
def test_the_checks_see_what_is_wrong(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.world.Peer", type("Peer", (Liar,), {"lie": lie}))
    with pytest.raises(ViolationError, match=r"stale|another's|carried out"):
        run_all(range(20))
