"""What ``fluxfast run`` shows while it runs, from a thread of its own.

A terminal that was stopped with Ctrl-S, or a reader that takes no more lines, holds up this thread and
nobody else: the loop only leaves things here, and leaves out what finds no room.
"""

import json
import queue
import sys
import threading
import time
from contextlib import nullcontext
from typing import Final, Self

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from fluxfast.cli.pipes import drop_unread_output
from fluxfast.cli.status import line, render
from fluxfast.status import Status
from fluxfast.trace import Frame

STATUS_EVERY_S: Final = 0.5  # as often as a status may be given here
LINE_EVERY_S: Final = 10.0
FIRST_LINES_EVERY_S: Final = 2.0  # while connecting
JSON_EVERY_S: Final = 1.0
WAITING: Final = 10_000  # frames and statuses that wait to be shown
LAST_WORDS_S: Final = 1.0


class Display:
    """Shows statuses and frames; a context manager. ``with_frames`` leaves the screen to them."""

    def __init__(self, *, as_json: bool, with_frames: bool) -> None:
        """Take JSON lines on stdout, a live view on a terminal's stderr, or else a line now and then."""
        self._as_json = as_json
        self._console = Console(stderr=True)
        self._is_live = self._console.is_terminal and not as_json and not with_frames
        self._waiting: queue.Queue[Status | Frame | None] = queue.Queue(WAITING)
        self._lost = 0
        self._next_line = 0.0
        self._thread = threading.Thread(target=self._work, name="fluxfast-display", daemon=True)

    def show(self, what: Status | Frame) -> None:
        """Show it when there is time; never waits."""
        try:
            self._waiting.put_nowait(what)
        except queue.Full:
            self._lost += 1

    def __enter__(self) -> Self:
        """Begin."""
        self._wait(JSON_EVERY_S if self._as_json else FIRST_LINES_EVERY_S)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show what still waits, for a second at most."""
        try:
            self._waiting.put(None, timeout=LAST_WORDS_S)
        except queue.Full:
            return
        self._thread.join(timeout=LAST_WORDS_S)

    @property
    def is_stuck(self) -> bool:
        """Whether nobody takes what is shown: after the end, printing more would wait for ever."""
        return self._thread.is_alive()

    def _work(self) -> None:
        live = Live(console=self._console, auto_refresh=False, transient=True) if self._is_live else None
        try:
            with live or nullcontext():
                while (what := self._waiting.get()) is not None:
                    self._show(what, live)
        except OSError:  # the reader has gone, the terminal was closed, or the disk under a file is full
            drop_unread_output()
            while self._waiting.get() is not None:
                pass

    def _show(self, what: Status | Frame, live: Live | None) -> None:
        if self._lost:
            lost, self._lost = self._lost, 0
            click.echo(json.dumps({"event": "lost", "count": lost}) if self._as_json
                       else f"… {lost} not shown: they came too fast")  # fmt: skip
        if isinstance(what, Frame):
            click.echo(json.dumps({"event": "frame", **what.as_dict()}) if self._as_json else what.line())
        elif live is not None:
            live.update(render(what) if what.ticks else Text(_connecting(what)), refresh=True)
        elif time.monotonic() >= self._next_line:
            if self._as_json:
                click.echo(json.dumps(what.as_dict()))
                self._wait(JSON_EVERY_S)
            else:
                click.echo(line(what) if what.ticks else _connecting(what), err=True)
                self._wait(LINE_EVERY_S if what.ticks else FIRST_LINES_EVERY_S)
        sys.stdout.flush()

    def _wait(self, seconds: float) -> None:
        self._next_line = time.monotonic() + seconds - STATUS_EVERY_S / 2


def _connecting(status: Status) -> str:
    return f"connecting: {status.links_up:,} of {status.links_total:,} links up"
