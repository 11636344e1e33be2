"""Compaction while a station runs: in a process of its own, which lives as long as a pass takes.

So it takes no time of the loop, no memory between passes, and the memory of a pass is given back whole.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

NICE: Final = 10
RETRY_S: Final = 60.0
MAX_TOLD: Final = 100


class CompactionJob:
    """Runs a pass whenever asked to; one at a time."""

    def __init__(self, root: Path, tell: Callable[[str], None]) -> None:
        """``tell`` gets a line for what is out of the ordinary, on a thread of this object."""
        self._root, self._tell = root, tell
        self._changed = threading.Condition()
        self._wanted = self._closing = self._failing = False
        self._told: list[str] = []  # by a pass that failed
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="fluxfast-compaction", daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Ask for a pass; any thread may call it."""
        with self._changed:
            self._wanted = True
            self._changed.notify()

    def close(self, timeout_s: float) -> bool:
        """End the pass that is under way, if any: whoever makes the next one goes on where it was.

        Return False if it does not end, for the disk hangs.
        """
        with self._changed:
            self._closing = True
            if self._process is not None:
                self._process.terminate()
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._wanted or self._closing, RETRY_S if self._failing else None
                )
                if self._closing:
                    return
                self._wanted = False
                try:
                    self._process = self._spawn()
                except OSError as error:  # no memory, no processes left
                    self._process, lines, code = None, [f"compaction failed: {error}"], -1
            if self._process is not None:
                out, _ = self._process.communicate()
                lines, code = _read(out), self._process.returncode
            with self._changed:
                self._process = None
                if self._closing:
                    return
            self._report(lines, code)

    def _report(self, lines: list[str], code: int) -> None:
        if code == 0:
            self._failing, self._told = False, []
        elif not self._failing:
            self._failing = True
            lines = [*lines, f"compaction ended with exit code {code}; it is tried again every {RETRY_S:g} s"]
        for line in lines:
            if line not in self._told:  # once, however often it is tried
                self._tell(line)
        if code != 0:
            self._told = (self._told + lines)[-MAX_TOLD:]

    def _spawn(self) -> subprocess.Popen[str]:
        # A session of its own: Ctrl-C is for the station, which ends the job itself.
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "fluxfast.log", str(self._root)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            close_fds=False,  # ours close by themselves; to look through 10,000 of them would hold up a tick
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )


def _read(out: str) -> list[str]:
    lines = []
    for line in out.splitlines():
        with suppress(ValueError, KeyError, TypeError):  # the last one of a process that was killed
            lines.append(str(json.loads(line)["tell"]))
    return lines
