"""What a station decides is in its log, and decided anew the log gives the same."""

import asyncio
import hashlib
import time

import duckdb
import pyarrow.parquet as pq
import pytest

import fluxfast
from fluxfast import Station
from fluxfast.config import load
from fluxfast.replay import Replay
from tests.support.command import free_port, simulating

CONTROL = """
  modes:
    - {type: peak_shaving, import_limit_kw: 150, recharge_below_kw: 100}
    - {type: fixed_power, power_kw: 0}
  limits: {import_kw: 400, unit_ramp_kw_per_s: 60}
"""


def write_site(folder, action, host):
    path = folder / "site.yaml"
    ports = free_port(f"{host}.1"), free_port(f"{host}.2")
    path.write_text(f"""
poll: {{every: 200ms}}
control: {{action: {action}}}
sites:
  - site: S
    control:
      action: {action}{CONTROL.replace(chr(10), chr(10) + "    ")}
    devices:
      bess: [{{id: "b{{n}}", count: 3, type: powerpack, capacity_kwh: 400, rated_power_kw: 200,
              modbus: {{host: {host}.1, port: {ports[0]}}}}}]
      meters: [{{id: m1, type: acuvim2, role: grid, modbus: {{host: {host}.2, port: {ports[1]}}}}}]
""")
    return path


def run(site, log, seconds, during=None):
    """Run a station; ``during(station, tick)`` after each tick."""

    async def main():
        async with Station(site, log_dir=log) as station:
            async for tick in station.ticks(seconds):
                if during is not None:
                    during(station, tick)

    asyncio.run(main())


def ask(log, sql, dataset="decisions"):
    return duckdb.sql(sql.format(f"'{log}/{dataset}/*/*.parquet'")).fetchall()


@pytest.mark.parametrize(("action", "host"), [("act", "127.62.1"), ("shadow", "127.62.2")])
def test_a_log_decided_anew_gives_the_logged_decisions(tmp_path, action, host):
    site, log = write_site(tmp_path, action, host), tmp_path / "log"
    with simulating(site):
        run(site, log, 6)
        run(site, log, 2)  # a second run begins with a mind of its own
    rows = ask(log, "SELECT count(*), count(DISTINCT time), max(setpoint_kw), min(action) FROM {}")
    ticks = rows[0][1]
    assert rows == [(3 * ticks, ticks, rows[0][2], action)]
    assert ticks >= 35
    assert rows[0][2] > 0
    result = Replay(load(site), log).run()
    total = result.total()
    assert (result.ticks, total["compared"]) == (ticks, ticks)
    assert (total["differs"], total["differs_most_kw"]) == (0, 0)
    other = Replay(load(site), log, modes=["fixed_power"]).run().total()
    assert other["differs"] > 0
    assert other["discharged_kwh"] < total["discharged_kwh"]


def test_what_became_of_each_write_is_logged(tmp_path):
    site, log = write_site(tmp_path, "act", "127.62.3"), tmp_path / "log"
    with simulating(site):
        run(site, log, 4)
    writes = dict(ask(log, "SELECT write, count(*) FROM {} GROUP BY 1"))
    assert writes["confirmed"] > 10
    assert set(writes) <= {"none", "pending", "confirmed"}
    # Only the last tick of a run has no next one to know it by.
    assert writes.get("pending", 0) <= 3
    assert ask(log, "SELECT count(*) FROM {} WHERE (write = 'confirmed') <> (latency_ms IS NOT NULL)") == [
        (0,)
    ]
    assert ask(log, "SELECT min(latency_ms) > 0 FROM {}") == [(True,)]
    first = ask(log, "SELECT quality, reason, setpoint_kw, phase FROM {} ORDER BY time LIMIT 1")
    assert first == [("bad", "command source not taken yet", 0, "taking")]
    assert ask(log, "SELECT DISTINCT phase FROM {} WHERE setpoint_kw <> 0") == [("ours",)]
    # The setpoints of a site are what it served; readings are older than the decision on them.
    sums = "SELECT sum(setpoint_kw) - any_value(served_kw) AS rest FROM {} GROUP BY time"
    assert ask(log, f"SELECT max(abs(rest)) < 1e-3 FROM ({sums})") == [(True,)]
    assert ask(log, "SELECT min(clock_ns - meter_ns) > 0 FROM {}") == [(True,)]
    schema = pq.read_schema(next((log / "decisions").rglob("*.parquet")))
    assert schema.field("setpoint_kw").metadata[b"unit"] == b"kW"


def test_what_happens_now_and_then_is_in_the_events(tmp_path):
    site, log = write_site(tmp_path, "shadow", "127.62.4"), tmp_path / "log"

    def during(station, tick):
        if tick.number == 3:
            station.emergency_stop("S")
        if tick.number == 5:
            station.acknowledge("S")
        if tick.number == 7:
            station.set_mode("S", "peak_shaving", False)
        if tick.number == 9:
            time.sleep(0.5)  # whoever iterates is too slow

    with simulating(site):
        run(site, log, 3, during)
    events = ask(log, "SELECT site, device, kind, text FROM {} ORDER BY time", "events")
    started, ended = (text for *_, kind, text in events if kind == "station")
    digest = hashlib.sha256(site.read_bytes()).hexdigest()
    assert (
        started == f"started: fluxfast {fluxfast.__version__}, config {digest[:12]}, 4 devices, action shadow"
    )
    assert ended == f"ended after {ask(log, 'SELECT count(DISTINCT time) FROM {}')[0][0]} ticks"
    assert [event for event in events if event[2] in ("operator", "mode")] == [
        ("S", None, "operator", "S: emergency stop, until acknowledged"),
        ("S", None, "operator", "S: acknowledged"),
        ("S", None, "operator", "S: mode peak_shaving switched off"),
        ("S", None, "mode", "S: fixed_power, before peak_shaving"),
    ]
    skipped = [text for _, _, kind, text in events if kind == "tick"]
    assert any(text.endswith("ticks skipped: the one before took too long") for text in skipped)
    stopped = ask(log, "SELECT DISTINCT site_reason, setpoint_kw FROM {} WHERE reason = 'stopped'")
    assert stopped == [("emergency stop", 0)]
    assert Replay(load(site), log).run().total()["differs"] == 0
