"""`fluxfast report` on the log of a real run, and as users get it wrong."""

import json
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.command import fluxfast, free_port, invoked, parquet_files, simulating
from tests.support.day_logs import DAY, battery, ticks, timeouts, write

DONE, BAD_INPUT, COULD_NOT = 0, 2, 3
HOST = "127.83.17"
PNG = b"\x89PNG\r\n\x1a\n"


def site(name: str, number: int) -> str:
    port = free_port(f"{HOST}.{number}")
    return f"""
  - site: {name}
    devices:
      bess: [{{id: "{name}-b{{n}}", count: 3, type: powerpack, capacity_kwh: 400, rated_power_kw: 200,
              modbus: {{host: {HOST}.{number}, port: {port}}}}}]
      meters: [{{id: {name}-m, type: acuvim2, role: grid,
                modbus: {{host: {HOST}.{number + 100}, port: {port}}}}}]
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of two simulated sites that decide in shadow."""
    folder = tmp_path_factory.mktemp("reported")
    control = "control: {action: shadow, modes: [{type: peak_shaving, import_limit_kw: 100}]}\n"
    (folder / "site.yaml").write_text(
        f"poll: {{every: 200ms}}\nlog: {{dir: {folder}/log}}\n{control}"
        f"sites:{site('Nord', 1)}{site('Sued', 11)}"
    )
    with simulating(folder / "site.yaml"):
        run = fluxfast("run", folder / "site.yaml", "--duration", "3s")
    assert run.returncode == DONE, run.stderr
    return folder / "log"


def test_a_page_for_each_site_and_a_list(log: Path, tmp_path: Path) -> None:
    done = fluxfast("report", log, "--out", "out", "--tz", "UTC", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (DONE, "")
    pages = sorted(file.name for file in (tmp_path / "out").iterdir())
    day = pages[0][:10]
    assert pages == [
        f"{day}-Nord.html",
        f"{day}-Nord.png",
        f"{day}-Sued.html",
        f"{day}-Sued.png",
        "index.html",
    ]
    assert done.stdout.startswith(f"{day}, 2 sites: out/index.html, out/{day}-Nord.html")
    assert (tmp_path / f"out/{day}-Nord.png").read_bytes().startswith(PNG)
    text = (tmp_path / f"out/{day}-Nord.html").read_text()
    rows = {"powerpack": 0, "acuvim2": 0}
    for name in rows:
        for file in parquet_files(log / name):
            column = pq.read_table(file, columns=["device"], filters=[("site", "=", "Nord")])
            rows[name] += len(column)
    # Every row of the log stands in the page: as many as there are of each device.
    for name, devices in (("Nord-b1", 3), ("Nord-m", 1)):
        each = rows["powerpack" if devices == 3 else "acuvim2"] // devices
        assert f">{name}</td>" in text
        assert f">{each:,}</td>" in text
    for what in ("grid import", "state of energy", "peak_shaving", "shadow", "a reading every 200 ms"):
        assert what in text, what
    assert f'href="{day}-Sued.html"' in (tmp_path / "out/index.html").read_text()


def test_one_site_without_a_picture(log: Path, tmp_path: Path) -> None:
    done = invoked("report", log, "--site", "Sued", "--out", tmp_path / "out", "--no-png")
    assert (done.returncode, done.stderr) == (DONE, "")
    (page,) = (tmp_path / "out").iterdir()
    assert "Nord" not in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["LOG", "--day", "2026-11-20"], COULD_NOT, "nothing of 2026-11-20; it has 2026-11-22"),
        (["LOG", "--day", "tomorrow"], BAD_INPUT, "'tomorrow' is no day"),
        (["LOG", "--tz", "Mars"], BAD_INPUT, "no time zone 'Mars'"),
        (["LOG", "--site", "Ost"], COULD_NOT, "no site 'Ost' on that day; it has S"),
        (["LOG", "--out", "/dev/null/x"], COULD_NOT, "cannot write /dev/null/x"),
        (["nowhere"], COULD_NOT, "nowhere: no such folder"),
        (["EMPTY"], COULD_NOT, "there is no log"),
    ],
)
def test_what_users_get_wrong(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    (tmp_path / "EMPTY").mkdir()
    write(tmp_path / "LOG", "powerpack", [battery("b1", ticks(10))])
    done = invoked("report", *arguments, *([] if "--tz" in arguments else ["--tz", "UTC"]), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report").exists() or not [*(tmp_path / "report").iterdir()]


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    write(tmp_path / "log", "powerpack", [battery("b1", ticks(1200))])
    last = parquet_files(tmp_path / "log")[-1]
    last.write_bytes(last.read_bytes()[:-100])
    done = invoked("report", tmp_path / "log", cwd=tmp_path)
    assert done.returncode == COULD_NOT
    assert done.stderr.startswith("cannot read the log")
    assert last.name in done.stderr
    assert "Traceback" not in done.stderr


def test_site_names_become_files(tmp_path: Path) -> None:
    names = ["../../etc", "..", "a/b", "a b", "a\\b", "", "x" * 300]
    write(tmp_path / "log", "powerpack", [battery("b", ticks(3), site=name) for name in names])
    done = invoked("report", "log", "--no-png", "--tz", "UTC", cwd=tmp_path)
    assert done.returncode == DONE, done.stderr
    pages = [file.name for file in (tmp_path / "report").iterdir()]
    assert len(pages) == len(names) + 1
    assert all(name == "index.html" or name.startswith(str(DAY)) for name in pages)


def test_a_phone_has_no_need_to_scroll_sideways(tmp_path: Path) -> None:
    """Chromium lays the page out at 390 pixels; a stylesheet that overflows would make it wider."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium here: apt-get install chromium")
    write(
        tmp_path / "log",
        "powerpack",
        [battery(f"a-long-name-of-a-device-{k}", ticks(600), bad=timeouts(9, k)) for k in range(9)],
    )
    assert invoked("report", "log", "--no-png", "--tz", "UTC", cwd=tmp_path).returncode == DONE
    (page,) = (tmp_path / "report").iterdir()
    # The page itself has a policy without scripts, so a frame around it would measure nothing: take it out.
    text = page.read_text()
    policy = text[text.index('<meta http-equiv="Content-Security-Policy"') :].split(">")[0] + ">"
    script = (
        "<script>document.title=JSON.stringify([innerWidth,document.documentElement.scrollWidth])</script>"
    )
    page.write_text(text.replace(policy, "").replace("</body>", f"{script}</body>"))
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path}/profile", "--window-size=500,900", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    title = done.stdout.split("<title>")[1].split("</title>")[0]
    width, needed = json.loads(title)
    assert needed <= width
