"""What ``scan`` and ``mbscan`` do alike: announce, scan behind a bar, show, save."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from fluxfast.cli.options import DONE, FINDINGS
from fluxfast.cli.progress import Bar
from fluxfast.cli.words import plural
from fluxfast.config import Device
from fluxfast.scan import Result, Scan, Verdict, save_site
from fluxfast.scan.targets import MAX_UNASKED

_COLORS: Final = {
    Verdict.DEVICE: "green", Verdict.EXCEPTION: "green", Verdict.GATEWAY: "green", Verdict.POLLED: "cyan",
    Verdict.SILENT: "yellow", Verdict.BUSY: "yellow", Verdict.NOT_MODBUS: "yellow",
}  # fmt: skip

REFRESH_S: Final = 0.1  # of the bar


def run_scan(
    scan: Scan, lost: Sequence[Device] = (), *, large: bool = False, show_all: bool = False,
    as_json: bool = False, save: Path | None = None, force: bool = False,
) -> None:  # fmt: skip
    """Scan, show what was found and end with the exit code; ``lost`` are devices without an address."""
    endpoints = scan.targets.endpoints
    if endpoints > MAX_UNASKED and not large:
        raise click.UsageError(
            f"{endpoints:,} addresses × ports are more than {MAX_UNASKED:,}"
            " (name a smaller network, or add --large)"
        )
    if not endpoints and not lost:
        raise click.UsageError("there is no address left to look at (see --exclude)")
    click.echo(_announcement(scan), err=True)
    seen = _Seen(scan, [_lost(device) for device in lost], show_all)
    try:
        with Bar("scanning") as bar:
            for result in scan.run():
                seen.take(result)
                if scan.took_s - seen.took_s > REFRESH_S:
                    seen.took_s = scan.took_s
                    found = f"{sum(seen.counts[v] for v in Verdict if v.is_found):,} found"
                    bar.update(scan.done, endpoints, f"{found}, {scan.done / seen.took_s:,.0f}/s")
    except KeyboardInterrupt:
        seen.is_complete = False
    seen.took_s = scan.took_s
    seen.results.sort(key=lambda result: result.order)
    if as_json:
        for result in seen.results:
            click.echo(json.dumps({"event": "result", **result.as_json()}))
        click.echo(json.dumps(seen.as_json()))
    else:
        _print(seen.results)
        click.echo(str(seen))
    if save is not None:
        count = save_site(seen.results, save, force)
        click.echo(f"saved {plural(count, 'devices')} in {save}; see fluxfast check {save}", err=True)
    sys.exit(DONE if seen.is_well else FINDINGS)


class _Seen:
    """What has come so far: the results that are shown, and the numbers of all."""

    def __init__(self, scan: Scan, results: list[Result], show_all: bool) -> None:
        self.results = results
        self.counts = Counter(result.verdict for result in results)
        self.took_s = 0.0
        self.is_complete = True
        self._scan = scan
        self._show_all = show_all

    def take(self, result: Result) -> None:
        """Count a result, and keep it if it is shown: of a large network that is a small part."""
        self.counts[result.verdict] += 1
        if self._show_all or result.devices or result.verdict.is_open:
            self.results.append(result)

    @property
    def is_well(self) -> bool:
        """Whether anything was found, or all devices of a site file."""
        if any(result.devices for result in self.results):
            return self._missing == 0
        return any(result.verdict.is_found for result in self.results)

    @property
    def _missing(self) -> int:
        return sum(len(result.missing) for result in self.results)

    @property
    def _units(self) -> int:
        return sum(len(result.units) for result in self.results)

    def __str__(self) -> str:
        """Return all numbers in a line."""
        found = sum(self.counts[verdict] for verdict in Verdict if verdict.is_found)
        parts = [f"{plural(self._units, 'units')} at {plural(found, 'ports')}"]
        parts += [f"{self.counts[v]:,} {v.value}" for v in Verdict if self.counts[v] and not v.is_found]
        scan = self._scan
        cut = "" if self.is_complete else f"; interrupted after {scan.done:,} of {scan.targets.endpoints:,}"
        return (
            f"{', '.join(parts)}; {plural(scan.connects, 'connects')}, {plural(scan.requests, 'requests')}"
            f" in {self.took_s:.1f} s{cut}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return them as JSON values."""
        return {
            "event": "summary",
            "hosts": self._scan.targets.hosts,
            "ports": self._scan.targets.endpoints,
            "done": self._scan.done,
            "complete": self.is_complete,
            "units_found": self._units,
            "verdicts": {v.value.replace(" ", "_"): self.counts[v] for v in Verdict},
            "missing": self._missing,
            "connects": self._scan.connects,
            "requests": self._scan.requests,
            "took_s": round(self.took_s, 3),
        }


def _announcement(scan: Scan) -> str:
    targets = scan.targets
    hosts = f"{targets.hosts:,} {'address' if targets.hosts == 1 else 'addresses'}"
    if targets.ports:
        hosts += f" on port{'s' * (len(targets.ports) > 1)} {', '.join(map(str, targets.ports))}"
    quick, slow = map(_seconds, scan.expected_s)
    slower = f", up to {slow} where nobody answers" if slow != quick else ""
    return (
        f"scanning {hosts}, at most {scan.rate_per_s:,.0f} connects/s: {quick}{slower};"
        " only reads, one connection and one question at a time"
    )


def _seconds(seconds: float) -> str:
    return f"{max(round(seconds), 1)} s" if seconds < 90 else f"{round(seconds / 60)} min"


def _lost(device: Device) -> Result:
    unit = device.modbus.unit
    return Result(
        "", device.modbus.port, Verdict.UNREACHABLE, "host not found", name=str(device.modbus.host),
        devices={unit: device.id}, missing=(unit,),
    )  # fmt: skip


# ---- as text ----


def _print(results: Sequence[Result]) -> None:
    rows = [row for result in results for row in _rows(result)]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    for place, verdict, unit, device, what in rows:
        cells = [place.ljust(widths[0]), verdict.ljust(widths[1]), unit.rjust(widths[2])]
        cells += [device.ljust(widths[3])] if widths[3] else []
        color = "red" if what == "missing" else _COLORS.get(Verdict(verdict)) if verdict else None
        cells[1] = click.style(cells[1], fg=color)
        click.echo("  ".join([*cells, what]).rstrip())


def _rows(result: Result) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield place, verdict, unit, device of a site file, what it is; the first two once."""
    place, verdict = result.place, result.verdict.value
    if result.name and result.ip:
        place += f" ({result.name})"
    detail = result.detail or (result.swept if result.verdict is Verdict.GATEWAY else "")
    after = ""
    if result.verdict in (Verdict.DEVICE, Verdict.EXCEPTION) and detail and len(result.units) == 1:
        after = f"; {detail}"
    elif detail or not (result.units or result.missing):
        yield place, verdict, "", "", detail
        place = verdict = ""
    for unit in result.units:
        yield place, verdict, str(unit.id), result.devices.get(unit.id, ""), str(unit) + after
        place = verdict = ""
    for missing in result.missing:
        yield place, verdict, str(missing), result.devices[missing], "missing"
        place = verdict = ""
