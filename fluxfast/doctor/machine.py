"""The machine that polls: clock, open files, ports, disk, memory, and what the plan takes of a core.

``look`` observes, ``judge_machine`` judges; the second is a pure function.
"""

import ctypes
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from fluxfast.config import Fleet
from fluxfast.doctor.finding import Finding, fault, note, warning
from fluxfast.plan import compile_plan, plan_cost

BESIDE_LINKS: Final = 64  # open files of a station beside its links (poller.py)
BYTES_PER_READING: Final = 1.0  # of the log; measured 0.87 with all columns, telemetry may be noisier
LEAST_YEAR: Final = 2024  # a clock before this version's release is wrong
LEAST_MEMORY: Final = 256 << 20
FEW_DAYS, MANY_DAYS = 2.0, 14.0
TRIED_BYTES: Final = 65536
STATUS_AT: Final = 5  # longs before the status in struct timex
UNSYNC: Final = 0x0040  # STA_UNSYNC of adjtimex(2)
VOLATILE: Final = ("tmpfs", "ramfs")
REMOTE: Final = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p")


@dataclass(frozen=True, slots=True)
class Machine:
    """What was observed; None: not known here."""

    links: int
    year: int
    synchronised: bool | None
    open_files: int | None  # how many one process may have at the most; None: any number
    ports: int | None
    log_dir: str
    log_error: str  # why a file cannot be written there; empty: it can
    disk_free: int
    disk_type: str
    log_bytes_per_day: float
    kept_days: float | None  # by the site file
    kept_bytes: int | None
    memory_free: int | None
    cpu_share: float  # of one core, that polling takes


def look(fleet: Fleet) -> Machine:
    """Observe the machine. Writes one nameless file where the log goes, which vanishes at once."""
    plan = compile_plan(fleet)
    cost = plan_cost(plan)
    every_s = fleet.poll.every_ns / 1e9
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    folder, log_error = _try_log(fleet.log.dir)
    return Machine(
        links=len(plan.endpoints),
        year=time.gmtime().tm_year,
        synchronised=_is_synchronised(),
        open_files=None if hard == resource.RLIM_INFINITY else hard,
        ports=_ports(),
        log_dir=str(fleet.log.dir),
        log_error=log_error,
        disk_free=shutil.disk_usage(folder).free,
        disk_type=_disk_type(folder),
        log_bytes_per_day=86400 / every_s * cost.values * BYTES_PER_READING,
        kept_days=None if fleet.log.keep_s is None else fleet.log.keep_s / 86400,
        kept_bytes=fleet.log.max_bytes,
        memory_free=_memory_free(),
        cpu_share=cost.cpu_ms / 1e3 / every_s,
    )


def judge_machine(machine: Machine) -> list[Finding]:
    """Return what is wrong with the machine."""
    return [*_judge_clock(machine), *_judge_limits(machine), *_judge_disk(machine)]


def _judge_clock(m: Machine) -> Iterator[Finding]:
    if m.year < LEAST_YEAR:
        yield fault(
            "clock",
            f"the machine's clock says {m.year}",
            "set it, and keep it by chrony or systemd-timesyncd: the log's times are wrong",
            "machine",
        )
    elif m.synchronised is False:
        yield note(
            "clock",
            "nothing is known to keep the machine's clock right",
            "timedatectl set-ntp true, or chrony; unless the host of this virtual machine does it",
            "machine",
        )


def _judge_limits(m: Machine) -> Iterator[Finding]:
    needed = m.links + BESIDE_LINKS
    if m.open_files is not None and m.open_files < needed:
        yield fault(
            "open-files",
            f"{m.links:,} links and a station need {needed:,} open files; {m.open_files:,} are allowed",
            f"ulimit -n {needed}, or LimitNOFILE={needed} in the service's unit file",
            "machine",
        )
    if m.ports is not None and m.ports < m.links:
        yield warning(
            "ports",
            f"{m.links:,} links, and {m.ports:,} local ports for them",
            "sysctl net.ipv4.ip_local_port_range='10240 65535'",
            "machine",
        )
    if m.memory_free is not None and m.memory_free < LEAST_MEMORY:
        yield warning(
            "memory",
            f"{m.memory_free / 1e6:,.0f} MB of memory are free",
            "end what is not needed: a station and its log want about 256 MB",
            "machine",
        )
    if m.cpu_share > 0.5:
        severity = fault if m.cpu_share > 1 else warning
        yield severity(
            "cpu",
            f"polling takes about {m.cpu_share:.0%} of a core",
            "poll less often (poll: every:), put points in slow groups, or split the fleet",
            "machine",
        )


def _judge_disk(m: Machine) -> Iterator[Finding]:
    if m.log_error:
        yield fault(
            "disk",
            f"{m.log_dir} cannot be written: {m.log_error}",
            "make room, give this user the right to write there, or choose another log: dir:",
            "machine",
        )
        return
    wanted_days = m.kept_days or MANY_DAYS
    wanted = min(wanted_days * m.log_bytes_per_day, m.kept_bytes or float("inf"))
    days = m.disk_free / m.log_bytes_per_day if m.log_bytes_per_day else float("inf")
    if m.disk_free < wanted:
        severity = fault if days < FEW_DAYS and m.disk_free < (m.kept_bytes or float("inf")) else warning
        yield severity(
            "disk",
            f"{m.disk_free / 1e9:,.1f} GB are free where the log goes; about "
            f"{m.log_bytes_per_day / 1e9:,.2f} GB a day fill them in {days:,.1f} days",
            "make room, or say log: {keep: …, max_size: …}",
            "machine",
        )
    if m.disk_type in VOLATILE:
        yield note(
            "disk",
            f"{m.log_dir} is on {m.disk_type}: gone after a reboot",
            "choose another log: dir: if the log is to stay",
            "machine",
        )
    elif m.disk_type in REMOTE:
        yield note(
            "disk",
            f"{m.log_dir} is on {m.disk_type}, a network's disk",
            "log to a local folder, and copy by log: remote:",
            "machine",
        )


# ---- looking ----


def _is_synchronised() -> bool | None:
    """Return whether the kernel knows of something that keeps its clock right."""
    if not sys.platform.startswith("linux"):
        return None
    buffer = (ctypes.c_long * 64)()  # struct timex: modes, offset, freq, maxerror, esterror, status, …
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(buffer))
    except (OSError, AttributeError):
        return None
    status = ctypes.c_int.from_buffer(buffer, STATUS_AT * ctypes.sizeof(ctypes.c_long)).value
    return None if state < 0 else not status & UNSYNC


def _ports() -> int | None:
    try:
        low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        return None
    return high - low + 1


def _try_log(folder: Path) -> tuple[Path, str]:
    """Return the log's folder, or what is there of its path, and why no file can be written in it."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        return folder.parent, f"{folder} is no folder"
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            return folder, try_writing(file)
    except OSError as error:
        return folder, error.strerror or str(error)


def try_writing(file: IO[bytes]) -> str:
    """Write a little to an open file and sync it; return what went wrong, or nothing."""
    try:
        file.write(bytes(TRIED_BYTES))
        os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _disk_type(folder: Path) -> str:
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    mounts = [
        (fields[1].replace("\\040", " "), fields[2]) for line in lines if len(fields := line.split()) > 2
    ]
    path = str(folder.resolve())
    holding = [m for m in mounts if path == m[0] or path.startswith(m[0].rstrip("/") + "/")]
    return max(holding, key=lambda mount: len(mount[0]), default=("", ""))[1]


def _memory_free() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    found = [line.split() for line in text.splitlines() if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024 if found else None
