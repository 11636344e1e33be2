"""``verify`` finds what is wrong with a log: any bit, anywhere; and nothing where nothing is."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fluxfast.errors import FluxfastError
from fluxfast.log.compactor import compact
from fluxfast.log.verify import UNCHECKED, Finding, verify

# Ends without an end: its segment stays in the journal.
KILLED = """
import os, signal, sys
from pathlib import Path
from fluxfast.log.inventory import DeviceRow
from tests.support.numbered import append, until_logged, writer

devices = [DeviceRow("b1", "b1", "S", "bess", "d", "d", "", None, None, None, 1, None, None)]
with writer(Path(sys.argv[1]), devices=devices) as log:
    append(log, int(sys.argv[2]), 20)
    log.add_event(1, "test", "killed")
    until_logged(log)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(log: Path, first_tick: int) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, log, str(first_tick)], check=False)
    assert done.returncode == -9


@pytest.fixture(scope="module")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log of two lives that were killed: parts of the first, the journal of the second."""
    log = tmp_path_factory.mktemp("verify") / "log"
    killed(log, 0)
    compact(log, print)
    killed(log, 20)
    assert {"columns", "devices", "views.sql"} < {path.name for path in log.iterdir()}
    (log / "watchdog.jsonl").write_bytes(b"{}\n")
    return log


@pytest.fixture
def log(written_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written_once, tmp_path / "log"))


def one(log: Path) -> Finding:
    (finding,) = verify(log)
    return finding


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def checked(log: Path) -> list[Path]:
    return sorted(path for path in log.rglob("*") if path.is_file() and path.name not in UNCHECKED)


def test_nothing_is_found_where_nothing_is_wrong(log):
    steps: list[tuple[int, int]] = []
    assert list(verify(log, lambda *step: steps.append(step))) == []
    size = sum(path.stat().st_size for path in log.rglob("*") if path.is_file())
    assert steps[-1] == (size, size)
    compact(log, print)
    assert list(verify(log)) == []


def flips_are_found(log: Path, random_: random.Random, times: int) -> None:
    files = checked(log)
    assert {path.suffix for path in files} == {".parquet", ".ffj", ".jsonl", ".sql"}
    weights = [path.stat().st_size for path in files]
    for n in range(times):
        # Half of them anywhere, half of them in files as they come: the small ones, too.
        file = random_.choices(files, weights)[0] if n % 2 else files[n // 2 % len(files)]
        bit = random_.randrange(8 * file.stat().st_size)
        flip(file, bit)
        found = [finding.file for finding in verify(log) if not finding.harmless]
        assert str(file.relative_to(log)) in found, (file, bit)
        flip(file, bit)
    assert list(verify(log)) == []


def test_a_flipped_bit_is_found(log):
    flips_are_found(log, random.Random(1), 24)


@pytest.mark.long
def test_every_flipped_bit_is_found(log):
    flips_are_found(log, random.Random(), 300)


def part_of(log: Path) -> Path:
    return next(log.glob("d/*/*.parquet"))


def test_the_column_of_a_flipped_bit_is_told(log):
    part = part_of(log)
    chunk = pq.read_metadata(part).row_group(0).column(pq.read_schema(part).names.index("x"))
    flip(part, 8 * (chunk.data_page_offset + chunk.total_compressed_size - 3))
    assert one(log).where == "row group 0, column x"
    assert str(one(log)).startswith(f"{part.relative_to(log)}: row group 0, column x: ")


def test_a_column_whose_name_is_no_text_any_more(log):
    part = part_of(log)
    data = bytearray(part.read_bytes())
    while (at := data.rfind(b"quality")) >= 0:
        data[at] |= 0x80
        part.write_bytes(data)
        assert one(log).file == str(part.relative_to(log))


def test_a_file_is_missing_or_cut(log):
    part = part_of(log)
    data = part.read_bytes()
    part.unlink()
    assert (one(log).file, one(log).what) == (str(part.relative_to(log)), "missing; the manifest has it")
    part.write_bytes(data[:-1])
    assert one(log).where == "footer"
    views = log / "views.sql"
    part.write_bytes(data)
    text = views.read_bytes()
    views.write_bytes(text[1:])
    assert one(log).what == f"{len(text) - 1} bytes, not {len(text)}"


def test_the_journal_is_torn_damaged_or_has_a_hole(log):
    (file,) = log.glob(".journal/*.ffj")
    data = file.read_bytes()
    second = data.index(b"ffj1", 4)
    third = data.index(b"ffj1", second + 4)
    file.write_bytes(data[:-5])
    assert one(log).what == "torn"
    file.write_bytes(data[:second] + data[third:])
    assert (one(log).where, one(log).what) == (f"byte {second}", "frames 1 to 1 are missing")
    file.write_bytes(data[: second + 30] + b"?" + data[second + 31 :])
    assert (one(log).where, one(log).what) == (f"bytes {second} to {third}", "damaged")
    compact(log, print)
    assert one(log).file == f"{file.relative_to(log)}.damaged"
    assert one(log).cure.startswith("its whole frames are recovered")


def test_a_segment_whose_header_is_damaged_is_not_said_to_be_recovered(log):
    (file,) = log.glob(".journal/*.ffj")
    data = file.read_bytes()
    file.write_bytes(data[:30] + b"?" + data[31:])
    compact(log, print)
    assert one(log).cure.startswith("nothing of it is recovered")


def test_the_manifest_is_damaged_or_torn(log):
    file = log / "manifest.jsonl"
    data = file.read_bytes()
    file.write_bytes(data[:-2])
    assert [finding.where for finding in verify(log) if not finding.harmless] == ["its last line"]
    file.write_bytes(data.replace(b'"dataset":"d"', b'"dataset":"e"'))
    assert sorted((finding.file, finding.what) for finding in verify(log)) == [
        (str(part_of(log).relative_to(log)), "the manifest has no line for it"),
        ("manifest.jsonl", "damaged"),
    ]


def test_what_a_pass_leaves_for_the_next_is_harmless(log):
    (log / ".tmp-d+date=2026-09-22+x.parquet").write_bytes(b"half")
    (log / "notes.txt").write_text("hello")
    (segment,) = log.glob(".journal/*.ffj")
    kept = segment.read_bytes()
    compact(log, print)
    (log / ".tmp-d+date=2026-09-22+x.parquet").write_bytes(b"half")
    segment.write_bytes(kept)
    found = list(verify(log))
    assert [(finding.file, finding.harmless) for finding in found] == [
        (".tmp-d+date=2026-09-22+x.parquet", True),
        ("notes.txt", True),
    ]


def test_parts_before_their_line_are_harmless_and_others_are_not(log):
    (segment,) = log.glob(".journal/*.ffj")
    kept, lines = segment.read_bytes(), (log / "manifest.jsonl").read_bytes()
    before = set(log.glob("*/*/*.parquet"))
    compact(log, print, merge=False)
    (log / "manifest.jsonl").write_bytes(lines)
    segment.write_bytes(kept)
    new = {str(path.relative_to(log)) for path in {*log.glob("*/*/*.parquet")} - before}
    assert {finding.file for finding in verify(log) if finding.harmless} == new
    segment.unlink()
    assert {finding.file for finding in verify(log) if not finding.harmless} == new


def test_a_log_without_a_manifest_is_read_through(log):
    (log / "manifest.jsonl").unlink()
    assert all(finding.harmless for finding in verify(log))
    part = part_of(log)
    flip(part, 8 * 60)
    assert [f.file for f in verify(log) if not f.harmless] == [str(part.relative_to(log))]


def test_no_log(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FluxfastError, match="there is no log"):
            list(verify(folder))
