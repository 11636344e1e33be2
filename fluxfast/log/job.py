"""Compaction while a station runs: in a process of its own, which lives as long as a pass takes.

So it takes no time of the loop, no memory between passes, and the memory of a pass is given back whole. The
copies to the remote are made by another one, so that no network and no share that hangs holds a pass up.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from fluxfast.log.retention import Retention

NICE: Final = 10
RETRY_S: Final = 60.0
REMOTE: Final = "FLUXFAST_LOG_REMOTE"  # of the environment: URLs may hold secrets, and arguments are public
UPLOAD: Final = "--upload"
AWAY_CLOSE_S: Final = 5.0  # the last attempt, when the ones before have failed
MAX_TOLD: Final = 100

Said = Mapping[str, str]  # {"tell": text}, {"away": why} or {"reached": URL}


class CompactionJob:
    """Makes a pass whenever asked to, and after each one the copies."""

    def __init__(
        self, root: Path, tell: Callable[[str], None], retention: Retention, remote: str | None
    ) -> None:
        """``tell`` gets a line for what is out of the ordinary, on a thread of this object."""
        self._tell = tell
        self._away = False
        arguments = [str(root), json.dumps(asdict(retention))]
        self._upload = None
        if remote is not None:
            self._upload = _Process("upload", [*arguments, UPLOAD], {REMOTE: remote}, self._hear)
        after = None if self._upload is None else self._upload.start
        self._pass = _Process("compaction", arguments, {}, self._hear, after)

    def start(self) -> None:
        """Ask for a pass; any thread may call it."""
        self._pass.start()

    def close(self, timeout_s: float) -> bool:
        """End what is under way, if anything: whoever makes the next pass goes on where it was.

        Return False if the pass does not end, for the disk hangs.
        """
        if self._upload is not None:
            self._upload.close(timeout_s)
        return self._pass.close(timeout_s)

    def last_upload(self, timeout_s: float) -> None:
        """Make the copies that are still to be made, as far as the time suffices."""
        if self._away:
            timeout_s = min(timeout_s, AWAY_CLOSE_S)
        if self._upload is not None and not self._upload.run_once(timeout_s):
            self._tell("not all copies are at the remote yet; the next start goes on")

    def _hear(self, said: Said) -> None:
        if (text := said.get("tell")) is not None:
            self._tell(text)
        elif (away := said.get("away")) is not None:
            if not self._away:
                self._away = True
                self._tell(f"{away}; copies wait here, and each pass tries again")
        elif "reached" in said and self._away:
            self._away = False
            self._tell(f"{said['reached']} can be reached again")


class _Process:
    """``python -m fluxfast.log`` with some arguments, whenever asked for; one at a time."""

    def __init__(
        self,
        what: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        hear: Callable[[Said], None],
        after: Callable[[], None] | None = None,
    ) -> None:
        """``hear`` gets each line that it says; ``after`` is called when it has ended well."""
        self._what, self._arguments, self._environment = what, arguments, environment
        self._hear, self._after = hear, after
        self._changed = threading.Condition()
        self._wanted = self._closing = self._failing = False
        self._told: list[Said] = []  # by one that failed
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name=f"fluxfast-{what}", daemon=True)
        self._thread.start()

    def start(self) -> None:
        with self._changed:
            self._wanted = True
            self._changed.notify()

    def close(self, timeout_s: float) -> bool:
        with self._changed:
            self._closing = True
            if self._process is not None:
                self._process.kill()
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def run_once(self, timeout_s: float) -> bool:
        """Run it once more after ``close``; return whether it has ended well in time."""
        try:
            process = self._spawn()
        except OSError:
            return False
        try:
            out, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            with suppress(subprocess.TimeoutExpired):  # what hangs may hang for good
                process.communicate(timeout=1)
            return False
        lines = _read(out)
        self._report(lines, process.returncode)
        return process.returncode == 0 and not any("away" in line for line in lines)

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
                    self._process, code = None, -1
                    lines: list[Said] = [{"tell": f"{self._what} failed: {error}"}]
            if self._process is not None:
                out, _ = self._process.communicate()
                lines, code = _read(out), self._process.returncode
            with self._changed:
                self._process = None
                if self._closing:
                    return
            self._report(lines, code)
            if code == 0 and self._after is not None:
                self._after()

    def _report(self, lines: list[Said], code: int) -> None:
        if code == 0:
            self._failing, self._told = False, []
        elif not self._failing:
            self._failing = True
            again = f"{self._what} ended with exit code {code}; it is tried again every {RETRY_S:g} s"
            lines = [*lines, {"tell": again}]
        for line in lines:
            if line not in self._told:  # once, however often it is tried
                self._hear(line)
        if code != 0:
            self._told = (self._told + lines)[-MAX_TOLD:]

    def _spawn(self) -> subprocess.Popen[str]:
        # A group of its own: Ctrl-C is for the station, which ends the job itself. No session of its own, for
        # Linux shares the processors out to sessions first: to be nice counts only within one (autogroup).
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "fluxfast.log", *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
            close_fds=False,  # ours close by themselves; to look through 10,000 of them would hold up a tick
            env={**os.environ, "PYTHONPATH": path, **self._environment},
            text=True,
        )


def _read(out: str) -> list[Said]:
    lines: list[Said] = []
    for line in out.splitlines():
        with suppress(ValueError, AttributeError):  # the last one of a process that was killed
            lines.append({str(what): str(text) for what, text in json.loads(line).items()})
    return lines
