"""What benchmarks say: the cost of a contender at a case, in every repetition; and where that was measured.

A repetition runs all contenders of a case one after the other, so ratios are made within it: what the machine
does meanwhile, it does to all of them. Costs are per item; less is better.
"""

import json
import math
import os
import platform
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Self

HERE: Final = Path(__file__).parent
OURS: Final = "fluxfast"
FLOOR: Final = "C floor"
PER_OCTAVE: Final = 16  # buckets of a histogram: 4.4 % apart


@dataclass(frozen=True)
class Ratio:
    """What one contender costs beside another: in the middle, and the spread over the repetitions."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}–{self.most:.2f})"


@dataclass
class Contender:
    """``costs`` in the case's unit, by repetition; ``right`` if every result was checked and was right.

    ``times`` is a histogram of times in µs ({bucket: count}), of all repetitions; ``said`` are other figures,
    by repetition.
    """

    costs: list[float] = field(default_factory=list)
    right: bool = True
    times: dict[int, int] = field(default_factory=dict)
    said: dict[str, list[float]] = field(default_factory=dict)

    @property
    def cost(self) -> float:
        """The median of the repetitions."""
        return statistics.median(self.costs)

    def figure(self, said: str) -> float:
        """The median of another figure."""
        return statistics.median(self.said[said])

    def beside(self, other: Self) -> Ratio:
        """Return how many times as much as another it costs, paired by repetition."""
        ratios = [mine / its for mine, its in zip(self.costs, other.costs, strict=True)]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))


@dataclass
class Case:
    """``unit`` is what a cost is in, of one item: ``µs CPU a request``."""

    name: str
    unit: str
    contenders: dict[str, Contender] = field(default_factory=dict)

    def first(self, begin: str) -> Contender | None:
        """Return the first contender whose name begins so."""
        return next((one for name, one in self.contenders.items() if name.startswith(begin)), None)

    def add(self, name: str, cost: float, right: bool = True, **more: Any) -> None:
        """Add a repetition of a contender."""
        contender = self.contenders.setdefault(name, Contender())
        contender.costs.append(cost)
        contender.right = contender.right and right
        contender.times = dict(Counter(contender.times) + Counter(more.get("times", {})))
        for what, figure in more.get("said", {}).items():
            contender.said.setdefault(what, []).append(figure)


@dataclass
class Results:
    """All cases of one run."""

    environment: dict[str, str]
    cases: dict[str, Case] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write them as JSON, numbers at six digits."""
        path.write_text(json.dumps(_rounded(asdict(self)), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        read = json.loads(path.read_text())
        cases = {}
        for name, case in read["cases"].items():
            contenders = {
                who: Contender(
                    one["costs"], one["right"], {int(b): n for b, n in one["times"].items()}, one["said"]
                )
                for who, one in case["contenders"].items()
            }
            cases[name] = Case(name, case["unit"], contenders)
        return cls(read["environment"], cases)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def histogram(times_us: Iterable[float]) -> dict[int, int]:
    """Count times in buckets of equal ratio."""
    return dict(Counter(round(PER_OCTAVE * math.log2(max(t, 0.001))) for t in times_us))


def percentile(times: dict[int, int], percent: float) -> float:
    """Return the time in µs that so many percent of a histogram's times do not exceed."""
    left = math.ceil(sum(times.values()) * percent / 100)
    for bucket in sorted(times):
        left -= times[bucket]
        if left <= 0:
            return float(2 ** (bucket / PER_OCTAVE))
    return math.nan


def machine() -> str:
    """Return processor, cores, kernel and Python in one line."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(named, platform.processor())
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python " + (
        platform.python_version()
    )


def environment() -> dict[str, str]:
    """Return machine, day, commit, load, compiler and the versions of everything that takes part."""
    packages = [
        "numpy", "pyarrow", "uvloop", "pandas", "pymodbus", "pyModbusTCP", "modbus-rs", "modbus-tcp-cython",
        "async-modbus", "clarabel", "osqp",
    ]  # fmt: skip
    versions = {name: version for name in packages if (version := _version(name))}
    versions["libmodbus"] = _said("pkg-config", "--modversion", "libmodbus")
    versions["node"] = _said("node", "--version")
    node_package = HERE / "rivals/node_modules/modbus-serial/package.json"
    versions["modbus-serial"] = _said("node", "-p", f"require('{node_package}').version")
    return {
        "machine": machine(),
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _said("git", "-C", str(HERE), "describe", "--always", "--dirty"),
        "compiler": _said("cc", "--version").partition("\n")[0],
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
