"""Who is asked: hosts and ports, unit identifiers, devices by id, name and pattern."""

import pytest

from fluxfast.access.target import find_devices, is_site, parse_endpoint, parse_units
from fluxfast.errors import ConfigError, LocalProtocolError
from tests.support.fleets import device, fleet, registers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.168.1.100", ("192.168.1.100", 502)),
        ("192.168.1.100:5020", ("192.168.1.100", 5020)),
        ("[fe80::1]:1502", ("fe80::1", 1502)),
        ("[fe80::1]", ("fe80::1", 502)),
        ("fe80::1", ("fe80::1", 502)),
        ("Gateway-7.plant.example:503", ("gateway-7.plant.example", 503)),
    ],
)
def test_an_endpoint_is_a_host_and_perhaps_a_port(text: str, expected: tuple[str, int]) -> None:
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "a:", "a:0", "a:65536", "a:5o2", "a:５０２", "[::1", "[::1]502", "1.2.3", "1.2.3.4.5:1", "a b",
        "0.0.0.0", "-x", "::1::",
    ],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        parse_endpoint(text)
    assert "\n" not in str(caught.value)


def test_units_are_numbers_lists_and_ranges() -> None:
    assert parse_units("1") == (1,)
    assert parse_units("3, 1,3") == (3, 1)
    assert parse_units("1,3,10-13,255,0") == (1, 3, 10, 11, 12, 13, 255, 0)


@pytest.mark.parametrize("text", ["", ",", "256", "1-256", "3-1", "-1", "1-", "a", "1;2", "１", "1,,2"])
def test_what_is_no_unit_is_refused(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="unit identifier"):
        parse_units(text)


def test_devices_go_by_id_by_name_and_by_pattern() -> None:
    from dataclasses import replace

    profile = registers(0, 2)
    a = replace(device("a", profile, 502), name="North")
    b = replace(device("b", profile, 503), name="North", site="T")
    c = replace(device("North-2", profile, 504), name="a")
    all_ = fleet(a, b, c)
    assert find_devices(all_, "a", "f") == [a]  # an id goes before a name
    assert find_devices(all_, "b", "f") == [b]
    assert find_devices(all_, "*", "f") == [a, b, c]
    assert find_devices(all_, "North-?", "f") == [c]
    assert find_devices(fleet(a, replace(c, name="[a]")), "[a]", "f")[0].id == "North-2"  # not the pattern
    with pytest.raises(
        ConfigError, match=r"2 devices have the name 'North' \(write an id: a \(site S\), b \(site T\)\)"
    ):
        find_devices(all_, "North", "f")
    with pytest.raises(ConfigError, match=r"f: no device 'Nort' \(did you mean 'North'\?\)"):
        find_devices(all_, "Nort", "f")


def test_a_site_is_what_exists_or_is_called_like_one(tmp_path) -> None:
    assert is_site("plant.yaml")
    assert is_site("PLANT.YML")
    assert is_site(str(tmp_path))
    assert not is_site("192.168.1.100")
    assert not is_site("gateway:502")
