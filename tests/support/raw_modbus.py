"""A Modbus client that sends any bytes it is told to."""

import socket
import struct

HOST = "127.91.0.1"


class Raw:
    """A client without manners: bytes out, bytes in."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, size: int) -> bytes:
        """Return exactly that many bytes, or fewer when the peer closed."""
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionResetError:
                break
            if not more:
                break
            data += more
        return data

    def ask(self, pdu: bytes, unit_id: int = 1, transaction_id: int = 7) -> bytes:
        """Return the response PDU to a request PDU; the header is checked."""
        self.send(adu(pdu, unit_id, transaction_id))
        header = self.receive(7)
        tid, protocol_id, length, unit = struct.unpack(">HHHB", header)
        assert (tid, protocol_id, unit) == (transaction_id, 0, unit_id)
        return self.receive(length - 1)

    def is_closed(self) -> bool:
        return self.receive(1) == b""

    def close(self) -> None:
        self.socket.close()


def adu(pdu: bytes, unit_id: int = 1, transaction_id: int = 7) -> bytes:
    return struct.pack(">HHHB", transaction_id, 0, len(pdu) + 1, unit_id) + pdu
