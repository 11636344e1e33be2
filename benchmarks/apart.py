"""The runner of cases whose contenders are processes: each alone on the first core, its server on the last.

A case's file says which command each contender is. The command does the job, checks what it got, and prints
as its last line what it cost: ``say`` does that in Python.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from measured import HERE, Case, histogram

CORES: Final = sorted(os.sched_getaffinity(0))
# Sets a case up in a folder, and serves while it is open: the command of each contender, the floor first.
Opener = Callable[[Path], AbstractContextManager[Mapping[str, list[str]]]]
TIMEOUT_S: Final = 120


@dataclass(frozen=True)
class Apart:
    """``name`` begins with its file's: ``link/500`` is in bench_link.py.

    Every command's stdin is the file ``asked`` in the case's folder, where there is one.
    """

    name: str
    unit: str
    open: Opener

    def run(self, repeats: int, only: frozenset[str] | None = None) -> Case:
        """Run every contender, or only those, so many times, in turns; one that fails is left out."""
        case, failed = Case(self.name, self.unit), set[str]()
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection for each of 10,000 devices
        with tempfile.TemporaryDirectory() as folder, self.open(Path(folder)) as commands:
            for _ in range(repeats):
                for contender, command in commands.items():
                    if contender in failed or (only is not None and contender not in only):
                        continue
                    try:
                        result = _run(command, Path(folder))
                    except RuntimeError as error:
                        print(f"{self.name}: {contender} failed: {error}", file=sys.stderr)
                        failed.add(contender)
                        continue
                    case.add(contender, result.pop("cost"), result.pop("right"), **result)
        for contender in failed:
            case.contenders.pop(contender, None)
        return case


def say(cost: float, right: bool, **more: Any) -> None:
    """Print what a contender's run cost; of ``more``, ``times`` are times in µs, ``said`` other figures."""
    print(json.dumps({"cost": cost, "right": right, **more}))


def python(script: str, *arguments: object) -> list[str]:
    """Return the command of one of our scripts."""
    return [sys.executable, str(HERE / script), *map(str, arguments)]


def compiled(source: str, folder: Path, *flags: str) -> str:
    """Compile a C program of this folder, return its path."""
    program = folder / Path(source).stem
    subprocess.run(["cc", "-O2", "-o", program, HERE / source, *flags], check=True)
    return str(program)


def pinned(core: int) -> list[str]:
    """Return what keeps a command on a core."""
    return ["taskset", "-c", str(core)]


@contextmanager
def simulator(site: Path) -> Iterator[None]:
    """Serve a site's devices on the last core."""
    command = [*pinned(CORES[-1]), sys.executable, "-m", "fluxfast", "simulate", str(site)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        if not (started := server.stdout.readline()):
            sys.exit("the simulator did not start")
        print(started.strip(), file=sys.stderr)
        yield
    finally:
        server.terminate()
        server.wait()


@contextmanager
def alone(commands: Mapping[str, list[str]]) -> Iterator[Mapping[str, list[str]]]:
    """Open a case that has no server."""
    yield commands


def _run(command: list[str], folder: Path) -> dict[str, Any]:
    """Raises RuntimeError with what it said if it failed or took too long."""
    asked = folder / "asked"
    try:
        ran = subprocess.run(
            [*pinned(CORES[0]), *command], capture_output=True, text=True, timeout=TIMEOUT_S,
            input=asked.read_text() if asked.exists() else "",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not done after {TIMEOUT_S} s") from None
    if ran.returncode:
        raise RuntimeError(ran.stderr.strip() or str(ran.returncode))
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    result["times"] = histogram(result.get("times", []))
    return result
