"""ADUs and splitters against the golden streams: whole, byte by byte, at every cut, glued, with garbage."""

import traceback
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import pytest
from modbus_golden import golden, heap, unhex

from fluxfast import modbus
from fluxfast.errors import FramingError, LocalProtocolError

STREAMS = "modbus_streams.toml"
KINDS = ("mbap", "rtu_client", "rtu_server")
ROWS = [
    pytest.param(kind, *row.values, id=f"{kind}: {row.id}") for kind in KINDS for row in golden(STREAMS, kind)
]
WHOLE = [row for row in ROWS if not (row.values[1].get("broken") or row.values[1].get("pending"))]


def splitter(codec: ModuleType, kind: str) -> Any:
    return codec.MbapSplitter() if kind == "mbap" else codec.RtuSplitter(kind.removeprefix("rtu_"))


def run(split: Any, chunks: Iterable[bytes]) -> tuple[list[bytes], bool]:
    """All ADUs until the end or the break, as a caller that only catches gets them."""
    adus: list[bytes] = []
    try:
        for chunk in chunks:
            adus += split.feed(heap(chunk) if isinstance(split, modbus.MbapSplitter) else chunk)
        adus += split.feed(b"")
    except FramingError:
        return adus, True
    return adus, False


def build(codec: ModuleType, adu: dict[str, Any]) -> bytes:
    fields = adu | {"pdu": unhex(adu["pdu"])}
    return codec.build_mbap(**fields) if "transaction_id" in adu else codec.build_rtu(**fields)


@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_every_chunking(codec: ModuleType, kind: str, row: dict[str, Any]) -> None:
    stream, broken = unhex(row["stream"]), row.get("broken", False)
    expected = [build(codec, adu) for adu in row["adus"]]
    chunkings = [[stream], [stream[i : i + 1] for i in range(len(stream))]]
    chunkings += [[stream[:i], stream[i:]] for i in range(len(stream) + 1)]
    for chunks in chunkings:
        split = splitter(codec, kind)
        assert run(split, chunks) == (expected, broken)
        assert split.pending == row.get("pending", 0)
        assert (split.error is not None) == broken


@pytest.mark.parametrize(("kind", "row"), WHOLE)
def test_glued_twice(codec: ModuleType, kind: str, row: dict[str, Any]) -> None:
    stream = unhex(row["stream"]) * 2
    for cut in range(len(stream) + 1):
        adus, broken = run(splitter(codec, kind), [stream[:cut], stream[cut:]])
        assert b"".join(adus) == stream
        assert not broken


@pytest.mark.parametrize(("kind", "row"), WHOLE)
def test_garbage_after_the_adus(codec: ModuleType, kind: str, row: dict[str, Any]) -> None:
    stream = unhex(row["stream"])
    split = splitter(codec, kind)
    adus = split.feed(stream + b"\xff\x7f\xff\xff")
    assert b"".join(adus) == stream
    assert isinstance(split.error, FramingError)
    for _ in range(2):
        with pytest.raises(FramingError):
            split.feed(stream)


@pytest.mark.parametrize("row", golden(STREAMS, "mbap"))
def test_hint(row: dict[str, Any]) -> None:
    hint = row.get("hint", "")
    stream = unhex(row["stream"])
    if hint:
        assert modbus.framing_hint(heap(stream)).startswith(hint)
        split = modbus.MbapSplitter()
        with pytest.raises(FramingError) as caught:
            split.feed(stream)
        assert hint in str(caught.value)
        assert stream[:4].hex(" ") in str(caught.value)


def test_no_hint_for_what_is_not_recognised() -> None:
    assert modbus.framing_hint(b"") == ""
    assert modbus.framing_hint(b"\x00\x01\x00\x07\x00\x03") == ""
    assert modbus.framing_hint(b"OK") == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", golden("modbus_requests.toml", "request"))
def test_adus_of_all_requests(codec: ModuleType, kind: str, row: dict[str, Any]) -> None:
    pdu = unhex(row["pdu"])
    if kind == "mbap":
        adu = codec.build_mbap(transaction_id=0xABCD, unit_id=7, pdu=pdu)
        assert adu == bytes([0xAB, 0xCD, 0, 0, 0, len(pdu) + 1, 7]) + pdu
        assert codec.parse_mbap(adu) == (0xABCD, 7, pdu)
    else:
        adu = codec.build_rtu(unit_id=7, pdu=pdu)
        assert codec.parse_rtu(adu) == (7, pdu)
    if kind != "rtu_client":
        assert run(splitter(codec, kind), [adu[i : i + 1] for i in range(len(adu))]) == ([adu], False)


@pytest.mark.parametrize("row", golden("modbus_responses.toml", "response", without="error"))
def test_rtu_adus_of_all_legal_responses(codec: ModuleType, row: dict[str, Any]) -> None:
    adu = codec.build_rtu(unit_id=1, pdu=unhex(row["pdu"]))
    assert run(codec.RtuSplitter("client"), [adu[i : i + 1] for i in range(len(adu))]) == ([adu], False)


@pytest.mark.parametrize("row", golden(STREAMS, "mbap"))
def test_parse_mbap_takes_one_whole_adu_only(codec: ModuleType, row: dict[str, Any]) -> None:
    stream = unhex(row["stream"])
    first = len(build(codec, row["adus"][0])) if row["adus"] else -1
    for size in range(len(stream) + 1):
        if size == first:
            assert codec.parse_mbap(stream[:size]) == (*list(row["adus"][0].values())[:2], stream[7:size])
        else:
            with pytest.raises(FramingError):
                codec.parse_mbap(stream[:size])


def test_parse_rtu_checks_size_and_crc(codec: ModuleType) -> None:
    adu = codec.build_rtu(1, b"\x03\x02\x00\x64")
    bad: list[bytes] = [adu[:size] for size in range(len(adu))]
    bad += [adu[:i] + bytes([adu[i] ^ 1]) + adu[i + 1 :] for i in range(len(adu))]
    bad.append(bytes(257))
    for data in bad:
        with pytest.raises(FramingError):
            codec.parse_rtu(data)


@pytest.mark.parametrize(
    "call",
    [
        lambda codec: codec.build_mbap(-1, 1, b"\x03"),
        lambda codec: codec.build_mbap(65536, 1, b"\x03"),
        lambda codec: codec.build_mbap(1, 256, b"\x03"),
        lambda codec: codec.build_mbap(1, 1, b""),
        lambda codec: codec.build_mbap(1, 1, bytes(254)),
        lambda codec: codec.build_rtu(256, b"\x03"),
        lambda codec: codec.build_rtu(1, b""),
        lambda codec: codec.build_rtu(1, bytes(254)),
    ],
)
def test_illegal_adu_is_not_built(codec: ModuleType, call: Callable[[ModuleType], bytes]) -> None:
    with pytest.raises(LocalProtocolError):
        call(codec)


def test_a_splitter_has_one_of_two_roles() -> None:
    with pytest.raises(ValueError, match="'client' or 'server'"):
        modbus.RtuSplitter("master")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "crc"), [(b"", 0xFFFF), (b"123456789", 0x4B37), (b"\x11\x03\x00\x6b\x00\x03", 0x8776)]
)
def test_crc16_of_known_vectors(codec: ModuleType, data: bytes, crc: int) -> None:
    assert codec.crc16(data) == crc


def test_a_broken_splitter_keeps_nothing() -> None:
    split = modbus.MbapSplitter()
    split.feed(b"\x00\x01")
    for _ in range(1000):
        with pytest.raises(FramingError):
            split.feed(b"\xff" * 100_000)
    assert split.pending == 0
    error = split.error
    assert error is not None
    depth = len(traceback.extract_tb(error.__traceback__))
    assert depth < 10, "the traceback must not grow with every call"
