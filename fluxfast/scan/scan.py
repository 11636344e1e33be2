"""A whole scan: from targets to results, leaving alone what a station of this machine polls."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from fluxfast.running import running_stations
from fluxfast.scan.examination import Examination, Options, silence_s
from fluxfast.scan.prober import Prober, Talk
from fluxfast.scan.result import Result, Verdict
from fluxfast.scan.targets import Target, Targets

RATE_PER_S: Final = 2000.0
# An address that nobody answers for takes an entry of the neighbour table for 3 s. Linux has 1,024 of them,
# for everything on this machine: a station that polls from here needs some, too.
UNANSWERED_PER_S: Final = 300
THOROUGH: Final = 256  # so few ports are asked for all units where others than those that answer are denied


class Scan:
    """Looks at targets. ``run`` yields results as they come; ``done`` counts hosts and ports."""

    def __init__(
        self,
        targets: Targets,
        options: Options,
        rate_per_s: float = RATE_PER_S,
        include_polled: bool = False,
    ) -> None:
        """Send nothing yet. ``include_polled``: also hosts that a station of this machine polls."""
        self.targets = targets
        self._options = replace(options, is_thorough=targets.endpoints <= THOROUGH)
        self.rate_per_s = rate_per_s
        self._polled: dict[str, str] = {}  # host to the sites of the station
        for station in () if include_polled else running_stations():
            for host, _ in station.endpoints:
                self._polled[host] = ", ".join(station.sites)
        unanswered = max(round(UNANSWERED_PER_S * options.timeout_s), 1)
        self._prober: Prober[list[Result]] = Prober(
            rate_per_s, options.timeout_s, None if targets.are_local else unanswered
        )
        self._began_s = time.monotonic()
        self.done = 0

    @property
    def expected_s(self) -> tuple[float, float]:
        """How long it takes if all answer or refuse at once, and if none does; beside gateways' sweeps."""
        connects = self.targets.endpoints
        slowest = self.rate_per_s
        if not self.targets.are_local:
            slowest = min(slowest, UNANSWERED_PER_S)
        return connects / self.rate_per_s, connects / slowest + silence_s(self._options)

    @property
    def took_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began_s

    @property
    def connects(self) -> int:
        """Connections begun."""
        return self._prober.connects

    @property
    def requests(self) -> int:
        """Requests sent."""
        return self._prober.requests

    def run(self) -> Iterator[Result]:
        """Yield the result of each host and port as it is known."""
        self._began_s = time.monotonic()
        for results in self._prober.run(self._talk(target) for target in self.targets):
            self.done += len(results)
            yield from results

    def _talk(self, target: Target) -> Talk[list[Result]]:
        """Look at one port of a host after the other."""
        sites = self._polled.get(target.ip) or self._polled.get(target.name)
        results = []
        for port in target.ports:
            if sites is not None:
                detail = f"by the station of site {sites} (--include-polled asks it all the same)"
                results.append(Result(target.ip, port, Verdict.POLLED, detail, name=target.name))
            else:
                results.append((yield from Examination(target, port, self._options).run()))
        return results
