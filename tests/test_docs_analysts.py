"""What docs/analysts.md shows runs, on the log of a station that controls two batteries."""

import contextlib
import io
from pathlib import Path

import polars as pl
import pytest

from fluxfast import open_log
from tests.support.command import fluxfast, free_port, simulating
from tests.test_docs import ROOT, blocks

PAGE = ROOT / "docs/analysts.md"
SITE = """
site: Analysts
poll: {{every: 500ms}}
control: {{action: act, modes: [{{type: fixed_power, power_kw: 50}}]}}
devices:
  bess:
    - {{id: "b{{n}}", count: 2, type: powerpack, capacity_kwh: 400, rated_power_kw: 200,
       modbus: {{host: 127.97.1.1, port: {port}}}}}
  meters:
    - {{id: m1, type: acuvim2, role: grid, modbus: {{host: 127.97.2.1, port: {port}}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analyst")
    site = folder / "site.yaml"
    site.write_text(SITE.format(port=free_port("127.97.1.1")))
    with simulating(site):
        ran = fluxfast("run", site, "--duration", "5s", "--log", folder / "log")
    assert ran.returncode == 0, ran.stderr
    return folder


def test_python_runs_from_top_to_bottom(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for code in blocks(PAGE, "python"):
            exec(code, names)
    first, *_ = printed.getvalue().splitlines()
    assert f"print(log.datasets)  # {first}\n" in PAGE.read_text()
    newest, quarters = names["newest"], names["quarters"]
    assert isinstance(newest, pl.DataFrame)
    assert isinstance(quarters, pl.DataFrame)
    assert (len(newest), quarters["device"].unique().to_list()) == (2, ["m1"])
    assert (folder / "b1.csv").read_text().count("b1") > 5


@pytest.mark.parametrize("sql", blocks(PAGE, "sql"), ids=lambda sql: sql.splitlines()[0][:60])
def test_sql_answers(sql: str, folder: Path) -> None:
    assert open_log(folder / "log").duckdb().sql(sql.rstrip().rstrip(";")).fetchall()


def test_what_reads_the_files_alone_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    duckdb, pandas = pytest.importorskip("duckdb"), pytest.importorskip("pandas")
    (text,) = blocks(PAGE, "text")
    how = dict(line.split(maxsplit=1) for line in text.splitlines())
    rows = open_log("log").dataset("powerpack").count_rows()
    assert len(duckdb.sql(how["DuckDB"]).fetchall()) == rows
    assert len(eval(how["Polars"], {"pl": pl}).collect()) == rows
    assert len(eval(how["pandas"], {"pd": pandas})) == rows
