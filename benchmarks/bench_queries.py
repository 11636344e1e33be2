"""An analyst's six questions, asked by DuckDB of our log, and of the same readings as long rows.

An hour of 500 batteries with 20 points each, every second, beside their setpoints: 36 million readings. Long
rows are as Telegraf and pandas write them: time, device, point, value, in the order of time. Each question is
asked twice, of a fresh connection on one core; the second time counts, and both answers must be the same.
What it does not show: files that are not in the page cache, and days or months of them.
"""

import atexit
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import duckdb
import numpy as np
from apart import Apart, python, say
from telemetry import DECIMALS, generate

from fluxfast.log import Column, Dataset, LogWriter
from fluxfast.table.quality import GOOD, QUALITY_NAMES, REASONS, TIMEOUT

DEVICES, SITES, HOUR = 500, 50, 3600
BAD = 0.002  # of the rows

# What is asked, of wide and of long rows.
QUERIES = {
    "a device's day": (
        "SELECT time, {points} FROM battery WHERE device = 'b0123' ORDER BY time",
        "PIVOT (SELECT time, point, value FROM long WHERE device = 'b0123') ON point IN ({names}) "
        "USING any_value(value) GROUP BY time ORDER BY time",
    ),
    "15-minute means of all devices": (
        "SELECT device, time_bucket(INTERVAL 15 MINUTE, time) AS t, avg(p_w), avg(soe_pct) FROM battery "
        "GROUP BY ALL ORDER BY ALL",
        "SELECT device, time_bucket(INTERVAL 15 MINUTE, time) AS t, avg(value) FILTER (point = 'p_w'), "
        "avg(value) FILTER (point = 'soe_pct') FROM long WHERE point IN ('p_w', 'soe_pct') "
        "GROUP BY ALL ORDER BY ALL",
    ),
    "worst data gaps": (
        "SELECT device, max(gap) AS worst FROM (SELECT device, time - lag(time) OVER (PARTITION BY device "
        "ORDER BY time) AS gap FROM battery WHERE quality = 'good') GROUP BY device ORDER BY ALL",
        "SELECT device, max(gap) AS worst FROM (SELECT device, time - lag(time) OVER (PARTITION BY device "
        "ORDER BY time) AS gap FROM long WHERE point = 'p_w') GROUP BY device ORDER BY ALL",
    ),
    "energy per site": (
        "SELECT site, round(sum(greatest(p_w, 0)) / 3.6e6, 3), round(sum(least(p_w, 0)) / 3.6e6, 3) "
        "FROM battery GROUP BY site ORDER BY site",
        "SELECT site, round(sum(greatest(value, 0)) / 3.6e6, 3), round(sum(least(value, 0)) / 3.6e6, 3) "
        "FROM long WHERE point = 'p_w' GROUP BY site ORDER BY site",
    ),
    "setpoint against response": (
        "SELECT device, round(corr(setpoint_kw, p_w), 6), round(max(abs(setpoint_kw - p_w / 1000)), 6) "
        "FROM battery JOIN decisions USING (device, time) GROUP BY device ORDER BY device",
        "SELECT device, round(corr(s.value, p.value), 6), round(max(abs(s.value - p.value / 1000)), 6) "
        "FROM long p JOIN long_decisions s USING (device, time) WHERE p.point = 'p_w' "
        "AND s.point = 'setpoint_kw' GROUP BY device ORDER BY device",
    ),
    "bands of the fleet, by minute": (
        "SELECT time_bucket(INTERVAL 1 MINUTE, time) AS t, quantile_cont(soe_pct, [0.05, 0.5, 0.95]) "
        "FROM battery GROUP BY t ORDER BY t",
        "SELECT time_bucket(INTERVAL 1 MINUTE, time) AS t, quantile_cont(value, [0.05, 0.5, 0.95]) "
        "FROM long WHERE point = 'soe_pct' GROUP BY t ORDER BY t",
    ),
}


def write(folder: Path) -> list[str]:
    """Log an hour; return the points."""
    names = [f"b{n:04}" for n in range(DEVICES)]
    sites = [f"site-{n * SITES // DEVICES:02}" for n in range(DEVICES)]
    _, _, sample = generate(2, 2)
    columns = [Column(name, "float64" if name in DECIMALS else "float32") for name in sample]
    datasets = [
        Dataset("battery", sites, names, columns),
        Dataset("decisions", sites, names, [Column("setpoint_kw", "float64")]),
    ]
    fine = np.ones((1, DEVICES), np.uint8)
    with LogWriter(
        folder, datasets, tick_seconds=0.05, quality_names=QUALITY_NAMES, reasons=REASONS, sync="os"
    ) as log:
        tick_us, arrival_us, values = generate(DEVICES, HOUR)
        latency_ms = (arrival_us - tick_us[:, None]) / 1000
        bad = np.random.default_rng(2).random((HOUR, DEVICES)) < BAD
        for name, decimals in DECIMALS.items():
            values[name] = np.round(values[name].astype(np.float64), decimals)
        setpoint_kw = np.round(np.roll(values["p_w"], -1, axis=0) / 1000)
        for k in range(HOUR):
            valid = np.broadcast_to(~bad[k], (len(columns), DEVICES))
            code = np.where(bad[k], TIMEOUT, GOOD).astype(np.uint8)
            latency = np.where(bad[k], np.nan, latency_ms[k]).astype(np.float32)
            log.append(0, tick_us[k], latency, code, [x[k] for x in values.values()], valid)
            log.append(1, tick_us[k], latency, np.zeros(DEVICES, np.uint8), [setpoint_kw[k]], fine)
            log.end_tick()
            while log.busy:
                time.sleep(0.001)
    return list(sample)


def write_long(log: Path, long: Path, points: list[str]) -> None:
    """Write the same as long rows, a file for each of the log's."""
    for name, of in (("battery", points), ("decisions", ["setpoint_kw"])):
        (long / name).mkdir(parents=True)
        for n, file in enumerate(sorted(log.glob(f"{name}/*/*.parquet"))):
            values = ", ".join(f'"{point}"::DOUBLE AS "{point}"' for point in of)
            duckdb.sql(
                f"COPY (UNPIVOT (SELECT time, site, device, {values} FROM '{file}') "
                f"ON {', '.join(of)} INTO NAME point VALUE value ORDER BY time, device) "
                f"TO '{long / name / f'{n:04}.parquet'}' (FORMAT parquet)"
            )


@cache
def written() -> tuple[Path, list[str]]:
    """Write both, once for all questions; return where, and the points."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    points = write(folder / "log")
    write_long(folder / "log", folder / "long", points)
    return folder, points


def same(a: object, b: object) -> bool:
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 1e-6 * max(abs(a), abs(b), 1)
    return a == b


def run_client(query: str, views: str, answer: str) -> None:
    """Ask; leave the answer for the other, or compare it with the other's."""
    took_s, rows = 0.0, []
    for _ in range(2):
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.sql("SET TimeZone = 'UTC'")
            connection.execute(views)
            began = time.perf_counter()
            rows = connection.sql(query).fetchall()
            took_s = time.perf_counter() - began
    rows = [row for row in rows if row[1] is not None]  # a bad row is there in ours, and not among long ones
    mine = json.loads(json.dumps(rows, default=str))
    known = Path(answer)
    right = bool(mine) and (not known.exists() or same(mine, json.loads(known.read_text())))
    known.write_text(json.dumps(mine))
    say(took_s * 1000, right, said={"rows": len(rows)})


@contextmanager
def both(question: str, folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Return the command that asks our log, and that which asks long rows."""
    data, points = written()
    wide, long = QUERIES[question]
    words = {"points": ", ".join(points), "names": ", ".join(f"'{point}'" for point in points)}
    wide_views = "".join(
        f"CREATE VIEW {name} AS FROM read_parquet('{data}/log/{name}/**/*.parquet');"
        for name in ("battery", "decisions")
    )
    long_views = (
        f"CREATE VIEW long AS FROM '{data}/long/battery/*.parquet';"
        f"CREATE VIEW long_decisions AS FROM '{data}/long/decisions/*.parquet';"
    )
    answer = folder / "answer.json"
    yield {
        "fluxfast": python(__file__, wide.format(**words), wide_views, answer),
        "long rows": python(__file__, long.format(**words), long_views, answer),
    }


CASES = [Apart(f"queries/{question}", "ms a question", partial(both, question)) for question in QUERIES]

if __name__ == "__main__":
    run_client(*sys.argv[1:])
