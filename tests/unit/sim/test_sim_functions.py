"""Every function code, through pymodbus, and every reason to refuse, byte for byte."""

import struct

import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.pdu.file_message import ReadFifoQueueRequest

from fluxfast.sim import Simulator
from tests.support.raw_modbus import Raw


def test_registers_are_read_and_written(client: ModbusTcpClient, everything: Simulator) -> None:
    assert not client.write_register(0, 0xBEEF, device_id=1).isError()
    assert client.read_holding_registers(0, count=1, device_id=1).registers == [0xBEEF]
    assert everything.value("d1", "u16") == 0xBEEF
    assert everything.value("d2", "u16") == 0, "the other unit at the same address is another device"
    assert not client.write_registers(4, [0x0001, 0x0002], device_id=2).isError()
    assert everything.value("d2", "u32") == 0x10002
    assert client.read_holding_registers(4, count=2, device_id=2).registers == [1, 2]


def test_a_read_spans_gaps(client: ModbusTcpClient) -> None:
    answer = client.read_holding_registers(0, count=55, device_id=1)
    assert len(answer.registers) == 55
    assert answer.registers[16:20] == [0, 0, 0, 0]


def test_input_registers_are_a_table_of_their_own(client: ModbusTcpClient, everything: Simulator) -> None:
    registers = client.read_input_registers(10, count=3, device_id=1).registers
    assert 1000 <= registers[0] <= 2000
    volts = struct.unpack(">f", struct.pack(">HH", *registers[1:]))[0]
    assert 220 <= volts <= 240
    assert client.read_input_registers(0, count=1, device_id=1).exception_code == 2


def test_coils_are_read_and_written(client: ModbusTcpClient, everything: Simulator) -> None:
    assert not client.write_coil(2, True, device_id=1).isError()
    assert client.read_coils(0, count=10, device_id=1).bits[:3] == [False, False, True]
    assert not client.write_coils(0, [True, True, False], device_id=1).isError()
    assert client.read_coils(0, count=3, device_id=1).bits[:3] == [True, True, False]
    assert everything.value("d1", "coil_0") is True
    assert client.read_coils(1, count=1, device_id=1).bits[0] is True
    assert client.write_coils(0, [True] * 10, device_id=1).exception_code == 2, "coil 9 is read-only"
    assert client.read_coils(2, count=1, device_id=1).bits[0] is False, "and then none was written"


def test_discrete_inputs(client: ModbusTcpClient, everything: Simulator) -> None:
    everything.set_value("d1", "contact_109", True)
    bits = client.read_discrete_inputs(109, count=1, device_id=1).bits
    assert bits[0] is True
    assert client.read_discrete_inputs(101, count=1, device_id=1).exception_code == 2, (
        "the gap of 8 is too wide"
    )


def test_mask_write(client: ModbusTcpClient) -> None:
    client.write_register(0, 0x0012, device_id=1)
    assert not client.mask_write_register(address=0, and_mask=0x00F2, or_mask=0x0025, device_id=1).isError()
    assert client.read_holding_registers(0, count=1, device_id=1).registers == [0x0017]  # MAP 6.16's example


def test_read_write_registers_writes_first(client: ModbusTcpClient) -> None:
    answer = client.readwrite_registers(
        read_address=0, read_count=5, write_address=4, values=[0x1234], device_id=1
    )
    assert answer.registers[4] == 0x1234


def test_identification(client: ModbusTcpClient) -> None:
    whole = client.read_device_information(read_code=1, object_id=0, device_id=1)
    assert whole.information == {0: b"fluxfast", 1: b"Everything there is", 2: b"3"}
    assert whole.conformity == 0x81
    one = client.read_device_information(read_code=4, object_id=1, device_id=1)
    assert one.information == {1: b"Everything there is"}
    assert client.read_device_information(read_code=4, object_id=9, device_id=1).exception_code == 2
    restarted = client.read_device_information(read_code=3, object_id=0x40, device_id=1)
    assert list(restarted.information) == [0, 1, 2]


def test_other_functions_are_illegal(client: ModbusTcpClient) -> None:
    request = ReadFifoQueueRequest(address=0, dev_id=1)
    assert client.execute(False, request).exception_code == 1


def test_an_unknown_unit_is_a_gateway_target(client: ModbusTcpClient) -> None:
    for unit in (0, 3, 255):
        assert client.read_holding_registers(0, count=1, device_id=unit).exception_code == 0x0B


@pytest.mark.parametrize(
    ("request_hex", "answer_hex"),
    [
        # Quantity: MAP's limits, and none at all.
        ("01 0000 0000", "81 03"),
        ("01 0000 07D1", "81 03"),
        ("02 0064 07D1", "82 03"),
        ("03 0000 0000", "83 03"),
        ("03 0000 007E", "83 03"),
        ("04 000A 007E", "84 03"),
        ("03 0000 FFFF", "83 03"),
        ("0F 0000 0000 00", "8F 03"),
        ("0F 0000 07B1 F7" + "00" * 247, "8F 03"),
        ("10 0000 0000 00", "90 03"),
        ("10 0000 007C F8" + "00" * 246, "90 03"),
        ("17 0000 0000 0000 0001 02 0000", "97 03"),
        ("17 0000 007E 0000 0001 02 0000", "97 03"),
        ("17 0000 0001 0000 0000 00", "97 03"),
        ("17 0000 0001 0000 007A F4" + "00" * 243, "97 03"),
        # Byte count and quantity, or the PDU's size, disagree.
        ("10 0000 0001 03 0000", "90 03"),
        ("10 0000 0002 02 0000", "90 03"),
        ("10 0000 0001 02 00", "90 03"),
        ("10 0000 0001 02 000000", "90 03"),
        ("0F 0000 0009 01 FF", "8F 03"),
        ("0F 0000 0003 01 07 00", "8F 03"),
        ("03 0000", "83 03"),
        ("03 0000 0001 00", "83 03"),
        ("03", "83 03"),
        ("01 00", "81 03"),
        ("06 0000", "86 03"),
        ("05 0000", "85 03"),
        ("16 0000 0000", "96 03"),
        ("17 0000 0001", "97 03"),
        ("10", "90 03"),
        ("0F", "8F 03"),
        # Values.
        ("05 0000 0001", "85 03"),
        ("05 0000 FF01", "85 03"),
        ("05 0000 00FF", "85 03"),
        ("06 0001 0065", "86 03"),
        ("06 0001 FF9B", "86 03"),
        ("06 0001 FF9C", "06 0001 FF9C"),
        ("10 0006 0002 04 86A0 0001", "10 0006 0002"),
        ("10 0006 0002 04 86A1 0001", "90 03"),
        ("10 000C 0002 04 3F80 0000", "10 000C 0002"),
        ("10 000C 0002 04 3F80 0001", "90 03"),
        ("10 000C 0002 04 7FC0 0000", "90 03"),
        ("10 000C 0002 04 7F80 0000", "90 03"),
        ("10 0020 0004 08 7FF0 0000 0000 0000", "90 03"),
        ("10 0020 0004 08 4010 0000 0000 0000", "10 0020 0004"),
        ("06 0028 4000", "06 0028 4000"),
        ("06 0028 C000", "06 0028 C000"),
        ("06 0028 4001", "86 03"),
        ("06 0028 7C00", "86 03"),
        ("06 0028 7E00", "86 03"),
        ("06 0028 0001", "06 0028 0001"),
        ("06 0029 FFCE", "06 0029 FFCE"),
        ("06 0029 FFCD", "86 03"),
        ("06 0029 0097", "86 03"),
        ("06 002A 0900", "06 002A 0900"),
        ("06 002A 0A00", "86 03"),
        ("06 0035 0063", "06 0035 0063"),
        ("16 0001 0000 0065", "96 03"),
        ("17 0000 0001 0001 0001 02 0065", "97 03"),
        # Addresses: in no segment, over a segment's end, over the table's end, not writable.
        ("03 0037 0001", "83 02"),
        ("03 0036 0002", "83 02"),
        ("03 00C8 0001", None),
        ("03 00C9 0001", "83 02"),
        ("03 FFFF 0001", None),
        ("03 FFFF 0002", "83 02"),
        ("01 000A 0001", "81 02"),
        ("01 0009 0002", "81 02"),
        ("06 0036 000C", "86 02"),
        ("06 0003 0000", "86 02"),
        ("06 1000 0000", "86 02"),
        ("05 0009 FF00", "85 02"),
        ("05 0003 FF00", "85 02"),
        ("10 0035 0002 04 0004 0000", "90 02"),
        ("16 0036 0000 0000", "96 02"),
        ("17 0037 0001 0000 0001 02 0000", "97 02"),
        ("17 0000 0001 0036 0001 02 0000", "97 02"),
        # Functions.
        ("07", "87 01"),
        ("08 0000 0000", "88 01"),
        ("11", "91 01"),
        ("14 00", "94 01"),
        ("2B 0D 0000", "AB 01"),
        ("2B", "AB 03"),
        ("2B 0E 00 00", "AB 03"),
        ("2B 0E 05 00", "AB 03"),
        ("2B 0E 01", "AB 03"),
        ("80", "80 01"),
        ("FF", "FF 01"),
        ("00", "80 01"),
    ],
)
def test_answers_exactly(raw: Raw, request_hex: str, answer_hex: str | None) -> None:
    answer = raw.ask(bytes.fromhex(request_hex))
    if answer_hex is None:
        assert answer[0] == 3
    else:
        assert answer.hex() == bytes.fromhex(answer_hex).hex()


def test_a_refused_write_changes_nothing(client: ModbusTcpClient, everything: Simulator) -> None:
    client.write_registers(0, [1, 2], device_id=1)
    assert client.write_registers(0, [9, 101], device_id=1).exception_code == 3
    assert client.write_registers(0, [9] * 4, device_id=1).exception_code == 2
    assert client.read_holding_registers(0, count=2, device_id=1).registers == [1, 2]


def test_half_a_value_is_judged_with_the_other_half(client: ModbusTcpClient) -> None:
    # u32_cdab holds its low word first; [0, 100000] leaves 0x86A0 to the low word once the high one is 1.
    assert not client.write_registers(6, [0x86A0, 1], device_id=1).isError()
    assert client.write_register(6, 0x86A1, device_id=1).exception_code == 3
    assert not client.write_register(7, 0, device_id=1).isError()
    assert not client.write_register(6, 0x86A1, device_id=1).isError()
