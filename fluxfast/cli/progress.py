"""A bar on a terminal's stderr for what takes its time; nothing where nobody looks."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Bar:
    """Shows how far something is; a context manager, that leaves nothing on the screen."""

    def __init__(self, what: str) -> None:
        """Begin with nothing done."""
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(what, total=None)

    def __enter__(self) -> Self:
        """Show it."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self._progress.stop()

    def update(self, done: float, total: float, what: str | None = None) -> None:
        """So much is done of so much, of what."""
        self._progress.update(self._task, completed=done, total=total, description=what)
