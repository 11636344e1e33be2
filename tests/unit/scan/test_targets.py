"""Which addresses a scan looks at."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxfast.errors import LocalProtocolError, TransportError
from fluxfast.scan.targets import parse_ports, parse_targets, parse_units, resolve


def ips(*words: str, exclude: tuple[str, ...] = ()) -> list[str]:
    return [target.ip for target in parse_targets(words, [502], exclude)]


@pytest.mark.parametrize(
    ("word", "hosts", "first", "last"),
    [
        ("192.168.1.0/24", 254, "192.168.1.1", "192.168.1.254"),  # neither the network nor all hosts
        ("192.168.1.77/24", 254, "192.168.1.1", "192.168.1.254"),
        ("10.0.0.0/30", 2, "10.0.0.1", "10.0.0.2"),
        ("10.0.0.0/31", 2, "10.0.0.0", "10.0.0.1"),
        ("10.0.0.7/32", 1, "10.0.0.7", "10.0.0.7"),
        ("127.0.0.0/20", 4096, "127.0.0.0", "127.0.15.255"),  # loopback has no such addresses
        ("10.0.0.250-10.0.1.5", 12, "10.0.0.250", "10.0.1.5"),
        ("10.0.0.9-20", 12, "10.0.0.9", "10.0.0.20"),
        ("::1", 1, "::1", "::1"),
        ("fd00::/126", 4, "fd00::", "fd00::3"),
        ("fd00::1-fd00::5", 5, "fd00::1", "fd00::5"),
        ("::ffff:10.0.0.7", 1, "10.0.0.7", "10.0.0.7"),
    ],
)
def test_words(word: str, hosts: int, first: str, last: str) -> None:
    found = ips(word)
    assert (len(found), found[0], found[-1]) == (hosts, first, last)
    assert parse_targets([word], [502, 5020]).hosts == hosts
    assert parse_targets([word], [502, 5020, 502]).endpoints == 2 * hosts


def test_each_address_once_in_order() -> None:
    assert ips("10.0.0.3-6", "10.0.0.1", "10.0.0.4-8", exclude=("10.0.0.5", "10.0.0.7/32")) == [
        f"10.0.0.{n}" for n in (1, 3, 4, 6, 8)
    ]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=5),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=4),
)
def test_ranges_are_sets(wanted: list[tuple[int, int]], left_out: list[tuple[int, int]]) -> None:
    def words(ranges: list[tuple[int, int]]) -> tuple[str, ...]:
        return tuple(f"10.0.0.{first}-{first + more}" for first, more in ranges)

    def numbers(ranges: list[tuple[int, int]]) -> set[int]:
        return {n for first, more in ranges for n in range(first, first + more + 1)}

    expected = sorted(numbers(wanted) - numbers(left_out))
    targets = parse_targets(words(wanted), [502], words(left_out))
    assert [target.ip for target in targets] == [f"10.0.0.{n}" for n in expected]
    assert targets.hosts == targets.endpoints == len(expected)


def test_no_network_is_too_large_to_count() -> None:
    assert parse_targets(["10.0.0.0/8"], [502]).hosts == 2**24 - 2
    assert parse_targets(["fd00::/64"], [502], ["fd00::/65"]).endpoints == 2**63
    assert next(iter(parse_targets(["fd00::/64"], [502]))).ip == "fd00::"


def test_names() -> None:
    (target,) = parse_targets(["localhost"], [502, 503])
    assert (target.ip, target.name, target.ports) == ("127.0.0.1", "localhost", (502, 503))
    with pytest.raises(TransportError, match=r"no-such-host\.invalid: host not found"):
        parse_targets(["no-such-host.invalid"], [502])
    assert resolve(["no-such-host.invalid"]) == {"no-such-host.invalid": None}


@pytest.mark.parametrize(
    "word",
    ["10.0.0.300", "10.0.0.0/33", "10.0.0.1-", "10.0.0.9-3", "10.0.0.9-10.0.0.3", "10.0.0.1-fd00::", "::g",
     "10.0.0.1:502", "1.2.3.4/x", "10.0.0.1-300", "", "-", "fe80::1%1"],
)  # fmt: skip
def test_words_that_mean_nothing(word: str) -> None:
    with pytest.raises(LocalProtocolError, match="write"):
        parse_targets([word], [502])


def test_numbers() -> None:
    assert parse_ports("502, 5020-5022,502") == (502, 5020, 5021, 5022)
    assert parse_units("1-3,255,0") == (1, 2, 3, 255, 0)
    for text in ("", "0", "65536", "a", "5-3", "-", "1,,2", "٣"):
        with pytest.raises(LocalProtocolError, match="write"):
            parse_ports(text)


@given(st.text(max_size=24))
def test_any_word_is_an_address_a_name_or_refused(word: str) -> None:
    with pytest.raises(LocalProtocolError):
        parse_ports(word + "x")
    if any(c.isalpha() for c in word) and "/" not in word and ":" not in word:
        return  # would be looked up
    try:
        targets = parse_targets([word], [502])
    except (LocalProtocolError, TransportError):
        return
    assert ipaddress.ip_address(next(iter(targets)).ip)
