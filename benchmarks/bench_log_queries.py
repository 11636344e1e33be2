"""An analyst's six questions, asked by DuckDB of our log, and of the same readings as long rows.

``python benchmarks/bench_log_queries.py --hours 24 --dir DIR`` makes both (500 batteries, 20 points, every
second, beside their setpoints) and times each query; what both answer must be the same. Long rows are as
Telegraf and pandas write them: time, device, point, value, in the order of time.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
from telemetry import DECIMALS, generate

from fluxfast.log import Column, Dataset, LogWriter
from fluxfast.table.quality import GOOD, QUALITY_NAMES, REASONS, TIMEOUT

DEVICES, SITES, HOUR = 500, 50, 3600
BAD = 0.002  # of the rows
REPEATS = 3

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


def write(folder: Path, hours: int) -> list[str]:
    """Log so many hours; return the points."""
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
        for hour in range(hours):
            tick_us, arrival_us, values = generate(DEVICES, HOUR, seed=hour)
            latency_ms = (arrival_us - tick_us[:, None]) / 1000
            tick_us += hour * HOUR * 1_000_000
            bad = np.random.default_rng(hour).random((HOUR, DEVICES)) < BAD
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


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.parquet"))


def ask(query: str, views: str) -> tuple[float, list[tuple[object, ...]]]:
    """Return the median time in seconds of a query in a fresh connection, and its answer."""
    times_s, rows = [], []
    for _ in range(REPEATS):
        with duckdb.connect() as connection:
            connection.sql("SET TimeZone = 'UTC'")
            connection.execute(views)
            began = time.perf_counter()
            rows = connection.sql(query).fetchall()
            times_s.append(time.perf_counter() - began)
    return statistics.median(times_s), rows


def same(a: object, b: object) -> bool:
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 1e-6 * max(abs(a), abs(b), 1)
    return a == b


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=int, default=2)
    parser.add_argument("--dir", type=Path, help="where both are written (default: a folder that goes again)")
    options = parser.parse_args()
    folder = options.dir or Path(tempfile.mkdtemp())
    try:
        log, long = folder / "log", folder / "long"
        points = write(log, options.hours)
        write_long(log, long, points)
        readings = options.hours * HOUR * DEVICES * len(points)
        print(
            f"{readings / 1e6:,.0f} million readings, {readings * 8 / 1e9:.1f} GB as float64: "
            f"{size(log / 'battery') / 1e6:,.0f} MB in our log, "
            f"{size(long / 'battery') / 1e6:,.0f} MB as long rows"
        )
        wide_views = "".join(
            f"CREATE VIEW {name} AS FROM read_parquet('{log}/{name}/**/*.parquet');"
            for name in ("battery", "decisions")
        )
        long_views = (
            f"CREATE VIEW long AS FROM '{long}/battery/*.parquet';"
            f"CREATE VIEW long_decisions AS FROM '{long}/decisions/*.parquet';"
        )
        words = {"points": ", ".join(points), "names": ", ".join(f"'{point}'" for point in points)}
        print(f"{'':32}{'our log':>10}{'long rows':>12}{'x':>7}")
        wrong = 0
        for what, (wide_query, long_query) in QUERIES.items():
            wide_s, wide_rows = ask(wide_query.format(**words), wide_views)
            long_s, long_rows = ask(long_query.format(**words), long_views)
            if "device's day" in what:  # a bad row is there in ours, and not among long ones
                wide_rows = [row for row in wide_rows if row[1] is not None]
            if not same(wide_rows, long_rows):
                wrong += 1
                what += " (answers differ)"
            print(f"{what:32}{wide_s:>8.2f} s{long_s:>10.2f} s{long_s / wide_s:>7.1f}")
        sys.exit(1 if wrong else 0)
    finally:
        if options.dir is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
