"""What the trials of a bench come to, in sentences."""

from collections.abc import Iterator
from typing import Final

from fluxfast.bench.bench import Bench, OwnBench, SiteBench
from fluxfast.bench.trial import Result, Trial

BUSY_PERCENT: Final = 80.0  # of a core that a tick's deadline leaves little more of
NOTABLE_PERCENT: Final = 15.0


def sentence(result: Result, bench: Bench) -> str:
    """Return what the machine holds."""
    trial = result.limit
    if trial is None or trial.measured is None:
        if isinstance(bench, OwnBench):
            return f"this machine does not hold a single device at {bench.every_us / 1000:g} ms"
        tried = max((one.every_us for one in result.trials), default=0) / 1000
        return f"this machine does not hold these devices, not even at {tried:g} ms"
    devices, registers = _count(trial.devices, "device"), round(trial.measured.registers, 1)
    return (
        f"this machine holds {devices} at {trial.every_us / 1000:g} ms with {_count(registers, 'register')},"
        f" at {trial.measured.cpu_percent:.0f} % CPU"
    )


def explanations(result: Result, bench: Bench) -> Iterator[str]:
    """Yield what the sentence means, and what gave out beyond it."""
    if (trial := result.limit) is not None:
        yield _cpu(trial, bench)
    yield _gave_out(result, bench)


def _count(number: float, word: str) -> str:
    return f"{number:,g} {word}{'s' * (number != 1)}" if number < 1e6 else f"{number:,.0f} {word}s"


def _cpu(trial: Trial, bench: Bench) -> str:
    text = "CPU is the station's, of one core"
    if trial.simulator_percent is not None:
        where = "the same core" if isinstance(bench, OwnBench) and bench.shares_core else "another"
        text += f"; the simulator took {trial.simulator_percent:.0f} % of {where}"
    if trial.others_percent is not None and trial.others_percent >= NOTABLE_PERCENT:
        text += f"; other programs took {trial.others_percent:.0f} % of a core"
    return text


def _gave_out(result: Result, bench: Bench) -> str:
    broke = result.broke
    if broke is None:
        return _end_of_range(bench)
    where = (
        f"with {_count(broke.devices, 'device')}"
        if isinstance(bench, OwnBench)
        else f"at {broke.every_us / 1000:g} ms"
    )
    return f"what gave out {where}: {broke.why}; {_cause(broke, bench)}"


def _end_of_range(bench: Bench) -> str:
    if isinstance(bench, SiteBench):
        return (
            f"nothing gave out at {bench.range.hardest / 1000:g} ms, where the search ends: devices in the"
            " field are slow (if yours can take more, lower --fastest)"
        )
    assert isinstance(bench, OwnBench)
    most = bench.range.hardest
    if bench.is_bound_by_files:
        return (
            f"nothing gave out but open files: a process may have {bench.open_files:,}, enough for"
            f" {_count(most, 'device')} (more: ulimit -n as root, or LimitNOFILE= of a service)"
        )
    devices = _count(most, "device")
    return f"nothing gave out with {devices}, where the search ends: it may hold more (see --most)"


def _cause(broke: Trial, bench: Bench) -> str:
    """Return what was short, as far as the cores tell."""
    if broke.measured is None:
        return "memory was short"
    ours, its, others = broke.measured.cpu_percent, broke.simulator_percent, broke.others_percent or 0.0
    said = f"the station took {ours:.0f} % of a core"
    if its is not None:
        said += f", the simulator {its:.0f} %"
    if isinstance(bench, OwnBench) and bench.shares_core and ours + (its or 0) >= BUSY_PERCENT:
        return f"{said}: of the same one, so without a simulator it may hold more"
    if its is not None and its >= max(BUSY_PERCENT, ours):
        return f"{said}: it was the simulator that gave out, so the machine may hold more"
    if ours >= BUSY_PERCENT:
        return f"{said}: that is its limit"
    if others >= NOTABLE_PERCENT:
        return f"{said}, other programs {others:.0f} %: while it is quiet the machine may hold more"
    if isinstance(bench, SiteBench):
        slow = ", ".join(f"{id_} ({ticks:,})" for id_, ticks in broke.measured.missed_by)
        return f"{said}: the devices or the network gave out{f', ticks missed: {slow}' if slow else ''}"
    return f"{said}: no core was full, the time was too short"
