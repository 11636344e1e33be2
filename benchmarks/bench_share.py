"""Where each microsecond of a tick goes: 500 devices of 90 registers, every 500 ms, controlled and logged.

``perf record`` looks 10,000 times a second of CPU at what the station's process does. A sample belongs to the
kernel by its chain of callers, to our code by the module that it is in; NumPy, Python and the C library work
for whoever has called them, which a sample does not say: these go by the stage of the tick at whose time they
ran (fluxfast/moments.py), and by the thread. Sites are those of bench_tick.py, but each PowerPack has 90
registers with 45 points, and the meters are acuvim2_vendor. ``said`` has µs of a tick that add up to
``sampled``; ``residue`` is what the process used beside that, by its rusage over the same time.
What it does not show: the simulator's half of TCP, and the compaction's process. To be sampled costs a few
per cent, which are in the figures.
"""

import bisect
import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apart import CORES, Apart, pinned, python, say, simulator
from bench_tick import WARM_UP, holds, site_file

from fluxfast.config import Fleet, load
from fluxfast.station import Station

SITES, EVERY_MS, TICKS = 100, 500, 20
PERIOD_NS = 100_000
PERF = ["perf", "record", "--quiet", "--event=cpu-clock"]
PERF_STARTS_S = 0.5
FRAME = re.compile(r"\s*[0-9a-f]+ (.+) \((.+)\)$")
# A function of the kernel, or the C library's that called it → what it is for. The first of these that is
# among a sample's callers counts.
KERNEL = {
    **dict.fromkeys(("tcp_sendmsg", "__sys_sendto", "__x64_sys_sendto", "__send"), "kernel: TCP send"),
    **dict.fromkeys(("tcp_recvmsg", "__sys_recvfrom", "__x64_sys_recvfrom", "__recv"), "kernel: TCP receive"),
    **dict.fromkeys(("do_epoll_wait", "do_epoll_ctl", "epoll_wait", "epoll_ctl"), "kernel: epoll"),
    "exc_page_fault": "kernel: page faults",
    **dict.fromkeys(("schedule", "do_futex"), "kernel: threads take turns"),
}
# Whose time it is after a tick's moments (moments.py): begun, answered, closed, decided, written, logged.
STAGES = ("loop", "table", "decide", "write", "log", "loop")


def profile() -> str:
    """Return a PowerPack with 90 registers: its own points, 10 int16 and 30 float32."""
    shorts = [*range(2001, 2008), 2009, 2011, 2012]
    points = "".join(f"  count_{at}: {{address: {at}, type: int16, scale: 0.1}}\n" for at in shorts)
    points += "".join(f"  value_{at}: {{address: {at}, type: float32}}\n" for at in range(2030, 2090, 2))
    return f"""name: powerpack90
quirks: {{max_gap: 15}}
points:
  status: {{address: 2000, type: uint16, states: {{1: READY}}}}
  target_power: {{address: 2008, type: int16, unit: kW, access: rw}}
  command_source: {{address: 2010, type: uint16, access: rw, states: {{1: REMOTE}}}}
  soe: {{address: 2026, type: uint16, unit: "%"}}
  available_blocks: {{address: 2028, type: uint16}}
{points}control:
  setpoint: target_power
  soe: soe
  ready: {{status: [READY]}}
  source: {{command_source: REMOTE}}
  blocks: available_blocks
  write: fc06
  refresh: 10s
"""


def run_station(site: str, log: str, data: Path, core: int) -> None:
    """Control under ``perf record``, and say what it found."""
    import uvloop

    async def control(fleet: Fleet) -> None:
        async with Station(fleet, log_dir=log) as station:
            gc.freeze()
            scan = station.ticks()
            for _ in range(WARM_UP):
                await anext(scan)
            with sampling(data, core):
                await anext(scan)
                begin_ns, used_s = station.reactor.now_ns(), time.process_time()
                for _ in range(TICKS):
                    await anext(scan)
                used_s, end_ns = time.process_time() - used_s, station.reactor.now_ns()
            journal = {t.native_id for t in threading.enumerate() if t.name == "fluxfast-journal"}
            packs = [station.controller.plan.devices[unit] for unit in station.commander.units]
            right = holds(packs, station.controller.columns.units.setpoint_kw[station.commander.units])
            moments = station.moments.ns.tolist()
            await scan.aclose()
        share = Counter(
            sample.part(moments, journal) for sample in samples(data) if begin_ns <= sample.time_ns <= end_ns
        )
        said = {part: n * PERIOD_NS / 1e3 / TICKS for part, n in sorted(share.items())}
        sum_us, used_us = sum(said.values()), used_s * 1e6 / TICKS
        said |= {"sampled": sum_us, "residue": used_us - sum_us}
        say(used_us / len(fleet.devices), right and sum_us > 0, said=said)

    uvloop.run(control(load(site)))


@dataclass(frozen=True)
class Sample:
    """One look: when, which thread, and the chain of callers, the innermost first, as (symbol, file)."""

    thread: int
    time_ns: int
    chain: list[tuple[str, str]]

    def part(self, moments: list[list[int]], journal: set[int]) -> str:
        """Return whom it goes to."""
        if not self.chain:
            return "not known"
        symbol, file = self.chain[0]
        in_kernel = file == "[kernel.kallsyms]"
        if self.thread in journal:
            return f"log's thread: {'kernel' if in_kernel else self._library(file)}"
        if in_kernel:
            names = {name.partition(".")[0] for name, _ in self.chain}
            return next((what for name, what in KERNEL.items() if name in names), "kernel: other")
        ours = re.search(r"/fluxfast/(\w+)/(\w+)", file)
        if ours:
            return {"control": "decide: kernel", "table": "decode"}.get(ours[1], "link") + (
                "" if ours[1] != "table" or "close" not in symbol else ", closing"
            )
        return f"{self._stage(moments)}: {self._library(file)}"

    def _library(self, file: str) -> str:
        if "numpy" in file:
            return "NumPy"
        if "uvloop" in file:
            return "uvloop"
        if "arrow" in file:
            return "Arrow"
        if "/fluxfast/" in file:
            return "ours"
        return "Python" if "python" in Path(file).name else "C library"

    def _stage(self, moments: list[list[int]]) -> str:
        tick = bisect.bisect_right(moments, self.time_ns, key=lambda ns: ns[1]) - 1
        if tick < 0:
            return "loop"
        return STAGES[bisect.bisect_right(moments[tick][1:], self.time_ns) - 1]


@contextmanager
def sampling(data: Path, core: int) -> Iterator[None]:
    """Sample this process into a file, from another core."""
    command = [*PERF, f"--count={PERIOD_NS}", "-g", "--clockid=boottime", f"--output={data}"]
    perf = subprocess.Popen([*pinned(core), *command, f"--pid={os.getpid()}"], stderr=subprocess.PIPE)
    try:
        time.sleep(PERF_STARTS_S)
        yield
    finally:
        perf.send_signal(signal.SIGINT)
        perf.communicate()


def samples(data: Path) -> Iterator[Sample]:
    """Yield what was sampled."""
    script = ["perf", "script", "--ns", "-F", "tid,time,ip,sym,dso", f"--input={data}"]
    text = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    for one in text.split("\n\n"):
        head, *lines = one.strip().splitlines() or [""]
        if begin := re.match(r"(\d+)\s+(\d+)\.(\d{9}):", head):
            chain = [frame.groups() for line in lines if (frame := FRAME.match(line))]
            yield Sample(int(begin[1]), int(begin[2] + begin[3]), chain)


def can_sample() -> bool:
    """Whether there is a perf, and it may look at our processes."""
    if shutil.which("perf") is None:
        return False
    return subprocess.run([*PERF, "--output=/dev/null", "true"], capture_output=True).returncode == 0


@contextmanager
def sites(folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Serve the sites; the station's command."""
    (folder / "powerpack90.yaml").write_text(profile())
    site = folder / "site.yaml"
    site.write_text(site_file(SITES, EVERY_MS, "./powerpack90.yaml", "acuvim2_vendor"))
    with simulator(site):
        yield {"fluxfast": python(__file__, site, folder / "log", folder / "data", CORES[-1])}


CASES = []
if can_sample():
    CASES.append(Apart("share/500", "µs CPU of a tick a device", sites))
else:
    print(
        "share: needs perf, and the right to use it (root, or perf_event_paranoid=2): left out",
        file=sys.stderr,
    )

if __name__ == "__main__":
    run_station(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
