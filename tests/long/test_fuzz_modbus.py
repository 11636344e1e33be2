"""Seeded fuzzing of splitters and parsers, for 25 seconds: any bytes end in one of the outcomes we know.

Inputs are exact-size heap buffers, so an overread is visible under the sanitizers.
"""

import random
import time
from array import array
from typing import Any

import pytest

from fluxfast import modbus
from fluxfast.errors import (
    ExceptionResponseError,
    FramingError,
    MalformedPduError,
    ResponseMismatchError,
)
from fluxfast.modbus import reference

SECONDS = 25
REQUESTS: list[Any] = [
    modbus.ReadCoils(0, 2000),
    modbus.ReadDiscreteInputs(7, 9),
    modbus.ReadHoldingRegisters(2000, 10),
    modbus.ReadInputRegisters(0, 125),
    modbus.WriteSingleCoil(1, True),
    modbus.WriteSingleRegister(2008, 100),
    modbus.WriteMultipleCoils(0, [1, 0, 1]),
    modbus.WriteMultipleRegisters(2008, [1, 2, 3]),
    modbus.MaskWriteRegister(4, 0xF2, 0x25),
    modbus.ReadWriteMultipleRegisters(0, 125, 0, range(121)),
    modbus.ReadDeviceIdentification(1),
    modbus.ReadDeviceIdentification(4, 2),
]
IDENTIFICATIONS = {
    1: modbus.DeviceIdentification(1, {0: b"Vendor", 1: b"Product"}, next_object_id=2),
    4: modbus.DeviceIdentification(0x83, {2: b"V1"}),
}


def response(request: Any) -> bytes:
    if isinstance(request, modbus.ReadDeviceIdentification):
        return request.build_response(IDENTIFICATIONS[request.read_device_id_code])
    quantity = getattr(request, "read_quantity", None) or getattr(request, "quantity", 0)
    is_read = type(request).__name__.startswith("Read")
    return request.build_response([1] * quantity) if is_read else request.build_response()


SEEDS = [request.pdu for request in REQUESTS] + [response(request) for request in REQUESTS] + [b"\x83\x02"]


def heap(data: bytes) -> Any:
    """A buffer of exactly that size: a sanitizer sees a read past its end.

    Bytes have a hidden zero, and an array made from bytes has spare room; one made from a list has none.
    """
    return array("B", list(data))


def damaged(random_: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(random_.choice((0, 0, 1, 1, 2, 8))):
        what = random_.randrange(4)
        at = random_.randrange(len(out) + 1)
        if what == 0:
            out[at:at] = random_.randbytes(random_.randrange(1, 5))
        elif what == 1:
            del out[at : at + random_.randrange(1, 5)]
        elif at < len(out):
            out[at] = random_.choice((0, 1, 0x7F, 0x80, 0xFF, out[at] ^ 1 << random_.randrange(8)))
    return bytes(out)


def result(call: Any, data: Any, *known: type[Exception]) -> Any:
    try:
        return repr(call(data))
    except known as error:
        return type(error)


def run(splitter: Any, chunks: list[Any]) -> Any:
    adus: list[bytes] = []
    try:
        for chunk in chunks:
            adus += splitter.feed(chunk)
            assert splitter.pending < 260
        adus += splitter.feed(b"")
    except FramingError:
        return adus, "broken"
    return adus, splitter.pending


def fuzz_pdus(random_: random.Random) -> None:
    pdu = damaged(random_, random_.choice(SEEDS))
    exact = heap(pdu)
    refusals = (ExceptionResponseError, MalformedPduError)
    expected = result(reference.parse_request, pdu, *refusals)
    assert result(modbus.parse_request, exact, *refusals) == expected
    request = random_.choice(REQUESTS)
    twin = reference.parse_request(request.pdu)
    refusals = (*refusals, ResponseMismatchError)
    expected = result(twin.parse_response, pdu, *refusals)  # type: ignore[attr-defined]
    assert result(request.parse_response, exact, *refusals) == expected


def fuzz_streams(random_: random.Random) -> None:
    kind = random_.choice(("mbap", "client", "server"))
    stream = b""
    for _ in range(random_.randrange(5)):
        pdu = random_.choice(SEEDS)[:253]
        stream += modbus.build_mbap(9, 1, pdu) if kind == "mbap" else modbus.build_rtu(1, pdu)
    stream = damaged(random_, stream) + random_.randbytes(random_.choice((0, 0, 3, 300)))
    cuts = sorted(random_.randrange(len(stream) + 1) for _ in range(random_.randrange(8)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    splitters = [
        codec.MbapSplitter() if kind == "mbap" else codec.RtuSplitter(kind) for codec in (modbus, reference)
    ]
    assert run(splitters[0], [heap(chunk) for chunk in chunks]) == run(splitters[1], [stream])
    piece = heap(stream[: random_.randrange(300)])
    modbus.framing_hint(piece)
    assert result(modbus.parse_rtu, piece, FramingError) == result(
        reference.parse_rtu, piece.tobytes(), FramingError
    )


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_fuzz(seed: int) -> None:
    random_ = random.Random(seed)
    end = time.monotonic() + SECONDS / 2
    while time.monotonic() < end:
        for _ in range(200):
            fuzz_pdus(random_)
            fuzz_streams(random_)
