"""The control socket before people who mean no good: it answers the next one, and no tick waits."""

import asyncio
import json
import socket
from contextlib import ExitStack, suppress

import pytest

from fluxfast.control_socket import MAX_LINE, MAX_PEERS
from tests.support.command import PATIENCE_S, fluxfast, started
from tests.support.operated import eventually, operated

STATUS = b'{"do": "status"}\n'


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with (
        operated(tmp_path_factory.mktemp("hostile"), "127.71.11.1") as site,
        started("run", site.file, "--json") as run,
    ):
        eventually(lambda: site.setpoints() == [2, 2, 2])
        yield site
        _, out, err, _ = run.end()
        assert err == ""
        assert json.loads(out.splitlines()[-1])["messages"] == [], "nothing came of all that"


def connect(site):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(PATIENCE_S)
    peer.connect(str(site.path("sock")))
    return peer


def everything(peer):
    """Return what comes until the connection is closed."""
    received = b""
    with suppress(ConnectionResetError):
        while data := peer.recv(65536):
            received += data
    return received


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"\n", "not one line of JSON"),
        (b"stop\n", "not one line of JSON"),
        (b"\xff\xfe\x00\n", "not one line of JSON"),
        (b"[" * 4000 + b"\n", "not one line of JSON"),
        (b"9" * 4000 + b"\n", "not a request that this station knows"),
        (b"[]\n", "not a request that this station knows"),
        (b'"stop"\n', "not a request that this station knows"),
        (b'{"do": ["stop"]}\n', "not a request that this station knows"),
        (b'{"do": "halt"}\n', "not a request that this station knows"),
        (b'{"do": "enable"}\n', "not a request that this station knows"),
        (b'{"do": "enable", "mode": 3}\n', "not a request that this station knows"),
    ],
)
def test_nonsense_gets_an_error(site, sent, error):
    with connect(site) as peer:
        peer.sendall(sent)
        answer = json.loads(everything(peer))
    if sent.startswith(b"9"):  # Python may refuse so long a number, and may not
        assert answer["error"] in (error, "not one line of JSON")
    else:
        assert answer == {"error": error}


def test_an_unknown_mode_is_named(site):
    with connect(site) as peer:
        peer.sendall(b'{"do": "enable", "mode": "somee"}\n')
        assert json.loads(everything(peer)) == {
            "error": f"site {site.name}: the site has no mode 'somee' (did you mean 'some'?)"
        }


def test_who_goes_on_and_on_is_cut_off(site):
    with connect(site) as peer:
        with suppress(OSError):
            while True:
                peer.sendall(b"x" * MAX_LINE)
        everything(peer)
    with connect(site) as peer:
        peer.sendall(STATUS)
        assert json.loads(everything(peer))["site"]["name"] == site.name


def test_who_says_nothing_is_cut_off_and_others_get_their_turn(site):
    with ExitStack() as silent:
        peers = [silent.enter_context(connect(site)) for _ in range(MAX_PEERS)]
        assert everything(silent.enter_context(connect(site))) == b"", "one too many"
        assert fluxfast("control", site.file, "status").returncode == 0
        assert [everything(peer) for peer in peers] == [b""] * MAX_PEERS


def test_a_crowd_disturbs_no_tick(site):
    async def pester():
        for _ in range(50):
            with suppress(OSError):
                _, writer = await asyncio.open_unix_connection(str(site.path("sock")))
                writer.write(b'{"do": "stop" ' * 10)
                writer.transport.abort()

    async def crowd():
        await asyncio.gather(*(pester() for _ in range(20)))

    requests = site.simulator.counters().requests
    asyncio.run(crowd())
    with connect(site) as peer:
        peer.sendall(STATUS)
        told = json.loads(everything(peer) or b"null")
    assert told is None or not told["site"]["stopped"]
    eventually(lambda: site.simulator.counters().requests > requests + 12)
    assert site.setpoints() == [2, 2, 2]
