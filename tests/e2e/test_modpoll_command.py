"""``fluxfast modpoll``: the document's lines, polling, writing, and what it says of addresses."""

import signal

from tests.support.command import started
from tests.support.memory import Memory
from tests.support.scripted import ScriptedServer, Servers
from tests.support.tool import tool

HOST = "127.33.24.1"


def test_the_documents_lines_say_which_address_they_used() -> None:
    memory = Memory()
    memory.cells["holding"] = {2025: 11, 2026: 57}
    with Servers([ScriptedServer(memory, HOST, 5020)]):
        options = ["-m", "tcp", "-a", "1", "-p", "5020", "-c", "1"]
        as_reference = tool("modpoll", *options, "-r", "2026", "-1", HOST)
        as_address = tool("modpoll", *options, "-r", "2026", "-0", "-1", HOST)
        written = tool("modpoll", *options, "-r", "2008", HOST, "50")
    assert as_reference.out.endswith("\n\n-- Polling slave...\n[2026]: 11\n")
    assert (
        "-r 2026 is PDU address 2025, reference 42026; PDU address 2026 would be -0 -r 2026"
        in as_reference.out
    )
    assert as_address.out.endswith("[2026]: 57\n")
    assert "-0 -r 2026 is PDU address 2026, reference 42027" in as_address.out
    assert written.out.endswith("Written 1 reference.\n")
    assert memory.cells["holding"][2007] == 50
    assert [as_reference.code, as_address.code, written.code] == [0, 0, 0]


def test_an_illegal_address_is_told_with_its_cure() -> None:
    with Servers([ScriptedServer(Memory(holes={2025, 2007}), HOST, 5021)]):
        read = tool("modpoll", "-p", "5021", "-r", "2026", "-1", HOST)
        written = tool("modpoll", "-p", "5021", "-r", "2008", "-c", "1", HOST, "50")
    assert (read.code, written.code) == (3, 3)
    assert "exception 2 illegal data address!" in read.err
    assert "the device has no PDU address 2025: -r 2026 is PDU address 2025" in read.err
    assert "illegal data address" in written.err
    assert "the device has no PDU address 2007: -r 2008 is PDU address 2007" in written.err


def test_it_polls_until_it_is_told_to_end() -> None:
    with Servers([ScriptedServer(Memory(), HOST, 5022)]), \
            started("modpoll", "-p", "5022", "-r", "7", "-l", "20", HOST) as process:  # fmt: skip
        lines = [process.line() for _ in range(11)]
        code, _, err, _ = process.end(signal.SIGINT)
    assert (code, err) == (0, "")
    assert lines[5:] == ["", *["-- Polling slave... (Ctrl-C to stop)", "[7]: 0"] * 2, lines[-1]]


def test_modulo_10000_and_bits_and_help() -> None:
    memory = Memory()
    memory.cells["holding"] = {0: 5678, 1: 1234}
    memory.cells["coil"] = {1: 1}
    with Servers([ScriptedServer(memory, HOST, 5023)]):
        assert "[1]: 12345678\n" in tool("modpoll", "-p5023", "-t4:mod", "-1", HOST).out
        assert "[1]: 56781234\n" in tool("modpoll", "-p5023", "-t4:mod", "-i", "-1", HOST).out
        assert "[1]: 0\n[2]: 1\n" in tool("modpoll", "-p5023", "-t0", "-c2", "-1", HOST).out
    assert "-t TYPE" in tool("modpoll", "-h").out
    assert tool("modpoll", "-V").out.startswith("fluxfast modpoll ")


def test_nobody_there() -> None:
    done = tool("modpoll", "-p", "1", "-l", "10", HOST)  # it does not poll for ever what was never there
    assert (done.code, done.err) == (
        3,
        f"{HOST}:1 unit 1, holding address 0, reference 40001: connection refused!\n"
        "nothing listens there: check host and port, 502 is usual\n",
    )
    assert tool("modpoll", "-p", "1", HOST, "5").code == 3
