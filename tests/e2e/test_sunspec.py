"""A profile from a SunSpec device reads the values that pysunspec2's own client reads from it."""

import asyncio
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from fluxfast.client import Client
from fluxfast.plan.blocks import plan_blocks
from fluxfast.profiles import Profile, load_profile
from fluxfast.profiles.write import profile_text
from fluxfast.sunspec import Found, Made, discover, make_profile
from fluxfast.values import Decoder, Reading
from tests.support.scripted import ScriptedServer, Servers
from tests.support.sunspec_device import ISSUE, device, model, serving_image

HOST = "127.5.1.1"


async def find(server: ScriptedServer, **options: Any) -> Found:
    async with Client(server.host, server.port, **options) as client:
        return await discover(client)


async def make(server: ScriptedServer, client_options: dict[str, Any] | None = None, **options: Any) -> Made:
    async with Client(server.host, server.port, **(client_options or {})) as client:
        return await make_profile(client, await discover(client), **options)


async def readings(server: ScriptedServer, profile: Profile) -> dict[int, Reading]:
    """Return all that a station would read, by address."""
    found = {}
    async with Client(server.host, server.port) as client:
        for block in plan_blocks(profile):
            words = await client.read_holding_registers(block.address, block.quantity)
            for reading in Decoder(block).decode(struct.pack(f">{len(words)}H", *words)):
                found[reading.point.address] = reading
    return found


def theirs(server: ScriptedServer) -> Iterator[tuple[int, int, Any]]:
    """Yield (model, address, point) of everything that pysunspec2 reads."""
    one = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr=server.host, ipport=server.port, timeout=5)
    one.scan()
    try:
        for model_ in one.model_list:
            assert model_.error_info == "", model_.model_id
            for point in points_of(model_):
                if point.pdef["name"] not in ("ID", "L") and point.pdef["type"] != "pad":
                    yield model_.model_id, model_.model_addr + point.offset, point
    finally:
        one.close()


def points_of(group: Any) -> Iterator[Any]:
    yield from group.points.values()
    for inner in group.groups.values():
        for one in inner if isinstance(inner, list) else [inner]:
            yield from points_of(one)


def same(reading: Reading, value: Any) -> bool:
    if reading.point.type == "string":
        return reading.value == value
    if reading.point.type == "float32":
        return np.float32(reading.value) == np.float32(value)
    return reading.value == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    "models", [ISSUE, [1, 160, 304, 803, 804, 126, 401, 63001, 64101]], ids=["issue", "more"]
)
def test_every_point_reads_as_with_pysunspec2(tmp_path, models: list[int]) -> None:
    image = device(*(model(id_) for id_ in models))
    server = ScriptedServer(serving_image(image), HOST)
    with Servers([server]):
        made = asyncio.run(make(server))
        file = tmp_path / "made.yaml"
        file.write_text(profile_text(made.profile, made.comments))
        profile = load_profile(str(file))
        assert profile == made.profile
        ours = asyncio.run(readings(server, profile))
        used = {point.pdef["sf"] for _, _, point in theirs(server) if "sf" in point.pdef}
        compared = 0
        for id_, address, point in theirs(server):
            if point.pdef["type"] in ("ipv6addr", "eui48"):
                continue
            if point.pdef["type"] == "sunssf" and point.pdef["name"] not in used:
                continue
            reading = ours.pop(address)
            assert same(reading, point.cvalue), (id_, reading, point.cvalue)
            compared += 1
        assert compared > 300
        assert {reading.point.description for reading in ours.values()} <= {""}
