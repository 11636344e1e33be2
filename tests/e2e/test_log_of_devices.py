"""What the log has of devices beside their values: when each block was read, and news of their quality."""

import asyncio
import hashlib

import duckdb
import numpy as np
import pyarrow.parquet as pq

from fluxfast import Station
from fluxfast.config import load
from fluxfast.inventory import profile_hash
from tests.support.scripted import serving, well_behaved

PROFILE = """\
name: p
version: 3
groups: {slow: 4}
control: {power: fast}
points:
  fast: {address: 10, type: int16, unit: kW}
  slow: {address: 20, type: int16, group: slow}
"""
SITE = """\
site: S
poll: {{every: 100ms}}
devices:
  meters:
    - {{id: good, type: ./p.yaml, modbus: {{host: 127.0.0.1, port: {}}}}}
    - {{id: dying, type: ./p.yaml, modbus: {{host: 127.0.0.1, port: {}, timeout: 50ms}}}}
"""
DYING_ANSWERS = 8


def dying():
    """Return what answers so many requests, on whichever connection, and then none."""
    left = iter(range(DYING_ANSWERS))

    async def answer(peer):
        while True:
            request = await peer.request()
            if next(left, None) is not None:
                await peer.send(request.reply())

    return answer


def run(folder, seconds):
    async def main(site):
        async with Station(site, log_dir=folder / "log") as station:
            async for _ in station.ticks(seconds):
                pass

    (folder / "p.yaml").write_text(PROFILE)
    with serving(well_behaved) as good, serving(dying()) as bad:
        site = folder / "site.yaml"
        site.write_text(SITE.format(good.port, bad.port))
        asyncio.run(main(site))
    return site


def test_blocks_have_their_times_and_devices_their_news(tmp_path):
    site = run(tmp_path, 2)
    files = f"'{tmp_path}/log/{{}}/*/*.parquet'"

    def ask(sql, dataset="p"):
        return duckdb.sql(sql.format(files.format(dataset))).fetchall()

    rows = np.array(
        ask("SELECT sample_ms_1, sample_ms_2, latency_ms FROM {} WHERE device = 'good' AND fast IS NOT NULL")
    ).astype(float)
    assert len(rows) > 10
    fast, slow, latency = rows.T
    np.testing.assert_array_equal(np.fmax(fast, slow), latency)
    # Every fourth tick it is read; in between its value is older than the tick.
    assert 2 <= np.count_nonzero(slow > 0) <= 5
    assert np.count_nonzero(slow < 0) > 6
    assert ask("SELECT count(*) FROM {} WHERE (fast IS NULL) <> (sample_ms_1 IS NULL)") == [(0,)]
    assert ask("SELECT count(*) FROM {} WHERE (slow IS NULL) <> (sample_ms_2 IS NULL)") == [(0,)]
    assert ask("SELECT count(*) > 5 FROM {} WHERE device = 'dying' AND sample_ms_1 IS NULL") == [(True,)]

    news = ask(
        "SELECT kind, site, device, text FROM {} WHERE kind IN ('quality', 'station') ORDER BY time", "events"
    )
    digest = hashlib.sha256(site.read_bytes()).hexdigest()[:12]
    assert news[0][-1].endswith(f"config {digest}, 2 devices, action observe")
    assert news[1][:3] == ("quality", "S", "dying")
    assert news[1][3].startswith("dying: ")
    assert news[-1][3].startswith("ended after ")
    assert len(news) == 3

    schema = pq.read_schema(next((tmp_path / "log" / "p").rglob("*.parquet")))
    assert schema.field("fast").metadata[b"sample"] == b"sample_ms_1"
    assert schema.field("fast").metadata[b"sign"] == b"positive imports"
    assert schema.metadata[b"profile_version"] == b"3"
    assert schema.metadata[b"profile_hash"].decode() == profile_hash(load(site).devices[0].profile)
