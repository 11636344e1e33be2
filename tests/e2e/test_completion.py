"""The shell's completion, asked as bash asks it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from fluxfast.cli.group import COMMANDS, cli
from tests.support.command import invoked

SITE = "site: S\ndevices: {bess: [{id: b1, name: North, type: powerpack, modbus: {host: 127.0.1.1}}]}\n"


def offered(*words: str) -> list[str]:
    """Return the kind and the text of what is offered for the last word."""
    items = BashComplete(cli, {}, "fluxfast", "_FLUXFAST_COMPLETE").get_completions(
        list(words[:-1]), words[-1]
    )
    return [f"{item.type},{item.value}" for item in items]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["re"], ["plain,read", "plain,replay", "plain,report"]),
        (["read", "si"], ["file,si"]),
        (["read", "site.yaml", ""], ["plain,b1", "plain,North"]),
        (["read", "site.yaml", "North", "so"], ["plain,soe"]),
        (["write", "site.yaml", "b1", "tar"], ["plain,target_power="]),
        (["doctor", "site.yaml", "N"], ["plain,North"]),
        (["profile", "doc", "acuvim2_"], ["plain,acuvim2_vendor"]),
        (["read", "broken.yaml", ""], []),
        (["read", "192.168.1.100", ""], []),
        (["run", "--du"], ["plain,--duration"]),
    ],
)
def test_what_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "broken.yaml").write_text("devices: [")
    assert offered(*words) == expected


def test_all_commands_are_offered_without_importing_any() -> None:
    asked = {"COMP_WORDS": "fluxfast ", "COMP_CWORD": "1", "_FLUXFAST_COMPLETE": "bash_complete"}
    call = (
        "import atexit, sys; from fluxfast.cli.group import cli; "
        "atexit.register(lambda: print('numpy' in sys.modules)); cli(prog_name='fluxfast')"
    )
    done = subprocess.run(
        [sys.executable, "-c", call], env={**os.environ, **asked}, capture_output=True, text=True
    )
    assert (done.stderr, done.stdout.split()) == ("", [*(f"plain,{name}" for name in COMMANDS), "False"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_reads(shell: str) -> None:
    done = invoked("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_FLUXFAST_COMPLETE" in done.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True)
