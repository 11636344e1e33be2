"""``fluxfast log`` and ``fluxfast query``: what they print, and how they end."""

import csv
import io
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from fluxfast.cli.log import log as log_command
from fluxfast.cli.query import query
from tests.support.command import FLUXFAST, started
from tests.support.logs import write_log
from tests.support.numbered import append, until_logged, writer


@pytest.fixture(scope="module")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log of a minute of a meter, which once did not answer, and of two packs."""
    path = tmp_path_factory.mktemp("cli") / "log"
    write_log(path, [float(k) if k else np.nan for k in range(120)])
    return path


@pytest.fixture
def log(written_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(written_once, tmp_path / "log"))


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Path]:
    """Return a log that is being written; five ticks of two devices are in its journal."""
    with writer(tmp_path / "live") as station:
        append(station, 0, 5)
        until_logged(station)
        yield tmp_path / "live"


def run(*args: object) -> Result:
    return CliRunner().invoke(log_command, list(map(str, args)))


def ask(*args: object) -> Result:
    return CliRunner().invoke(query, list(map(str, args)))


def first_part(log: Path, dataset: str = "acuvim2") -> Path:
    return next(log.glob(f"{dataset}/*/*.parquet"))


# ---- ls, stat ----


def test_ls(log):
    result = run("ls", log)
    assert result.exit_code == 0
    _, meters, packs = (line.split() for line in result.output.splitlines())
    assert meters[:2] == ["acuvim2", "1"]
    assert meters[4:] == ["120", "0", "2026-09-22", "00:00", "–", "00:00"]
    assert (packs[0], packs[4]) == ("powerpack", "240")
    assert max(map(len, result.output.splitlines())) <= 80


def test_ls_sees_the_journal(live):
    (line,) = run("ls", "--json", live).output.splitlines()
    assert json.loads(line) == {
        "dataset": "d", "files": 0, "bytes": 0, "rows": 10, "journal_rows": 10,
        "from": "2026-09-22T00:00:00+00:00", "to": "2026-09-22T00:00:04+00:00",
    }  # fmt: skip


def test_the_log_is_here_if_none_is_given(log):
    assert run("ls").output == run("ls", log).output
    assert ask("FROM acuvim2").output == ask("FROM acuvim2", log).output


def test_a_missing_file_is_told(log):
    next(log.glob("acuvim2/*/*.parquet")).unlink()
    assert "missing: acuvim2/" in run("ls", log).stderr
    assert run("ls", log).exit_code == 0


def test_stat(log):
    result = run("stat", log)
    assert result.exit_code == 0
    assert "  120 rows of 1 device, 2026-09-22 00:00 – 00:00 UTC\n" in result.output
    assert "  99.17 % of the rows can be used (119 good, 1 bad); 99.17 % of m1, S\n" in result.output
    (power,) = [line.split() for line in result.output.splitlines() if "power_total" in line]
    assert power[:3] == ["power_total", "double", "W"]
    assert power[-3:] == ["1", "1,000", "119,000"]
    assert max(map(len, result.output.splitlines())) <= 80


def test_stat_as_json(log):
    (line,) = run("stat", "--json", "--dataset", "acuvim2", log).output.splitlines()
    found = json.loads(line)
    (size,) = (path.stat().st_size for path in log.glob("acuvim2/*/*"))
    assert (found["rows"], found["points"], found["bytes_per_reading"]) == (120, 1, size / 120)
    assert found["usable"] == 119 / 120
    assert [column["name"] for column in found["columns"]][-1] == "power_total"
    assert found["columns"][-1]["nulls"] == 1


def test_stat_of_what_only_the_journal_has(live):
    result = run("stat", live)
    assert "  10 rows of 2 devices" in result.output
    assert "  0 B in 0 files; 10 rows only in the journal\n" in result.output


# ---- verify, recover, compact ----


def test_verify(log):
    result = run("verify", log)
    assert (result.exit_code, result.output.splitlines()[-1].endswith("checked; 0 findings")) == (0, True)
    part = next(log.glob("acuvim2/*/*.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    (log / "note").write_text("")
    result = run("verify", log)
    name = part.relative_to(log)
    assert result.exit_code == 1
    note, wrong, _ = result.output.splitlines()
    assert note == "note: note: not a file of the log (it may stay)"
    assert wrong.startswith(f"{name}: footer: ")
    _, first, last = map(json.loads, run("verify", "--json", log).output.splitlines())
    assert (first["event"], first["file"], first["harmless"]) == ("finding", str(name), False)
    assert (last["event"], last["findings"]) == ("end", 1)


def test_verify_of_a_log_that_is_written(live):
    assert (run("verify", live).exit_code, run("recover", live).exit_code) == (0, 0)
    assert "nothing to recover; 10 rows more are in the journal of a running station" in (
        run("recover", live).output
    )


def test_recover(live, tmp_path):
    left = Path(shutil.copytree(live, tmp_path / "left"))
    torn = Path(shutil.copytree(live, tmp_path / "torn"))
    (segment,) = torn.glob(".journal/*.ffj")
    segment.write_bytes(segment.read_bytes()[:-1])
    assert run("recover", left).output == f"{left}: 10 rows of 1 segment are Parquet now\n"
    assert run("recover", left).output == f"{left}: nothing to recover\n"
    result = run("recover", torn)
    told, last = result.output.splitlines()
    assert result.exit_code == 1
    assert told.endswith("bytes are torn off; the rest is recovered")
    assert last == f"{torn}: 8 rows of 1 segment are Parquet now"
    assert json.loads(run("recover", "--json", torn).output)["rows"] == 0


def test_compact(live, tmp_path):
    left = Path(shutil.copytree(live, tmp_path / "left"))
    result = run("compact", left)
    assert result.output == f"{left}: 10 rows of 1 segment of the journal\n"
    assert result.exit_code == 0
    assert run("compact", left).output == f"{left}: nothing to do\n"


def test_compact_copies_on_request(live, tmp_path):
    left, share = Path(shutil.copytree(live, tmp_path / "left")), tmp_path / "share"
    result = run("compact", left, "--remote", "share")
    assert (result.exit_code, "'share' is no URL" in result.output) == (3, True)
    share.mkdir()
    result = run("compact", left, "--remote", share)
    assert result.output.startswith(f"{left}: 10 rows of 1 segment of the journal; 3 files (")
    assert result.output.endswith(") copied\n")
    assert (share / "manifest.jsonl").exists()
    assert run("compact", left, "--remote", share).output == f"{left}: nothing to do\n"


@pytest.mark.parametrize("command", ["ls", "stat", "verify", "recover", "compact"])
def test_no_log(command, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in ("nowhere", "empty"):
        result = run(command, tmp_path / folder)
        assert (result.exit_code, len(result.output.splitlines())) == (3, 1)
    assert list((tmp_path / "empty").iterdir()) == []


# ---- export ----


def test_export_csv(log, tmp_path):
    out = tmp_path / "x.csv"
    times = ("--from", "2026-09-22T01:00:30+01:00", "--to", "2026-09-22T00:00:31")
    result = run("export", log, "-o", out, "--dataset", "powerpack", *times, "--device", "b1",
                 "--columns", "time,device,soe")  # fmt: skip
    assert result.output == f"{out}: 2 rows of powerpack, {out.stat().st_size} B\n"
    assert list(csv.reader(out.read_text().splitlines())) == [
        ["time", "device", "soe"],
        ["2026-09-22T00:00:30.000000Z", "b1", "50"],
        ["2026-09-22T00:00:30.500000Z", "b1", "50"],
    ]


def test_export_tells_what_is_wrong(log, tmp_path):
    for args, said in (
        (["-o", "x.doc"], "none of .csv, .arrow, .xlsx"),
        (["-o", "x.csv"], "which one? acuvim2, powerpack"),
        (["-o", "x.csv", "--dataset", "acuvim"], "no dataset acuvim (did you mean 'acuvim2'?)"),
        (["-o", "x.csv", "--dataset", "acuvim2", "--columns", "soc"], "acuvim2 has no column soc"),
        (["-o", "x.csv", "--dataset", "acuvim2", "--from", "noon"], "'noon' is no time"),
    ):
        result = run("export", log, *args)
        assert result.exit_code == 2
        assert said in result.output
    result = run("export", log, "-o", tmp_path / "no/x.csv", "--dataset", "acuvim2")
    assert (result.exit_code, len(result.output.splitlines())) == (3, 1)
    assert not list(tmp_path.glob("*x.*"))


# ---- query ----


def test_query_prints_a_table(log):
    result = ask(
        "SELECT device, count(*) AS n, max(time) AS newest FROM powerpack GROUP BY 1 ORDER BY 1", log
    )
    assert [line.split() for line in result.output.splitlines()] == [
        ["device", "n", "newest"],
        ["b1", "120", "2026-09-22", "00:00:59.5Z"],
        ["b2", "120", "2026-09-22", "00:00:59.5Z"],
    ]


def test_query_sees_the_journal_and_the_long_view(live):
    result = ask("SELECT sum(value)::INT AS s, any_value(unit) AS u FROM d_long", live, "--json")
    assert json.loads(result.output) == {"s": 20, "u": "kW"}


def test_query_knows_what_the_log_says_of_itself(log):
    result = ask("SELECT unit FROM columns WHERE \"column\" = 'power_total'", "--csv")
    assert result.output == '"unit"\n"W"\n'


def test_query_as_json_and_csv(log):
    sql = "SELECT time, reason, [1, 2] AS l, 1.50::DECIMAL(4, 2) AS d FROM acuvim2 ORDER BY time LIMIT 1"
    assert json.loads(ask(sql, "--json").output) == {
        "time": "2026-09-22T00:00:00Z", "reason": "timeout", "l": [1, 2], "d": "1.50",
    }  # fmt: skip
    assert list(csv.reader(io.StringIO(ask(sql, "--csv").output))) == [
        ["time", "reason", "l", "d"],
        ["2026-09-22T00:00:00.000000Z", "timeout", "[1, 2]", "1.50"],
    ]


def test_query_to_a_file(log, tmp_path):
    for name in ("x.parquet", "x.csv"):
        assert ask("FROM powerpack", "-o", name).output == f"{name}: 240 rows\n"
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 240
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 241
    result = ask("FROM powerpack", "-o", "x.xml")
    assert (result.exit_code, "neither .parquet nor .csv" in result.output) == (2, True)


def test_an_interval_is_told_in_words_and_goes_to_files(log, tmp_path):
    sql = """SELECT time - lag(time) OVER (ORDER BY time) AS "the ""gap", 1 AS n FROM acuvim2 LIMIT 2"""
    assert ask(sql, "--csv").output.splitlines() == ['"the ""gap","n"', ",1", '"00:00:00.5",1']
    assert ask(sql, "-o", "x.parquet").output == "x.parquet: 2 rows\n"
    assert pq.read_table(tmp_path / "x.parquet")['the "gap'].to_pylist() == [None, "00:00:00.5"]


def test_query_to_a_folder_that_is_not_there(log):
    for name in ("nix/x.parquet", "nix/x.csv"):
        result = ask("FROM powerpack", "-o", name)
        assert (result.exit_code, result.stderr) == (3, f"{name}: No such file or directory\n")


def test_a_long_answer_is_cut_on_the_screen(log):
    result = ask("FROM powerpack")
    assert len(result.stdout.splitlines()) == 201
    assert "the first 200 rows" in result.stderr
    assert len(ask("FROM powerpack", "--csv").stdout.splitlines()) == 241


def test_a_wrong_question_is_told_in_the_words_of_duckdb(log):
    for sql, said in (
        ("SELEC 1", 'Parser Error: syntax error at or near "SELEC"'),
        ("SELECT x FROM acuvim2", "Binder Error"),
        ("FROM nix", "Catalog Error: Table with name nix does not exist!"),
        ("SELECT device::INT FROM acuvim2", "Could not convert string 'm1' to INT32"),
    ):
        result = ask(sql)
        assert result.exit_code == 2
        assert said in result.stderr
        assert "Traceback" not in result.stderr


def test_no_question(log):
    assert ask("CREATE TABLE t (x INT)").exit_code == 0
    assert ask("SET threads = 1").exit_code == 0


def test_ctrl_c_ends_a_query(log):
    begun = log.parent / "begun.csv"
    endless = "SELECT count(*) FROM range(1000000000000) WHERE range % 7 = 3"
    with started("query", f"COPY (SELECT 1) TO '{begun}'; {endless}", log, "--csv") as process:
        while not begun.exists():
            time.sleep(0.01)
        code, out, err, _ = process.end(signal.SIGINT)
    assert (code, out) == (1, "")
    assert err.strip() == "Aborted!"


def test_a_reader_that_leaves_is_no_error(log):
    command = [*FLUXFAST, "query", "SELECT range FROM range(10000000)", str(log), "--csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b'"range"\n'
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_an_arrow_file_has_what_the_log_has(log, tmp_path):
    run("export", log, "-o", tmp_path / "x.arrow", "--dataset", "acuvim2", "--units")
    table = pa.ipc.open_file(tmp_path / "x.arrow").read_all()
    assert table.schema.names[-2:] == ["power_total [W]", "date"]
    assert table.num_rows == 120
    assert table["power_total [W]"].null_count == 1


# ---- what is damaged, or of others ----


def test_stat_of_a_damaged_part_is_one_line(log):
    part = first_part(log)
    chunk = pq.read_metadata(part).row_group(0).column(pq.read_schema(part).names.index("quality"))
    data = bytearray(part.read_bytes())
    begin = chunk.dictionary_page_offset
    data[begin : begin + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    part.write_bytes(data)
    result = run("stat", log, "--dataset", "acuvim2")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert result.stderr.endswith("(fluxfast log verify tells more)\n")


def test_a_part_that_is_cut_is_named_and_does_not_hinder_recovery(log):
    part = first_part(log)
    part.write_bytes(part.read_bytes()[:500])
    result = run("ls", log)
    assert (result.exit_code, result.stderr.startswith(f"{part}: ")) == (3, True)
    result = run("recover", log)
    assert (result.exit_code, result.output) == (0, f"{log}: nothing to recover\n")


def test_a_damaged_table_of_columns_hinders_only_who_asks_for_it(log):
    (log / "columns/columns.parquet").write_bytes(b"PAR1")
    assert ask("SELECT count(*) AS n FROM acuvim2", "--csv").output == '"n"\n120\n'
    result = ask("FROM columns")
    assert result.exit_code != 0
    assert "columns.parquet cannot be read: fluxfast log verify tells more" in result.stderr


def test_a_file_of_others_without_times(log):
    pq.write_table(pa.table({"a": [1, 2, 3]}), first_part(log).with_name("other.parquet"))
    for command in ("ls", "stat"):
        result = run(command, log)
        assert (result.exit_code, "123" in result.output) == (0, True)


def test_a_folder_of_other_parquet_files_is_no_log(tmp_path):
    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "other.parquet")
    result = run("verify", tmp_path)
    assert (result.exit_code, result.stderr) == (3, f"{tmp_path}: there is no log\n")


def test_a_folder_of_logs_is_no_log(log, tmp_path):
    assert run("verify", tmp_path).exit_code == 3


@pytest.mark.parametrize("command", [["log", "ls"], ["query", "FROM acuvim2", "--csv"]])
def test_output_to_a_full_disk_is_told_in_a_line(log, command):
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([*FLUXFAST, *command], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (3, "cannot write the output: No space left on device\n")
