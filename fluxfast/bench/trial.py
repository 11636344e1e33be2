"""One trial: so many devices, so often, for so long; what was measured and whether that holds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fluxfast.bench.measure import Measured


@dataclass(frozen=True)
class Trial:
    """``devices`` every ``every_us``; ``longer``: what is at the limit, once more.

    ``measured`` is None where a process had no memory. Of one core in the same window: ``simulator_percent``,
    None where the devices are the user's; ``others_percent``, what everything else on this machine took.
    """

    devices: int
    every_us: int
    longer: bool
    measured: Measured | None
    simulator_percent: float | None
    others_percent: float | None
    why: str  # it does not hold, in a few words; empty if it does

    @property
    def held(self) -> bool:
        """Whether no reading was missed, no tick skipped, and 99 % of the ticks met their deadline."""
        return not self.why

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found = {} if self.measured is None else asdict(self.measured)
        return {
            **found,
            "devices": self.devices,
            "every_ms": self.every_us / 1000,
            "simulator_percent": self.simulator_percent,
            "others_percent": self.others_percent,
            "longer": self.longer,
            "held": self.held,
            "why": self.why,
        }


@dataclass(frozen=True)
class Result:
    """All trials; the one that held at the limit, for longer; and the one beyond that did not, if any did."""

    trials: Sequence[Trial]
    limit: Trial | None
    broke: Trial | None
