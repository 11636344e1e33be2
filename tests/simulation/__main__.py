"""Replays schedules: ``python -m tests.simulation SEED`` with its trace, ``FIRST LAST`` many without."""

import resource
import sys
import time

from .model import ViolationError
from .world import World

TRACE_LINES = 80


def main() -> int:
    seeds = [int(arg) for arg in sys.argv[1:]]
    if len(seeds) not in (1, 2):
        print(__doc__)
        return 2
    if len(seeds) == 1:
        print(explain(seeds[0]))
        return 0
    begin = time.process_time()
    failed = warm_kib = 0
    for seed in range(seeds[0], seeds[1]):
        if seed - seeds[0] <= (seeds[1] - seeds[0]) // 10:
            warm_kib = peak_kib()
        try:
            World(seed).run()
        except ViolationError as violation:
            failed += 1
            print(f"seed {seed}: {violation}", flush=True)
    took = time.process_time() - begin
    n = seeds[1] - seeds[0]
    print(f"{n} schedules in {took:.1f} s of one core, {n / took * 60:.0f} a minute; {failed} failed")
    print(f"memory grew by {peak_kib() - warm_kib} KiB after the first tenth")
    return int(failed > 0)


def peak_kib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def explain(seed: int) -> str:
    """Return the end of the schedule's trace, and what it violates."""
    trace: list[str] = []
    try:
        World(seed, trace).run()
        end = f"seed {seed}: no violation"
    except ViolationError as violation:
        end = f"seed {seed}: {violation}"
    return "\n".join([*trace[-TRACE_LINES:], end])


if __name__ == "__main__":
    sys.exit(main())
