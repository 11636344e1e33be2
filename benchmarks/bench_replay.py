"""A log decided anew: how many times faster than it happened, and what a tick costs, stage by stage.

    python benchmarks/bench_replay.py [--ticks 7200] [--repeats 3]
    python benchmarks/bench_replay.py --log demo/log --site demo/site.yaml

400 PowerPacks and 100 meters on 100 sites, half a second a tick, an hour of it written as a station logs it
that only observes; what is replayed is peak shaving, so from the first tick on every site is another than in
the log. With ``--log`` it is a log that was recorded, decided by its own site file.
Times real time is of whole replays, from the call to the result, by the wall clock; median and best. Files
are read ahead in a thread of its own, all else is one thread's. The stages are that thread's CPU in one more
replay, with a clock around each call, which itself adds about 10 µs a tick; "files" is the other thread's.
What it does not show: reading from a disk (the log is in the page cache), writing ``--out``, the chart, and
the start of the process.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from fluxfast import controller
from fluxfast.config import load
from fluxfast.control.kernel import Kernel
from fluxfast.control.loop import Loop
from fluxfast.log import Column, Dataset, LogWriter
from fluxfast.replay import Replay, Result, replay, world
from fluxfast.table import quality

sys.path.insert(0, str(Path(__file__).parent))
from bench_link import machine

SITES, PACKS, TICK_US, FIRST_US = 100, 4, 500_000, 1_790_035_200_000_000
GOAL = 1000  # times real time


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


def report(site: Path, log: Path, repeats: int) -> None:
    tick_s = load(site).poll.every_ns / 1e9
    run(site, log)
    runs = [run(site, log) for _ in range(repeats)]
    result, took_s = runs[0][0], [took for _, took in runs]
    units = sum(len(site.units) for site in result.sites)
    per_tick = statistics.median(took_s) / result.ticks
    best = tick_s * result.ticks / min(took_s)
    print(
        f"{units} units on {len(result.sites)} sites, {result.ticks} ticks of {tick_s:g} s, {repeats} runs:"
        f" {tick_s / per_tick:.0f} × real time, best {best:.0f} (goal {GOAL}); {per_tick * 1e6:.0f} µs a tick"
    )
    stages = Stages()
    again = stages.measure(site, log)
    assert again.total() == result.total()
    whole_s = sum(stages.took_s.values())
    print(f"{'stage':14} {'µs a tick':>9} {'share':>6}")
    for stage, seconds in sorted(stages.took_s.items(), key=lambda one: -one[1]):
        print(f"{stage:14} {seconds / again.ticks * 1e6:9.1f} {100 * seconds / whole_s:5.0f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=7200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--log", type=Path, help="one that was recorded; with --site")
    parser.add_argument("--site", type=Path, help="the site file of --log")
    options = parser.parse_args()
    if (options.log is None) != (options.site is None):
        parser.error("--log and --site go together")
    print(machine())
    if options.log is not None:
        report(options.site, options.log, options.repeats)
        return
    with tempfile.TemporaryDirectory() as name:
        site, log = Path(name) / "site.yaml", Path(name) / "log"
        site.write_text(site_file())
        write_log(log, options.ticks)
        report(site, log, options.repeats)


if __name__ == "__main__":
    main()
