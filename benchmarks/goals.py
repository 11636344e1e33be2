"""What was promised (goals.toml) beside what a published run has."""

import statistics
import tomllib
from dataclasses import dataclass

from measured import HERE, Results


@dataclass(frozen=True)
class Goal:
    """``most`` or ``least`` of a contender's cost, of a ratio to another, of a difference, or of ``said``."""

    what: str
    case: str
    contender: str
    to: str = ""
    minus: str = ""
    said: str = ""
    most: float | None = None
    least: float | None = None
    gap: str = ""

    @property
    def bound(self) -> str:
        """What was promised, in words."""
        return f"≤ {self.most:g}" if self.most is not None else f"≥ {self.least:g}"

    def measured(self, results: Results) -> float | None:
        """Return what the run has; nothing if it has not run."""
        case = results.cases.get(self.case)
        if case is None:
            return None
        one = case.contenders[self.contender]
        if self.to:
            return one.beside(case.contenders[self.to]).median
        if self.minus:
            pairs = zip(one.costs, case.contenders[self.minus].costs, strict=True)
            return statistics.median(mine - its for mine, its in pairs)
        return one.figure(self.said) if self.said else one.cost

    def met(self, measured: float) -> bool:
        """Whether that is what was promised."""
        return measured <= self.most if self.most is not None else measured >= (self.least or 0)


def goals() -> list[Goal]:
    """Return all."""
    return [Goal(**one) for one in tomllib.loads((HERE / "goals.toml").read_text())["goals"]]
