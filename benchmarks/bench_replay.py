"""A log decided anew: what a tick costs, stage by stage, and how many times faster than it happened.

400 PowerPacks and 100 meters on 100 sites, half a second a tick, half an hour of it written as a station logs
it that only observes; what is replayed is peak shaving, so from the first tick on every site is another than
in the log. A cost is the whole replay's, from the call to the result, by the wall clock. Files are read ahead
in a thread of its own, all else is one thread's. The stages are that thread's CPU in one more replay, with a
clock around each call, which itself adds about 10 µs a tick; "files" is the other thread's.
What it does not show: reading from a disk (the log is in the page cache), writing `--out`, the chart, and the
start of the process.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from apart import Apart, python, say

from fluxfast import controller
from fluxfast.config import load
from fluxfast.control.kernel import Kernel
from fluxfast.control.loop import Loop
from fluxfast.log import Column, Dataset, LogWriter
from fluxfast.replay import Replay, Result, replay, world
from fluxfast.table import quality

TICKS = 3600
SITES, PACKS, TICK_US, FIRST_US = 100, 4, 500_000, 1_790_035_200_000_000


def site_file() -> str:
    entries = "".join(
        f"""
  - site: s{n}
    devices:
      bess: [{{id: "s{n}-b{{n}}", count: {PACKS}, type: powerpack, capacity_kwh: 400, rated_power_kw: 200,
              modbus: {{host: 127.1.{n}.1, port: 5020}}}}]
      meters: [{{id: s{n}-grid, type: acuvim2, role: grid, modbus: {{host: 127.1.{n}.100, port: 5020}}}}]
"""
        for n in range(1, SITES + 1)
    )
    modes = "[{type: peak_shaving, import_limit_kw: 350, recharge_below_kw: 300}]"
    return f"poll: {{every: {TICK_US // 1000}ms}}\ncontrol: {{modes: {modes}}}\nsites:{entries}"


def write_log(path: Path, ticks: int) -> None:
    """Write what units that rest and meters of a load that walks around 325 kW have shown."""
    rng = np.random.default_rng(7)
    sites = [f"s{n}" for n in range(1, SITES + 1)]
    packs = [f"{site}-b{n}" for site in sites for n in range(1, PACKS + 1)]
    columns = [
        Column("status", "int64", [{1: "READY"}]),
        Column("target_power", "int64"),
        Column("command_source", "int64", [{1: "REMOTE"}]),
        Column("soe", "int64"),
        Column("available_blocks", "int64"),
    ]
    shown = [np.full(len(packs), value) for value in (1, 0, 1, 50, 4)]
    datasets = [
        Dataset("powerpack", np.repeat(sites, PACKS).tolist(), packs, columns),
        Dataset(
            "acuvim2", sites, [f"{site}-grid" for site in sites],
            [Column("power_total", "float64", metadata={"unit": "W"})],
        ),
    ]  # fmt: skip
    good = [np.full(rows, quality.GOOD, np.uint8) for rows in (len(packs), SITES)]
    valid = [np.ones((5, len(packs)), np.uint8), np.ones((1, SITES), np.uint8)]
    latency_ms = [np.full(rows, 9, np.float32) for rows in (len(packs), SITES)]
    load_kw = rng.uniform(250, 400, SITES)
    with LogWriter(
        path, datasets, tick_seconds=TICK_US / 1e6,
        quality_names=quality.QUALITY_NAMES, reasons=quality.REASONS,
    ) as log:  # fmt: skip
        for k in range(ticks):
            load_kw += 0.002 * (325 - load_kw) + rng.normal(0, 4, SITES)
            for dataset, values in enumerate((shown, [np.round(load_kw * 1000)])):
                while log.busy:  # it drops what comes too fast
                    time.sleep(0.001)
                at_us = FIRST_US + k * TICK_US
                log.append(dataset, at_us, latency_ms[dataset], good[dataset], values, valid[dataset])
            log.end_tick()


def run(site: Path, log: Path) -> tuple[Result, float]:
    """Replay; return what it comes to, and how many seconds it took."""
    fleet, begun = load(site), time.perf_counter()
    result = Replay(fleet, log).run()
    return result, time.perf_counter() - begun


class Stages:
    """The time of the calls that make a stage; what a call calls is not counted twice."""

    def __init__(self) -> None:
        self.took_s: dict[str, float] = defaultdict(float)
        self._inner_s = 0.0

    def timed(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **named: Any) -> Any:
            outer_s, self._inner_s = self._inner_s, 0.0
            begun = time.thread_time()
            try:
                return call(*args, **named)
            finally:
                took_s = time.thread_time() - begun
                self.took_s[stage] += took_s - self._inner_s
                self._inner_s = outer_s + took_s

        return wrapped

    def batches(self, *args: Any) -> Iterator[Any]:
        step = self.timed("reading", iter(self._batches(*args)).__next__)
        while True:
            try:
                batch = step()
            except StopIteration:
                return
            yield batch

    def measure(self, site: Path, log: Path) -> Result:
        """Replay with a clock around each stage, and fill in what they took."""
        self._batches = replay.batches
        timed = self.timed

        class Timed:
            def __init__(self, columns: Any) -> None:
                self.decide = timed("kernel", Kernel(columns).decide)

        with ExitStack() as patched:
            for owner, name, stage in (
                (world.World, "open", "world, batch"),
                (world.World, "step", "world, tick"),
                (world.World, "decided", "world, tick"),
                (controller.Controller, "gather", "gather"),
                (Loop, "decide", "decide"),
                (Result, "add", "result"),
            ):
                method = _method(timed(stage, getattr(owner, name)))
                patched.enter_context(patch.object(owner, name, method))
            patched.enter_context(patch.object(controller, "Kernel", Timed))
            patched.enter_context(patch.object(replay, "batches", self.batches))
            all_s, thread_s = time.process_time(), time.thread_time()
            result, _ = run(site, log)
            all_s, thread_s = time.process_time() - all_s, time.thread_time() - thread_s
        self.took_s["the rest"] = thread_s - sum(self.took_s.values())
        self.took_s["files"] = all_s - thread_s
        return result


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **named: function(self, *args, **named)


def run_client(site: Path, log: Path) -> None:
    """Replay to warm up, to be timed, and stage by stage."""
    run(site, log)
    result, took_s = run(site, log)
    stages = Stages()
    again = stages.measure(site, log)
    said = {"× real time": TICK_US / 1e6 * result.ticks / took_s}
    said |= {f"{stage}, µs": seconds / again.ticks * 1e6 for stage, seconds in stages.took_s.items()}
    right = result.ticks == TICKS and again.total() == result.total()
    say(took_s / result.ticks * 1e6, right, said=said)


@contextmanager
def recorded(folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Write the log; the command that replays it."""
    site, log = folder / "site.yaml", folder / "log"
    site.write_text(site_file())
    write_log(log, TICKS)
    yield {"fluxfast": python(__file__, site, log)}


CASES = [Apart("replay/400 units", "µs a tick", recorded)]

if __name__ == "__main__":
    run_client(Path(sys.argv[1]), Path(sys.argv[2]))
