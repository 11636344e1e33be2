"""What Wireshark's dissector sees of `fluxfast run`: whole frames, answers that match, reads as planned."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import tool
from tests.support.command import PATIENCE_S, device_rows, fluxfast, free_port, simulating
from tests.support.registers import oddities_profile

FIELDS = (
    "tcp.srcport", "tcp.dstport", "ip.src", "ip.dst", "mbtcp.trans_id", "mbtcp.prot_id", "mbtcp.unit_id",
    "modbus.func_code", "modbus.reference_num", "modbus.word_cnt", "modbus.bit_cnt", "modbus.byte_cnt",
    "modbus.request_frame", "modbus.exception_code", "frame.number",
)  # fmt: skip
SITE = """\
poll: {{every: 250ms, deadline: 100%}}
log: {{dir: log}}
overrides:
  oddities: {{quirks: {{max_in_flight: 4}}}}
devices:
  bess:
    - {{count: 3, id: "b{{n}}", type: powerpack, modbus: {{host: 127.50.3.1, port: {port}}}}}
  meters:
    - {{id: m1, type: acuvim2, modbus: {{host: 127.50.3.1, port: {port}, address: 2}}}}
    - {{id: m2, type: acuvim2_vendor, modbus: {{host: 127.50.3.9, port: {port}, address: 3}}}}
    - {{id: o1, type: ./oddities.yaml, modbus: {{host: 127.50.3.10, port: {port}, address: 247}}}}
"""


@contextmanager
def capturing(port: int, file: Path) -> Iterator[None]:
    """Capture what goes over loopback on a port; skip where that is not allowed."""
    command = [tool("dumpcap", "tshark"), "-q", "-i", "lo", "-f", f"tcp port {port}", "-w", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:  # "File: …" comes once it captures
            if line.startswith("File:"):
                break
        else:
            pytest.skip("capturing on lo is not permitted here")
        time.sleep(0.5)
        yield
        time.sleep(0.5)  # the kernel hands packets over in batches
    finally:
        process.terminate()
        _, rest = process.communicate(timeout=PATIENCE_S)
    assert "Packets received/dropped on interface" not in rest or "/0 (" in rest, rest


def dissect(tshark: str, file: Path, port: int, *args: str) -> str:
    # The preference tells the dissector which side asks.
    decode = ["-d", f"tcp.port=={port},mbtcp", "-o", f"mbtcp.tcp.port:{port}"]
    command = [tshark, "-n", "-r", str(file), *decode, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout


def frames(tshark: str, file: Path, port: int) -> list[dict[str, str]]:
    """Return one mapping of FIELDS for each Modbus frame; a TCP segment may carry several."""
    out = dissect(
        tshark, file, port, "-Y", "mbtcp", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=;",
        *(word for name in FIELDS for word in ("-e", name)),
    )  # fmt: skip
    found = []
    for line in out.splitlines():
        columns = dict(zip(FIELDS, (cell.split(";") for cell in line.split("\t")), strict=True))
        for index in range(len(columns["mbtcp.trans_id"])):
            found.append({name: cells[min(index, len(cells) - 1)] for name, cells in columns.items()})
    return found


def test_a_run_on_the_wire(tshark: str, tmp_path: Path) -> None:
    port = free_port("127.50.3.1")
    site, file = tmp_path / "site.yaml", tmp_path / "run.pcapng"
    site.write_text(SITE.format(port=port))
    (tmp_path / "oddities.yaml").write_text(oddities_profile())
    plan: dict[str, Any] = json.loads(fluxfast("plan", site, "--json").stdout)
    with simulating(site), capturing(port, file):
        ended = fluxfast("run", site, "--duration", "3s")
        assert ended.returncode == 0, ended.stderr
    ticks = {name: len(rows) for name, rows in device_rows(tmp_path / "log", "powerpack").items()}
    assert ticks == {"b1": 12, "b2": 12, "b3": 12}

    wrong = "_ws.malformed || _ws.expert.severity >= warning || modbus.exception_code || mbtcp.prot_id != 0"
    assert dissect(tshark, file, port, "-Y", wrong) == ""

    seen = frames(tshark, file, port)
    requests = [frame for frame in seen if frame["tcp.dstport"] == str(port)]
    responses = [frame for frame in seen if frame["tcp.srcport"] == str(port)]
    assert len(requests) == len(responses) == 12 * plan["requests"]
    by_profile = {"powerpack": 3, "acuvim2": 1, "acuvim2_vendor": 1, "oddities": 1}
    planned = Counter(
        {
            (str(b["function_code"]), str(b["address"]), str(b["quantity"])): 12 * by_profile[b["profile"]]
            for b in plan["blocks"]
        }
    )
    asked = Counter(
        (f["modbus.func_code"], f["modbus.reference_num"], f["modbus.word_cnt"] or f["modbus.bit_cnt"])
        for f in requests
    )
    assert asked == planned

    # Every answer to its own question: the dissector's match, the header's identifiers, the bytes asked for.
    questions = {(f["ip.dst"], f["tcp.srcport"], f["mbtcp.trans_id"]): f for f in requests}
    assert len(questions) == len(requests)
    for frame in responses:
        asked_for = questions.pop((frame["ip.src"], frame["tcp.dstport"], frame["mbtcp.trans_id"]))
        assert frame["modbus.request_frame"] == asked_for["frame.number"]
        assert frame["mbtcp.unit_id"] == asked_for["mbtcp.unit_id"]
        assert frame["modbus.func_code"] == asked_for["modbus.func_code"]
        bits, registers = asked_for["modbus.bit_cnt"], asked_for["modbus.word_cnt"]
        expected = 2 * int(registers) if registers else (int(bits) + 7) // 8
        assert int(frame["modbus.byte_cnt"]) == expected
    assert questions == {}
