"""modpoll's command lines: what they ask for, and what is refused rather than guessed."""

import pytest

from fluxfast.access.modpoll import Command
from fluxfast.access.modpoll_options import parse
from fluxfast.errors import LocalProtocolError


def asked(line: str) -> Command:
    return parse(line.split())


def test_the_documents_own_lines() -> None:
    read = asked("-m tcp -a 1 -r 2026 -c 1 192.168.1.100")
    assert (read.host, read.port, read.unit_id, read.address, read.quantity) == (
        "192.168.1.100",
        502,
        1,
        2025,
        1,
    )
    assert (read.table, read.once, read.every_s, read.timeout_s, read.values) == (
        "holding",
        False,
        1.0,
        1.0,
        (),
    )
    write = asked("-m tcp -a 1 -r 2008 -c 1 192.168.1.100 50")
    assert write.write.request.pdu == bytes.fromhex("06 07 d7 00 32")


@pytest.mark.parametrize(
    ("line", "pdu"),
    [
        (
            "-r 2009 h 50",
            "10 07 d8 00 01 02 00 32",
        ),  # as modpoll: function code 16 unless -c 1 says otherwise
        ("-r 2009 -c1 h -50", "06 07 d8 ff ce"),
        ("-0 -r 2008 -c1 h -- -1", "06 07 d8 ff ff"),
        ("-r1 h 65535 -2", "10 00 00 00 02 04 ff ff ff fe"),
        ("-r1 h -32768 0x10", "10 00 00 00 02 04 80 00 00 10"),
        ("-r1 -t0 -c 1 h 1", "05 00 00 ff 00"),
        ("-r1 -t0 h 1 0 1", "0f 00 00 00 03 01 05"),
        ("-r1 -t4:int -c1 h -2", "10 00 00 00 02 04 ff fe ff ff"),
        ("-r1 -t4:int h -2", "10 00 00 00 02 04 ff fe ff ff"),  # the low word first
        ("-r1 -t4:int -i h 4294967295", "10 00 00 00 02 04 ff ff ff ff"),
        ("-r1 -t 4:float h -1.5", "10 00 00 00 02 04 00 00 bf c0"),
        ("-r1 -t 4:float -B h -1.5e0", "10 00 00 00 02 04 bf c0 00 00"),
        ("-r1 -t 4:mod h 12345678", "10 00 00 00 02 04 16 2e 04 d2"),
        ("-r1 -t 4:mod -i h 12345678", "10 00 00 00 02 04 04 d2 16 2e"),
    ],
)
def test_what_is_written(line: str, pdu: str) -> None:
    assert asked(line).write.request.pdu == bytes.fromhex(pdu)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-01 -r 0 h", {"counts_from_zero": True, "once": True, "start": 0}),
        ("-r0 -0 h", {"counts_from_zero": True, "start": 0}),
        ("-r 65536 h", {"start": 65536}),
        ("h -r 5 -c 2 -1 -0", {"start": 5, "count": 2, "once": True, "counts_from_zero": True, "values": ()}),
        ("-1 h -r 5 -c 2", {"start": 5, "count": 2, "once": True}),
        ("-t 1 -c 2000 h", {"table": "discrete", "count": 2000}),
        ("-t3:hex -a 0x11 h", {"table": "input", "suffix": "hex", "unit_id": 17}),
        ("-l 200 -o .25 -p 5020 h", {"every_s": 0.2, "timeout_s": 0.25, "port": 5020}),
        ("-b 9600 -d 8 -s 1 h", {"host": "h"}),
        ("h:1502", {"host": "h", "port": 1502}),
        ("-h", {"wants": "help"}),
        ("--version", {"wants": "version"}),
    ],
)  # fmt: skip
def test_options_as_getopt_takes_them(line: str, expected: dict[str, object]) -> None:
    found = asked(line)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "which host"),
        ("-m rtu /dev/ttyUSB0", "only Modbus TCP"),
        ("/dev/ttyUSB0", "only Modbus TCP"),
        ("-m udp h", "only Modbus TCP"),
        ("-m xyz h", "no protocol"),
        ("-e h", "Daniel/Enron"),
        ("-x h", "no option -x"),
        ("-r", "-r needs a value"),
        ("-r 0 h", "PDU addresses are -0"),
        ("-0 -r 65536 h", "without -0"),
        ("-r ２ h", "-r ２ is no number"),
        ("-a 256 h", "-a 256"),
        ("-c 126 h", "-c 126 is not 1 to 125"),
        ("-t 0 -c 2001 h", "-c 2001 is not 1 to 2000"),
        ("-t 2 h", "no data type"),
        ("-t 0:hex h", "no data type"),
        ("-o 11 h", "-o 11"),
        ("-o nan h", "-o nan"),
        ("-l 0 h", "-l 0"),
        ("-p even h", "-p even"),
        ("-c 2 h 5", "leave -c out"),
        ("h 010", "octal"),
        ("h -10", "option or the value"),
        ("h 5 -1", "option or the value"),
        ("h -0 -r 5 50", "option or the value"),
        ("h -1 -- 50", "option or the value"),
    ],
)
def test_what_is_refused_says_how_it_is_meant(line: str, says: str) -> None:
    with pytest.raises(LocalProtocolError, match=says) as caught:
        asked(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "h 70000", "h -32769", "h 1.5", "h nan", "h 1e400", "h ５", "-t 0 h 2", "-t 1 h 1", "-t 3 h 1",
        "-t 4:float h inf", "-t 4:float h 1e39", "-t 4:mod h 100000000", "-a 0 h 1",
    ],
)  # fmt: skip
def test_values_that_cannot_be_written_are_refused(line: str) -> None:
    with pytest.raises(LocalProtocolError):
        asked(line).write  # noqa: B018


def test_the_trap_of_the_document_is_named() -> None:
    assert asked("-r 2026 h").where == (
        "-r 2026 is PDU address 2025, reference 42026; PDU address 2026 would be -0 -r 2026, or -r 2027"
    )
    assert asked("-0 -r 2026 h").where == "-0 -r 2026 is PDU address 2026, reference 42027"
