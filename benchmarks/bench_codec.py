"""Requests and responses of 90 registers without a socket: bytes from what is asked, registers from bytes.

``codec/build`` makes the TCP frame of a read request; ``codec/parse`` makes 90 integers of a response PDU;
``codec/exchange`` does both and all that a client's call does in between but for the socket, which is a
stub. That is the only way into modbus-tcp-cython's codec. How each does it:

- C floor: the twelve bytes by one memcpy; registers turned around, into an array.
- fluxfast: the Python face, for those who embed the protocol; the poller does not use it. All fields are
  checked.
- struct: as one would write it by hand; nothing is checked but the sizes.
- pymodbus: its PDU classes and ``FramerSocket``.
- pyModbusTCP: ``_add_mbap``; ``read_holding_registers`` with the response given.

What it does not show: the socket, which costs ten times as much as the codecs in C (bench_link.py).
"""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import stages
from floors import floor
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest
from pyModbusTCP.client import ModbusClient
from stages import ADDRESS, FRAMES, REGISTERS

from fluxfast import modbus

REQUEST = struct.pack(">HHHBBHH", FRAMES - 1, 0, 6, 1, 3, ADDRESS, REGISTERS)
ANSWER = list(range(REGISTERS))
RESPONSE = stages.response()
Run = Callable[[], Any]


def repeated(one: Callable[[int], Any]) -> Run:
    """Return what does it for transaction identifiers 0 to 99; the last result."""

    def run() -> Any:
        for number in range(FRAMES):
            result = one(number)
        return result

    return run


def c_build() -> Run:
    out = np.zeros((FRAMES, 12), np.uint8)
    return floor("floor_build", out, FRAMES, ADDRESS, REGISTERS, result=out[-1])


def struct_build() -> Run:
    frame = struct.Struct(">HHHBBHH")
    return repeated(lambda number: frame.pack(number, 0, 6, 1, 3, ADDRESS, REGISTERS))


def pymodbus_build() -> Run:
    build = FramerSocket(DecodePDU(False)).buildFrame
    return repeated(
        lambda number: build(
            ReadHoldingRegistersRequest(dev_id=1, transaction_id=number, address=ADDRESS, count=REGISTERS)
        )
    )


def pymodbustcp_build() -> Run:
    client = ModbusClient(unit_id=1)
    return repeated(lambda number: client._add_mbap(struct.pack(">BHH", 3, ADDRESS, REGISTERS)))


def c_parse() -> Run:
    out, data = np.zeros(REGISTERS, np.uint16), np.frombuffer(RESPONSE, np.uint8, offset=2)
    return floor("floor_parse", out, data, REGISTERS, FRAMES, result=out)


def struct_parse() -> Run:
    pattern = struct.Struct(f">BB{REGISTERS}H")
    return repeated(lambda _: pattern.unpack(RESPONSE)[2:])


def pymodbus_parse() -> Run:
    decode = DecodePDU(False).decode
    return repeated(lambda _: decode(RESPONSE).registers)


def pymodbustcp_parse() -> Run:
    client = ModbusClient()
    client._req_pdu = lambda tx_pdu, rx_min_len: RESPONSE
    return repeated(lambda _: client.read_holding_registers(ADDRESS, REGISTERS))


class Stub:
    """A socket that answers every request at once."""

    tail = struct.pack(">HHB", 0, 1 + len(RESPONSE), 1) + RESPONSE

    def sendall(self, frame: bytes) -> None:
        self.left = frame[:2] + self.tail

    def recv(self, size: int) -> bytes:
        part, self.left = self.left[:size], self.left[size:]
        return part

    def nothing(self, *_: Any) -> None:
        """Connects, closes and sets timeouts."""

    connect = close = settimeout = nothing


def fluxfast_exchange() -> Run:
    stub, splitter = Stub(), modbus.MbapSplitter()

    def one(number: int) -> Any:
        request = modbus.ReadHoldingRegisters(ADDRESS, REGISTERS)
        stub.sendall(modbus.build_mbap(number, 1, request.pdu))
        (adu,) = splitter.feed(stub.recv(512))
        assert modbus.parse_mbap(adu)[:2] == (number, 1)
        return request.parse_response(modbus.parse_mbap(adu)[2])

    return repeated(one)


def pymodbus_exchange() -> Run:
    stub, framer = Stub(), FramerSocket(DecodePDU(False))

    def one(number: int) -> Any:
        request = ReadHoldingRegistersRequest(
            dev_id=1, transaction_id=number, address=ADDRESS, count=REGISTERS
        )
        stub.sendall(framer.buildFrame(request))
        return framer.handleFrame(stub.recv(512), 1, number)[1].registers

    return repeated(one)


def pymodbustcp_exchange() -> Run:
    stub, client = Stub(), ModbusClient(unit_id=1, auto_open=False)
    client._send = stub.sendall
    client._recv = stub.recv
    client._recv_all = stub.recv
    return repeated(lambda _: client.read_holding_registers(ADDRESS, REGISTERS))


def modbus_tcp_cython_exchange() -> Run:
    modbus_tcp = pytest.importorskip("modbus_tcp")
    stub = Stub()

    class Sockets:
        AF_INET = SOCK_STREAM = 0

        @staticmethod
        def socket(*_: Any) -> Stub:
            return stub

    real, modbus_tcp.socket = modbus_tcp.socket, Sockets
    try:
        client = modbus_tcp.ModbusTcpClient("stub", 502, request_retries=0)
        client.connect()
    finally:
        modbus_tcp.socket = real
    return repeated(lambda _: client.read_holding_registers(1, ADDRESS, REGISTERS))


BUILD = {
    "C floor": c_build,
    "fluxfast": lambda: stages.codec_build().run,
    "struct": struct_build,
    "pymodbus": pymodbus_build,
    "pyModbusTCP": pymodbustcp_build,
}
PARSE = {
    "C floor": c_parse,
    "fluxfast": lambda: stages.codec_parse().run,
    "struct": struct_parse,
    "pymodbus": pymodbus_parse,
    "pyModbusTCP": pymodbustcp_parse,
}
EXCHANGE = {
    "fluxfast": fluxfast_exchange,
    "modbus-tcp-cython": modbus_tcp_cython_exchange,
    "pymodbus": pymodbus_exchange,
    "pyModbusTCP": pymodbustcp_exchange,
}


@pytest.mark.parametrize("contender", BUILD)
def test_build(contend, contender):
    built = bytes(contend("codec/build", contender, FRAMES, "request", BUILD[contender]()))
    assert built[2:] == REQUEST[2:]  # pyModbusTCP makes identifiers up


@pytest.mark.parametrize("contender", PARSE)
def test_parse(contend, contender):
    registers = contend("codec/parse", contender, FRAMES, "response of 90 registers", PARSE[contender]())
    assert list(registers) == ANSWER


@pytest.mark.parametrize("contender", EXCHANGE)
def test_exchange(contend, contender):
    registers = contend(
        "codec/exchange", contender, FRAMES, "exchange of 90 registers", EXCHANGE[contender]()
    )
    assert list(registers) == ANSWER
