"""A controlled site of three simulated batteries, for tests of those who operate it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxfast.config import load
from fluxfast.sim import Simulator
from fluxfast.watchdog import FOLDERS
from tests.support.command import PATIENCE_S, Process

IDS = ("b1", "b2", "b3")
OTHER = 5  # a command source that is not ours


@dataclass
class Site:
    """``file``: its site file, ``log`` its log; ``name`` is nobody else's on this machine."""

    name: str
    file: Path
    simulator: Simulator

    @property
    def log(self) -> Path:
        return self.file.parent / "log"

    def path(self, kind: str) -> Path:
        """Return the file beside the site's lock, ``lock``, ``sock`` or ``stopped``."""
        folder = next(folder for folder in FOLDERS if (folder / f"{self.name}.lock").exists())
        return folder / f"{self.name}.{kind}"

    def setpoints(self) -> list[float]:
        """Return what the batteries were told last."""
        return [float(self.simulator.value(id_, "target_power")) for id_ in IDS]

    def sources(self) -> list[float]:
        return [self.simulator.raw(id_, "command_source") for id_ in IDS]


@contextmanager
def operated(folder: Path, host: str, *, action: str = "act", every: str = "250ms") -> Iterator[Site]:
    """Simulate it on ``host``, a name of whose own the site gets; each battery is to give 2 kW, or 3."""
    name = "operated-" + host.replace(".", "-")
    file = folder / "site.yaml"
    file.write_text(
        f"""
site: {name}
poll: {{every: {every}}}
log: {{dir: log}}
control:
  action: {action}
  modes:
    - {{type: fixed_power, name: more, power_kw: 9, enabled: false}}
    - {{type: fixed_power, name: some, power_kw: 6}}
devices:
  bess:
    - id: "b{{n}}"
      type: powerpack
      capacity_kwh: 400
      rated_power_kw: 100
      modbus: {{host: {host}, port: 15020}}
      count: 3
"""
    )
    site = Site(name, file, Simulator(load(file), seed=1))
    with site.simulator.running():
        for id_ in IDS:
            site.simulator.set_value(id_, "soe", 50)
            site.simulator.set_value(id_, "command_source", OTHER)
        try:
            yield site
        finally:
            for parent in FOLDERS:
                (parent / f"{name}.stopped").unlink(missing_ok=True)


def eventually(holds: Callable[[], object]) -> None:
    """Wait until it holds."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "that never came"
        time.sleep(0.02)


def shown(run: Process, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Read what ``run --json`` shows until it holds of that; return it."""
    while not holds(status := json.loads(run.line())):
        pass
    return dict(status)
