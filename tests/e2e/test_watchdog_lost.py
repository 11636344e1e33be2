"""A station whose watchdog dies: control ends, everything else goes on."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.command import fluxfast, read_log, started
from tests.support.operated import OTHER, eventually, operated, shown

ENDED = "the watchdog has died: control ends, the units are told 0 and given back"


def watchdog_of(run):
    pid = run.popen.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long)])
def test_units_are_given_back_and_polling_goes_on(tmp_path, how):
    with operated(tmp_path, "127.71.12.1") as site, started("run", site.file, "--json") as run:
        eventually(lambda: site.setpoints() == [2, 2, 2])
        sidecar = watchdog_of(run)
        try:
            os.kill(sidecar, how)
            eventually(lambda: site.setpoints() == [0, 0, 0] and site.sources() == [OTHER] * 3)
            told = shown(run, lambda told: told["control_ended"] and not told["commanded"])
            told = run.wait_for_ticks(told["ticks"] + 8)
            assert site.setpoints() == [0, 0, 0]
            assert site.sources() == [OTHER] * 3
            assert told["messages"] == [ENDED]
            assert (told["given_back"], told["commanded"]) == (3, 0)
            assert (told["control"][0]["in_use"], told["control"][0]["setpoint_kw"]) == (0, 0)
            assert told["devices_good"] == 3

            looked = fluxfast("control", site.file, "status")
            assert looked.returncode == 1
            second = fluxfast("run", site.file)
            assert second.returncode == 3
            assert f"site {site.name} is controlled by process {run.popen.pid}" in second.stderr

            code, _, err, _ = run.end()
            assert (code, err) == (1, "")
            rows = read_log(site.log, "powerpack")
            assert rows[-1]["quality"] == "good"
            assert len(rows) >= 3 * told["ticks"]
        finally:
            with suppress(ProcessLookupError):
                os.kill(sidecar, signal.SIGKILL)  # one that stands still would hold the lock for ever
