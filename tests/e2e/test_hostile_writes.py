"""The table's writes, cases 50 to 54 and 75: sent once, and never said to be done when they may not be."""

import asyncio
import struct
from collections import Counter

import pytest

import fluxfast
from fluxfast import errors, modbus
from tests.support.scripted import serving

pytestmark = pytest.mark.usefixtures("no_descriptor_lost")
ADDRESS, VALUES = 2008, (50, 51, 52)
# How many requests are under way at once; the hostile answer is the second one's.
MODES = {"plain": 1, "pipelined": 4}
FIN, RST = "fin", "rst"


class Holder:
    """A device with registers that writes change; the first write to ADDRESS is answered by ``echo(pdu)``.

    ``carries`` says whether that write is carried out, ``echo`` returns a PDU, a whole frame, or an end.
    """

    def __init__(self, echo, carries=True):
        self._echo, self._carries = echo, carries
        self.held = Counter()
        self.writes = Counter()  # by address

    async def __call__(self, peer):
        while True:
            header = await peer.reader.readexactly(7)
            pdu = await peer.reader.readexactly(int.from_bytes(header[4:6]) - 1)
            answer = self._answer(pdu)
            if answer == FIN:
                return
            if answer == RST:
                peer.reset()
                return
            if answer is not None:
                await peer.send(header[:4] + struct.pack(">H", len(answer) + 1) + header[6:7] + answer)

    def _answer(self, pdu):
        code, address, third = struct.unpack(">BHH", pdu[:5])
        if code == 3:
            data = struct.pack(f">{third}H", *(self.held[address + n] for n in range(third)))
            return bytes([3, len(data)]) + data
        self.writes[address] += 1
        hostile = address == ADDRESS and self.writes[address] == 1
        if self._carries or not hostile:
            values = [third] if code == 6 else struct.unpack(f">{third}H", pdu[6:])
            self.held.update({address + n: value for n, value in enumerate(values)})
        return self._echo(pdu) if hostile else pdu[:5]


def with_(at, value):
    """Return the echo with another 16-bit number at one place of its PDU."""
    return lambda pdu: pdu[:at] + struct.pack(">H", value) + pdu[at + 2 : 5]


# what the device answers, whether it is asked to write one register or several, and the connections made
HOSTILE = {
    "50 echo with another value": (with_(3, 7), 6, 1),
    "51 echo with another address": (with_(1, ADDRESS + 1), 6, 2),
    "52 echo with another count": (with_(3, 2), 16, 1),
    "53 echo with another address": (with_(1, ADDRESS + 1), 16, 2),
    "54 reply cut to one byte": (lambda pdu: pdu[:1], 6, 1),
    "4 FIN": (lambda pdu: FIN, 6, 2),
    "7 RST": (lambda pdu: RST, 6, 2),
    "55 reply to another function": (lambda pdu: b"\x10" + pdu[1:5], 6, 1),
    "67 exception 11": (lambda pdu: b"\x86\x0b", 6, 1),
}


async def write(client, code, address=ADDRESS):
    """Return None, or the error; as many registers as the function code writes."""
    try:
        if code == 6:
            await client.write_register(address, VALUES[0])
        else:
            await client.write_registers(address, VALUES)
    except errors.UncertainWriteError as error:
        return error
    return None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("carries", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_write_without_a_clear_answer_is_read_back_and_never_repeated(name, carries, mode):
    echo, code, connects = HOSTILE[name]
    device = Holder(echo, carries)
    beside = [ADDRESS + 100 * n for n in range(1, MODES[mode])]
    n_values = 1 if code == 6 else len(VALUES)

    async def run(port):
        async with fluxfast.Client("127.0.0.1", port, timeout_s=5, max_in_flight=MODES[mode]) as client:
            addresses = [*beside[:1], ADDRESS, *beside[1:]]
            outcomes = await asyncio.gather(*(write(client, code, address) for address in addresses))
            after = await client.read_holding_registers(ADDRESS, n_values)
            return dict(zip(addresses, outcomes, strict=True)), after, client.counters()["connects"]

    with serving(device) as server:
        outcomes, after, connected = asyncio.run(run(server.port))
    assert connected == connects
    assert set(device.writes.values()) == {1}
    assert after == (VALUES[:n_values] if carries else (0,) * n_values)
    error = outcomes.pop(ADDRESS)
    assert error is None if carries else "holds something else" in str(error)
    for address, outcome in outcomes.items():
        if connects == 1:
            assert outcome is None
        held = tuple(device.held[address + n] for n in range(n_values))
        assert held == VALUES[:n_values] or outcome is not None


def test_a_write_that_meets_silence_is_uncertain_at_its_deadline():
    """No time remains to read it back."""
    device = Holder(lambda pdu: None)

    async def run(port):
        async with fluxfast.Client("127.0.0.1", port, timeout_s=0.2) as client:
            return await write(client, 6)

    with serving(device) as server:
        error = asyncio.run(run(server.port))
    assert "no answer within 0.2 s" in str(error)
    assert device.writes == {ADDRESS: 1}


@pytest.mark.parametrize(("step", "most"), [(0, 1), (1, 256)])
def test_device_identification_that_never_ends_is_ended(step, most):
    """Case 75: more and more follows; the next object is the same again, or the next without end."""
    asked = []

    async def answer(peer):
        while True:
            header = await peer.reader.readexactly(7)
            pdu = await peer.reader.readexactly(int.from_bytes(header[4:6]) - 1)
            asked.append(object_id := pdu[3])
            more = bytes([0x2B, 0x0E, pdu[2], 0x83, 0xFF, (object_id + step) & 0xFF, 1, object_id, 1, 65])
            await peer.send(header[:4] + struct.pack(">H", len(more) + 1) + header[6:7] + more)

    async def run(port):
        async with fluxfast.Client("127.0.0.1", port) as client:
            with pytest.raises(errors.MalformedPduError, match="advance"):
                await client.read_device_identification(modbus.ReadDeviceIdCode.EXTENDED)
            return client.counters()["connects"]

    with serving(answer) as server:
        assert asyncio.run(run(server.port)) == 1
    assert asked == list(range(most))
