"""``fluxfast plan``: what would be read each tick, what it costs, and what would be written."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fluxfast.cli.options import JSON, SITE, Command, load_fleet
from fluxfast.config import Fleet
from fluxfast.plan import Cost, Plan, compile_plan, plan_cost
from fluxfast.profiles import BatteryControl


@click.command(cls=Command)
@SITE
@JSON
def plan(site: Path, as_json: bool) -> None:
    """Show the reads that SITE needs per tick, their cost, and what control writes; sends nothing.

    FC is the function code, first and last are PDU addresses, gaps are registers that are read and not used.

    \b
    Examples:
      fluxfast plan site.yaml
      fluxfast plan site.yaml --json

    Exit code: 0 done, 2 the site file is wrong.
    """
    fleet = load_fleet(site)
    compiled = compile_plan(fleet)
    cost = plan_cost(compiled)
    every_s = fleet.poll.every_ns / 1e9
    if as_json:
        click.echo(json.dumps(_as_json(compiled, cost, every_s) | {"writes": list(_writes(fleet))}))
        return
    console = Console(highlight=False)
    console.print(_blocks(compiled))
    devices = sum(len(table.devices) for table in compiled.tables)
    mbit_per_s = 8e-6 * (cost.sent_bytes + cost.received_bytes) / every_s
    unpolled = len(fleet.devices) - devices
    console.print(
        f"\n{devices:,} devices on {len(compiled.endpoints):,} links, every {every_s * 1e3:g} ms."
        " Per tick:\n"
        f"  {_number(cost.requests)} requests, {_number(cost.registers)} registers,"
        f" {_number(cost.values)} values\n"
        f"  {_number(cost.sent_bytes)} bytes sent, {_number(cost.received_bytes)} received"
        f" ({mbit_per_s:,.2f} Mbit/s without TCP/IP headers)\n"
        f"  about {cost.cpu_ms:,.1f} ms of one core, {100 * cost.cpu_ms / 1e3 / every_s:,.1f} % of it"
    )
    if unpolled:
        console.print(f"[yellow]{unpolled} on serial lines, which this version does not poll")
    for action, title in (("act", "Written"), ("shadow", "Decided, and not written (shadow)")):
        rows = [row for row in _writes(fleet) if row["action"] == action]
        if rows:
            console.print(f"\n{title}:", _write_table(rows))


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _rows(compiled: Plan) -> list[dict[str, Any]]:
    members = Counter(id(device.profile) for table in compiled.tables for device in table.devices)
    return [
        {
            "profile": profile.name,
            "devices": members[id(profile)],
            "function_code": block.function_code,
            "address": block.address,
            "quantity": block.quantity,
            "points": len(block.points),
            "every": block.every,
            "unused": block.quantity - _covered(block.points),
        }
        for profile, blocks in compiled.layouts
        for block in blocks
    ]


def _covered(points: Any) -> int:
    return len({a for p in points for a in range(p.address, p.address + p.size)})


def _blocks(compiled: Plan) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bright_black")
    table.add_column("profile")
    for name in ("devices", "FC", "first", "last", "count", "points", "gaps", "every"):
        table.add_column(name, justify="right")
    for row in _rows(compiled):
        table.add_row(
            row["profile"],
            f"{row['devices']:,}",
            f"{row['function_code']:02}",
            f"{row['address']}",
            f"{row['address'] + row['quantity'] - 1}",
            f"{row['quantity']}",
            f"{row['points']}",
            f"{row['unused']}",
            "tick" if row["every"] == 1 else f"{row['every']} ticks",
        )
    return table


def _writes(fleet: Fleet) -> Iterator[dict[str, Any]]:
    """Yield each point that control writes, by action and profile."""
    deciding = [site for site in fleet.sites if site.control.decides]
    units = [(site.control.action, unit) for site in deciding for unit in site.units]
    members = Counter((action, id(unit.profile)) for action, unit in units)
    profiles = {(action, id(unit.profile)): unit.profile for action, unit in units}
    for (action, key), profile in profiles.items():
        control = profile.control
        assert isinstance(control, BatteryControl), "a unit that is controlled has been checked"
        written: list[tuple[str, str, int | None]] = [("setpoint", control.setpoint, control.refresh_ns)]
        if control.source is not None:
            written.insert(0, ("source", control.source.point, None))
        if control.heartbeat is not None:
            written.append(("heartbeat", control.heartbeat.point, control.heartbeat.every_ns))
        for role, name, every_ns in written:
            yield {
                "action": action,
                "profile": profile.name,
                "units": members[action, key],
                "function_code": profile.write_function(name),
                "address": profile.points[name].address,
                "quantity": profile.points[name].size,
                "role": role,
                "point": name,
                "every_s": None if every_ns is None else every_ns / 1e9,
            }


def _write_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bright_black")
    table.add_column("profile")
    for name in ("units", "FC", "first", "count", "point", "when"):
        table.add_column(name, justify="right")
    for row in rows:
        every = f"{row['every_s'] or 0:g} s"
        when = {"source": "start, end", "setpoint": f"change, {every}", "heartbeat": every}
        table.add_row(
            row["profile"],
            f"{row['units']:,}",
            f"{row['function_code']:02}",
            f"{row['address']}",
            f"{row['quantity']}",
            row["point"],
            when[row["role"]],
        )
    return table


def _as_json(compiled: Plan, cost: Cost, every_s: float) -> dict[str, Any]:
    return {
        "every_s": every_s,
        "links": len(compiled.endpoints),
        "devices": sum(len(table.devices) for table in compiled.tables),
        "requests": cost.requests,
        "registers": cost.registers,
        "values": cost.values,
        "sent_bytes": cost.sent_bytes,
        "received_bytes": cost.received_bytes,
        "cpu_ms": cost.cpu_ms,
        "blocks": _rows(compiled),
    }
