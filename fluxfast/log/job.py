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
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from fluxfast.log.retention import Retention

NICE: Final = 10
RETRY_S: Final = 60.0
REMOTE: Final = (
    "FLUXFAST_LOG_REMOTE"  # in the environment: a URL may have secrets, and anybody sees arguments
)
UPLOAD: Final = "--upload"


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

    def close(self) -> None:
        """End what is under way: whoever makes the next pass goes on where it was."""
        self._pass.close()
        if self._upload is not None:
            self._upload.close()

    def last_upload(self, timeout_s: float) -> None:
        """Make the copies that are still to be made, as far as the time suffices."""
        if self._upload is not None and not self._upload.run_once(timeout_s):
            self._tell("not all copies are at the remote yet; the next start goes on")

    def _hear(self, said: Mapping[str, Any]) -> None:
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
        hear: Callable[[Mapping[str, Any]], None],
        after: Callable[[], None] | None = None,
    ) -> None:
        """``hear`` gets each line that it says; ``after`` is called when it has ended well."""
        self._what, self._arguments, self._environment = what, arguments, environment
        self._hear, self._after = hear, after
        self._changed = threading.Condition()
        self._wanted = self._closing = self._failing = False
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name=f"fluxfast-{what}", daemon=True)
        self._thread.start()

    def start(self) -> None:
        with self._changed:
            self._wanted = True
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            if self._process is not None:
                self._process.kill()
            self._changed.notify()
        self._thread.join()

    def run_once(self, timeout_s: float) -> bool:
        """Run it once more after ``close``; return whether it has ended well in time."""
        process = self._spawn()
        try:
            out, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return False
        return self._heard(out) and process.returncode == 0

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._wanted or self._closing, RETRY_S if self._failing else None
                )
                if self._closing:
                    return
                self._wanted = False
                self._process = self._spawn()
            out, _ = self._process.communicate()
            with self._changed:
                code, self._process = self._process.returncode, None
                if self._closing:
                    return
            self._heard(out)
            if code != 0 and not self._failing:
                self._hear(
                    {
                        "tell": f"{self._what} failed (exit code {code}); "
                        f"it is tried again every {RETRY_S:.0f} s"
                    }
                )
            self._failing = code != 0
            if code == 0 and self._after is not None:
                self._after()

    def _heard(self, out: str) -> bool:
        """Pass on what was said; return whether it was reached what had to be."""
        said = [json.loads(line) for line in out.splitlines()]
        for one in said:
            self._hear(one)
        return not any("away" in one for one in said)

    def _spawn(self) -> subprocess.Popen[str]:
        # A session of its own: Ctrl-C is for the station, which ends the job itself.
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "fluxfast.log", *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            close_fds=False,  # ours close by themselves; to look through 10,000 of them would hold up a tick
            env={**os.environ, "PYTHONPATH": path, **self._environment},
            text=True,
        )
