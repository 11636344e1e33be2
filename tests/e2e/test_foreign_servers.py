"""Servers that we did not write, all polled in one run of the command: every logged row is what they hold."""

import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fluxfast.log.dataset import RESERVED
from fluxfast.profiles import load_profile
from tests.support.command import Process, device_rows, fluxfast, free_port, parquet_files, started
from tests.support.registers import UNITS, Held, held_by, oddities_profile, words

SCRIPT = Path(__file__).parents[1] / "support" / "python_server.py"
VENDOR_NAMES = list(load_profile("acuvim2_vendor").points)  # in the order of addresses


@dataclass
class Server:
    """One running server, answering for four units."""

    name: str
    host: str
    port: int
    held: Held

    def write(self, unit: int, address: int, content: list[int]) -> None:
        """Write holding registers by function 16, as somebody else would who works with the device."""
        pdu = struct.pack(f">BHHB{len(content)}H", 16, address, len(content), 2 * len(content), *content)
        with socket.create_connection((self.host, self.port), timeout=10) as connection:
            connection.sendall(struct.pack(">HHHB", 1, 0, len(pdu) + 1, unit) + pdu)
            reply = connection.recv(260)
        assert reply[7:] == pdu[:5], f"{self.name} refused the write"


@pytest.fixture
def servers(libmodbus: dict[str, Path], tmp_path: Path) -> Iterator[list[Server]]:
    commands = {
        "pymodbus": [sys.executable, str(SCRIPT), "pymodbus"],
        "libmodbus": [str(libmodbus["server"])],
        "pyModbusTCP": [sys.executable, str(SCRIPT), "pyModbusTCP"],
    }
    with ExitStack() as stack:
        running = []
        for number, (name, command) in enumerate(commands.items(), start=1):
            held, spec, host = held_by(number), tmp_path / f"{name}.txt", f"127.50.1.{number}"
            held.write_to(spec)
            server = Server(name, host, free_port(host), held)
            process = stack.enter_context(Process([*command, host, str(server.port), str(spec)]))
            assert process.line() == "ready"
            running.append(server)
        yield running


def write_site(folder: Path, servers: list[Server]) -> Path:
    (folder / "oddities.yaml").write_text(oddities_profile())
    entries = {"bess": [], "meters": []}
    for server in servers:
        for profile, unit in UNITS.items():
            type_ = "./oddities.yaml" if profile == "oddities" else profile
            entries["bess" if profile == "powerpack" else "meters"].append(
                f"    - {{id: {server.name}-{profile}, type: {type_}, modbus: "
                f"{{host: {server.host}, port: {server.port}, address: {unit}, timeout: 10s}}}}\n"
            )
    site = folder / "site.yaml"
    site.write_text(
        "poll: {every: 500ms, deadline: 100%}\nlog: {dir: log}\ndevices:\n"
        + "".join(f"  {kind}:\n{''.join(lines)}" for kind, lines in entries.items())
    )
    return site


def points_of(row: dict[str, Any], profile: str) -> dict[str, Any]:
    """Return a row's points as ``Held.values`` names them."""
    points = {
        name: value
        for name, value in row.items()
        if name not in RESERVED and not name.startswith("sample_ms_")
    }
    if profile == "acuvim2_vendor":
        return {str(VENDOR_NAMES.index(name)): value for name, value in points.items()}
    return points


def test_every_row_is_what_the_servers_hold(servers, tmp_path):
    site, log = write_site(tmp_path, servers), tmp_path / "log"
    ended = fluxfast("run", site, "--duration", "3s", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    times = set()
    for profile in UNITS:
        devices = device_rows(log, profile)
        assert set(devices) == {f"{server.name}-{profile}" for server in servers}
        for server in servers:
            rows = devices[f"{server.name}-{profile}"]
            assert len(rows) == 6  # ticks
            times.update(row["time"] for row in rows)
            for row in rows:
                assert (row["quality"], row["reason"], row["site"]) == ("good", None, "site")
                assert row["latency_ms"] >= 0
                assert points_of(row, profile) == server.held.values[profile]
    assert len(times) == 6


def test_a_change_on_a_server_arrives(servers, tmp_path):
    site, log = write_site(tmp_path, servers), tmp_path / "log"
    with started("run", site, "--json") as run:
        ticks = run.wait_for_ticks(3)["ticks"]
        for server in servers:
            server.write(UNITS["powerpack"], 2026, [99])
            server.write(UNITS["acuvim2"], 0x0040, words("f", -2.5))
            server.write(UNITS["oddities"], 5001, words("d", 6.02e23, "HGFEDCBA"))
        run.wait_for_ticks(ticks + 3)
        code, _, err, _ = run.end()
    assert (code, err) == (0, "")
    assert parquet_files(log)
    for profile, point, after in (
        ("powerpack", "soe", 99),
        ("acuvim2", "power_total", -2500.0),
        ("oddities", "f64_little", 6.02e23),
    ):
        devices = device_rows(log, profile)
        for server in servers:
            rows = devices[f"{server.name}-{profile}"]
            assert {row["quality"] for row in rows} == {"good"}
            seen = [row[point] for row in rows]
            turn = seen.index(after)
            assert turn >= 1
            assert set(seen[:turn]) == {server.held.values[profile][point]}
            assert set(seen[turn:]) == {after}
