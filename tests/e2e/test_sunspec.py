"""A profile from a SunSpec device reads the values that pysunspec2's own client reads from it."""

import asyncio
import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from fluxfast.client import Client
from fluxfast.errors import FluxfastError, TransportError
from fluxfast.plan.blocks import plan_blocks
from fluxfast.profiles import Profile, load_profile
from fluxfast.profiles.write import profile_text
from fluxfast.sunspec import Found, Made, discover, make_profile
from fluxfast.values import Decoder, Reading
from tests.support.command import free_port
from tests.support.scripted import Request, ScriptedServer, Servers
from tests.support.sunspec_device import ISSUE, MARKER, device, model, serving_image

HOST = "127.5.1.1"


async def find(server: ScriptedServer, **options: Any) -> Found:
    async with Client(server.host, server.port, **options) as client:
        return await discover(client)


async def make(server: ScriptedServer, client_options: dict[str, Any] | None = None, **options: Any) -> Made:
    async with Client(server.host, server.port, **(client_options or {})) as client:
        return await make_profile(client, await discover(client), **options)


async def readings(server: ScriptedServer, profile: Profile) -> dict[str, Reading]:
    """Return all that a station would read, by name."""
    found = {}
    async with Client(server.host, server.port) as client:
        for block in plan_blocks(profile):
            words = await client.read_holding_registers(block.address, block.quantity)
            for reading in Decoder(block).decode(struct.pack(f">{len(words)}H", *words)):
                found[reading.point.name] = reading
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
        named = asyncio.run(readings(server, profile))
        ours = {reading.point.address: reading for reading in named.values()}
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


def made_of(image, client_options=None, *, serve=None, **options) -> Made:
    server = ScriptedServer(serving_image(image, **(serve or {})), HOST)
    with Servers([server]):
        return asyncio.run(make(server, client_options, **options))


def found_in(image, *, serve=None, **options) -> Found:
    server = ScriptedServer(serving_image(image, **(serve or {})), HOST)
    with Servers([server]):
        return asyncio.run(find(server, **options))


@pytest.mark.parametrize("base", [40000, 0, 50000])
def test_the_map_is_found_at_each_base(base: int) -> None:
    found = found_in(device(model(1), model(103), base=base))
    assert found.base == base
    assert found.models == ((1, base + 2, 66), (103, base + 70, 50))
    assert (found.common.manufacturer, found.common.serial_number) == ("Mn 34", "SN 86")
    assert found.trouble == ()


@pytest.mark.parametrize("serve", [{"silent": range(40000, 40002)}, {"closes": range(40000, 40002)}])
def test_what_goes_wrong_at_one_base_does_not_end_the_search(serve: dict) -> None:
    assert found_in(device(model(1), base=50000), serve=serve, timeout_s=0.3).base == 50000


def test_other_registers_at_a_base_are_no_map() -> None:
    image = dict.fromkeys(range(40000, 40100), 0x5375) | device(model(1), base=0)
    assert found_in(image).base == 0


def test_no_map_is_told_for_each_base_and_no_connection_as_such() -> None:
    with pytest.raises(FluxfastError, match=r"no SunSpec map at 40000, 0, 50000: .*exception 2"):
        found_in({})
    with pytest.raises(FluxfastError, match=r"exception 11.*"):
        found_in(device(model(1)), unit_id=126)
    assert found_in(device(model(1)), serve={"unit": 126}, unit_id=126).base == 40000
    server = ScriptedServer(serving_image({}), HOST, free_port(HOST))
    with pytest.raises(TransportError, match="refused"):
        asyncio.run(find(server))


COMMON = model(1)


@pytest.mark.parametrize(
    ("image", "models", "trouble"),
    [
        (device(COMMON, (103, 0), model(802)), [1, 103, 802], ()),  # a model may be empty
        (device((1, 65, *COMMON[2:-1]), model(103)), [1, 103], ()),
        (device((1, 66, *COMMON[2:-1]), model(103)), [1, 103], ("model 1 claims 66 registers and has 65",)),
        (device((1, 65, *COMMON[2:]), model(103)), [1, 103], ("model 1 claims 65 registers and has 66",)),
        (device(COMMON, end=(0xFFFF,)), [1], ()),  # some have no length there
        (device(COMMON, end=()), [1], ("the models end at 40070 without an end: ",)),
        (device(COMMON, end=(0, 0)), [1], ("the models end at 40070 with ID 0 instead of 65535",)),
        (device(COMMON, end=(103, 30000)), [1], ("model 103 at 40070 claims 30000 registers, past 65535",)),
        (device(COMMON, *[(103, 0)] * 400), [1, *[103] * 255], ("256 models, and no end at 40580",)),
        (device() | dict.fromkeys(range(40002, 65536), 1), [1] * 256, ("256 models, and no end",)),
        (dict(enumerate((*MARKER, 103, 3844), 50000)), [103], ("the models end at 53848 without",)),
        (device(COMMON, (103, 25464), end=()), [1, 103], ("the models reach 65535 without an end",)),
    ],
    ids=[
        "empty", "65", "66 is 65", "65 is 66", "short end", "no end", "zeros", "far", "many", "endless",
        "hole", "full",
    ],
)  # fmt: skip
def test_odd_chains_of_models(image, models: list[int], trouble: tuple[str, ...]) -> None:
    requests: list[Request] = []
    found = found_in(image, serve={"requests": requests})
    assert [one.id for one in found.models] == models
    assert len(found.trouble) == len(trouble)
    assert all(told.startswith(start) for told, start in zip(found.trouble, trouble, strict=True))
    assert len(requests) < 600
    assert all(
        request.function_code == 3 and request.address + request.quantity <= 0x10000 for request in requests
    )


def test_texts_of_a_device_are_made_fit_to_print() -> None:
    words = list(COMMON)
    words[2:6] = (0x1B5B, 0x324A, 0xFF41, 0x0000)  # ESC [ 2 J, a byte that is no UTF-8, A
    assert found_in(device(tuple(words))).common.manufacturer == "\\x1b[2J\ufffdA"
    made = made_of(device(tuple(words), model(103)))
    assert "\x1b" not in profile_text(made.profile, made.comments)


def test_points_without_a_value_are_left_out() -> None:
    names = ["PhVphB", "VA", "Evt2", "StVnd", "TmpSnk"]
    values = dict.fromkeys(names) | {"WH": 0, "W_SF": None, "A_SF": 11, "V_SF": -10}
    image = device(model(1, {"Opt": ""}), model(103, values), model(212, {"TotVAhExp": float("nan")}))
    made = made_of(image)
    points = made.profile.points
    left_out = {"Opt", "PhVphB_103", "VA_103", "Evt2", "StVnd", "TmpSnk", "TotVAhExp", "W_SF_103"}
    assert points.keys().isdisjoint(left_out)
    assert "WH" in points  # a counter that must be there may have counted nothing yet
    assert (points["PhVphA_103"].scale, points["W_103"].scale) == (Decimal("1e-10"), 1)
    assert points.keys().isdisjoint({"A_103", "AphA_103"})  # 10^11 is no scale
    assert "model 103: W: raw: W_SF (40085) is not implemented" in made.remarks
    assert "model 103: A is left out: A_SF (40076) is 11, and may be -10 to 10" in made.remarks
    kept = made_of(image, keep_all=True).profile.points
    assert {"Opt", "PhVphB_103", "VA_103", "Evt2", "StVnd", "TmpSnk", "TotVAhExp"} <= kept.keys()


def test_models_of_the_same_kind_and_unknown_ones() -> None:
    made = made_of(device(model(1), model(103), (64999, 3, 1, 2, 3), model(103, seed=1), model(203)))
    assert {"W_103_1", "W_103_2", "W_203", "PPVphAB_103_2"} <= made.profile.points.keys()
    assert [one.id for one in made.unknown] == [64999]
    assert made.profile.quirks.readable == ((40002, 40069), (40070, 40121), (40127, 40178), (40179, 40285))


def test_lengths_other_than_the_definitions() -> None:
    short, long = model(103)[:20], (*model(203), 7, 7, 7)
    made = made_of(device(model(1), (103, 18, *short[2:]), (203, len(long) - 2, *long[2:])))
    assert {"W_103", "W_203", "TotWhImp"} <= made.profile.points.keys()
    assert "St" not in made.profile.points
    assert "model 203: 3 registers at its end are not in its definition" in made.remarks


@pytest.mark.parametrize("count", [0, 1, 0xFFFE, 0xFFFF])
def test_a_count_is_not_believed_past_the_models_end(count: int) -> None:
    words = list(model(705))
    words[6] = count  # NPt
    points = made_of(device(model(1), tuple(words))).profile.points
    assert all(point.address < 40070 + len(words) for point in points.values())
    assert ("Crv_1_Pt_1_V" in points) == (0 < count < 0xFFFF)


def test_what_the_device_refuses_is_worked_around() -> None:
    image = device(model(1), model(103), model(203))
    made = made_of(image, serve={"most": 60})
    assert 50 <= made.profile.quirks.max_registers <= 60  # fields are not cut: that close to it
    curves = device(model(1), model(705))
    counts = {at: word for at, word in curves.items() if at < 40072 or at > max(curves) - 2}
    assert not [one for one in made_of(counts).remarks if "not in its definition" in one]
    del image[40100]  # the upper half of DCV_SF's neighbour: a field that is refused alone
    made = made_of(image)
    assert made.profile.quirks.max_registers == 125
    assert [40070, 40099] in [list(one) for one in made.profile.quirks.readable]
    assert [
        one for one in made.remarks if "(40100) cannot be read" in one
    ] or "DCV" not in made.profile.points


def test_no_read_of_the_profile_runs_over_a_border_of_the_device() -> None:
    server = ScriptedServer(serving_image(device(model(1), model(103), model(714)), border=40124), HOST)
    with Servers([server]):
        made = asyncio.run(make(server))
        assert made.profile.quirks.max_registers == 125
        assert (40122, 40123) in made.profile.quirks.readable
        assert len(asyncio.run(readings(server, made.profile))) == len(made.profile.points)


def test_reads_never_begin_or_end_within_a_value() -> None:
    requests: list[Request] = []
    image = device(model(1), model(701), model(214), model(712))
    made = made_of(image, serve={"requests": requests})
    inside = {
        at
        for point in made.profile.points.values()
        for at in range(point.address + 1, point.address + point.size)
    }
    reads = [request for request in requests if request.quantity > 2]
    assert len(reads) > 5
    assert not inside & {
        end for request in reads for end in (request.address, request.address + request.quantity)
    }


def test_bits_as_bools(tmp_path) -> None:
    image = device(model(1), model(802, {"Evt1": 1 << 20 | 1 << 3}))
    server = ScriptedServer(serving_image(image), HOST)
    with Servers([server]):
        made = asyncio.run(make(server, bits=True))
        ours = asyncio.run(readings(server, made.profile))
    bits = {name: reading for name, reading in ours.items() if name.startswith("Evt1_")}
    assert len(bits) > 25
    on = {name: (reading.point.address, reading.point.bit) for name, reading in bits.items() if reading.value}
    assert set(on.values()) == {(40096, 4), (40097, 3)}
    assert on["Evt1_UNDER_TEMP_ALARM"] == (40097, 3)


def test_a_suggested_control_holds_when_it_is_taken(tmp_path) -> None:
    for models, role in (
        ([1, 701, 704, 713, 715], "setpoint: WSet"),
        ([1, 203], "power: W"),
        ([1, 802, 704], "soe: SoC"),
    ):
        made = made_of(device(*map(model, models)))
        text = profile_text(made.profile, made.comments)
        assert "\ncontrol:" not in text
        before, mark, after = text.partition("# control:")
        assert mark
        file = tmp_path / "made.yaml"
        file.write_text(before + (mark + after).replace("# ", ""))
        assert load_profile(str(file)).control is not None
        assert role in after.replace("{", " ").replace(" control:", "")
    made = made_of(device(model(1), model(124)))
    assert "No control: model 124" in profile_text(made.profile, made.comments)
