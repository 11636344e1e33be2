"""The process of the bench that polls, as ``fluxfast run`` does: reads, decodes, logs where it shall.

A fleet of our own is polled by a whole Station. A site file's devices are polled by a Poller, whatever its
``control:`` says: that cannot write, locks nothing, logs nothing.
"""

import asyncio
import os
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, replace

import uvloop

from fluxfast.bench.fleet import own_fleet
from fluxfast.bench.job import Job, say, telling_errors
from fluxfast.bench.measure import Measured, measure
from fluxfast.config import Fleet, load
from fluxfast.poller import Poller
from fluxfast.station import Station


def read_only(fleet: Fleet, every_us: int, left_out: frozenset[str]) -> Fleet:
    """Return a fleet without some devices, at another period; its sites are left as they are."""
    return replace(
        fleet,
        devices=tuple(device for device in fleet.devices if device.id not in left_out),
        poll=replace(fleet.poll, every_ns=1000 * every_us),
    )


async def _measure(poller: Poller, job: Job) -> Measured:
    def heard() -> None:
        if not os.read(0, 4096):
            poller.stop()

    asyncio.get_running_loop().add_reader(0, heard)
    return await measure(poller, job.window, lambda moment: say(moment=moment))


def main() -> None:
    """Hear what to do, do it, say what was found."""
    job = Job.heard()
    with telling_errors(), ExitStack() as files:
        if job.site is not None:
            poller = Poller(read_only(load(job.site), job.every_us, frozenset(job.left_out)))
        else:
            fleet = files.enter_context(own_fleet(job.devices, job.registers, job.every_us, job.port))
            folder = tempfile.TemporaryDirectory(prefix="fluxfast-bench-log-") if job.log else None
            log = files.enter_context(folder) if folder is not None else None
            poller = Station(fleet, log_dir=log)
        say(measured=asdict(uvloop.run(_measure(poller, job))))


if __name__ == "__main__":
    main()
