"""SunSpec devices for tests: registers by pysunspec2's encoders, served with whatever is odd about them."""

import struct
from collections.abc import Mapping
from typing import Any

import sunspec2.device
from sunspec2 import mb

from tests.support.scripted import Answer, Peer, Request

MARKER = (0x5375, 0x6E53)
END = (0xFFFF, 0)
ISSUE = [1, 101, 102, 103, 111, 112, 113, *range(120, 125), *range(201, 205), *range(211, 215),
         *range(701, 716), 802]  # fmt: skip
REPEATED = 2  # how often groups come that repeat

Image = dict[int, int]


def model(model_id: int, values: Mapping[str, Any] | None = None, seed: int = 0) -> tuple[int, ...]:
    """Return a model's registers, with ID and length: all points filled with values that differ."""
    group = sunspec2.device.get_model_def(model_id)["group"]
    data = _fill(group, seed + model_id, values or {})
    made = sunspec2.device.Model(model_id, data=data)
    encoded = made.get_mb()
    words = list(struct.unpack(f">{len(encoded) // 2}H", encoded))
    words[:2] = model_id, len(words) - 2
    return tuple(words)


def _fill(group: Mapping[str, Any], seed: int, values: Mapping[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    counts = _counts(group)
    for number, point in enumerate(group["points"]):
        name = point["name"]
        if name in counts:
            data[name] = REPEATED
        elif name not in ("ID", "L") and point["type"] != "pad":
            data[name] = _value(point, 7 * seed + 13 * number + 1)
    for number, inner in enumerate(group.get("groups", ())):
        if "count" in inner:
            data[inner["name"]] = [_fill(inner, seed + 100 * number + n + 1, {}) for n in range(REPEATED)]
        else:
            data[inner["name"]] = _fill(inner, seed + 100 * number + 50, {})
    return {**data, **values}


def _counts(group: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for inner in group.get("groups", ()):
        found |= _counts(inner)
        if isinstance(inner.get("count"), str):
            found.add(inner["count"])
    return found


def _value(point: Mapping[str, Any], n: int) -> Any:
    type_ = point["type"]
    if type_ == "string":
        return f"{point['name']} {n}"[: 2 * point["size"]]
    if type_ == "sunssf":
        return n % 7 - 4
    if type_.startswith("float"):
        return (n % 2000) / 8 - 100
    if type_ == "eui48":
        return "12:34:56:78:9A:BC"
    if type_ == "ipv6addr":
        return "20010DB8:00000000:00000000:00000001"
    if type_.startswith("enum"):
        symbols = point.get("symbols") or [{"value": n % 50}]
        return symbols[n % len(symbols)]["value"]
    signed = type_.startswith("int")
    top = 1 << 16 * point["size"] - 1
    return (n * 2654435761 % (top - 2) + 1) * (-1 if signed and n % 3 == 0 else 1)


def device(*models: tuple[int, ...], base: int = 40000, end: tuple[int, ...] = END) -> Image:
    """Return the registers of a device with these models."""
    words = [*MARKER, *(word for one in models for word in one), *end]
    return dict(enumerate(words, base))


def missing(model_id: int, name: str) -> Any:
    """Return what pysunspec2 makes of a point that is not implemented."""
    points = sunspec2.device.get_model_def(model_id)["group"]["points"]
    (type_,) = (point["type"] for point in points if point["name"] == name)
    return mb.unimpl_value[type_]


def serving_image(
    image: Image, *, unit: int = 1, most: int = 125, silent: range = range(0), closes: range = range(0),
    border: int | None = None, requests: list[Request] | None = None,
) -> Answer:  # fmt: skip
    """Return an answer by these registers.

    Other units and other addresses get an exception, as do reads of more than ``most`` or over ``border``;
    reads that begin in ``silent`` get nothing, in ``closes`` the end of the connection.
    """

    async def answer(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if requests is not None:
                requests.append(request)
            wanted = range(request.address, request.address + request.quantity)
            if request.address in silent:
                continue
            if request.address in closes:
                return
            if request.unit_id != unit:
                await peer.send(request.reply(pdu=bytes([0x80 | request.function_code, 11])))
            elif (
                request.function_code != 3 or request.quantity > most or border in wanted[1:]
                or any(at not in image for at in wanted)
            ):  # fmt: skip
                await peer.send(request.reply(pdu=bytes([0x80 | request.function_code, 2])))
            else:
                await peer.send(request.reply([image[at] for at in wanted]))

    return answer
