"""`fluxfast run` as users meet it: wrong input, devices that fail, signals, kill -9, closed pipes."""

import json
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import tool
from tests.support.command import (
    FLUXFAST,
    PATIENCE_S,
    device_rows,
    fluxfast,
    free_port,
    invoked,
    parquet_files,
    read_log,
    simulating,
    started,
)
from tests.support.scripted import serving

DONE, FINDINGS, BAD_INPUT, COULD_NOT = 0, 1, 2, 3
END_S = 2.0 + 1.0  # what a run promises after a signal, and slack for a loaded machine
DEVICE = "{{id: {id}, type: powerpack, modbus: {{host: {host}, port: {port}, timeout: 1s}}}}"


def write_site(folder: Path, *devices: tuple[str, str, int], every: str = "250ms") -> Path:
    """Write a site of batteries: (id, host, port)."""
    lines = [f"    - {DEVICE.format(id=id_, host=host, port=port)}\n" for id_, host, port in devices]
    site = folder / "site.yaml"
    site.write_text(f"poll: {{every: {every}}}\nlog: {{dir: log}}\ndevices:\n  bess:\n" + "".join(lines))
    return site


@pytest.fixture(scope="module")
def battery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Host and port of a simulated battery that stays for the module."""
    host = "127.50.4.1"
    port = free_port(host)
    site = write_site(tmp_path_factory.mktemp("simulated"), ("sim", host, port))
    with simulating(site):
        yield host, port


def one_device(**changes: str) -> str:
    keys = {"id": "b1", "type": "powerpack", "host": "127.50.4.9", "port": "15020", "address": "1", **changes}
    return (
        f"devices:\n  bess:\n    - id: {keys['id']}\n      type: {keys['type']}\n"
        f"      modbus:\n        host: {keys['host']}\n        port: {keys['port']}\n"
        f"        address: {keys['address']}\n"
    )


def two_devices(second_id: str, second_host: str) -> str:
    return one_device() + (
        f"    - id: {second_id}\n      type: powerpack\n      modbus: {{host: {second_host}, port: 15020}}\n"
    )


# The site file, and what stands on stderr: one line a problem.
WRONG_SITES = {
    "port as text": (one_device(port="'502'"), ["site.yaml:7: b1: modbus.port: must be a whole number"]),
    "host as a number": (
        one_device(host="12"),
        ["site.yaml:6: b1: modbus.host: must be a host name"],
    ),
    "devices as text": ("devices: none\n", ["site.yaml:1: devices: must be a mapping"]),
    "duplicate id": (
        two_devices("b1", "127.50.4.8"),
        ["site.yaml:9: b1: id: the id is already that of 'b1' at site.yaml:3"],
    ),
    "same address": (
        two_devices("b2", "127.50.4.9"),
        ["site.yaml:11: b2: modbus: 127.50.4.9 port 15020 address 1 is already 'b1' at site.yaml:3"],
    ),
    "unknown profile": (
        one_device(type="powerpak"),
        ["site.yaml:4: b1: type: there is no profile 'powerpak' (did you mean 'powerpack'?"],
    ),
    "missing profile file": (
        one_device(type="./no.yaml"),
        ["site.yaml:4: b1: type: there is no profile file"],
    ),
    "impossible host": (
        one_device(host="127.50.4.300"),
        ["site.yaml:6: b1: modbus.host: '127.50.4.300' is not an IP address"],
    ),
    "impossible port": (one_device(port="70000"), ["site.yaml:7: b1: modbus.port: must be at most 65535"]),
    "broadcast": (one_device(address="0"), ["site.yaml:8: b1: modbus.address: address 0 is the broadcast"]),
    "impossible unit": (one_device(address="256"), ["site.yaml:8: b1: modbus.address: must be at most 255"]),
    "unknown key": (
        one_device() + "pol: {every: 1s}\n",
        ["site.yaml:9: pol: unknown key 'pol' (did you mean 'poll'?)"],
    ),
    "no unit of time": (
        one_device() + "poll: {every: 1}\n",
        ["site.yaml:9: poll.every: 1 has no unit of time"],
    ),
    "several at once": (
        one_device(port="0") + "    - {id: 7, type: acuvim, modbus: {host: 127.50.4.8}}\n",
        [
            "site.yaml:7: b1: modbus.port: must be at least 1",
            "site.yaml:9: bess[1]: id: must be text",
            "site.yaml:9: bess[1]: type: there is no profile 'acuvim'",
        ],
    ),
    "not YAML": ("devices: [\n", ["site.yaml:2: not valid YAML"]),
    "empty": ("", ["site.yaml: the file is empty"]),
    "no devices": ("devices: {}\n", ["site.yaml:1: the site 'site' has no devices"]),
    "a serial line": (
        "meter: {type: acuvim2, modbus: {device: /dev/ttyS0}}\n",
        ["warning: site.yaml:1: meter.modbus: serial lines", "site.yaml:1: device meter: serial lines"],
    ),
}  # fmt: skip
PROFILES = {
    "overlap": (
        "points:\n  a: {address: 10, type: float32}\n  b: {address: 11, type: uint16}\n",
        "mine.yaml:3: b: shares holding address 11 with 'a'",
    ),
    "past the end": (
        "points:\n  a: {address: 65535, type: float32}\n",
        "mine.yaml:2: a: 2 registers from address 65535 run past 65535",
    ),
    "impossible address": (
        "points:\n  a: {address: 70000, type: uint16}\n",
        "mine.yaml:2: a.address: must be at most 65535",
    ),
}


def refusal(*args: object, cwd: Path) -> tuple[int, list[str]]:
    """Run a command that must not start; return its exit code and the lines on stderr."""
    ended = invoked(*args, cwd=cwd)
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert not parquet_files(cwd)
    return ended.returncode, ended.stderr.splitlines()


@pytest.mark.parametrize("name", WRONG_SITES)
def test_a_wrong_site_file_is_a_line_a_problem(name, tmp_path):
    text, expected = WRONG_SITES[name]
    (tmp_path / "site.yaml").write_text(text)
    code, lines = refusal("run", "site.yaml", cwd=tmp_path)
    assert code == BAD_INPUT
    assert len(lines) == len(expected), lines
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True)), lines
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("name", PROFILES)
def test_a_wrong_profile_is_named_by_its_own_file_and_line(name, tmp_path):
    text, expected = PROFILES[name]
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "site.yaml").write_text(one_device(type="./mine.yaml"))
    code, lines = refusal("run", "site.yaml", cwd=tmp_path)
    assert code == BAD_INPUT
    assert len(lines) == 1
    assert expected in lines[0]


def test_a_missing_file(tmp_path):
    assert refusal("run", "no.yaml", cwd=tmp_path) == (BAD_INPUT, ["no.yaml: no such file"])
    code, lines = refusal("run", ".", cwd=tmp_path)
    assert code == BAD_INPUT
    assert lines == [".: the folder holds no *.yaml or *.yml file (name a site file, or a folder of them)"]


def test_a_log_is_local(tmp_path):
    (tmp_path / "site.yaml").write_text(one_device())
    code, lines = refusal("run", "site.yaml", "--log", "s3://bucket/plant", cwd=tmp_path)
    assert code == BAD_INPUT
    assert lines[-1].endswith(
        "s3://bucket/plant is a URL, not a local folder (put it under log: remote: in SITE)"
    )
    assert not (tmp_path / "s3:").exists()


@pytest.mark.parametrize("duration", ["5", "soon", "-5s", "1s5"])
def test_a_wrong_duration(duration, tmp_path):
    (tmp_path / "site.yaml").write_text(one_device())
    code, lines = refusal("run", "site.yaml", "--duration", duration, cwd=tmp_path)
    assert code == BAD_INPUT
    assert lines[-1] == (
        "Error: Invalid value for '--duration': "
        f"must be a duration, not the text '{duration}' (write one like 5s, 250ms, 1m or 2h)"
    )


def test_a_log_that_cannot_be_written(tmp_path):
    (tmp_path / "site.yaml").write_text(one_device())
    (tmp_path / "file").touch()
    for log, why in (("file/log", "Not a directory"), ("file", "it is not a directory")):
        found = refusal("run", "site.yaml", "--log", log, cwd=tmp_path)
        assert found == (COULD_NOT, [f"cannot log to {log}: {why}"])


def test_a_log_that_another_run_holds(battery, tmp_path):
    site = write_site(tmp_path, ("b", *battery))
    with started("run", site, "--json") as run:
        run.wait_for_ticks(1)
        second = fluxfast("run", site)
        assert (second.returncode, second.stdout) == (COULD_NOT, "")
        assert second.stderr == (
            f"cannot log to {tmp_path / 'log'}: process {run.popen.pid} is logging there already\n"
        )
        code, _, err, _ = run.end()
    assert (code, err) == (DONE, "")
    assert {row["quality"] for row in device_rows(tmp_path / "log", "powerpack")["b"]} == {"good"}


@contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """An address whose SYNs are dropped: a listener that accepts nothing, its backlog full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.50.4.4", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        yield address


async def refuses(peer):
    while True:
        request = await peer.request()
        await peer.send(request.reply(pdu=bytes([request.function_code | 0x80, 2])))


async def silent(peer):
    while True:
        await peer.request()


def test_devices_that_fail_leave_the_others_alone(battery, tmp_path):
    with black_hole() as hole, serving(refuses) as exceptions, serving(silent) as silence:
        site = write_site(
            tmp_path,
            ("good", *battery),
            ("nowhere", "nosuchhost.invalid", 502),
            ("refused", "127.50.4.3", free_port("127.50.4.3")),
            ("hole", *hole),
            ("exception", "127.0.0.1", exceptions.port),
            ("silent", "127.0.0.1", silence.port),
        )
        ended = fluxfast("run", site, "--duration", "3s")
    assert ended.returncode == FINDINGS
    assert "Traceback" not in ended.stderr
    devices = device_rows(tmp_path / "log", "powerpack")
    assert {len(rows) for rows in devices.values()} == {12}
    assert {(row["quality"], row["reason"]) for row in devices.pop("good")} == {("good", None)}
    # A link that failed is tried again, so others of its reasons may show up between.
    expected = {
        "nowhere": {"host not found"},
        "refused": {"connection refused"},
        "hole": {"unreachable"},
        "exception": {"exception 2 illegal data address"},
        "silent": {"timeout"},
    }
    points = ("status", "target_power", "command_source", "soe", "available_blocks", "latency_ms")
    for device, reasons in expected.items():
        rows = devices.pop(device)
        assert {row["quality"] for row in rows} == {"bad"}, device
        assert {row["reason"] for row in rows} <= reasons, device
        assert all(row[point] is None for row in rows for point in points), device
    assert devices == {}
    for told in ("host not found", "connection refused", "unreachable"):
        assert told in ended.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_every_tick_in_the_log(number, battery, tmp_path):
    site = write_site(tmp_path, ("b1", *battery), ("b2", "127.50.4.3", free_port("127.50.4.3")))
    with started("run", site, "--json") as run:
        run.wait_for_ticks(5)
        code, out, err, took_s = run.end(number)
    assert (code, err) == (FINDINGS, "")  # b2 is bad
    assert took_s < END_S
    last = json.loads(out.splitlines()[-1])
    devices = device_rows(tmp_path / "log", "powerpack")
    assert {device: len(rows) for device, rows in devices.items()} == dict.fromkeys(
        ("b1", "b2"), last["ticks"] + last["overruns"]
    )
    on_disk = [pq.read_metadata(file).num_rows for file in parquet_files(tmp_path)]
    assert last["rows_logged"] == sum(on_disk)  # events, too
    assert not list((tmp_path / "log").glob(".tmp-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_that_is_still_connecting(number, tmp_path):
    with black_hole() as hole:
        site = write_site(tmp_path, ("hole", *hole))
        site.write_text(site.read_text().replace("timeout: 1s", "timeout: 1m"))
        with started("run", site, "--json") as run:
            assert json.loads(run.line())["ticks"] == 0
            code, _, err, took_s = run.end(number)
    assert (code, err) == (FINDINGS, "")
    assert took_s < END_S
    assert not parquet_files(tmp_path / "log" / "powerpack")


SLOW_NAMES = """\
#define _GNU_SOURCE
#include <netdb.h>
#include <unistd.h>
int getaddrinfo(const char *n, const char *s, const struct addrinfo *h, struct addrinfo **r)
{ (void)n; (void)s; (void)h; (void)r; sleep(60); return EAI_AGAIN; }
"""


def test_a_silent_name_server_does_not_hold_up_the_end(battery, tmp_path):
    source, library = tmp_path / "slow.c", tmp_path / "slow.so"
    source.write_text(SLOW_NAMES)
    subprocess.run([tool("cc", "gcc"), "-shared", "-fPIC", "-o", library, source], check=True)
    site = write_site(tmp_path, ("b", *battery), ("nowhere", "nosuchhost.invalid", 502))
    with started("run", site, "--json", env={"LD_PRELOAD": str(library)}) as run:
        run.wait_for_ticks(2)
        code, _, err, took_s = run.end()
    assert (code, err) == (FINDINGS, "")
    assert took_s < END_S
    devices = device_rows(tmp_path / "log", "powerpack")
    assert {row["quality"] for row in devices["b"]} == {"good"}
    assert {row["reason"] for row in devices["nowhere"]} == {"never read"}


@pytest.mark.long
def test_a_killed_run_leaves_only_whole_files(battery, tmp_path):
    """The part of 30 s that was open is lost, as the log's invariant says; whatever is there can be read."""
    site, log = write_site(tmp_path, ("b", *battery)), tmp_path / "log"
    assert fluxfast("run", site, "--duration", "1s").returncode == DONE
    before = len(device_rows(log, "powerpack")["b"])
    with started("run", site, "--json") as run:
        run.wait_for_ticks(5)
        code, _, _, _ = run.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert len(device_rows(log, "powerpack")["b"]) >= before
    ended = fluxfast("run", site, "--duration", "1s")  # its lock went with it
    assert (ended.returncode, ended.stderr) == (DONE, "")
    assert len(device_rows(log, "powerpack")["b"]) >= 2 * before


@pytest.mark.parametrize(
    "pipeline",
    [
        "{run} --json | head -n 1",
        "{run} --json | true",
        "{run} 2>&1 | true",
        "{{ {run} 2>&1 >&3 | true; }} 3>&1",  # only stderr is closed
    ],
)
def test_a_closed_pipe_is_harmless(pipeline, battery, tmp_path):
    site = write_site(tmp_path, ("b", *battery))
    run = shlex.join([*FLUXFAST, "run", str(site), "--duration", "2500ms"])
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", pipeline.format(run=run)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (DONE, "")
    rows = device_rows(tmp_path / "log", "powerpack")["b"]
    assert len(rows) == 10
    assert {row["quality"] for row in rows} == {"good"}


def test_json_is_an_object_a_line(battery, tmp_path):
    site = write_site(tmp_path, ("b", *battery))
    ended = fluxfast("run", site, "--duration", "3s", "--json")
    assert ended.stderr == ""
    status = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(status) >= 2
    assert [s["ticks"] for s in status] == sorted(s["ticks"] for s in status)
    last = status[-1]
    assert last["ticks"] + last["overruns"] == 12
    events = len(read_log(tmp_path / "log", "events"))
    assert last["rows_logged"] - events == len(device_rows(tmp_path / "log", "powerpack")["b"]) == 12
    assert last["log_bytes"] > 0
    assert ended.returncode == (FINDINGS if last["overruns"] else DONE)


def test_a_run_shorter_than_the_pace_of_status_prints_its_result_as_json_too(battery, tmp_path):
    ended = fluxfast("run", write_site(tmp_path, ("b", *battery)), "--duration", "200ms", "--json")
    assert json.loads(ended.stdout.splitlines()[-1])["ticks"] >= 1


@pytest.mark.long
def test_a_silent_device_does_not_cost_the_others_ticks_at_a_deadline_of_100_percent(battery, tmp_path):
    with serving(silent) as silence:
        site = write_site(tmp_path, ("good", *battery), ("silent", "127.0.0.1", silence.port))
        site.write_text(site.read_text().replace("every: 250ms", "every: 250ms, deadline: 100%"))
        ended = fluxfast("run", site, "--duration", "3s", "--json")
    assert ended.returncode == FINDINGS
    last = json.loads(ended.stdout.splitlines()[-1])
    assert last["overruns"] <= 3  # of 12, on a loaded machine; it was every other tick
    rows = device_rows(tmp_path / "log", "powerpack")["good"]
    assert len(rows) == 12
    assert {(row["quality"], row["reason"]) for row in rows} <= {("good", None), ("bad", "tick skipped")}
