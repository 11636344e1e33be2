"""Start-up: loading and planning a site file that lists 10,000 devices."""

from fluxfast.config import load
from fluxfast.plan import compile_plan

DEVICES = 10_000


def test_load_and_plan(tmp_path, benchmark):
    devices = [
        f"    - {{id: b{n}, type: powerpack, modbus: {{host: 10.0.{n >> 8}.{n & 255}}}}}\n"
        for n in range(1, DEVICES + 1)
    ]
    site = tmp_path / "site.yaml"
    site.write_text("devices:\n  bess:\n" + "".join(devices))
    plan = benchmark.pedantic(lambda: compile_plan(load(site)), rounds=5)
    assert len(plan.endpoints) == DEVICES
