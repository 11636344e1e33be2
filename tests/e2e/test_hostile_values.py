"""The table's values: well-formed replies whose content is none, or not to be trusted. Cases 72 and 73."""

import asyncio
import struct

import numpy as np
import pytest

from fluxfast.profiles import Point, Profile, Quirks
from fluxfast.station import Station
from fluxfast.table import quality
from tests.support.fleets import device, fleet
from tests.support.scripted import serving

pytestmark = pytest.mark.usefixtures("no_descriptor_lost")
FIRST = 100
POINTS = {
    "current": ("f", {"type": "float32"}),
    "power": ("h", {"type": "int16", "not_implemented": -0x8000}),
    "status": ("H", {"type": "uint16", "not_implemented": 0xFFFF}),
    "soe": ("h", {"type": "int16", "limits": [0, 100]}),
}
HONEST = {"current": 12.5, "power": -300, "status": 3, "soe": 55}
NAN, NONE, RANGE = "not a number", "not implemented", "out of range"
# what, which point, its bytes, and the reason; only what is out of range is kept as a value
HOSTILE = [
    ("NaN", "current", struct.pack(">f", np.nan), NAN),
    ("SunSpec's NaN", "current", b"\x7f\xc0\x00\x00", NAN),
    ("a signalling NaN", "current", b"\xff\x80\x00\x01", NAN),
    ("+infinity", "current", struct.pack(">f", np.inf), NAN),
    ("-infinity", "current", struct.pack(">f", -np.inf), NAN),
    ("SunSpec's int16", "power", b"\x80\x00", NONE),
    ("SunSpec's uint16", "status", b"\xff\xff", NONE),
    ("above its limit", "soe", struct.pack(">h", 101), RANGE),
    ("below its limit", "soe", struct.pack(">h", -1), RANGE),
]


def profile(name, **quirks):
    address, points = FIRST, {}
    for point, (_, fields) in POINTS.items():
        points[point] = Point(name=point, address=address, **fields)
        address += points[point].size
    return Profile(name=name, points=points, quirks=Quirks(**quirks))


# One read for all, or one for each point and all of them in flight.
PROFILES = {
    "plain": profile("plain"),
    "pipelined": profile("pipelined", max_registers=2, max_gap=0, max_in_flight=4),
}


def image(point=None, raw=b""):
    parts = [raw if name == point else struct.pack(f">{POINTS[name][0]}", HONEST[name]) for name in POINTS]
    return b"".join(parts)


@pytest.mark.parametrize("mode", PROFILES)
@pytest.mark.parametrize(("point", "raw", "reason"), [h[1:] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
def test_a_value_that_is_none_is_marked_alone_and_for_as_long_as_it_lasts(mode, point, raw, reason):
    images = iter([image(), image(point, raw), image()])
    now = [b""]

    async def answer(peer):
        while True:
            request = await peer.request()
            at = 2 * (request.address - FIRST)
            data = now[0][at : at + 2 * request.quantity]
            await peer.send(request.reply(pdu=bytes([3, len(data)]) + data))

    async def run(port):
        rows = []
        now[0] = next(images)
        async with Station(fleet(device("d", PROFILES[mode], port), every_ms=100)) as station:
            async for _ in station.ticks(0.3):
                table = station[mode]
                rows.append(
                    {
                        name: (
                            quality.reason(int(table.quality[column, 0])),
                            table[name][0].item() if table.valid[column, 0] else None,
                        )
                        for column, name in enumerate(POINTS)
                    }
                )
                rows[-1]["row"] = quality.quality_name(int(table.row_quality[0]))
                now[0] = next(images, image())
            return rows, station.reactor.connects(0)

    with serving(answer) as server:
        rows, connects = asyncio.run(run(server.port))
    good = {name: (None, value) for name, value in HONEST.items()} | {"row": "good"}
    kept = struct.unpack(">h", raw)[0] if reason == RANGE else None
    assert rows == [good, good | {point: (reason, kept), "row": "uncertain"}, good]
    assert connects == 1
