"""A disk whose calls fail when a test wants it: every change of a log goes through ``fluxfast.log.disk``."""

import os
from collections.abc import Callable
from typing import Any, Final

import pytest

from fluxfast.log import disk

CALLS: Final = (
    "create", "write", "truncate", "sync", "sync_file", "sync_folder", "rename", "unlink", "make_folder",
)  # fmt: skip


class FaultyDisk:
    """Counts the calls, and asks ``should_fail(number, name)`` for each: an errno, or 0.

    A write that fails has written half of its data before.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.should_fail: Callable[[int, str], int] = lambda number, name: 0
        self.failed: list[str] = []
        for name in CALLS:
            patch.setattr(disk, name, self._wrap(name, getattr(disk, name)))

    def fail(self, name: str, error: int, times: int = 1) -> None:
        """Let the next calls of this kind fail, so many times."""
        until = len(self.failed) + times
        self.should_fail = lambda _, called: error if called == name and len(self.failed) < until else 0

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.count += 1
            if error := self.should_fail(self.count, name):
                self.failed.append(name)
                if name == "write":
                    file, data, at = args
                    real(file, memoryview(data).cast("B")[: memoryview(data).nbytes // 2], at)
                raise OSError(error, os.strerror(error))
            return real(*args)

        return call
