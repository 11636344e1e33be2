"""A fleet is examined: all links at once up to a limit, then, a few at once, what they stand.

``examine`` observes and judges; a ``Report`` is what there is to say of one device.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fluxfast.config import Device, Fleet
from fluxfast.doctor.finding import Finding, fault
from fluxfast.doctor.judge_reach import judge_link, judge_unit
from fluxfast.doctor.judge_time import judge_time
from fluxfast.doctor.judge_values import good_points, is_misplaced, judge_values
from fluxfast.doctor.link import LinkExam
from fluxfast.doctor.manners import Manners, MannersExam
from fluxfast.doctor.observed import LinkSeen, UnitSeen
from fluxfast.plan.blocks import BlockLayout, plan_blocks
from fluxfast.running import running_stations

AT_ONCE: Final = 64  # links
CALM: Final = 4  # of those that answer at once: more would time our own loop rather than the devices

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Report:
    """One device: what was seen of it and of its link, and what is wrong. No link: it is on a serial line."""

    device: Device
    link: LinkSeen | None
    unit: UnitSeen | None
    findings: tuple[Finding, ...]

    @property
    def good(self) -> int:
        """How many of its points have a usable value."""
        return good_points(self.unit) if self.unit is not None else 0


async def examine(
    fleet: Fleet, devices: Sequence[Device], checks: Sequence[str], gentle: bool, progress: Progress
) -> list[Report]:
    """Examine devices of a fleet; ``checks`` are those wanted, ``progress`` is told (steps done, of all).

    ``gentle``: no second connection, no several requests at once.
    """
    manners = Manners(
        second=not gentle and "connections" in checks,
        depth=not gentle and ("pipelining" in checks or "time" in checks),
        every_s=fleet.poll.every_ns / 1e9,
    )
    stations = running_stations()
    plans: dict[int, tuple[BlockLayout, ...]] = {}
    places: defaultdict[tuple[str, int], list[UnitSeen]] = defaultdict(list)
    for device in devices:
        if device.modbus.host is not None:
            if id(device.profile) not in plans:
                plans[id(device.profile)] = plan_blocks(device.profile)
            unit = UnitSeen(device, plans[id(device.profile)])
            places[device.modbus.host, device.modbus.port].append(unit)
    exams = [
        LinkExam(units, not gentle, next((s.pid for s in stations if place in s.endpoints), None))
        for place, units in places.items()
    ]
    done = 0

    async def run(exam: LinkExam | MannersExam, gate: asyncio.Semaphore) -> None:
        nonlocal done
        async with gate:
            await exam.run()
        done += 1
        progress(done, 2 * len(exams))

    crowd, calm = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(CALM)
    await asyncio.gather(*(run(exam, crowd) for exam in exams))
    rest = [MannersExam(exam, manners) for exam in exams if any(unit.reads for unit in exam.seen.units)]
    done += len(exams) - len(rest)
    await asyncio.gather(*(run(exam, calm if exam.is_quick else crowd) for exam in rest))
    reports = {report.device.id: report for exam in exams for report in _judge(exam.seen, fleet)}
    return [_wanted(reports.get(device.id) or _serial(device), checks) for device in devices]


def _judge(link: LinkSeen, fleet: Fleet) -> list[Report]:
    of_link, of_time = judge_link(link), judge_time(link, fleet.poll)
    reports = []
    for unit in link.units:
        of_values = judge_values(unit)
        findings = [*of_link, *judge_unit(unit, link), *of_time[unit.device.id], *of_values]
        if is_misplaced(of_values):  # which is also why points are refused
            findings = [finding for finding in findings if finding.check != "readable"]
        reports.append(Report(unit.device, link, unit, tuple(findings)))
    return reports


def _serial(device: Device) -> Report:
    cure = "reach it through a gateway: modbus: host and port"
    text = f"it is on a serial line ({device.modbus.device or 'no line is named'}), which is not polled"
    return Report(device, None, None, (fault("serial", text, cure),))


def _wanted(report: Report, checks: Sequence[str]) -> Report:
    wanted = tuple(finding for finding in report.findings if finding.check in checks)
    return Report(report.device, report.link, report.unit, wanted)
