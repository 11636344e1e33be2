"""``fluxfast.Poller``: columns of a fleet as NumPy and Arrow, over the same memory."""

import asyncio

import numpy as np
import pyarrow as pa
import pytest

import fluxfast
from tests.support.command import free_port, simulating
from tests.support.fleets import device, fleet, registers
from tests.support.scripted import serving, well_behaved


def test_a_site_file_is_polled_into_columns(tmp_path):
    port = free_port("127.0.63.1")
    site = tmp_path / "site.yaml"
    site.write_text(f"""
poll: {{every: 200ms}}
devices:
  bess:
    - {{id: "b{{n}}", count: 3, type: powerpack, modbus: {{host: 127.0.63.1, port: {port}}}}}
    - {{id: gone, type: powerpack, modbus: {{host: 127.0.64.1, port: {free_port("127.0.64.1")}}}}}
""")

    async def poll():
        async with fluxfast.Poller(site) as poller:
            batch = poller.arrow("powerpack")  # before the first tick: all null, and later the newest
            seen = []
            async for tick in poller.ticks(0.6):
                table = poller["powerpack"]
                seen.append(tick.number)
                now = poller.arrow("powerpack")
                assert now["soe"].to_pylist() == [*table["soe"][:3].tolist(), None]
        return poller.devices["powerpack"], batch, now, table, seen

    site_text = site.read_text()
    only = tmp_path / "only.yaml"
    only.write_text("\n".join(line for line in site_text.splitlines() if "gone" not in line))
    with simulating(only):
        devices, before, now, table, seen = asyncio.run(poll())
    assert seen == [0, 1, 2]
    assert devices == now["device"].to_pylist() == ["b1", "b2", "b3", "gone"]
    assert now["quality"].to_pylist() == ["good"] * 3 + ["bad"]
    assert now["reason"].to_pylist() == [None] * 3 + ["connection refused"]
    assert before["soe"].null_count == 4
    # The same memory, not a copy.
    assert now["soe"].buffers()[1].address == table["soe"].ctypes.data
    assert now["latency_ms"].buffers()[1].address == table.latency_ms.ctypes.data
    assert now.validate(full=True) is None


def test_a_poller_is_opened_once_and_polls_only_when_open():
    async def run(port):
        poller = fluxfast.Poller(fleet(device("d", registers(2000, 3), port), every_ms=100))
        with pytest.raises(fluxfast.FluxfastError, match="inside"):
            await anext(poller.ticks())
        async with poller:
            with pytest.raises(fluxfast.FluxfastError, match="once"):
                await poller.__aenter__()
            async for _ in poller.ticks(0.2):
                assert poller["plain"]["r1"].tolist() == [2001]
                assert poller["plain"].age_ns("r1", poller.reactor.now_ns()).tolist()[0] < 10**9

    with serving(well_behaved) as server:
        asyncio.run(run(server.port))


def test_two_at_once_cannot_tick():
    async def tick(poller):
        return [tick.number async for tick in poller.ticks(0.2)]

    async def run(port):
        async with fluxfast.Poller(fleet(device("d", registers(2000, 3), port), every_ms=100)) as poller:
            return await asyncio.gather(tick(poller), tick(poller), return_exceptions=True)

    async def slow(peer):
        while True:
            request = await peer.request()
            await asyncio.sleep(0.05)
            await peer.send(request.reply())

    with serving(slow) as server:
        ended = asyncio.run(asyncio.wait_for(run(server.port), 20))
    # Both wait for the same moment: either may be first.
    assert [0, 1] in ended
    assert any(isinstance(one, fluxfast.FluxfastError) for one in ended)


def test_booleans_and_texts_come_as_arrow_has_them():
    from fluxfast.table import Table
    from fluxfast.table.arrow import device_array, record_batch

    table = Table("t", [("on", 4, 1), ("name", 5, 4), ("n", 3, 8)], 3, np.zeros((3, 3), bool))
    table["on"][:] = [True, False, True]
    table["name"][:] = [b"a", b"bc", b"d"]
    table["n"][:] = [1, 2**64 - 1, 3]
    table.quality[:] = 0
    table.quality[2, 0] = 36
    table.close(0)
    batch = record_batch(table, device_array(["x", "y", "z"]))
    assert batch["on"].to_pylist() == [True, False, True]
    assert [text.rstrip(b"\0") for text in batch["name"].to_pylist()] == [b"a", b"bc", b"d"]
    assert batch["n"].to_pylist() == [None, 2**64 - 1, 3]
    assert batch.schema.field("n").type == pa.uint64()
    assert batch["quality"].to_pylist() == ["uncertain", "good", "good"]
    assert batch["reason"].to_pylist() == ["timeout", None, None]
