"""How a doctor's reports are shown: like devices together, their findings with cures, and as JSON."""

import shutil
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

import click

from fluxfast.cli.words import plural
from fluxfast.doctor import Finding, Machine, Report, Severity, verdict

COLORS: Final = {Severity.FAULT: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
VERDICTS: Final = {"ill": "red", "doubtful": "yellow", "healthy": "green"}
NAMED: Final = 5  # of devices that have the same findings
SEVERITY_WIDTH: Final = 9
AS_IT_IS: Final[dict[str, Any]] = {"break_long_words": False, "break_on_hyphens": False}


def print_reports(reports: Sequence[Report], machine: Sequence[Finding], show_all: bool) -> None:
    """Print a verdict for each device or those that are alike, what was found, and what it comes to."""
    groups: defaultdict[tuple[Any, ...], list[Report]] = defaultdict(list)
    for report in reports:
        key = tuple((one.check, one.severity, one.cure) for one in report.findings)
        groups[key if key or not show_all else (report.device.id,)].append(report)
    for key, members in groups.items():
        if key:
            _print_group(members)
    for finding in machine:
        _print_finding(finding, "this machine: ", "")
    _print_summary(reports, machine)


def _print_group(members: list[Report]) -> None:
    first = members[0]
    said = verdict(list(first.findings))
    checks = ", ".join(dict.fromkeys(one.check for one in first.findings if one.severity != Severity.NOTE))
    word = click.style(f"{said}: {checks}" if checks else said, fg=VERDICTS[said])
    names = ", ".join(f"{one.device.id}{_name(one)}" for one in members[:NAMED])
    more = f" and {len(members) - NAMED:,} more" if len(members) > NAMED else ""
    place = f" ({_place(first)})" if len(members) == 1 else ""
    click.echo(f"{click.style(names + more, bold=True)}{place}  {word}{_figures(first, len(members))}")
    for finding in first.findings:
        where = f"{first.device.id}: " if len(members) > 1 else ""
        _print_finding(finding, where, "  ")


def _print_finding(finding: Finding, where: str, indent: str) -> None:
    """Print a finding and its cure; on a terminal inside its width, so that no word is torn."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    margin = f"{indent}{'':{SEVERITY_WIDTH}}"
    texts = [f"{finding.check}: {where}{finding.seen}", f"→ {finding.cure}" if finding.cure else ""]
    lines = [line for text in texts if text for line in textwrap.wrap(text, width - len(margin), **AS_IT_IS)]
    severity = click.style(f"{finding.severity.value:{SEVERITY_WIDTH}}", fg=COLORS[finding.severity])
    click.echo(f"{indent}{severity}{lines[0]}")
    for line in lines[1:]:
        click.echo(f"{margin}{line}")


def _name(report: Report) -> str:
    return "" if report.device.name == report.device.id else f" {report.device.name}"


def _place(report: Report) -> str:
    modbus = report.device.modbus
    return (
        f"{modbus.host}:{modbus.port} unit {modbus.unit}" if modbus.host else str(modbus.device or "serial")
    )


def _figures(report: Report, members: int) -> str:
    if report.unit is None or not report.unit.reads or members > 1:
        return ""
    trips = report.unit.round_trips_s
    time = f", {1e3 * median(trips):,.3g} ms" if trips else ""
    return f", {report.good} of {plural(len(report.device.profile.points), 'points')}{time}"


def _print_summary(reports: Sequence[Report], machine: Sequence[Finding]) -> None:
    counts = Counter(verdict(list(report.findings)) for report in reports)
    parts = [f"{counts[word]:,} {word}" for word in ("ill", "doubtful") if counts[word]]
    of_machine = verdict(list(machine))
    if reports:
        healthy = counts["healthy"]
        all_well = "all healthy" if healthy == len(reports) else f"{healthy:,} healthy"
        color = "green" if healthy == len(reports) else "red" if counts["ill"] else "yellow"
        text = f"{plural(len(reports), 'devices')}: {', '.join([all_well, *parts])}"
        click.secho(text, fg=color, nl=False)
        click.echo("; ", nl=False)
    click.secho(f"this machine is {of_machine}", fg=VERDICTS[of_machine])


# ---- JSON ----


def device_json(report: Report) -> dict[str, Any]:
    """Return a device's report for programs; docs/doctor.md has the keys."""
    device, link, unit = report.device, report.link, report.unit
    trips = sorted(1e3 * seconds for seconds in unit.round_trips_s) if unit else []
    depth = link.depth if link else None
    return {
        "object": "device",
        "id": device.id,
        "name": device.name,
        "site": device.site,
        "type": device.profile.name,
        "host": device.modbus.host,
        "port": device.modbus.port,
        "unit": device.modbus.unit,
        "verdict": verdict(list(report.findings)),
        "points": len(device.profile.points),
        "good": report.good,
        "address": link.address if link else None,
        "connect_ms": _ms(link.connect_s if link else None),
        "round_trip_ms": {"min": _round(trips[0]), "median": _round(median(trips)), "max": _round(trips[-1])}
        if trips else None,
        "tick_ms": _ms(unit.tick_s if unit and unit.reads else None),
        "safe_in_flight": depth.safe if depth else None,
        "gain": round(depth.gain, 2) if depth else None,
        "station": link.station if link else None,
        "findings": [finding_json(finding) for finding in report.findings],
    }  # fmt: skip


def finding_json(finding: Finding) -> dict[str, str]:
    """Return a finding for programs."""
    return {
        "check": finding.check,
        "severity": finding.severity.value,
        "subject": finding.subject,
        "seen": finding.seen,
        "cure": finding.cure,
    }


def machine_json(machine: Machine, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what was seen of the machine."""
    return {
        "object": "machine",
        "verdict": verdict(list(findings)),
        "links": machine.links,
        "open_files": machine.open_files,
        "clock_synchronised": machine.synchronised,
        "log_dir": machine.log_dir,
        "disk_free_bytes": machine.disk_free,
        "log_bytes_per_day": round(machine.log_bytes_per_day),
        "memory_free_bytes": machine.memory_free,
        "cpu_share": round(machine.cpu_share, 4),
        "findings": [finding_json(finding) for finding in findings],
    }


def summary_json(reports: Sequence[Report], exit_code: int) -> dict[str, Any]:
    """Return how many are what."""
    counts = Counter(verdict(list(report.findings)) for report in reports)
    return {
        "object": "summary",
        "devices": len(reports),
        **{word: counts[word] for word in ("healthy", "doubtful", "ill")},
        "exit_code": exit_code,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else _round(1e3 * seconds)


def _round(ms: float) -> float:
    return round(ms, 3)
