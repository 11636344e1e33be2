"""What the numbers do: setpoints, energy, meters; most of it stepped by hand, without sockets."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from pymodbus.client import ModbusTcpClient

from fluxfast.config import Fleet
from fluxfast.sim import Simulator
from fluxfast.sim.battery import EFFICIENCY
from fluxfast.sim.meter import QUANTITIES, quantity_of

NOON = 1_800_014_400.0  # 12:00 UTC
SITE = """
site: Plant
devices:
  bess:
    - {id: b1, type: powerpack, capacity_kwh: 100, modbus: {host: 127.91.1.1, port: 5020}}
    - {id: b2, type: powerpack, capacity_kwh: 100, modbus: {host: 127.91.1.2, port: 5020}}
  meters:
    - {id: m1, type: acuvim2, role: grid, modbus: {host: 127.91.1.3, port: 5020}}
    - {id: m2, type: acuvim2_vendor, role: load, modbus: {host: 127.91.1.4, port: 5020}}
"""


class Bench:
    """A simulator whose clock is turned by hand."""

    def __init__(self, fleet: Fleet, seed: int = 1, now_s: float = NOON) -> None:
        self.now_s = now_s
        self.sim = Simulator(fleet, seed, clock=lambda: self.now_s)
        self.sim.physics.start(now_s)

    def run(self, seconds: float, step_s: float = 0.05) -> None:
        for _ in range(round(seconds / step_s)):
            self.now_s += step_s
            self.sim.physics.step(self.now_s, step_s)

    def number(self, device: str, point: str) -> float:
        value = self.sim.value(device, point)
        assert isinstance(value, float | int)
        return float(value)

    def power_kw(self, row: int = 0) -> float:
        return float(self.sim.physics.batteries[0].power_kw[row])


@pytest.fixture
def bench(fleet: Callable[[str], Fleet]) -> Bench:
    return Bench(fleet(SITE))


def test_a_battery_starts_ready_and_at_rest(bench: Bench) -> None:
    bench.run(5)
    assert bench.sim.value("b1", "status") == "READY"
    assert bench.sim.value("b1", "command_source") == "REMOTE"
    assert bench.number("b1", "target_power") == 0
    assert bench.number("b1", "available_blocks") == 10
    assert 30 <= bench.number("b1", "soe") <= 80
    assert bench.power_kw() == 0


@pytest.mark.parametrize("target_kw", [200, -200, 7])
def test_a_setpoint_is_reached_within_a_second(bench: Bench, target_kw: float) -> None:
    bench.sim.set_value("b1", "target_power", -target_kw)
    bench.run(2)
    bench.sim.set_value("b1", "target_power", target_kw)
    bench.run(1)
    assert bench.power_kw() == pytest.approx(target_kw, rel=0.05)
    assert bench.power_kw(1) == 0


def test_energy_pays_for_power(bench: Bench) -> None:
    battery = bench.sim.physics.batteries[0]
    bench.sim.set_value("b1", "soe", 50)
    bench.sim.set_value("b2", "soe", 50)
    bench.sim.set_value("b1", "target_power", 100)
    bench.sim.set_value("b2", "target_power", -100)
    bench.run(360, step_s=0.5)  # a tenth of an hour: 10 kWh at the terminals
    assert battery.energy_kwh[0] == pytest.approx(50 - 10 / EFFICIENCY, rel=0.005)
    assert battery.energy_kwh[1] == pytest.approx(50 + 10 * EFFICIENCY, rel=0.005)
    assert bench.number("b1", "soe") == 40
    assert bench.number("b2", "soe") == 60


@pytest.mark.long
def test_power_ends_at_empty_and_full(bench: Bench) -> None:
    bench.sim.set_value("b1", "soe", 3)
    bench.sim.set_value("b2", "soe", 97)
    bench.sim.set_value("b1", "target_power", 200)
    bench.sim.set_value("b2", "target_power", -200)
    bench.run(1800, step_s=0.5)
    battery = bench.sim.physics.batteries[0]
    assert (bench.number("b1", "soe"), bench.number("b2", "soe")) == (0, 100)
    assert np.abs(battery.power_kw).max() < 1
    assert (battery.energy_kwh >= 0).all()
    assert (battery.energy_kwh <= 100).all()
    bench.sim.set_value("b1", "target_power", -200)
    bench.run(2)
    assert bench.power_kw() == pytest.approx(-200, rel=0.01), "an empty battery can still be charged"


def test_a_target_beyond_the_limits_is_kept_but_not_obeyed(bench: Bench) -> None:
    bench.sim.set_value("b1", "target_power", 900)
    bench.run(2)
    assert bench.number("b1", "target_power") == 900
    assert bench.power_kw() == pytest.approx(200, rel=0.01)
    bench.sim.set_value("b1", "available_blocks", 5)
    bench.run(2)
    assert bench.power_kw() == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize("point", ["status", "command_source"])
def test_only_a_ready_remote_unit_obeys(bench: Bench, point: str) -> None:
    bench.sim.set_value("b1", "target_power", 100)
    bench.run(2)
    bench.sim.set_value("b1", point, 0)
    bench.run(2)
    assert abs(bench.power_kw()) < 0.1
    assert bench.number("b1", "target_power") == 100
    bench.sim.set_value("b1", point, 1)
    bench.run(2)
    assert bench.power_kw() == pytest.approx(100, rel=0.01)


def test_the_grid_meter_sees_the_batteries_and_the_load_meter_does_not(fleet: Callable[[str], Fleet]) -> None:
    busy, idle = Bench(fleet(SITE)), Bench(fleet(SITE))
    busy.sim.set_value("b1", "target_power", 120)
    busy.sim.set_value("b2", "target_power", 30)
    for bench in (busy, idle):
        bench.run(3)
    seen_w = idle.number("m1", "power_total") - busy.number("m1", "power_total")
    assert seen_w == pytest.approx(150_000, rel=0.01)
    assert idle.number("m2", "power_total") == busy.number("m2", "power_total")
    assert idle.sim.raw("m1", "power_total") == pytest.approx(idle.number("m1", "power_total") / 1000)
    assert idle.number("m1", "power_total") == pytest.approx(idle.number("m2", "power_total"), rel=1e-6)


def test_export_is_negative_and_counted(fleet: Callable[[str], Fleet]) -> None:
    bench = Bench(fleet(SITE.replace("role: load", "role: grid")))
    imported, exported = bench.number("m2", "energy_import"), bench.number("m2", "energy_export")
    bench.sim.physics._sites.size_kw[:] = 10  # next to no load
    bench.sim.set_value("b1", "target_power", 200)
    bench.run(60, step_s=0.1)
    assert bench.number("m2", "power_total") < -80_000  # two grid meters share what goes out
    assert bench.number("m2", "energy_export") - exported == pytest.approx(1.6, abs=0.2)
    assert bench.number("m2", "energy_import") - imported < 0.2


def test_the_vendor_meter_agrees_with_itself(bench: Bench) -> None:
    bench.run(7)
    v = {p: bench.number("m2", p) for p in bench.sim.physics.images[2].columns}
    phases = ("l1", "l2", "l3")
    close = {"rel": 1e-5, "abs": 1e-2}
    for name in ("power", "reactive_power", "apparent_power"):
        assert v[f"{name}_total"] == pytest.approx(sum(v[f"{name}_{p}"] for p in phases), **close)
    for p in phases:
        assert v[f"apparent_power_{p}"] == pytest.approx(v[f"voltage_{p}_n"] * v[f"current_{p}"], **close)
        assert v[f"apparent_power_{p}"] ** 2 == pytest.approx(
            v[f"power_{p}"] ** 2 + v[f"reactive_power_{p}"] ** 2
        )
        assert v[f"power_factor_{p}"] == pytest.approx(v[f"power_{p}"] / v[f"apparent_power_{p}"], **close)
        assert 220 < v[f"voltage_{p}_n"] < 240
    assert v["power_factor"] == pytest.approx(v["power_total"] / v["apparent_power_total"], **close)
    assert v["voltage_ln_average"] == pytest.approx(sum(v[f"voltage_{p}_n"] for p in phases) / 3, **close)
    assert v["voltage_ll_average"] == pytest.approx(3**0.5 * v["voltage_ln_average"], rel=1e-3)
    assert v["current_average"] == pytest.approx(sum(v[f"current_{p}"] for p in phases) / 3, **close)
    assert v["energy_net"] == pytest.approx(v["energy_import"] - v["energy_export"], abs=0.11)
    assert v["energy_total"] == pytest.approx(v["energy_import"] + v["energy_export"], abs=0.11)
    assert 49.9 < v["frequency"] < 50.1
    assert v["load_type"] == 76
    assert 0 <= v["voltage_unbalance"] < 0.05


def test_the_models_know_every_point_of_the_shipped_profiles(bench: Bench) -> None:
    for device in ("m1", "m2"):
        number, _ = bench.sim.physics.place[device]
        points = bench.sim.physics.images[number].columns
        assert [p for p in points if quantity_of(p) not in QUANTITIES] == []


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("power_total", "power_total"),
        ("active_power_sum", "power_total"),
        ("power", "power_total"),
        ("Voltage_A", "voltage_l1_n"),
        ("current_phase_c", "current_l3"),
        ("active_energy_import", "energy_import"),
        ("real_power_b", "power_l2"),
        ("power_factor_total", "power_factor"),
        ("voltage_ll_avg", "voltage_ll_average"),
    ],
)
def test_names_of_quantities(name: str, quantity: str) -> None:
    assert quantity_of(name) == quantity
    assert quantity in QUANTITIES


def test_devices_with_equal_overrides_share_an_image(fleet: Callable[[str], Fleet]) -> None:
    text = "site: T\ndevices:\n  bess:\n"
    for number, scale in ((1, 0.1), (2, 0.1), (3, 0.5)):
        modbus = f"{{host: 127.91.1.{number}, port: 5020}}"
        points = f"{{soe: {{scale: {scale}}}}}"
        text += f"    - {{id: b{number}, type: powerpack, points: {points}, modbus: {modbus}}}\n"
    bench = Bench(fleet(text))
    assert [image.count for image in bench.sim.physics.images] == [2, 1]
    bench.sim.set_value("b2", "soe", 42.5)
    bench.sim.set_value("b3", "soe", 42.5)
    assert [bench.sim.raw(d, "soe") for d in ("b2", "b3")] == [425, 85]


def test_load_follows_the_day(fleet: Callable[[str], Fleet]) -> None:
    night, noon = (Bench(fleet(SITE), now_s=NOON + 3600 * hours) for hours in (-9, 0))
    assert 1.3 * night.number("m1", "power_total") < noon.number("m1", "power_total") < 800_000


def test_sun_is_negative_and_lowers_the_grid(fleet: Callable[[str], Fleet]) -> None:
    site = SITE.replace("type: acuvim2_vendor, role: load", "type: acuvim2, role: pv")
    with_sun, without = Bench(fleet(site)), Bench(fleet(SITE))
    sun_w = with_sun.number("m2", "power_total")
    assert sun_w < -100_000
    assert with_sun.number("m1", "power_total") - sun_w == pytest.approx(without.number("m1", "power_total"))


def test_a_seed_repeats_and_another_does_not(fleet: Callable[[str], Fleet]) -> None:
    one, same, other = (Bench(fleet(SITE), seed) for seed in (1, 1, 2))
    for bench in (one, same, other):
        bench.run(3)
    memory = [[image.memory.tobytes() for image in b.sim.physics.images] for b in (one, same, other)]
    assert memory[0] == memory[1]
    assert memory[0] != memory[2]


def test_a_user_profile_moves_inside_its_limits(fleet: Callable[[str], Fleet]) -> None:
    host = "{host: 127.91.1.1, port: 5020, address: 1}"
    bench = Bench(
        fleet(f"site: T\ndevices:\n  bess:\n    - {{id: d1, type: everything.yaml, modbus: {host}}}\n")
    )
    seen = {"only_read": set(), "in_f32": set()}  # type: dict[str, set[float]]
    for _ in range(30):
        bench.run(30, step_s=1)
        for name, values in seen.items():
            values.add(bench.number("d1", name))
    assert all(10 <= value <= 20 for value in seen["only_read"])
    assert all(220 <= value <= 240 for value in seen["in_f32"])
    assert min(map(len, seen.values())) > 3
    assert bench.sim.value("d1", "text") == "everything"
    assert bench.sim.value("d1", "mode") == "AUTO"
    assert bench.number("d1", "u16") == 0
    bench.sim.set_value("d1", "u16", 77)
    bench.run(3)
    assert bench.number("d1", "u16") == 77, "what may be written is left as it was written"


def test_written_over_the_wire_seen_over_the_wire(fleet: Callable[[str], Fleet], port: int) -> None:
    with (
        Simulator(fleet(SITE.replace("5020", str(port)))).running() as sim,
        ModbusTcpClient("127.91.1.1", port=port) as battery,
        ModbusTcpClient("127.91.1.3", port=port) as meter,
    ):

        def meter_kw() -> float:
            registers = meter.read_holding_registers(0x40, count=2, device_id=1).registers
            return float(meter.convert_from_registers(registers, meter.DATATYPE.FLOAT32))

        before = meter_kw()
        assert not battery.write_register(2008, 2**16 - 150, device_id=1).isError()
        deadline = time.monotonic() + 30
        while meter_kw() < before + 100 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert meter_kw() > before + 100, "charging is import"
        soe = battery.read_holding_registers(2000, count=29, device_id=1).registers[26]
        assert soe == pytest.approx(float(sim.value("b1", "soe")), abs=1)
