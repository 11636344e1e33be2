"""Can the simulation fail? Breaks the engine in a copy, one way at a time, until a seed shows it.

    python -m tests.simulation.mutants [WORD IN THE NAME]

The ways are in mutants.toml. Some five minutes for all. Run it after changing the engine or the simulation; a
mutant whose text is not found in the engine any more is reported as such.
"""

import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SEEDS: Final = 10_000
PATIENCE_S: Final = 120


def main() -> int:
    word = " ".join(sys.argv[1:])
    mutants = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["mutants"]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("fluxfast", "tests", "build", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
            subprocess.run(["cp", "-a", str(ROOT / part), str(copy)], check=True)
        for mutant in mutants:
            if word in mutant["name"]:
                said = verdict(copy, mutant["file"], mutant["old"], mutant["new"])
                missed += not said.startswith("caught")
                print(f"{mutant['name']:48} {said}", flush=True)
    return int(missed > 0)


def verdict(copy: Path, file: str, old: str, new: str) -> str:
    path = copy / file
    text = path.read_text()
    if text.count(old) != 1:
        return f"its text stands {text.count(old)} times in {file}"
    path.write_text(text.replace(old, new))
    try:
        build = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        done = subprocess.run(build, cwd=copy, capture_output=True, text=True, check=False)
        if done.returncode:
            return "does not compile:\n" + done.stdout + done.stderr
        return first_failure(copy)
    finally:
        path.write_text(text)


def first_failure(copy: Path) -> str:
    begin = time.monotonic()
    run = [sys.executable, "-m", "tests.simulation", "0", str(SEEDS)]
    with subprocess.Popen(run, cwd=copy, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(PATIENCE_S, process.kill)  # it may hang in C
        watchdog.start()
        line = process.stdout.readline().strip()
        watchdog.cancel()
        process.kill()
    if not line.startswith("seed"):
        return f"NOT CAUGHT: {line}"
    return f"caught in {time.monotonic() - begin:.1f} s, {line}"


if __name__ == "__main__":
    sys.exit(main())
