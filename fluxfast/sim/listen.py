"""Listening sockets for thousands of loopback addresses, within the process's limit of descriptors."""

import errno
import ipaddress
import os
import resource
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from fluxfast.errors import TransportError

BACKLOG: Final = 128
WILDCARD_BACKLOG: Final = 4096  # one queue for everybody's connections
SPARE_DESCRIPTORS: Final = 64  # the interpreter's own: files, the poll set, a log
IPV6_KEY: Final = 1 << 63


@dataclass(frozen=True)
class Address:
    """One place to listen at."""

    ip: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        """Whether it is ``::1``, the only loopback address of IPv6."""
        return ":" in self.ip

    @property
    def key(self) -> int:
        """The number that ``fx_local_key`` in socket.h finds for a connection that arrives here."""
        return IPV6_KEY | self.port if self.is_ipv6 else int(ipaddress.ip_address(self.ip)) << 16 | self.port

    def __str__(self) -> str:
        """Return ``127.0.0.1:502`` or ``[::1]:502``."""
        return f"[{self.ip}]:{self.port}" if self.is_ipv6 else f"{self.ip}:{self.port}"


@dataclass
class Listeners:
    """Open sockets and, for each, the number of its address; -1 for a wildcard socket, which serves all."""

    sockets: list[socket.socket] = field(default_factory=list)
    endpoints: list[int] = field(default_factory=list)
    note: str = ""  # what the user should know about how they were opened
    addresses: Sequence[Address] = ()
    _fillers: dict[int, socket.socket] = field(default_factory=dict)

    def close(self) -> None:
        """Close all sockets."""
        for listener in (*self.sockets, *self._fillers.values()):
            listener.close()
        self.sockets.clear()
        self.endpoints.clear()

    def block(self, number: int) -> None:
        """Let no more SYN be answered at an address whose connections nobody accepts: its queue is full.

        A queue for 0 takes one connection, which is ours. Linux then drops what comes, without a word.
        """
        address = self.addresses[number]
        self.sockets[number].listen(0)
        self._fillers[number] = filler = socket.socket(self.sockets[number].family, socket.SOCK_STREAM)
        filler.setblocking(False)
        filler.connect_ex((address.ip, address.port))

    def unblock(self, number: int) -> None:
        """Make room in the queue again."""
        self.sockets[number].listen(BACKLOG)
        self._fillers.pop(number).close()

    def reopen(self, number: int) -> socket.socket:
        """Listen again at an address whose socket has been closed; return the new one."""
        address = self.addresses[number]
        self.sockets[number] = listener = _bound(address, address.ip, BACKLOG)
        return listener


def loopback_ips(host: str) -> list[str]:
    """Return the loopback addresses that a host stands for; none when it stands for another machine."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    ips = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not all(ipaddress.ip_address(ip.partition("%")[0]).is_loopback for ip in ips):
        return []
    # `localhost` is often both, on machines that have only one of them.
    return [ip for ip in ips if len(ips) == 1 or ":" not in ip or _has_ipv6_loopback()]


@cache
def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def open_listeners(addresses: Sequence[Address]) -> Listeners:
    """Listen at every address, one socket each, or one per port when there are not enough descriptors."""
    limit = _raise_limit()
    # Every address may have a connection beside its listener.
    needed = 2 * len(addresses) + SPARE_DESCRIPTORS
    listeners = Listeners(addresses=addresses)
    try:
        if needed <= limit:
            for number, address in enumerate(addresses):
                _listen(listeners, address, address.ip, number)
            return listeners
        ports = {(a.port, a.is_ipv6): a for a in addresses}
        least = len(addresses) + len(ports) + SPARE_DESCRIPTORS
        if least > limit:
            raise TransportError(
                f"{len(addresses)} addresses need {least} open files, the limit is {limit}: "
                f"run `ulimit -n {least}` first, or raise the hard limit"
            )
        for address in ports.values():
            _listen(listeners, address, "::" if address.is_ipv6 else "0.0.0.0", -1)
        listeners.note = (
            f"one listener for each port, because one for each of {len(addresses)} addresses needs {needed} "
            f"open files and the limit is {limit}; connections to other addresses are closed"
        )
    except BaseException:
        listeners.close()
        raise
    return listeners


def _raise_limit() -> int:
    """Raise the soft limit of open files as far as the system allows, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS calls the hard limit infinite and then refuses more than a kernel setting.
    for wanted in (1 << 20 if hard == resource.RLIM_INFINITY else hard, 10240):
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            continue
        return wanted
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def _listen(listeners: Listeners, address: Address, ip: str, endpoint: int) -> None:
    listeners.sockets.append(_bound(address, ip, BACKLOG if endpoint >= 0 else WILDCARD_BACKLOG))
    listeners.endpoints.append(endpoint)


def _bound(address: Address, ip: str, backlog: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if address.is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.is_ipv6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((ip, address.port))
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        where = str(Address(ip, address.port))
        raise TransportError(f"cannot listen on {where}: {_explain(error, address.port)}") from error
    return listener


def _explain(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; end the other program or change the port"
    if error.errno == errno.EACCES:
        return f"ports below 1024 need root; use a port like {port + 5000 if port + 5000 < 65536 else 5020}"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address; on macOS add it: sudo ifconfig lo0 alias ADDRESS"
    return error.strerror or os.strerror(error.errno or 0)
