"""Memory for one device more, of a client that polls: 90 registers read, decoded and kept in columns.

A client is run with few devices and with many; its cost is what its process grew by between the two, a
device: everything it holds for one after a tick, garbage collected where there is a collector. Also said:
what it holds with many, in MB. libmodbus, which cannot watch 10,000, is run with 100 and 1,000.

What it does not show: the kernel's sockets, which are no process's; control; and the log.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from apart import Apart, python, say, simulator
from clients import VARIANTS, clients, prepare

FIRST_IP, PORT, PERIOD_MS, TICKS = "127.44.64.1", 5412, 1_000, 2
SIZES = 100, 1_000, 10_000
LEFT_OUT = ("C floor", *VARIANTS)  # they hold what their like hold, or less


def grow(name: str, few: str, many: str) -> None:
    """Run a client in two folders, each named after how many devices its files have."""
    held, right = [], True
    for folder in (Path(few), Path(many)):
        command = json.loads((folder / "commands").read_text())[name]
        with (folder / "asked").open() as asked:
            ran = subprocess.run(command, stdin=asked, stdout=subprocess.PIPE, text=True, check=True)
        result = json.loads(ran.stdout.splitlines()[-1])
        held.append(result["said"]["resident"])
        right = right and result["right"]
    say((held[1] - held[0]) / (int(Path(many).name) - int(Path(few).name)), right, said={"MB": held[1] / 1e6})


@contextmanager
def devices(folder: Path) -> Iterator[Mapping[str, list[str]]]:
    """Serve all meters; the command that measures a client."""
    names: dict[str, tuple[int, int]] = {}
    for few, many in zip((0, *SIZES), SIZES, strict=False):
        site = prepare(folder / str(many), many, PERIOD_MS, FIRST_IP, PORT)
        commands = clients(site.parent, many, TICKS, PERIOD_MS)
        (site.parent / "commands").write_text(json.dumps(commands))
        names |= {name: (few, many) for name in commands if name not in LEFT_OUT}
    with simulator(folder / str(SIZES[-1]) / "site.yaml"):
        yield {
            name: python(__file__, name, *(folder / str(size) for size in sizes))
            for name, sizes in names.items()
        }


CASES = [Apart("memory/device", "bytes a device", devices)]

if __name__ == "__main__":
    grow(*sys.argv[1:])
