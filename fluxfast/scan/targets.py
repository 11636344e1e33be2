"""Which addresses are looked at: networks, ranges, names and site files, as ranges of numbers.

A /8 costs no more memory than one address: ranges are merged and cut, and only iterating makes addresses.
"""

import ipaddress
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fluxfast.config import Device
from fluxfast.errors import LocalProtocolError, TransportError

MAX_UNASKED: Final = 4096  # a /20 on one port; more is asked for by name
RESOLVE_S: Final = 5.0
_PLAIN_NETWORK: Final = 30  # longer IPv4 prefixes have no network and broadcast address of their own

Range = tuple[int, int, int]  # 4 or 6, the first address and the last


@dataclass(frozen=True, slots=True)
class Target:
    """One host: its address, the ports to look at, the name it was given by.

    ``devices`` are those that a site file has there, by port.
    """

    ip: str
    ports: tuple[int, ...]
    name: str = ""
    devices: Mapping[int, tuple[Device, ...]] = field(default_factory=dict)


class Targets:
    """Hosts in the order of their addresses, each once."""

    def __init__(
        self,
        ranges: Iterable[Range],
        ports: Sequence[int],
        exclude: Iterable[Range] = (),
        known: Mapping[str, Target] | None = None,
    ) -> None:
        """Take what was parsed; ``known`` are hosts with ports of their own, by their addresses."""
        self._ports = tuple(dict.fromkeys(ports))
        self._known = dict(known or {})
        whole = [*ranges, *(_one(ip) for ip in self._known)]
        self._ranges = _without(_merged(whole), _merged(exclude))

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of all hosts that have none of their own."""
        return self._ports

    @property
    def hosts(self) -> int:
        """How many addresses there are."""
        return sum(last - first + 1 for _, first, last in self._ranges)

    @property
    def are_local(self) -> bool:
        """Whether all of them are this machine's loopback, where no other machine is bothered."""
        return all(_address(version, n).is_loopback for version, *ends in self._ranges for n in ends)

    @property
    def endpoints(self) -> int:
        """How many ports there are to look at, of all hosts together."""
        known = [target for target in self._known.values() if self._has(target.ip)]
        return len(self._ports) * (self.hosts - len(known)) + sum(len(target.ports) for target in known)

    def __iter__(self) -> Iterator[Target]:
        """Yield the hosts."""
        for version, first, last in self._ranges:
            for number in range(first, last + 1):
                ip = str(_address(version, number))
                yield self._known.get(ip) or Target(ip, self._ports)

    def _has(self, ip: str) -> bool:
        version, number, _ = _one(ip)
        return any(v == version and first <= number <= last for v, first, last in self._ranges)


def parse_targets(words: Sequence[str], ports: Sequence[int], exclude: Sequence[str] = ()) -> Targets:
    """Return the targets that words name: 10.0.0.0/24, 10.0.0.1-20, 10.0.0.1-10.0.0.20, an address, a name.

    Raises LocalProtocolError for a word that is none of these, TransportError for a name that stands for no
    address.
    """
    ranges: list[Range] = []
    names: list[str] = []
    for word in words:
        found = _parse(word)
        if found is None:
            names.append(word)
        else:
            ranges.append(found)
    known = {}
    for name, ip in resolve(names).items():
        if ip is None:
            raise TransportError(f"{name}: host not found (check the name, or give its address)")
        known[ip] = Target(ip, tuple(dict.fromkeys(ports)), name)
    return Targets(ranges, ports, _excluded(exclude), known)


def site_targets(devices: Iterable[Device], exclude: Sequence[str] = ()) -> tuple[Targets, list[Device]]:
    """Return where a site file's Modbus TCP devices are, and those whose host was not found."""
    placed = [device for device in devices if device.modbus.host is not None]
    addresses = resolve(list(dict.fromkeys(str(device.modbus.host) for device in placed)))
    hosts: dict[str, dict[int, list[Device]]] = {}
    names: dict[str, str] = {}
    lost = []
    for device in placed:
        host = str(device.modbus.host)
        ip = addresses[host]
        if ip is None:
            lost.append(device)
            continue
        names[ip] = "" if host == ip else host
        hosts.setdefault(ip, {}).setdefault(device.modbus.port, []).append(device)
    known = {
        ip: Target(ip, tuple(at), names[ip], {port: tuple(members) for port, members in at.items()})
        for ip, at in hosts.items()
    }
    return Targets((), (), _excluded(exclude), known), lost


def resolve(hosts: Sequence[str]) -> dict[str, str | None]:
    """Return the address of each name, an IPv4 one if it has any; None for those not found in 5 s."""
    found: dict[str, str | None] = dict.fromkeys(hosts)

    def look_up(host: str) -> None:
        try:
            all_of_them = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        best = min(all_of_them, key=lambda one: one[0] != socket.AF_INET)
        found[host] = str(best[4][0])

    # Threads that the end of the process does not wait for: a silent name server can take half a minute.
    threads = [threading.Thread(target=look_up, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(RESOLVE_S)
    return dict(found)


def parse_ports(text: str) -> tuple[int, ...]:
    """Return 502,5020-5022 as numbers; raises LocalProtocolError."""
    return _parse_numbers(text, 1, 65535, "a port", "502,5020")


def parse_units(text: str) -> tuple[int, ...]:
    """Return 1-247 or 1,2,255 as numbers; raises LocalProtocolError."""
    return _parse_numbers(text, 0, 255, "a unit", "1-247")


def _parse_numbers(text: str, low: int, high: int, what: str, example: str) -> tuple[int, ...]:
    numbers: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = [first, last] if dash else [first, first]
        if not all(end.isascii() and end.isdecimal() and low <= int(end) <= high for end in ends):
            raise LocalProtocolError(f"{what} is {low} to {high}, not {part.strip()!r} (write {example})")
        if int(ends[0]) > int(ends[1]):
            raise LocalProtocolError(f"{part.strip()!r} ends before it begins (write {ends[1]}-{ends[0]})")
        numbers.update(dict.fromkeys(range(int(ends[0]), int(ends[1]) + 1)))
    return tuple(numbers)


# ---- words and ranges ----


def _parse(word: str) -> Range | None:
    """Return the range that a word means; None for a name."""
    try:
        if "%" in word:
            raise ValueError("the interface would be lost")
        if "/" in word:
            return _network(word)
        if "-" in word and (word[:1].isdigit() or ":" in word):
            return _span(word)
        return _one(word)
    except LocalProtocolError:
        raise
    except ValueError:
        if "/" in word or ":" in word or not any(c.isalpha() for c in word):
            raise LocalProtocolError(
                f"{word!r} is no network, range, address or name"
                " (write 192.168.1.0/24, 192.168.1.10-50, 192.168.1.10 or plc-7.local; the port by --port)"
            ) from None
        return None


def _network(word: str) -> Range:
    network = ipaddress.ip_network(word, strict=False)
    first, last = int(network[0]), int(network[-1])
    if network.version == 4 and network.prefixlen <= _PLAIN_NETWORK and not network.is_loopback:
        first, last = first + 1, last - 1  # all hosts and the network itself are nobody's address
    return network.version, first, last


def _span(word: str) -> Range:
    low, _, high = word.partition("-")
    first = ipaddress.ip_address(low)
    last = ipaddress.ip_address(low.rpartition(".")[0] + "." + high if high.isdecimal() else high)
    if first.version != last.version or int(first) > int(last):
        raise LocalProtocolError(f"{word!r} ends before it begins (write the lower address first)")
    return first.version, int(first), int(last)


def _one(word: str) -> Range:
    address = ipaddress.ip_address(word)
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address  # the same host twice is two connections
    return address.version, int(address), int(address)


def _excluded(words: Sequence[str]) -> list[Range]:
    ranges = []
    for word in words:
        found = _parse(word)
        if found is None:
            raise LocalProtocolError(f"{word!r} cannot be excluded: it is no address (write addresses)")
        ranges.append(found)
    return ranges


def _address(version: int, number: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number)


def _merged(ranges: Iterable[Range]) -> list[Range]:
    merged: list[Range] = []
    for version, first, last in sorted(ranges):
        if merged and merged[-1][0] == version and first <= merged[-1][2] + 1:
            merged[-1] = (version, merged[-1][1], max(last, merged[-1][2]))
        else:
            merged.append((version, first, last))
    return merged


def _without(ranges: list[Range], holes: list[Range]) -> list[Range]:
    for version, low, high in holes:
        cut: list[Range] = []
        for v, first, last in ranges:
            if v != version or high < first or last < low:
                cut.append((v, first, last))
                continue
            if first < low:
                cut.append((v, first, low - 1))
            if high < last:
                cut.append((v, high + 1, last))
        ranges = cut
    return ranges
