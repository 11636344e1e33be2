"""Logs of a day, made row by row with pyarrow: what every row says is known, and so is every sum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fluxfast.log.dataset import TEXT
from fluxfast.log.reading import open_log
from fluxfast.report import Day, Figures, figures_of

DAY = date(2026, 11, 22)
START_US = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp()) * 1_000_000
SECOND = 1_000_000
UNITS = {"target_power": "kW", "power_total": "W", "soe": "%"}


@dataclass
class DeviceRows:
    """One device, a row at each of ``times_us``; ``bad[k]`` and ``uncertain[k]`` say why row k is so."""

    device: str
    times_us: NDArray[np.int64]
    values: Mapping[str, float | Sequence[float] | NDArray[np.float64]] = field(default_factory=dict)
    bad: Mapping[int, str] = field(default_factory=dict)
    uncertain: Mapping[int, str] = field(default_factory=dict)
    site: str = "S"
    latency_ms: float | NDArray[np.float64] = 5.0
    texts: Mapping[str, str | Sequence[str | None] | None] = field(default_factory=dict)

    def table(self, units: Mapping[str, str]) -> pa.Table:
        """Return its rows."""
        n = len(self.times_us)
        why = {**self.bad, **self.uncertain}
        is_bad = np.isin(np.arange(n), list(self.bad))
        quality = np.where(
            is_bad, "bad", np.where(np.isin(np.arange(n), list(self.uncertain)), "uncertain", "good")
        )
        columns = {
            "time": pa.array(self.times_us, pa.timestamp("us", tz="UTC")),
            "site": pa.array([self.site] * n).dictionary_encode().cast(TEXT),
            "device": pa.array([self.device] * n).dictionary_encode().cast(TEXT),
            "quality": pa.array(quality.tolist(), pa.string()).dictionary_encode().cast(TEXT),
            "reason": pa.array([why.get(k) for k in range(n)], pa.string()).dictionary_encode().cast(TEXT),
            "latency_ms": pa.array(np.broadcast_to(self.latency_ms, n).astype(np.float32), mask=is_bad),
        }
        for name, values in self.values.items():
            columns[name] = pa.array(np.broadcast_to(np.asarray(values, float), n), mask=is_bad)
        for name, text in self.texts.items():
            texts = [text] * n if text is None or isinstance(text, str) else list(text)
            columns[name] = pa.array(texts, pa.string()).dictionary_encode().cast(TEXT)
        fields = [
            pa.field(name, column.type, metadata={"unit": units[name]} if name in units else None)
            for name, column in columns.items()
        ]
        return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def ticks(n: int, every_s: float = 1, start_us: int = START_US) -> NDArray[np.int64]:
    """Return so many times."""
    return start_us + (np.arange(n) * every_s * SECOND).astype(np.int64)


def write(
    log: Path,
    dataset: str,
    devices: Sequence[DeviceRows],
    *,
    part_s: int = 600,
    units: Mapping[str, str] = UNITS,
) -> Path:
    """Write a dataset as stations do: files of ``part_s``, sorted by device and time; return the log."""
    table = pa.concat_tables([one.table(units) for one in devices]).combine_chunks()
    times = table["time"].cast(pa.int64()).to_numpy()
    for part in np.unique(times // (part_s * SECOND)).tolist():
        rows = table.filter(pa.array(times // (part_s * SECOND) == part))
        begins = datetime.fromtimestamp(part * part_s, UTC)
        folder = log / dataset / f"date={begins:%Y-%m-%d}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            rows, folder / f"{begins:%Y%m%dT%H%M%S}Z-00c0ffee-{len(list(folder.iterdir())):010}.parquet"
        )
    return log


def report(log: Path, site: str = "S", *, day: date | None = DAY, zone: tzinfo | None = UTC) -> Figures:
    """Return a site's figures."""
    read = Day(open_log(log), day, zone)
    read.read()
    return figures_of(read, site)


def battery(
    device: str, times_us: NDArray[np.int64], kw: object = 0.0, soe: object = 50.0, **more: object
) -> DeviceRows:
    """Return a PowerPack."""
    return DeviceRows(device, times_us, {"target_power": kw, "soe": soe}, **more)  # type: ignore[dict-item,arg-type]


def meter(device: str, times_us: NDArray[np.int64], watts: object = 0.0, **more: object) -> DeviceRows:
    """Return an Acuvim II."""
    return DeviceRows(device, times_us, {"power_total": watts}, **more)  # type: ignore[dict-item,arg-type]


def timeouts(first: int, n: int) -> dict[int, str]:
    """Return ``timeout`` for ``n`` rows from ``first`` on."""
    return {first + k: "timeout" for k in range(n)}
