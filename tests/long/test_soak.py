"""The soak: random faults on 500 devices, and every value in the log proves that it was served so.

``FLUXFAST_SOAK_S=3600`` makes it an hour; by default it takes under a minute. The devices are those of
tests/support/proof.py. A quarter of the addresses stays well and must not lose one reading.
"""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from tests.support.command import Process, parquet_files, started
from tests.support.proof import check_log, profile

SCRIPT = Path(__file__).parents[1] / "support" / "proof.py"
SOAK_S = float(os.environ.get("FLUXFAST_SOAK_S", "15"))
SEED = int(os.environ.get("FLUXFAST_SOAK_SEED", "1"))
WARM_S = 10  # without faults
PERIOD_MS, TIMEOUT_MS = 1000, 400
ALONE, SHARED, UNITS = 440, 15, 4  # addresses with one unit, addresses with several, so many each
PORT = 5041
PROFILES: dict[str, dict[str, object]] = {"piped": {"max_in_flight": 4}, "paced": {"request_gap": "5ms"}}
# What stays broken the whole time drives the waits between attempts to their limit; what is slow answers
# now in time, now after the request has ended.
FAULTS = {"random": 50, "slow=600ms": 10, "hang": 5, "blackhole": 5, "refuse": 5}
PROBE_INTERVAL_S = 10
# Then a device is asked at the latest; plus what connecting and two ticks take, and a busy machine.
BACK_WITHIN_S = PROBE_INTERVAL_S + 6
TOLD_WITHIN_S = 60
# A part of the log is encoded every 30 s: after two of them memory must stay as it is. A short soak sees but
# one, and what encoding it takes.
SETTLED_S = 65
MEMORY_SLACK = (8 if SOAK_S > 2 * SETTLED_S else 32) << 20

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(SOAK_S + 180),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and needs black holes"),
]


def write_site(folder: Path) -> Path:
    """Write 500 devices: most alone on a link, some sharing one; half may have requests in flight."""
    for name, quirks in PROFILES.items():
        (folder / f"{name}.yaml").write_text(profile(name, **quirks))
    places = [(n, unit) for n in range(ALONE + SHARED) for unit in range(1, (1 if n < ALONE else UNITS) + 1)]
    devices = "".join(
        f"    - {{id: d{number}, type: ./{'piped' if n % 2 else 'paced'}.yaml, modbus: "
        f"{{host: 127.41.{10 + n // 200}.{1 + n % 200}, port: {PORT}, address: {unit}, "
        f"timeout: {TIMEOUT_MS}ms}}}}\n"
        for number, (n, unit) in enumerate(places)
    )
    site = folder / "site.yaml"
    poll = f"{{every: {PERIOD_MS}ms, deadline: 85%, probe_interval: {PROBE_INTERVAL_S}s}}"
    site.write_text(f"poll: {poll}\nlog: {{dir: log}}\ndevices:\n  meters:\n{devices}")
    return site


def descriptors(process: Process) -> int:
    return len(os.listdir(f"/proc/{process.popen.pid}/fd"))


def memory(process: Process) -> int:
    """Return the bytes that are the process's own."""
    for line in Path(f"/proc/{process.popen.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no Private_Dirty")


def test_soak(tmp_path: Path) -> None:
    site, log = write_site(tmp_path), tmp_path / "log"
    window = f"{WARM_S}s-{WARM_S + SOAK_S}s"
    faults = [f"{kind}:{share}%:{window}" for kind, share in FAULTS.items()]
    with Process([sys.executable, str(SCRIPT), str(site), str(SEED), *faults]) as simulator:
        ready = json.loads(simulator.line())
        healed_s = ready["began_s"] + WARM_S + SOAK_S
        with started("run", site, "--log", log, "--json") as run:
            status = run.wait_for_ticks(3)
            assert status["devices_good"] == 500
            warm = (descriptors(run), descriptors(simulator))
            used: list[int] = []
            faulty = 0
            while time.time() < healed_s:
                status = json.loads(run.line())
                faulty = max(faulty, json.loads(simulator.line())["faulty"])
                used.append(memory(run))
            while status["devices_good"] < 500:
                assert time.time() < healed_s + BACK_WITHIN_S, f"{status['devices_bad']} devices are not back"
                status = json.loads(run.line())
            back_s = time.time() - healed_s
            # Of what left while it could not be heard the simulator learns when the kernel sends it again.
            while descriptors(simulator) > warm[1] and time.time() < healed_s + TOLD_WITHIN_S:
                time.sleep(0.5)
            cold = (descriptors(run), descriptors(simulator))
            code, out, err, _ = run.end()
        assert (code, err) == (0, ""), out  # no tick skipped, no row lost, all good at the last
    devices = [file for name in PROFILES for file in parquet_files(log / name)]  # and not the events
    found = check_log(devices, PERIOD_MS, TIMEOUT_MS)
    print(
        f"{found.rows} rows, {found.values} values, {len(found.ticks)} ticks; back after {back_s:.1f} s; "
        f"descriptors {warm} then {cold}; memory {[m >> 20 for m in used[:: max(1, len(used) // 60)]]} MB; "
        f"{found.reasons}"
    )
    assert found.wrong == []
    assert found.rows == 500 * len(found.ticks)
    well = sorted({f"d{n}" for n in range(500)} - set(ready["faulty"]))
    assert len(well) > 100
    assert {device: found.good[device] for device in well} == dict.fromkeys(well, len(found.ticks))
    assert {"timeout", "connection lost", "connection refused", "unreachable"} <= set(found.reasons)
    assert faulty > 100
    before = min(SETTLED_S, len(used) // 2)
    assert max(used[before:]) <= max(used[:before]) + MEMORY_SLACK
    assert cold[0] <= warm[0] + 1  # a file of the log may be open
    assert cold[1] <= warm[1]
