"""What the documentation shows is so: its files load, its commands print that, its keys are all the keys.

A YAML or CSV block begins with its file's name (``# site.yaml``); the blocks of a page lie in one folder, and
there its console blocks are run. A table after ``<!-- keys: FILE DEFINITION… -->`` is held against the JSON
Schema; ``… beyond OTHER`` leaves out the keys that OTHER has, too.
"""

import contextlib
import datetime
import importlib.util
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fluxfast.cli.demo import QUERY, site_file
from fluxfast.cli.group import COMMANDS
from fluxfast.config import load
from fluxfast.errors import ConfigError
from fluxfast.plan import compile_plan
from fluxfast.profiles import load_profile
from fluxfast.profiles.document import read_document
from fluxfast.profiles.types import BYTE_ORDERS
from fluxfast.table.quality import reason
from tests.support.command import fluxfast, free_port, invoked, simulating

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = ("one_device.py", "two_devices.py")
COMPARED = (  # what these print is compared to the letter
    "fluxfast check ", "fluxfast plan ", "fluxfast profile new ", "fluxfast profile check ",
    "fluxfast profile doc ", "fluxfast profile from-csv ",
)  # fmt: skip
HOSTS = {"127.0.1.1": "127.96.1.1", "127.0.2.1": "127.96.2.1"}  # so that a running demo is not in the way
SCHEMAS = {
    "site": ROOT / "fluxfast/config/site.schema.json",
    "profile": ROOT / "fluxfast/profiles/profile.schema.json",
}


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [text for name, text in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.M | re.S)
            if name == language]  # fmt: skip


def save_files(page: Path, folder: Path) -> list[Path]:
    """Write the YAML blocks of a page under their names."""
    demo = folder / "demo/site.yaml"  # which `make demo` leaves
    demo.parent.mkdir()
    demo.write_text(site_file("act"), encoding="utf-8")
    files = []
    for text in [*blocks(page, "yaml"), *blocks(page, "csv")]:
        name = re.match(r"# ([\w/.-]+\.(?:yaml|csv))\n", text)
        assert name, f"{page.name}: a block without a name:\n{text}"
        file = folder / name[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        files.append(file)
    return files


def commands(page: Path) -> list[tuple[str, str]]:
    """Return each command of the console blocks with what it is said to print."""
    return [
        (command, output)
        for text in blocks(page, "console")
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_load_and_commands_print_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for file in save_files(page, tmp_path):
        if file.suffix == ".csv":
            continue
        if file.name == "wrong.yaml":
            with pytest.raises(ConfigError):
                load(file)
        elif "points" in read_document(file).data:
            load_profile(str(file))
        else:
            compile_plan(load(file))
    for command, output in commands(page):
        if command.startswith(COMPARED):
            done = invoked(*command.split()[1:], cwd=tmp_path)
            assert done.stderr + done.stdout == output, command


def test_no_command_is_made_up() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for page in PAGES:
        for command, _ in commands(page):
            program, *args = command.removesuffix(" &").split()
            if program == "make":
                assert set(args) <= set(targets), command
            elif program == "fluxfast":
                assert args[0] in COMMANDS, command
            elif program.endswith("python"):
                assert (ROOT / args[0]).is_file(), command
            else:
                assert program in ("git", "pip"), command


def test_the_documents_examples_mean_what_they_say(tmp_path: Path) -> None:
    files = {file.name: file for file in save_files(ROOT / "docs/site-file.md", tmp_path)}
    bess = load(files["document-bess.yaml"]).devices[0]
    assert (bess.id, bess.name, bess.type) == ("uuid-here", "Site-BESS-01", "powerpack")
    assert (bess.modbus.host, bess.modbus.port, bess.modbus.unit) == ("192.168.1.100", 502, 1)
    assert (bess.modbus.timeout_ns, bess.modbus.retry_count) == (5_000_000_000, 3)
    assert load(files["document-meter.yaml"]).devices[0].modbus.unit == 2
    serial = load(files["document-serial.yaml"]).devices[0]
    assert (serial.id, serial.modbus.transport, serial.modbus.baud) == ("meter", "serial", 9600)


# ---- two devices, and their log ----


@pytest.fixture(scope="module")
def polled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a folder with the log of a run of docs/site.yaml, and what each of SCRIPTS printed there."""
    folder = tmp_path_factory.mktemp("polled")
    (folder / "docs").mkdir()
    port = str(free_port("127.96.1.1"))
    for name in ("site.yaml", *SCRIPTS):
        text = (ROOT / "docs" / name).read_text().replace("5020", port)
        for old, new in HOSTS.items():
            text = text.replace(old, new)
        (folder / "docs" / name).write_text(text)
    site, printed = folder / "docs/site.yaml", {}
    with simulating(site):
        for name in SCRIPTS:
            script = [sys.executable, folder / "docs" / name]
            done = subprocess.run(script, cwd=folder, capture_output=True, text=True, check=False, timeout=30)
            assert (done.returncode, done.stderr) == (0, ""), name
            printed[name] = done.stdout
        run = fluxfast("run", site, "--duration", "2s", "--log", folder / "demo/log")
        assert run.returncode == 0, run.stderr
    return folder, printed


def shape(text: str) -> list[str]:
    """Return the lines with every number alike."""
    return re.sub(r"\d[\d.,]*", "#", text).splitlines()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_prints_what_the_readme_says(name: str, polled: tuple[Path, dict[str, str]]) -> None:
    (said,) = [output for command, output in commands(README) if command.endswith(name)]
    assert shape(polled[1][name]) == shape(said)


def test_the_readme_shows_the_files_as_they_are() -> None:
    assert f"# docs/site.yaml\n{(ROOT / 'docs/site.yaml').read_text()}" in blocks(README, "yaml")
    for name in SCRIPTS:
        assert (ROOT / "docs" / name).read_text() in blocks(README, "python"), name
    script = (ROOT / "docs/two_devices.py").read_text()
    assert len([line for line in script.splitlines() if line]) == 11


def test_queries_of_the_readme_answer(
    polled: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(polled[0])
    scripts = [(ROOT / "docs" / name).read_text() for name in SCRIPTS]
    ran = 0
    for code in blocks(README, "python"):
        if code in scripts or importlib.util.find_spec(code.split()[1]) is None:
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, {})
        assert "b1" in printed.getvalue(), code
        ran += 1
    assert ran or importlib.util.find_spec("duckdb") is None


def test_queries_of_the_log_page_answer(polled: tuple[Path, dict[str, str]]) -> None:
    duckdb = pytest.importorskip("duckdb")
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    for sql in blocks(ROOT / "docs/log.md", "sql"):
        here = sql.replace("DIR", str(polled[0] / "demo/log"))
        query = re.sub(r"\d{4}-\d\d-\d\d", day, here).rstrip().rstrip(";")
        ((rows,),) = duckdb.sql(f"SELECT count(*) FROM ({query})").fetchall()
        assert rows, sql


def test_the_demo_ends_with_the_query_that_the_readme_shows() -> None:
    (said,) = [output for command, output in commands(README) if command == "make demo"]
    assert QUERY.format(log="demo/log") in said


# ---- references ----


def tables_of_keys() -> list[Any]:
    marker = r"<!-- keys: (\w+) ([\w ]+) -->\n((?:\|.*\n)+)"
    return [
        pytest.param(file, names.split(), table, id=names)
        for page in PAGES
        for file, names, table in re.findall(marker, page.read_text())
    ]


def definition(file: str, name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(SCHEMAS[file].read_text())
    found: dict[str, Any] = schema if name == "TOP" else schema["$defs"][name]
    return found


@pytest.mark.parametrize(("file", "names", "table"), tables_of_keys())
def test_every_key_is_documented_with_its_default(file: str, names: list[str], table: str) -> None:
    rows = [[cell.strip() for cell in row[1:-1].split("|")] for row in table.splitlines()[2:]]
    documented = {key.strip("`"): default for key, _, default, _ in rows}
    names, beyond = (names[: names.index("beyond")], names[-1]) if "beyond" in names else (names, None)
    definitions = [definition(file, name) for name in names]
    properties = {key: value for one in definitions for key, value in one["properties"].items()}
    if beyond is not None:
        properties = {
            key: properties[key] for key in properties.keys() - definition(file, beyond)["properties"]
        }
    assert documented.keys() == properties.keys()
    for key, default in documented.items():
        if key in definitions[0].get("required", ()):
            assert default == "required", key
        elif properties[key].get("default", "") != "" and key in definitions[0]["properties"]:
            shown = properties[key]["default"]
            shown = json.dumps(shown) if isinstance(shown, bool) else shown
            assert default == f"`{shown}`".replace(".0`", "`"), key
        else:
            assert not default.startswith("`"), key


def test_every_mapping_is_documented() -> None:
    tables = [param.values[:2] for param in tables_of_keys()]
    documented = {(file, name) for file, names in tables for name in names if name != "beyond"}
    for file, schema in SCHEMAS.items():
        names = {"TOP", *json.loads(schema.read_text())["$defs"]}
        assert {name for where, name in documented if where == file} == names


def test_byte_orders_are_drawn_right() -> None:
    text = (ROOT / "docs/profiles.md").read_text()
    drawn = re.findall(r"^\| `([A-D]{4})` \| `(.*?)` \| `(.*?)` \|", text, re.M)
    big_endian = dict(zip("ABCD", ("41", "C8", "00", "00"), strict=True))
    assert {order for order, _, _ in drawn} == set(BYTE_ORDERS[32])
    for order, first, second in drawn:
        assert f"{first} {second}".split() == [big_endian[letter] for letter in order]
    assert all(f"`{order}`" in text for orders in BYTE_ORDERS.values() for order in orders)


def test_reasons_are_those_of_the_code() -> None:
    rows = re.findall(
        r"^\| (\d+)[–,] ?(\d+) \| .*? \| (.*) \|$", (ROOT / "docs/architecture.md").read_text(), re.M
    )
    assert len(rows) == 3
    for first, last, reasons in rows:
        assert reasons.split("; ") == [reason(code) for code in range(int(first), int(last) + 1)]


def test_the_readme_lists_the_commands() -> None:
    rows = re.findall(r"^\| (`fluxfast .*?) \|", README.read_text(), re.M)
    assert [name for row in rows for name in re.findall(r"`fluxfast (\w+)", row)] == list(COMMANDS)


def test_the_manual_is_that_of_the_code(tmp_path: Path) -> None:
    subprocess.run([ROOT / "ci/commands", tmp_path / "commands.md"], check=True)
    manual = (ROOT / "docs/commands.md").read_text()
    assert (tmp_path / "commands.md").read_text() == manual, "run ci/commands"
    texts = re.findall(r"^##+ (fluxfast [^\n]*)\n\n```text\n(.*?)^```", manual, re.M | re.S)
    assert {name.split()[1] for name, _ in texts} == set(COMMANDS)
    for name, text in texts:
        assert "Example" in text, name


# ---- links, pictures, lines ----


def slugs(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in slugs(file), target


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {page.name for page in PAGES if f"docs/{page.name}" in README.read_text()}
    assert linked == {page.name for page in PAGES[1:]}


def test_pictures_are_small() -> None:
    for picture in [*ROOT.glob("docs/*.png"), *ROOT.glob("docs/*.svg")]:
        assert picture.stat().st_size < 200_000, picture


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_short(page: Path) -> None:
    prose = re.sub(r"^```console.*?^```$", "", page.read_text(), flags=re.M | re.S)
    assert [line for line in prose.splitlines() if len(line) > 110 and line[0] not in "|!"] == []
