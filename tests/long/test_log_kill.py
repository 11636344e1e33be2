"""kill -9 at random moments: what was acknowledged, and all that is older than two seconds, is there once.

A log is fed as fast as its values, which prove themselves, can be made; its segments are so short that kills
hit conversions, the process that makes them, and recoveries from the kill before. And whole stations die in
front of devices whose every register proves itself. `FLUXFAST_KILLS=200` takes five minutes more.
"""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fluxfast.log.compactor import compact
from tests.support import killed_log
from tests.support.command import PATIENCE_S, parquet_files, started
from tests.support.proof import check_log, profile
from tests.support.proved_log import check_manifest, read, wait_until

KILLS = int(os.environ.get("FLUXFAST_KILLS", "60"))
LIVES = 10  # in one directory
LANES = 2
BOUND_S = 2.0  # a block, a second until it is synced, and a busy machine
ROOT = Path(__file__).parents[2]


class Lane:
    """Logs that live and die one after the other, some of them in the same directory."""

    def __init__(self, folder, seed):
        self.folder, self.chance = folder, random.Random(seed)
        self.kills = self.ticks = self.promised = self.acknowledged = self.in_pass = 0
        folder.mkdir()

    def run(self, kills):
        for n in range(kills // LIVES):
            self.many_lives(self.folder / str(n))
        return self

    def many_lives(self, root):
        promised, appended, first = set(), set(), 0
        for life in range(LIVES):
            told = self.folder / f"{root.name}-{life}.txt"
            killed_s = self.live(root, first, told)
            lines = [line.split() for line in told.read_text().splitlines()]
            ticks = [int(line[0]) for line in lines]
            assert all(line[2] == "0" for line in lines), "rows were dropped"
            last = max(int(line[1]) for line in lines)
            old = [
                tick for tick, line in zip(ticks, lines, strict=True) if float(line[3]) < killed_s - BOUND_S
            ]
            self.acknowledged += last
            promised |= {*ticks[:last], *old}
            appended |= {*ticks, ticks[-1] + 1}  # the last line may be missing
            first = ticks[-1] + 1000
        compact(root, lambda text: None)
        self.check(root, promised, appended)

    def live(self, root, first, told):
        """Let a writer live for a moment; return when it was killed."""
        command = [sys.executable, "-m", killed_log.__name__, str(root), str(first), str(told)]
        with subprocess.Popen(command, cwd=ROOT) as writer:
            try:
                wait_until(lambda: told.exists() and told.stat().st_size, PATIENCE_S)
                time.sleep(self.chance.uniform(0, 3.0))
                passes = children(writer.pid)
                killed_s = time.monotonic()
            finally:
                writer.kill()
        self.kills += 1
        self.in_pass += bool(passes)
        if self.chance.random() < 0.5:  # else it goes on beside the next life
            for process in passes:
                kill(process)
        return killed_s

    def check(self, root, promised, appended):
        for found in read(root, killed_log.ROWS).ticks:
            assert promised <= set(found.tolist()) <= appended
        check_manifest(root)
        assert not list((root / ".journal").iterdir())
        self.ticks += len(found)
        self.promised += len(promised)


def children(process):
    """Return the processes that a process has started."""
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def kill(process):
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.mark.long
@pytest.mark.timeout(120 + 10 * KILLS)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("seed", [1])
def test_a_log_is_killed_two_hundred_times(tmp_path, seed):
    with ThreadPoolExecutor(LANES) as pool:
        lanes = [Lane(tmp_path / str(n), seed * LANES + n) for n in range(LANES)]
        done = list(pool.map(lambda lane: lane.run(KILLS // LANES), lanes))
    kills = sum(lane.kills for lane in done)
    print(
        f"{kills} kills, {sum(lane.in_pass for lane in done)} during a pass; "
        f"{sum(lane.acknowledged for lane in done)} ticks acknowledged, "
        f"{sum(lane.promised for lane in done)} promised, {sum(lane.ticks for lane in done)} there, each once"
    )
    assert kills == KILLS


HOST, PERIOD_MS, TIMEOUT_MS, DEVICES = "127.83.19.7", 100, 80, 20
STATION_KILLS = 10


def write_site(folder):
    """Write a site of devices that prove themselves, polled ten times a second."""
    (folder / "proof.yaml").write_text(profile("proof", max_in_flight=4))
    place = f"host: {HOST}, port: 5547, timeout: {TIMEOUT_MS}ms"
    devices = "".join(
        f"    - {{id: d{n}, type: ./proof.yaml, modbus: {{{place}, address: {n}}}}}\n"
        for n in range(1, DEVICES + 1)
    )
    site = folder / "site.yaml"
    site.write_text(f"poll: {{every: {PERIOD_MS}ms}}\nlog: {{dir: log}}\ndevices:\n  meters:\n{devices}")
    return site


@pytest.mark.long
@pytest.mark.timeout(60 + 20 * STATION_KILLS)
def test_a_station_is_killed_and_what_devices_served_is_in_the_log(tmp_path):
    chance, site, log = random.Random(3), write_site(tmp_path), tmp_path / "log"
    script = Path(__file__).parents[1] / "support" / "proof.py"
    expected = []  # of each life: how many ticks must be there
    simulator = subprocess.Popen([sys.executable, str(script), str(site), "1"], stdout=subprocess.PIPE)
    try:
        assert simulator.stdout.readline()
        for _ in range(STATION_KILLS):
            with started("run", site, "--log", log, "--json") as run:
                status = run.wait_for_ticks(1)
                until_s = time.monotonic() + chance.uniform(0.5, 5)
                old = [(time.monotonic(), status["ticks"])]
                while time.monotonic() < until_s:
                    old.append((time.monotonic(), run.wait_for_ticks(1)["ticks"]))
                killed_s = time.monotonic()
                run.end(signal.SIGKILL)
            expected.append(max((ticks for at, ticks in old if at < killed_s - BOUND_S), default=0))
    finally:
        simulator.kill()
        simulator.communicate()
    compact(log, lambda text: None)
    found = check_log(parquet_files(log / "proof"), PERIOD_MS, TIMEOUT_MS)
    assert found.wrong == []
    assert found.rows == DEVICES * len(found.ticks), "a row is missing, or there twice"
    check_manifest(log)
    print(f"{STATION_KILLS} kills, {found.rows} rows, {found.values} values that prove themselves")
    assert len(found.ticks) >= sum(expected), expected
