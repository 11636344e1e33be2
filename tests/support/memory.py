"""A Modbus server that keeps what it is told: the four tables of one device, and ways to disobey."""

import asyncio
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress

from tests.support.scripted import Peer

ILLEGAL_ADDRESS = 2
TABLES = {
    1: "coil",
    2: "discrete",
    3: "holding",
    4: "input",
    5: "coil",
    6: "holding",
    15: "coil",
    16: "holding",
}


class Memory:
    """Answers reads and writes; ``holes`` are addresses that it refuses, in every table."""

    def __init__(
        self, holes: Iterable[int] = (), units: Iterable[int] = range(256), mute: Iterable[int] = ()
    ) -> None:
        self.cells: dict[str, dict[int, int]] = {name: {} for name in set(TABLES.values())}
        self.holes = set(holes)
        self.units = set(units)  # for all others a gateway says that they are not there
        self.mute = set(mute)  # units that never answer
        self.requests: list[bytes] = []  # the PDUs as they came
        self.writes: list[bytes] = []
        self.obeys: Callable[[int], int] = lambda word: word  # what becomes of a register that is written
        self.answers_writes = True
        self.closes_after_each = False

    async def __call__(self, peer: Peer) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                tid, _, length, unit = struct.unpack(">HHHB", await peer.reader.readexactly(7))
                pdu = await peer.reader.readexactly(length - 1)
                self.requests.append(pdu)
                answer = self._answer(pdu) if unit in self.units else bytes([pdu[0] | 0x80, 11])
                if unit not in self.mute and (pdu[0] <= 4 or self.answers_writes):
                    await peer.send(struct.pack(">HHHB", tid, 0, len(answer) + 1, unit) + answer)
                if self.closes_after_each:
                    return

    def _answer(self, pdu: bytes) -> bytes:
        code, address, number = struct.unpack(">BHH", pdu[:5])
        cells = self.cells[TABLES[code]]
        quantity = 1 if code in (5, 6) else number
        if self.holes.intersection(range(address, address + quantity)):
            return bytes([code | 0x80, ILLEGAL_ADDRESS])
        if code <= 2:
            bits = sum(cells.get(address + i, 0) << i for i in range(quantity))
            data = bits.to_bytes((quantity + 7) // 8, "little")
            return bytes([code, len(data)]) + data
        if code <= 4:
            words = [cells.get(address + i, 0) for i in range(quantity)]
            return bytes([code, 2 * quantity]) + struct.pack(f">{quantity}H", *words)
        self.writes.append(pdu)
        if code == 5:
            cells[address] = int(number == 0xFF00)
        elif code == 6:
            cells[address] = self.obeys(number)
        elif code == 15:
            bits = int.from_bytes(pdu[6:], "little")
            cells.update((address + i, bits >> i & 1) for i in range(quantity))
        else:
            words = struct.unpack(f">{quantity}H", pdu[6:])
            cells.update((address + i, self.obeys(word)) for i, word in enumerate(words))
        return pdu[:5]
