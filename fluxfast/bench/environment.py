"""Where something was measured: processor, cores, kernel, versions."""

import os
import platform
import resource
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def environment() -> dict[str, Any]:
    """Return the machine and the versions, as JSON values."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "cores_ours": cores(),
        "kernel": f"{platform.system()} {platform.release()}",
        "open_files": None if hard == resource.RLIM_INFINITY else hard,
        "open_files_soft": None if soft == resource.RLIM_INFINITY else soft,
        "load": list(os.getloadavg()),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("fluxfast", "uvloop", "numpy", "pyarrow")},
    }


def cores() -> list[int]:
    """Return the cores that we may use; none where the system has no way to choose one."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _cpu() -> str:
    """Return the processor's name."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # it runs from where it was unpacked
        return "unknown"


def busy_s() -> float | None:
    """Return for how long the cores of this machine have worked, all together; None if nobody tells.

    What the host of a virtual machine has taken from it counts, too.
    """
    try:
        words = Path("/proc/stat").read_text().split(maxsplit=9)
    except OSError:
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, words[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
