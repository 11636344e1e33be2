"""Any bytes in any chunks give ADUs, need more data or are broken: nothing else, and alike in both codecs."""

from typing import Any

import modbus_messages as messages
import pytest
from hypothesis import strategies as st

from fluxfast import modbus
from fluxfast.errors import FramingError
from fluxfast.modbus import reference

KINDS = {
    "mbap": lambda codec: codec.MbapSplitter(),
    "rtu client": lambda codec: codec.RtuSplitter("client"),
    "rtu server": lambda codec: codec.RtuSplitter("server"),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def chunked(data: st.DataObject, stream: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def run(splitter: Any, chunks: list[Any]) -> tuple[list[bytes], bool, int]:
    adus: list[bytes] = []
    try:
        for chunk in chunks:
            adus += splitter.feed(chunk)
            assert splitter.pending < 260
        adus += splitter.feed(b"")
    except FramingError:
        assert splitter.error is not None
        return adus, True, splitter.pending
    assert splitter.error is None
    return adus, False, splitter.pending


@st.composite
def streams(draw: st.DrawFn, kind: str) -> bytes:
    """ADUs of legal messages, most of them unharmed, and perhaps something else at the end."""
    stream = b""
    for (name, fields), response in draw(st.lists(messages.exchanges(), max_size=3)):
        request = messages.make(modbus, (name, fields))
        is_request = kind == "rtu server" or (kind == "mbap" and draw(st.booleans()))
        pdu = request.pdu if is_request else request.build_response(*response)
        unit_id = draw(messages.U8)
        stream += (
            modbus.build_mbap(draw(messages.U16), unit_id, pdu)
            if kind == "mbap"
            else (modbus.build_rtu(unit_id, pdu))
        )
    end = draw(st.sampled_from(["whole", "damaged", "garbage"]))
    if end == "damaged":
        return draw(messages.damaged(stream))
    return stream + draw(st.binary(max_size=300)) if end == "garbage" else stream


@kinds
@messages.given(st.data())
def test_chunks_do_not_matter_and_codecs_agree(kind: str, data: st.DataObject) -> None:
    stream = data.draw(streams(kind))
    expected = run(KINDS[kind](reference), [stream])
    assert run(KINDS[kind](modbus), [messages.heap(stream)]) == expected
    assert run(KINDS[kind](modbus), [messages.heap(c) for c in chunked(data, stream)]) == expected
    assert run(KINDS[kind](modbus), [stream[i : i + 1] for i in range(len(stream))]) == expected
    assert run(KINDS[kind](reference), chunked(data, stream)) == expected
    adus, broken, pending = expected
    assert stream.startswith(b"".join(adus))
    assert broken or len(b"".join(adus)) + pending == len(stream)


@kinds
@messages.given(st.data())
def test_adus_of_messages_come_out_as_they_went_in(kind: str, data: st.DataObject) -> None:
    adus = []
    for message, response in data.draw(st.lists(messages.exchanges(), max_size=4)):
        request = messages.make(modbus, message)
        pdu = request.build_response(*response) if kind == "rtu client" else request.pdu
        adus.append(modbus.build_mbap(7, 1, pdu) if kind == "mbap" else modbus.build_rtu(1, pdu))
    assert run(KINDS[kind](modbus), chunked(data, b"".join(adus))) == (adus, False, 0)


@messages.given(st.binary(max_size=270))
def test_both_codecs_parse_any_adu_alike(adu: bytes) -> None:
    for name in ("parse_mbap", "parse_rtu"):
        ours = messages.outcome(getattr(modbus, name), messages.heap(adu))
        assert ours == messages.outcome(getattr(reference, name), adu)
        assert ours[0] == "returned" or ours[1] is FramingError


@messages.given(messages.U16, messages.U8, st.binary(min_size=1, max_size=253))
def test_adus_round_trip_in_both_codecs(transaction_id: int, unit_id: int, pdu: bytes) -> None:
    adu = modbus.build_mbap(transaction_id, unit_id, pdu)
    assert adu == reference.build_mbap(transaction_id, unit_id, pdu)
    assert modbus.parse_mbap(adu) == (transaction_id, unit_id, pdu)
    rtu = modbus.build_rtu(unit_id, pdu)
    assert rtu == reference.build_rtu(unit_id, pdu)
    assert modbus.parse_rtu(rtu) == (unit_id, pdu)


@messages.given(st.binary(max_size=300))
def test_hint_and_crc_take_any_bytes(data: bytes) -> None:
    assert modbus.crc16(messages.heap(data)) == reference.crc16(data)
    assert isinstance(modbus.framing_hint(messages.heap(data)), str)
