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
    results = [_lost(device) for device in lost]
    interrupted = False
    try:
        with Bar("scanning") as bar:
            found = 0
            for result in scan.run():
                results.append(result)
                found += result.verdict.is_found
                speed = scan.done / max(scan.took_s, 0.001)
                bar.update(scan.done, endpoints, f"{found:,} found, {speed:,.0f}/s")
    except KeyboardInterrupt:
        interrupted = True
    took_s = scan.took_s
    results.sort(key=lambda result: result.order)
    listed = [result for result in results if show_all or result.devices or result.verdict.is_open]
    if as_json:
        for result in listed:
            click.echo(json.dumps({"event": "result", **result.as_json()}))
        click.echo(json.dumps(_summary(scan, results, took_s, interrupted)))
    else:
        _print(listed)
        click.echo(_closing(scan, results, took_s, interrupted))
    if save is not None:
        count = save_site(results, save, force)
        click.echo(f"saved {plural(count, 'devices')} in {save}; see fluxfast check {save}", err=True)
    configured = [result for result in results if result.devices]
    well = not any(r.missing for r in configured) if configured else any(r.verdict.is_found for r in results)
    sys.exit(DONE if well else FINDINGS)


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
    if detail or not (result.units or result.missing):
        yield place, verdict, "", "", detail
        place = verdict = ""
    for unit in result.units:
        yield place, verdict, str(unit.id), result.devices.get(unit.id, ""), str(unit)
        place = verdict = ""
    for missing in result.missing:
        yield place, verdict, str(missing), result.devices[missing], "missing"
        place = verdict = ""


def _closing(scan: Scan, results: Sequence[Result], took_s: float, interrupted: bool) -> str:
    counts = Counter(result.verdict for result in results)
    units = sum(len(result.units) for result in results)
    parts = [
        f"{units:,} {'unit' if units == 1 else 'units'} at {sum(r.verdict.is_found for r in results):,} ports"
    ]
    parts += [
        f"{counts[verdict]:,} {verdict.value}"
        for verdict in Verdict
        if not verdict.is_found and counts[verdict]
    ]
    cut = f"; interrupted after {scan.done:,} of {scan.targets.endpoints:,}" if interrupted else ""
    return (
        f"{', '.join(parts)}; {plural(scan.connects, 'connects')}, {plural(scan.requests, 'requests')}"
        f" in {took_s:.1f} s{cut}"
    )


def _summary(scan: Scan, results: Sequence[Result], took_s: float, interrupted: bool) -> dict[str, Any]:
    counts = Counter(result.verdict for result in results)
    return {
        "event": "summary",
        "hosts": scan.targets.hosts,
        "ports": scan.targets.endpoints,
        "done": scan.done,
        "complete": not interrupted,
        "units_found": sum(len(result.units) for result in results),
        "verdicts": {verdict.value.replace(" ", "_"): counts[verdict] for verdict in Verdict},
        "missing": sum(len(result.missing) for result in results),
        "connects": scan.connects,
        "requests": scan.requests,
        "took_s": round(took_s, 3),
    }
