"""Right site files: what they come to."""

import hashlib
import pickle
from decimal import Decimal
from pathlib import Path

import pytest

from fluxfast.config import Control, Limits, Log, Modbus, load
from fluxfast.errors import ConfigError
from tests.unit.config.conftest import Load

DOCUMENT_BESS = """\
devices:
  bess:
    - id: "uuid-here"
      name: "Site-BESS-01"
      type: "powerpack"
      modbus:
        host: "192.168.1.100"
        port: 502
        address: 1
        timeout: 5s
        retry_count: 3
"""
DOCUMENT_METERS = """\
devices:
  meters:
    - id: "uuid-here"
      name: "Grid-Meter"
      type: "acuvim2"
      modbus:
        host: "192.168.1.101"
        port: 502
        address: 2
        timeout: 5s
"""
PACK = "devices: {bess: [{id: b1, type: powerpack, modbus: {host: 10.0.0.1}}]}\n"
DOCUMENT_SERIAL = """\
meter:
  type: acuvim2
  modbus:
    address: 1
    baud: 9600
    parity: none
    data_bits: 8
    stop_bits: 1
"""


def test_the_documents_battery(load_text: Load) -> None:
    fleet = load_text(DOCUMENT_BESS)
    (device,) = fleet.devices
    assert (device.id, device.name, device.kind, device.type) == (
        "uuid-here",
        "Site-BESS-01",
        "bess",
        "powerpack",
    )
    assert (device.site, device.role, device.capacity_kwh, device.rated_power_kw) == (
        "plant",
        None,
        None,
        None,
    )
    assert device.modbus == Modbus("tcp", "192.168.1.100", 502, 1, 5_000_000_000, 3)
    assert (device.file, device.line) == ("plant.yaml", 3)
    assert device.profile.name == "powerpack"
    assert fleet.warnings == ()


def test_the_documents_meter(load_text: Load) -> None:
    (device,) = load_text(DOCUMENT_METERS).devices
    assert (device.kind, device.name, device.modbus.unit, device.modbus.retry_count) == (
        "meter",
        "Grid-Meter",
        2,
        3,
    )


def test_the_documents_serial_meter(load_text: Load) -> None:
    fleet = load_text(DOCUMENT_SERIAL)
    (device,) = fleet.devices
    assert (device.id, device.name, device.kind) == ("meter", "meter", "meter")
    modbus = device.modbus
    assert (modbus.transport, modbus.host, modbus.device) == ("serial", None, None)
    assert (modbus.unit, modbus.baud, modbus.parity, modbus.data_bits, modbus.stop_bits) == (
        1,
        9600,
        "none",
        8,
        1,
    )
    assert list(map(str, fleet.warnings)) == [
        "plant.yaml:3: meter.modbus: no serial device is named "
        "(add device: /dev/tty…, or host: for Modbus TCP)",
        "plant.yaml:3: meter.modbus: serial lines are not polled by this version "
        "(reach it through a gateway with host:)",
    ]


def test_defaults(load_text: Load) -> None:
    fleet = load_text("devices: {bess: [{id: b1, type: powerpack, modbus: {host: BESS-01.local}}]}")
    assert fleet.devices[0].modbus == Modbus("tcp", "bess-01.local", 502, 1, 5_000_000_000, 3)
    assert fleet.devices[0].name == "b1"
    assert (fleet.poll.every_ns, fleet.poll.deadline) == (500_000_000, 0.8)
    assert (fleet.poll.connects_per_s, fleet.poll.probe_interval_ns) == (400, 30_000_000_000)
    assert fleet.log == Log(Path("log"), "group", keep_s=None, max_bytes=None, remote=None)
    assert fleet.sites[0].control == Control()
    assert (fleet.devices[0].controlled, fleet.devices[0].blocks) == (True, None)


def test_the_designs_example(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("""\
site: Plant-7
poll: {every: 250ms, deadline: 72.5%, connects_per_s: 0, probe_interval: 1m}
log: {dir: ./out}
control:
  action: observe
  modes:
    - {type: peak_shaving, import_limit_kw: 800, recharge_below_kw: 400}
    - {type: fixed_power, power_kw: 0}
  limits: {import_kw: 1000, export_kw: 500, soe_min_pct: 10, soe_max_pct: 95.5}
devices:
  bess:
    - {id: b1, name: BESS-01, type: powerpack, capacity_kwh: 400, rated_power_kw: 200,
       modbus: {host: 127.0.1.1, port: 5020, address: 1}}
  meters:
    - {id: m1, name: Grid, type: acuvim2, role: grid, modbus: {host: 127.0.2.1, port: 5020, address: 2}}
""")
    fleet = load(tmp_path / "site.yaml")
    assert [site.name for site in fleet.sites] == ["Plant-7"]
    bess, meter = fleet.devices
    assert (bess.capacity_kwh, bess.rated_power_kw, bess.modbus.port) == (400.0, 200.0, 5020)
    assert (meter.role, meter.site, meter.kind) == ("grid", "Plant-7", "meter")
    assert (fleet.poll.every_ns, fleet.poll.deadline) == (250_000_000, 0.725)
    assert (fleet.poll.connects_per_s, fleet.poll.probe_interval_ns) == (0, 60_000_000_000)
    assert fleet.log.dir == tmp_path / "out"
    control = fleet.sites[0].control
    assert [mode.name for mode in control.modes] == ["peak_shaving", "fixed_power"]
    assert control.limits == Limits(import_kw=1000, export_kw=500, soe_min_pct=10, soe_max_pct=95.5)
    assert fleet.warnings == ()


@pytest.mark.parametrize(
    ("text", "ns"),
    [("5s", 5_000_000_000), ("250ms", 250_000_000), ("1m", 60_000_000_000), ("0.5h", 1_800_000_000_000),
     ("2500us", 2_500_000), ("'1.5s'", 1_500_000_000)],
)  # fmt: skip
def test_durations(load_text: Load, text: str, ns: int) -> None:
    fleet = load_text(
        f"devices: {{bess: [{{id: b, type: powerpack, modbus: {{host: h, timeout: {text}}}}}]}}"
    )
    assert fleet.devices[0].modbus.timeout_ns == ns


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("192.168.1.100", "192.168.1.100"), ("Inverter_7.Plant.LAN", "inverter_7.plant.lan"), ("h.", "h."),
        ("'::1'", "::1"), ("'FE80:0::1'", "fe80::1"), ("'1a'", "1a"), ("gw-3", "gw-3"),
    ],
)  # fmt: skip
def test_hosts(load_text: Load, text: str, host: str) -> None:
    fleet = load_text(f"devices: {{bess: [{{id: b, type: powerpack, modbus: {{host: {text}}}}}]}}")
    assert fleet.devices[0].modbus.host == host


@pytest.mark.parametrize(
    ("text", "age_s"), [("1h", 3600), ("1.5d", 129_600), ("2w", 1_209_600), ("1y", 31_536_000)]
)
def test_ages(load_text: Load, text: str, age_s: float) -> None:
    assert load_text(PACK + f"log: {{keep: {text}}}\n").log.keep_s == age_s


@pytest.mark.parametrize(
    ("text", "size"),
    [("1MB", 10**6), ("1.5GB", 15 * 10**8), ("50GiB", 50 << 30), ("2TB", 2 * 10**12), ("1MiB", 1 << 20)],
)
def test_sizes(load_text: Load, text: str, size: int) -> None:
    assert load_text(PACK + f"log: {{max_size: {text}}}\n").log.max_bytes == size


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/plant-7?region=eu-central-1&endpoint_override=127.0.0.1:5000&scheme=http",
        "abfss://container@account.dfs.core.windows.net/plant-7",
        "sftp://logger@example.com/var/log",
        "file:///mnt/share",
    ],
)
def test_remote_logs(load_text: Load, url: str) -> None:
    log = load_text(PACK + f"log: {{sync: tick, remote: '{url}'}}\n").log
    assert (log.sync, log.remote) == ("tick", url)


def test_several_units_behind_one_host(load_text: Load) -> None:
    fleet = load_text("""\
devices:
  bess:
    - {id: b1, type: powerpack, modbus: {host: gw, address: 1}}
    - {id: b2, type: powerpack, modbus: {host: gw, address: 255}}
    - {id: b3, type: powerpack, modbus: {host: gw, port: 503}}
""")
    assert [device.modbus.unit for device in fleet.devices] == [1, 255, 1]


def test_empty_lists_are_no_error(load_text: Load) -> None:
    fleet = load_text("devices:\n  bess: [{id: b1, type: powerpack, modbus: {host: h}}]\n  meters:\n")
    assert len(fleet.devices) == 1


def test_devices_are_in_the_files_order(load_text: Load) -> None:
    fleet = load_text("""\
meter: {type: acuvim2, modbus: {host: a}}
devices:
  meters:
    - {id: m1, type: acuvim2, modbus: {host: b}}
  bess:
    - {id: b2, type: powerpack, modbus: {host: c}}
    - {id: b1, type: powerpack, modbus: {host: d}}
""")
    assert [device.id for device in fleet.devices] == ["meter", "m1", "b2", "b1"]


def test_a_fleet_can_be_sent_to_another_process(load_text: Load) -> None:
    fleet = load_text(DOCUMENT_BESS + "control: {modes: [{type: python, function: f, steps: [{at: 1}]}]}\n")
    assert pickle.loads(pickle.dumps(fleet)) == fleet


def test_sites_in_one_file(load_text: Load) -> None:
    fleet = load_text("""\
poll: {every: 1s}
sites:
  - site: North
    overrides: {powerpack: {points: {soe: {scale: 0.1}}}}
    devices: {bess: [{id: b1, type: powerpack, modbus: {host: 10.0.0.1}}]}
  - site: South
    devices: {bess: [{id: b2, type: powerpack, modbus: {host: 10.0.0.2}}]}
    meter: {type: acuvim2, modbus: {host: 10.0.0.3}}
""")
    assert [(site.name, [device.id for device in site.devices]) for site in fleet.sites] == [
        ("North", ["b1"]),
        ("South", ["b2", "meter"]),
    ]
    assert [device.profile.points["soe"].scale for device in fleet.devices[:2]] == [Decimal("0.1"), 1]
    assert [device.site for device in fleet.devices] == ["North", "South", "South"]


SITE = "devices: {{bess: [{{id: {0}, type: powerpack, modbus: {{host: {0}}}}}]}}\n"


def test_folder_of_files(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(SITE.format("b1") + "poll: {every: 1s}\n")
    (tmp_path / "a.yml").write_text(SITE.format("a1") + "site: Z\nlog: {dir: out}\n")
    (tmp_path / "c.yaml").write_text(SITE.format("c1") + "poll: {every: 1s}\n")
    (tmp_path / "mine.yaml").write_text("points: {w: {address: 1, type: int16}}\n")
    (tmp_path / "d.yaml").write_text("meter: {type: ./mine.yaml, modbus: {host: d}}\n")
    (tmp_path / "notes.txt").write_text("not yaml: [")
    fleet = load(tmp_path)
    assert [site.name for site in fleet.sites] == ["Z", "b", "c", "d"]
    assert fleet.poll.every_ns == 1_000_000_000
    assert fleet.log.dir == tmp_path / "out"
    assert fleet.devices[3].profile.name == "mine"


def test_the_digest_is_that_of_the_files(tmp_path: Path) -> None:
    one, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    one.write_bytes(b"\xef\xbb\xbf" + SITE.format("a1").encode())
    other.write_text(SITE.format("b1"))
    assert load(one).digest == hashlib.sha256(one.read_bytes()).hexdigest()
    before = load(tmp_path).digest
    assert before not in {load(one).digest, load(other).digest}
    (tmp_path / "profile.yaml").write_text("points: {a: {address: 1, type: int16}}\n")
    assert load(tmp_path).digest == before
    other.write_text(SITE.format("b2"))
    assert load(tmp_path).digest != before


def test_problems_of_a_folder_are_all_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(SITE.format("x1") + "site: S\npoll: {every: 1s}\n")
    Path("b.yaml").write_text(SITE.format("X1") + "site: s\npoll: {every: 2s}\n")
    Path("c.yaml").write_text("devices: [")
    Path("d d.yaml").write_text(SITE.format("d1"))
    with pytest.raises(ConfigError) as caught:
        load(".")
    assert str(caught.value).splitlines() == [
        "b.yaml:1: X1: id: the id is already that of 'x1' at a.yaml:1 "
        "(every device of the fleet has its own)",
        "b.yaml:2: site: the site 's' is already at a.yaml:2 (give one another name with site:)",
        "b.yaml:3: poll: 'poll' differs from that of a.yaml (say it in one file of the folder)",
        "c.yaml:2: not valid YAML: while parsing a flow node did not find expected node content "
        "(mend the syntax at or just above this line)",
        "d d.yaml:1: site: the file's name gives the site no name: 'd d' is not an identifier "
        "(write site: and a name)",
    ]


def test_a_wrong_site_name_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    (tmp_path / "d d.yaml").write_text("site: a b\n" + SITE.format("d1"))
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert [problem.message for problem in caught.value.problems] == ["'a b' is not an identifier"]


def test_folder_of_profiles_only(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("points: {w: {address: 1, type: int16}}\n")
    with pytest.raises(ConfigError, match="there are only profiles in this folder"):
        load(tmp_path)


def test_ratings_outside_the_powerpacks_are_warnings(load_text: Load) -> None:
    fleet = load_text("""\
devices:
  bess:
    - {id: b1, type: powerpack, capacity_kwh: 100, rated_power_kw: 250, modbus: {host: a}}
    - {id: b2, type: powerpack, capacity_kwh: 99.9, rated_power_kw: 49, modbus: {host: b}}
    - id: b3
      type: powerpack
      rated_power_kw: 250000
      modbus: {host: c}
    - {id: b4, type: acuvim2, capacity_kwh: 9999, modbus: {host: d}}
""")
    assert [(warning.line, warning.where) for warning in fleet.warnings] == [
        (4, "b2: capacity_kwh"),
        (4, "b2: rated_power_kw"),
        (7, "b3: rated_power_kw"),
    ]
    assert "250000 is outside the 50 to 250 that PowerPacks come with" in fleet.warnings[2].message
