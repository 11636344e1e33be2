"""Start-up: importing, from an installed wheel; loading and planning a site file; connecting to all of it.

- startup/import: CPU of a whole process that does nothing else, the middle one of several; the interpreter's
  own is part of it. fluxfast is installed from a wheel, the others are where pip and npm put them.
- startup/plan/N: CPU from a site file that lists N devices to a compiled plan, once in a new process, after
  the imports; beside what PyYAML's loader in C takes only to read the file.
- startup/links: CPU until all links are up, without pacing; how long that took is said, too.

What it does not show: files that are not in the page cache yet, and devices that take long to accept.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import yaml
from apart import Apart, alone, python, say, simulator
from clients import NODE, NODE_MODULE, PYTHON, clients, installed, prepare
from measured import HERE

from fluxfast.config import load
from fluxfast.plan import compile_plan

FIRST_IP, PORT, LINKS, CONNECTORS = "127.44.128.1", 5413, 10_000, ("C floor", "fluxfast", "pymodbus")
PLANS = (100, 1_000, 10_000)
PROCESSES = 5
OTHERS = {"NumPy": "numpy", "pyarrow": "pyarrow", "pandas": "pandas"}


@contextmanager
def importers(folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Install a wheel of ours; the command that measures each process."""
    wheel = _installed_wheel(folder)

    def process(*command: str, path: Path | None = None) -> list[str]:
        return python(__file__, "process", "env", f"PYTHONPATH={path or ''}", *command)

    def importing(module: str, path: Path | None = None) -> list[str]:
        return process(sys.executable, "-P", "-c", f"import {module}", path=path)

    yield {
        "Python alone": process(sys.executable, "-P", "-c", "pass"),
        "fluxfast": importing("fluxfast", wheel),
        "fluxfast.modbus": importing("fluxfast.modbus", wheel),
        "fluxfast.station": importing("fluxfast.station", wheel),
        "fluxfast --help": process(sys.executable, "-P", "-m", "fluxfast", "--help", path=wheel),
        **({NODE: process("node", "-e", f"require('{NODE_MODULE}')")} if NODE_MODULE.is_dir() else {}),
        **{
            name: importing(module)
            for name, module in (PYTHON | OTHERS).items()
            if installed(module) and "," not in name
        },
    }


def _installed_wheel(folder: Path) -> Path:
    """Make a wheel of what is compiled, and install it into a folder; return that."""
    root, site = HERE.parent, folder / "wheel"
    built = root / "build/release"  # by ci/build
    build = [sys.executable, "setup.py", "--quiet", "build"]
    build += [f"--build-lib={built}/lib", f"--build-temp={built}/temp", "bdist_wheel", f"--dist-dir={folder}"]
    made = subprocess.run(build, cwd=root, capture_output=True, text=True)
    if made.returncode:
        sys.exit(f"no wheel can be made: {made.stderr}")
    (wheel,) = folder.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", site, wheel], check=True)
    return site


def run_process(command: list[str]) -> None:
    """Run a process a few times; its cost is its CPU in ms, its times are on the wall."""
    costs, times, right = [], [], True
    for _ in range(PROCESSES):
        begin = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        times.append((time.monotonic() - begin) * 1e6)
        costs.append((used.ru_utime + used.ru_stime) * 1e3)
        right = right and status == 0
    say(statistics.median(costs), right, times=times)


@contextmanager
def planners(devices: int, folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Write a site's file; the commands that load it."""
    site = folder / "site.yaml"
    site.write_text(
        "devices:\n  bess:\n"
        + "".join(
            f"    - {{id: b{n}, type: powerpack, modbus: {{host: 10.0.{n >> 8}.{n & 255}}}}}\n"
            for n in range(1, devices + 1)
        )
    )
    with alone(
        {"fluxfast": python(__file__, "plan", site), "PyYAML in C": python(__file__, "read", site)}
    ) as all:
        yield all


def run_once(count: Callable[[], int]) -> None:
    """Do something for every device, once."""
    used = time.process_time()
    devices = count()
    say((time.process_time() - used) * 1e6 / devices, devices in PLANS)


@contextmanager
def connectors(folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Serve all meters; the command of every client."""
    with simulator(prepare(folder, LINKS, 1_000, FIRST_IP, PORT)):
        all_clients = clients(folder, LINKS, 2, 1_000)
        yield {
            name: python(__file__, "connect", *all_clients[name])
            for name in CONNECTORS
            if name in all_clients
        }


def run_client(command: list[str]) -> None:
    """Run a client, say what its connects cost."""
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(ran.stdout.splitlines()[-1])
    said = result["said"]
    say(said["connect_us"], result["right"], said={"up_s": said["up_s"]})


CASES = [
    Apart("startup/import", "ms CPU a process", importers),
    *(Apart(f"startup/plan/{count}", "µs CPU a device", partial(planners, count)) for count in PLANS),
    Apart("startup/links", "µs CPU a link", connectors),
]

if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "process":
        run_process(rest)
    elif what == "connect":
        run_client(rest)
    elif what == "plan":
        run_once(lambda: len(compile_plan(load(rest[0])).endpoints))
    else:
        run_once(lambda: len(yaml.load(Path(rest[0]).read_text(), yaml.CSafeLoader)["devices"]["bess"]))
