from decimal import Decimal

import numpy as np
import pytest

from fluxfast.config import load
from fluxfast.errors import ConfigError
from fluxfast.plan import compile_plan, plan_cost


def plan_of(tmp_path, text):
    file = tmp_path / "site.yaml"
    file.write_text(text)
    return compile_plan(load(file))


def test_units_behind_one_address_share_its_link(tmp_path):
    plan = plan_of(
        tmp_path,
        """
devices:
  bess:
    - {id: a, type: powerpack, modbus: {host: 127.0.0.1, port: 5020, address: 1}}
    - {id: b, type: powerpack, modbus: {host: 127.0.0.2, port: 5020, address: 1}}
    - {id: c, type: powerpack, modbus: {host: 127.0.0.1, port: 5020, address: 2}}
  meters:
    - {id: m, type: acuvim2, modbus: {host: 127.0.0.1, port: 5020, address: 3}}
""",
    )
    assert plan.endpoints == (("127.0.0.2", 5020), ("127.0.0.1", 5020))
    assert [d.id for d in plan.unit_devices] == ["b", "a", "c", "m"]
    assert plan.units["n_blocks"].tolist() == [1, 1, 1, 2]
    assert plan.links["first_block"].tolist() == [0, 1]
    assert plan.links["n_blocks"].tolist() == [1, 4]
    assert plan.blocks["unit_id"].tolist() == [1, 1, 2, 3, 3]
    assert plan.units["link"].tolist() == [0, 1, 1, 1]
    (packs, meters) = plan.tables
    assert [d.id for d in packs.devices] == ["a", "b", "c"]
    assert plan.blocks["row"].tolist() == [1, 0, 2, 0, 0]
    assert meters.first_column == len(packs.columns)


def test_the_stricter_quirk_rules_a_shared_link(tmp_path):
    plan = plan_of(
        tmp_path,
        """
devices:
  bess:
    - {id: a, type: powerpack, quirks: {max_in_flight: 4}, modbus: {host: 127.0.0.1, address: 1}}
    - {id: b, type: powerpack, quirks: {request_gap: 20ms, max_in_flight: 2},
       modbus: {host: 127.0.0.1, address: 2}}
""",
    )
    assert plan.links["max_in_flight"].tolist() == [2]
    assert plan.links["request_gap_ns"].tolist() == [20_000_000]


def test_a_unit_without_identifiers_has_its_link_to_itself_while_it_is_asked(tmp_path):
    plan = plan_of(
        tmp_path,
        """
devices:
  bess:
    - {id: a, type: powerpack, quirks: {max_in_flight: 4}, modbus: {host: 127.0.0.1, address: 1}}
    - {id: b, type: powerpack, quirks: {transaction_id: zero, unit_aliases: [255]},
       modbus: {host: 127.0.0.1, address: 2}}
""",
    )
    assert plan.links["max_in_flight"].tolist() == [1]
    assert plan.links["zero_ids"].tolist() == [1]
    assert plan.blocks["aliases"].tolist() == [[1, 1], [255, 2]]


def test_an_override_gives_a_row_its_own_program(tmp_path):
    plan = plan_of(
        tmp_path,
        """
devices:
  bess:
    - {id: a, type: powerpack, modbus: {host: 127.0.0.1}}
    - {id: b, type: powerpack, points: {soe: {scale: 0.1}, extra: {address: 2040, type: float32}},
       modbus: {host: 127.0.0.2}}
    - {id: c, type: powerpack, points: {soe: null}, modbus: {host: 127.0.0.3}}
""",
    )
    (table,) = plan.tables
    names = [c.point.name for c in table.columns]
    assert table.variant.tolist() == [0, 1, 2]
    soe, extra = names.index("soe"), names.index("extra")
    assert table.columns[soe].value.dtype == "float64"  # whole per cent here, tenths there
    assert table.absent[extra].tolist() == [True, False, True]
    assert table.absent[soe].tolist() == [False, False, True]
    assert table.slots[soe].tolist() == [0, 0, -1]
    assert (table.slots[extra] >= 0).tolist() == [False, True, False]
    for block in plan.blocks:
        columns = plan.ops["column"][block["first_op"] : block["first_op"] + block["n_ops"]]
        assert (table.slots[columns, table.variant[block["row"]]] == block["slot"]).all()
    ops = plan.ops[np.isin(plan.ops["column"], soe)]
    assert ops["div"].tolist() == [1, 10]


def test_states_of_a_site_are_those_of_its_rows(tmp_path):
    plan = plan_of(
        tmp_path,
        """
devices:
  bess:
    - {id: a, type: powerpack, modbus: {host: 127.0.0.1}}
    - {id: b, type: powerpack, points: {status: {states: {3: READY}}}, modbus: {host: 127.0.0.2}}
""",
    )
    status = next(c for c in plan.tables[0].columns if c.point.name == "status")
    assert status.labels == ({1: "READY"}, {3: "READY"})


def test_a_type_that_no_column_can_hold_names_the_device(tmp_path):
    text = """
devices:
  bess:
    - {id: a, type: powerpack, modbus: {host: 127.0.0.1}}
    - {id: b, type: powerpack, modbus: {host: 127.0.0.2},
       points: {target_power: {type: string, length: 2, unit: null, address: 2100}}}
"""
    with pytest.raises(
        ConfigError, match=r"site\.yaml:5: device b: point target_power: .* no column holds both"
    ):
        plan_of(tmp_path, text)


def test_slow_reads_are_spread_over_the_ticks(tmp_path):
    profile = tmp_path / "slow.yaml"
    profile.write_text(
        "groups: {slow: 4}\npoints:\n  a: {address: 0, type: uint16}\n"
        "  b: {address: 100, type: uint16, group: slow}\n"
    )
    plan = plan_of(
        tmp_path,
        'devices: {bess: [{id: "d{n}", count: 8, type: ./slow.yaml, modbus: {host: 127.0.0.1}}]}\n',
    )
    slow = plan.blocks[plan.blocks["every"] == 4]
    assert sorted(slow["phase"].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    cost = plan_cost(plan)
    assert cost.requests == 8 * 1.25
    assert cost.values == 8 * 1.25
    assert cost.received_bytes == 8 * 1.25 * 11


def test_scale_and_offset_become_whole_numbers(tmp_path):
    plan = plan_of(
        tmp_path,
        """
devices:
  bess:
    - {id: a, type: powerpack, points: {soe: {scale: 0.1, offset: -2.25}}, modbus: {host: 127.0.0.1}}
""",
    )
    op = plan.ops[plan.ops["scaled"] == 1]
    assert op[["mul", "add", "div"]].tolist() == [(2.0, -45.0, 20.0)]
    assert Decimal(2) / 20 == Decimal("0.1")


def test_meters_come_last_and_waves_are_spread_over_the_tick(tmp_path):
    plan = plan_of(
        tmp_path,
        """
poll: {every: 1s, spread: 20%}
devices:
  meters:
    - {id: "m{n}", count: 200, type: acuvim2, modbus: {host: 127.0.1.1}}
  bess:
    - {id: "b{n}", count: 400, type: powerpack, modbus: {host: 127.0.2.1}}
""",
    )
    kinds = [device.kind for device in plan.unit_devices]
    assert kinds == ["bess"] * 400 + ["meter"] * 200
    # 600 links in three waves of at most 256, over 200 ms.
    assert plan.links["phase_ns"].tolist() == [i // 256 * 200_000_000 // 3 for i in range(600)]


def test_few_devices_are_asked_at_once(tmp_path):
    plan = plan_of(
        tmp_path,
        """
devices:
  bess:
    - {id: "b{n}", count: 256, type: powerpack, modbus: {host: 127.0.2.1}}
""",
    )
    assert not plan.links["phase_ns"].any()
