"""The sidecar's life: wait, stop the units, say what became of it."""

import json
import mmap
import os
import resource
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from .stopper import Job, Stopper
from .task import EXIT_GOODBYE, EXIT_NOT_STOPPED, EXIT_SOURCE_KEPT, EXIT_STOPPED, READY, STOPPING, Task
from .watch import Watch

SPARE_DESCRIPTORS: Final = 32


def main(descriptor: int) -> int:
    """Watch, and stop what is commanded when the station is no more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # meant for the station, sent to all
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
    task = Task(mmap.mmap(descriptor, 0))
    free = room() - SPARE_DESCRIPTORS - len(task.locks)
    task.pipe.send(READY)
    why = Watch(task).wait()
    if why is None:
        return EXIT_GOODBYE
    for lock in task.locks:
        with suppress(OSError):
            os.pwrite(lock, STOPPING, 0)
    began = time.time()
    jobs, lines = task.jobs()
    Stopper(lines, max(free, 1)).run(task.stop_within_s)
    for lock in task.locks:  # a successor may start, however long the report takes
        os.close(lock)
    return report(task, why, jobs, began)


def room() -> int:
    """Raise the limit of open files as far as allowed, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def moment(seconds: float) -> str:
    """Return a time as 2026-05-04T12:03:11.250Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03}Z"


def report(task: Task, why: str, jobs: Sequence[Job], began: float) -> int:
    """Write down what was done, to the report file and to stderr; return the exit code."""
    lines: list[dict[str, str | None]] = []
    spoken: list[str] = []
    for first in jobs:
        for job in (first, first.then):
            if job is None or (job is first.then and not first.done):
                continue
            outcome = f"done, tries: {job.tries}" if job.done else f"failed, tries: {job.tries}: {job.why}"
            at = moment(job.done or time.time())
            lines.append({"time": at, "unit": job.unit, "what": job.what, "outcome": outcome})
            if not job.done:
                say = "COULD NOT BE STOPPED" if job is first else "is at 0 kW but keeps our Command Source"
                spoken.append(f"unit {job.unit} {say}: {job.why}")
    stopped = sum(1 for job in jobs if job.done)
    kept = sum(1 for job in jobs if job.done and job.then is not None and not job.then.done)
    took_s = max((job.done for job in jobs), default=began) - began
    summary = f"{stopped} of {len(jobs)} units at 0 kW within {max(took_s, 0):.2f} s"
    lines.append({"time": moment(time.time()), "unit": None, "what": why, "outcome": summary})
    spoken.append(f"{why}: {summary}")
    if task.report is not None:
        try:
            with open(task.report, "a", encoding="ascii") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
        except OSError as error:
            spoken.append(f"cannot write {task.report}: {error.strerror}")
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    for text in spoken:
        if not poll.poll(1000):  # a pipe that nobody reads must not keep this process
            break
        with suppress(OSError):
            os.write(2, f"fluxfast watchdog: {text}\n".encode())
    if stopped < len(jobs):
        return EXIT_NOT_STOPPED
    return EXIT_SOURCE_KEPT if kept else EXIT_STOPPED
