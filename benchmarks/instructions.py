"""Instructions that each stage takes for one item, counted by valgrind: the same in every run, on any load.

    python benchmarks/instructions.py [--json]

Starts itself under callgrind, which counts only between the marks of marks.c. It counts what runs outside
the kernel of the operating system, our compiled code and what of Python and NumPy belongs to the call.
"""

import argparse
import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
RUNS = 3


def count() -> dict[str, tuple[float, str]]:
    """Return {stage: (instructions for an item, what an item is)}."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "marks.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, HERE / "marks.c"], check=True)
        command = [
            "valgrind", "--tool=callgrind", "--instr-atstart=no", "--combine-dumps=no",
            f"--callgrind-out-file={folder}/out",
            sys.executable, str(Path(__file__)), "--inside", str(library),
        ]  # fmt: skip
        environment = {
            **os.environ,
            "PYTHONHASHSEED": "0",
            "PYTHONMALLOC": "malloc",
            "OPENBLAS_NUM_THREADS": "1",
        }
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if ran.returncode:
            sys.exit(f"valgrind failed: {ran.stderr.strip().splitlines()[-1:]}")
        counted = {}
        for dump in Path(folder).glob("out.*"):
            text = dump.read_text()
            trigger = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.M)
            totals = re.search(r"^totals: (\d+)", text, re.M)
            if trigger and totals:
                counted[trigger[1]] = int(totals[1])
        told = json.loads(ran.stdout.splitlines()[-1])  # the simulator has said something too
    return {name: (counted[name] / RUNS / items, of) for name, (items, of) in told.items()}


def inside(library: str) -> None:
    """Run every stage between marks; print {stage: (items, what an item is)}."""
    from stages import stages

    marks = ctypes.CDLL(library)
    told = {}
    for stage in stages():
        stage.run()
        marks.marks_begin()
        for _ in range(RUNS):
            stage.run()
        marks.marks_end(stage.name.encode())
        told[stage.name] = (stage.items, stage.of)
    print(json.dumps(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    counted = count()
    if asked.json:
        print(json.dumps({name: figure for name, (figure, _) in counted.items()}))
        return
    for name, (figure, of) in counted.items():
        print(f"{name:28} {figure:10.1f} instructions a {of}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2])
    else:
        main()
