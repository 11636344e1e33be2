"""Who looks on: what they get, what nonsense gets, and that neither a crowd nor a corpse disturbs anybody."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pytest

from fluxfast.control import reasons
from fluxfast.errors import FluxfastError
from fluxfast.running import Running, View, running_stations
from fluxfast.station import Station
from fluxfast.view_socket import ViewSocket
from fluxfast.view_socket.server import MAX_LINE, MAX_PEERS
from fluxfast.watchdog import FOLDERS
from tests.support.command import PATIENCE_S, started
from tests.support.fleets import device, fleet, registers
from tests.support.operated import IDS, eventually, operated
from tests.support.scripted import serving, well_behaved

HOST = "127.83.11.1"


def station_of(pid: int) -> Running | None:
    return next((station for station in running_stations() if station.pid == pid), None)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with operated(tmp_path_factory.mktemp("viewed"), HOST) as site:
        yield site


@pytest.fixture(scope="module")
def running(site):
    with started("run", site.file, "--json") as run:
        eventually(lambda: site.setpoints() == [2, 2, 2])
        running = station_of(run.popen.pid)
        assert running is not None
        yield running
        _, out, err, _ = run.end()
        assert err == ""
        messages = json.loads(out.splitlines()[-1])["messages"]
        assert not [text for text in messages if "skipped" not in text], "nothing came of all that"
        assert not running.socket.exists()
        assert station_of(run.popen.pid) is None


def watch(running, look):
    """Return what ``look`` gets of a view."""

    async def go():
        async with View(running.socket) as view:
            return await look(view)

    return asyncio.run(go())


def connect(running):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(PATIENCE_S)
    peer.connect(str(running.socket))
    return peer


def everything(peer):
    """Return what comes until the connection is closed."""
    received = b""
    with suppress(ConnectionResetError):
        while data := peer.recv(65536):
            received += data
    return received


def test_a_station_tells_who_it_is(site, running):
    assert running.sites == (site.name,)
    assert running.file == str(site.file)
    assert running.endpoints == {(f"127.83.11.{n}", 15020) for n in (1, 2, 3)}
    assert running.commanded == {(f"127.83.11.{n}", 15020, 1) for n in (1, 2, 3)}
    about = watch(running, View.about)
    assert about["every_ms"] == 250
    assert abs(about["since"] / 1e6 - time.time()) < PATIENCE_S * 4
    assert running.socket.stat().st_mode & 0o777 == 0o600


def test_the_status_is_that_of_run(site, running):
    status = watch(running, View.status)
    assert status["devices"] == status["devices_good"] == 3
    assert status["control"][0]["name"] == site.name
    assert status["readings_per_s"] > 0


def test_devices_are_columns_in_the_order_of_the_file(site, running):
    async def look(view):
        fleet, (tick, devices) = await view.fleet(), await view.devices()
        while (later := await view.devices(tick))[1] is None:  # no tick, no values
            assert later[0] == tick
        while any(devices.column("code").to_pylist()):  # a busy machine: answers came late
            devices = (await view.devices())[1]
        return fleet, devices

    fleet, devices = watch(running, look)
    assert fleet.column("device").to_pylist() == list(IDS)
    assert fleet.column("endpoint").to_pylist() == [f"127.83.11.{n}:15020" for n in (1, 2, 3)]
    assert devices.column("code").to_pylist() == [0, 0, 0]
    assert devices.column("soe_pct").to_pylist() == [50, 50, 50]
    assert devices.column("shown_kw").to_pylist() == devices.column("setpoint_kw").to_pylist() == [2, 2, 2]
    assert devices.column("usable").to_pylist() == [0, 0, 0]
    assert all(0 <= age < 1 for age in devices.column("age_s").to_pylist())
    assert all(latency > 0 for latency in devices.column("latency_ms").to_pylist())


def test_one_device_to_the_last_register_and_frame(site, running):
    async def look(view):
        first = await view.device("b2")
        while not (second := await view.device("b2"))["frames"]:
            pass
        return first, second

    first, second = watch(running, look)
    assert first["frames"] == [], "traced from the first look on"
    assert {frame["device"] for frame in second["frames"]} == {"b2"}
    points = {point["name"]: point for point in second["points"]}
    assert points["target_power"]["reference"] == "42009"
    assert (points["target_power"]["value"], points["target_power"]["unit"]) == (2, "kW")
    assert points["status"]["label"] == "READY"
    assert 0 <= points["soe"]["age_s"] < 1
    assert second["link"]["up"]
    assert second["requests"]["replies"] > 0
    p50, p99, longest = (second["requests"][f"round_trip_{which}_ms"] for which in ("p50", "p99", "max"))
    assert p50 <= p99 <= longest
    assert second["control"] == {
        "action": "act", "setpoint_kw": 2.0, "in_use": True, "reason": None,
        "limit": second["control"]["limit"],
    }  # fmt: skip


def test_raw_registers_come_with_the_frames(running):
    async def look(view):
        while True:
            points = {point["name"]: point for point in (await view.device("b1"))["points"]}
            if points["soe"]["raw"] is not None:
                return points

    points = watch(running, look)
    assert points["soe"]["raw"] == "0032"
    assert points["target_power"]["raw"] == "0002"


def test_two_who_watch_neighbours_get_each_their_frames(running):
    async def go():
        async with View(running.socket) as one, View(running.socket) as other:
            seen = {"b1": set(), "b3": set()}
            for _ in range(20):
                for view, id_ in ((one, "b1"), (other, "b3")):
                    seen[id_] |= {frame["device"] for frame in (await view.device(id_))["frames"]}
            return seen

    assert asyncio.run(go()) == {"b1": {"b1"}, "b3": {"b3"}}


def test_an_unknown_device_is_named_and_the_connection_goes_on(running):
    async def look(view):
        with pytest.raises(FluxfastError, match="no device b9 is polled here"):
            await view.device("b9")
        return await view.about()

    assert watch(running, look)["pid"] == running.pid


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"\n", "not one line of JSON"),
        (b"\xff\xfe\x00\n", "not one line of JSON"),
        (b"[" * 4000 + b"\n", "not one line of JSON"),
        (b"[]\n", "not a request that this station knows"),
        (b'{"do": ["about"]}\n', "not a request that this station knows"),
        (b'{"do": "stop"}\n', "not a request that this station knows"),
        (b'{"do": "device"}\n', "not a request that this station knows"),
        (b'{"do": "device", "id": 7}\n', "not a request that this station knows"),
    ],
)
def test_nonsense_gets_an_error_and_the_next_one_its_answer(running, sent, error):
    with connect(running) as peer, peer.makefile("rb") as answers:
        peer.sendall(sent + b'{"do": "about"}\n')
        assert json.loads(answers.readline()) == {"error": error}
        assert json.loads(answers.readline())["about"]["pid"] == running.pid


def test_who_goes_on_and_on_is_cut_off(running):
    with connect(running) as peer:
        with suppress(OSError):
            while True:
                peer.sendall(b"x" * MAX_LINE)
        everything(peer)
    assert station_of(running.pid) == running


def test_one_too_many_learns_who_is_there_and_gets_in_when_one_has_left(running):
    with ExitStack() as peers:
        for _ in range(MAX_PEERS):
            eventually(lambda: _let_in(peers, running))  # who looked on before may not have left yet
        assert station_of(running.pid) == running
        with connect(running) as peer:
            peer.sendall(b'{"do": "status"}\n' * 2)
            assert everything(peer) == b'{"error": "8 others look on already"}\n'
        for _ in range(MAX_PEERS):
            peers.enter_context(connect(running))
        assert everything(peers.enter_context(connect(running))) == b""

    async def look(view):
        await view.fleet()
        return True

    eventually(lambda: _tried(lambda: watch(running, look)))


def _let_in(peers, running):
    peer = peers.enter_context(connect(running))
    peer.sendall(b'{"do": "status"}\n')
    return peer.recv(10) == b'{"status":'


def _tried(ask):
    try:
        return ask()
    except FluxfastError:
        return False


@pytest.mark.long
def test_who_asks_and_never_listens_is_cut_off(running):
    with connect(running) as peer:
        peer.setblocking(False)
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while True:
                peer.send(b'{"do": "device", "id": "b1"}\n' * 100)
        eventually(lambda: _is_closed(peer))
    assert station_of(running.pid) == running


def _is_closed(peer):
    try:
        peer.send(b"\n")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def test_a_crowd_disturbs_no_tick(site, running):
    async def pester():
        for _ in range(30):
            with suppress(OSError):
                _, writer = await asyncio.open_unix_connection(str(running.socket))
                writer.write(b'{"do": "devices"}\n' * 10 + b'{"do": ')
                writer.transport.abort()

    async def crowd():
        await asyncio.gather(*(pester() for _ in range(20)))

    requests = site.simulator.counters().requests
    asyncio.run(crowd())
    eventually(lambda: site.simulator.counters().requests > requests + 12)
    eventually(lambda: station_of(running.pid) == running)


@pytest.mark.long
def test_one_that_was_killed_leaves_a_socket_that_counts_for_nothing(tmp_path):
    with serving(well_behaved) as server:
        file = tmp_path / "site.yaml"
        file.write_text(
            f"site: killed-view\nlog: {{dir: log}}\ndevices: {{meters: [{{id: m, type: acuvim2, "
            f"modbus: {{host: 127.0.0.1, port: {server.port}}}}}]}}\n"
        )
        with started("run", file, "--json") as run:
            run.line()
            station = station_of(run.popen.pid)
            assert station is not None
            run.popen.kill()
            run.popen.wait()
            assert station.socket.exists()
            assert station_of(run.popen.pid) is None
            assert not station.socket.exists(), "whoever finds it removes it"
        with pytest.raises(FluxfastError, match="has ended"):
            watch(station, View.about)


def test_one_that_hangs_is_passed_over_in_time(tmp_path):
    with socket.socket(socket.AF_UNIX) as hung, socket.socket(socket.AF_UNIX) as full:
        for number, bound in enumerate((hung, full)):
            bound.bind(str(tmp_path / f"station-{number}.sock"))
            bound.listen(0)
        with ExitStack() as waiting:
            for _ in range(2):  # more than are let wait
                peer = waiting.enter_context(socket.socket(socket.AF_UNIX))
                peer.setblocking(False)
                with suppress(BlockingIOError):
                    peer.connect(str(tmp_path / "station-1.sock"))
            assert running_stations([tmp_path]) == []


@contextmanager
def answering(path, answer):
    """Listen as a station would, and say the same to every line of one peer."""

    def serve():
        peer, _ = bound.accept()
        with peer, suppress(OSError), peer.makefile("rb") as asked:
            for _ in asked:
                peer.sendall(answer)
                if not answer:
                    break

    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        bound.listen()
        thread = Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [b"", b"\n", b"[]\n", b'{"about": {}}\n', b'{"about": {"endpoints": [[1]]}}\n', b"[" * 9999 + b"\n"],
)
def test_what_is_no_station_is_passed_over(tmp_path, answer):
    (tmp_path / "station-0.sock").touch()
    with answering(tmp_path / "station-1.sock", answer):
        assert running_stations([tmp_path]) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"[]\n",
        b"{}\n",
        b"[" * 9999 + b"\n",
        b'{"about": 7, "status": 7, "device": 7, "tick": "x"}\n',
        b'{"about": {}, "status": {}, "device": {}, "tick": null}\n',
        b'{"bytes": "x"}\n',
        b'{"tick": 1, "bytes": 4}\n1234',
    ],
)
def test_answers_that_make_no_sense_are_an_error(tmp_path, answer):
    path = tmp_path / "station-1.sock"

    async def go(ask):
        async with View(path) as view:
            return await ask(view)

    requests = (View.about, View.status, View.fleet, View.devices, lambda view: view.device("b1"))
    for ask in requests:
        with answering(path, answer), pytest.raises(FluxfastError, match="no station of this version"):
            asyncio.run(go(ask))


def embedded(folders, look):
    """Return what ``look(view socket)`` gets while a station of this process lets others look on."""

    async def go(port):
        station = Station(fleet(device("d", registers(2000, 2), port), every_ms=200))
        async with ViewSocket(station, folders=folders) as view, station:
            async for _ in station.ticks(0.4):
                pass
            return await look(view), list(station.messages)

    with serving(well_behaved) as server:
        return asyncio.run(go(server.port))


def test_two_stations_of_one_process_have_each_their_socket(tmp_path):
    async def look(view):
        async with ViewSocket(Station(fleet(device("e", registers(0, 1), 1))), folders=[tmp_path]) as second:
            assert second.path != view.path
            return await asyncio.to_thread(running_stations, [tmp_path])

    found, _ = embedded([tmp_path], look)
    assert [station.pid for station in found] == [os.getpid()] * 2
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_namesake_left_is_replaced(tmp_path):
    left = tmp_path / f"station-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))

    async def look(view):
        return view.path, await asyncio.to_thread(running_stations, [tmp_path])

    (path, found), _ = embedded([tmp_path], look)
    assert path == left
    assert len(found) == 1


def test_a_poller_that_controls_nothing_says_so(tmp_path):
    async def look(view):
        async with View(view.path) as one:
            return (await one.devices())[1]

    devices, _ = embedded([tmp_path], look)
    assert isinstance(devices, pa.RecordBatch)
    assert devices.column("usable").to_pylist() == [reasons.NOT_CONTROLLED]


def test_without_a_folder_it_polls_all_the_same(tmp_path):
    (tmp_path / "file").touch()

    async def look(view):
        return view.path

    path, messages = embedded([tmp_path / "file" / "none"], look)
    assert path is None
    assert any("nobody can look on" in message for message in messages)


NOBODY = """
import os, socket, sys
from fluxfast.running import running_stations
os.setgid(65534)
os.setuid(65534)
print([station.pid for station in running_stations()])
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
except PermissionError:
    print("refused")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_sees_no_station_and_cannot_connect(running):
    command = [sys.executable, "-c", NOBODY, str(running.socket)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    pids, refused = done.stdout.splitlines()
    assert str(running.pid) not in pids
    assert refused == "refused"
    assert running.socket.exists()


def test_a_station_that_ends_while_somebody_watches(tmp_path, site):
    file = tmp_path / "site.yaml"
    file.write_text(site.file.read_text().replace("action: act", "action: observe"))

    async def ask_on(view):
        while True:
            await view.status()

    async def look(run):
        station = station_of(run.popen.pid)
        assert station is not None
        async with View(station.socket) as view:
            await view.device("b1")
            run.popen.send_signal(signal.SIGINT)
            with pytest.raises(FluxfastError, match="has ended"):
                await ask_on(view)

    with started("run", file, "--json", "--log", tmp_path / "log") as run:
        run.line()
        asyncio.run(look(run))
        assert run.popen.wait(PATIENCE_S) == 0
    assert not any((folder / f"station-{run.popen.pid}.sock").exists() for folder in map(Path, FOLDERS))
