"""A log of a running station: what was polled is seen at once, also after kill -9, and by every command."""

import json
import signal
import time
from pathlib import Path

import pytest

from fluxfast import open_log
from fluxfast.log.compactor import compact
from fluxfast.log.verify import verify
from tests.support.command import PATIENCE_S, Process, fluxfast, free_port, simulating, started

HOST = "127.77.3.1"
SITE = """
site: S
poll: {{every: 100ms}}
devices:
  bess:
    - {{id: "b{{n}}", count: 3, type: powerpack, capacity_kwh: 400, modbus: {{host: {host}, port: {port}}}}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "site.yaml"
    file.write_text(SITE.format(host=HOST, port=free_port(HOST)))
    return file


def seen(path: Path, ticks: int) -> int:
    """Wait until so many ticks are in the log, and return how many there are."""
    log, until = open_log(path), time.monotonic() + PATIENCE_S
    while "powerpack" not in log.datasets or log.dataset("powerpack").count_rows() < 3 * ticks:
        assert time.monotonic() < until
        log.refresh()
    each = log.relation("powerpack").aggregate("device, count(*) AS n, count(DISTINCT time) AS t").fetchall()
    counts = {n for _, n, _ in each}
    assert (len(each), counts) == (3, {t for _, _, t in each})
    return int(counts.pop())


def run(site: Path, log: Path) -> Process:
    return started("run", site, "--log", log, "--json")


@pytest.mark.long
def test_now_is_seen_while_a_station_runs_and_after_it_was_killed(site, tmp_path):
    log = tmp_path / "log"
    with simulating(site):
        with run(site, log) as station:
            for ticks in (3, 12):
                seen(log, station.wait_for_ticks(ticks)["ticks"])
            found = fluxfast("query", "SELECT count(*) AS n FROM powerpack", log, "--json")
            assert (json.loads(found.stdout)["n"] >= 36, found.stderr) == (True, "")
            assert list(verify(log)) == []
            before = seen(log, 12)
            station.popen.send_signal(signal.SIGKILL)
            station.popen.wait()
        left = seen(log, before)
        assert len(open_log(log).journal("powerpack")) == 3 * left
        told: list[str] = []
        compact(log, told.append)
        assert (told, seen(log, left)) == ([], left)
        with run(site, log) as station:
            seen(log, left + station.wait_for_ticks(2)["ticks"])
            assert station.end()[0] == 0
    total = seen(log, left)
    assert total > left
    compact(log, told.append, all_days=True)
    assert (told, seen(log, total)) == ([], total)
    assert len(list(log.glob("powerpack/*/*.parquet"))) == 1
    assert list(verify(log)) == []
