"""Records what a log does to its disk, and makes of it the states in which a crash may leave that disk.

What a disk owes is little (ALICE, OSDI 2014): a write is there when its file was synced, a name when its
folder was. Before that any part of it may be there, in any order: each page of a write, or 512-byte sectors
of it from its beginning, or only the size with zeros for data; each create, rename, removal. After a failed
sync nothing is ever sure of what was written before, whatever later syncs say. Only a rename is atomic.
"""

import errno
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from fluxfast.log import disk

PAGE: Final = 4096
SECTOR: Final = 512
UNRECORDED: Final = (".lock", ".compacting")  # nothing depends on what is in them

State = dict[str, bytes | None]  # path, relative: what is in the file; None: a folder


class Call(NamedTuple):
    """One call: ``path`` relative to the log, ``file`` the number of the inode; ``acked`` before it began."""

    name: str
    path: str = ""
    to: str = ""
    file: int = -1
    at: int = 0
    data: bytes = b""
    acked: int = 0


class RecordingDisk:
    """Records while it is patched in. ``acknowledged`` tells what was promised, at any time.

    ``fail`` is asked for an errno before each call but those that only read. ``dead``: no call gets through
    any more, as when the process was killed.
    """

    def __init__(self, patch: pytest.MonkeyPatch, root: Path, acknowledged: Callable[[], int]) -> None:
        self.root, self.acknowledged = root, acknowledged
        self.fail: Callable[[str], int] = lambda name: 0
        self.dead = False
        self.calls: list[Call] = []
        self._numbers: dict[tuple[int, int], int] = {}
        self._kept: list[int] = []  # descriptors, so that no inode's number is used again
        self._folders: set[str] = set()
        self._lock = threading.RLock()  # calls of several threads have an order
        for name in ("create", "write", "truncate", "sync", "sync_folder", "rename", "unlink"):
            patch.setattr(disk, name, self._wrap(getattr(self, f"_{name}"), getattr(disk, name), name))

    def close(self) -> None:
        for file in self._kept:
            os.close(file)

    def _wrap(self, record: Callable[..., Any], real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            with self._lock:
                error = errno.EIO if self.dead else self.fail(name)
                return record(real, error, *args)

        return call

    def _note(self, name: str, **about: Any) -> None:
        acked = max(self.acknowledged(), self.calls[-1].acked if self.calls else 0)
        self.calls.append(Call(name, acked=acked, **about))

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def _file(self, file: int) -> int:
        about = os.fstat(file)
        key = about.st_dev, about.st_ino
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers)
            path = Path(os.readlink(f"/proc/self/fd/{file}"))
            self._kept.append(os.open(path, os.O_RDONLY))  # no duplicate: that would share its lock
            self._note("create", path=self._relative(path), file=self._numbers[key])
        return self._numbers[key]

    def _create(self, real: Any, error: int, path: Path) -> int:
        _raise(error)
        file: int = real(path)
        self._file(file)
        return file

    def _write(self, real: Any, error: int, file: int, data: Any, at: int) -> None:
        view = memoryview(data).cast("B")
        if self.dead:
            _raise(error)
        if error:
            view = view[: len(view) // 2]
        self._note("write", file=self._file(file), at=at, data=bytes(view))
        real(file, view, at)
        _raise(error)

    def _truncate(self, real: Any, error: int, file: int, size: int) -> None:
        _raise(error)
        self._note("truncate", file=self._file(file), at=size)
        real(file, size)

    def _sync(self, real: Any, error: int, file: int) -> None:
        if self.dead:
            _raise(error)
        self._note("failed sync" if error else "sync", file=self._file(file))
        _raise(error)
        # Not the real one: nothing of it would be seen, and it takes its time.

    def _sync_folder(self, real: Any, error: int, path: Path) -> None:
        _raise(error)
        if path == self.root.parent:
            return
        for folder in sorted(path.iterdir()):
            if folder.is_dir() and (name := self._relative(folder)) not in self._folders:
                self._folders.add(name)
                self._note("make folder", path=name)
        self._note("sync folder", path=self._relative(path))

    def _rename(self, real: Any, error: int, old: Path, new: Path) -> None:
        _raise(error)
        self._note("rename", path=self._relative(old), to=self._relative(new))
        real(old, new)

    def _unlink(self, real: Any, error: int, path: Path) -> None:
        _raise(error)
        if path.exists():
            self._note("unlink", path=self._relative(path))
        real(path)


def _raise(error: int) -> None:
    if error:
        raise OSError(error, os.strerror(error))


@dataclass
class _Change:
    """Something that a call has done, and whether it is sure to be on the disk."""

    call: Call
    sure: bool = False
    stuck: bool = False  # a sync has failed since


@dataclass
class Model:
    """What a disk may hold after some calls."""

    names: list[_Change] = field(default_factory=list)
    files: dict[int, list[_Change]] = field(default_factory=dict)

    def apply(self, call: Call) -> None:
        """Take the next call."""
        match call.name:
            case "write" | "truncate":
                self.files.setdefault(call.file, []).append(_Change(call))
            case "sync":
                for change in self.files.get(call.file, ()):
                    change.sure = change.sure or not change.stuck
            case "failed sync":
                for change in self.files.get(call.file, ()):
                    change.stuck = not change.sure
            case "sync folder":
                for change in self.names:
                    changed = change.call.to or change.call.path
                    change.sure = change.sure or str(Path(changed).parent) == (call.path or ".")
            case _:
                self.names.append(_Change(call))

    def state(self, chance: random.Random, shares: tuple[float, float]) -> State:
        """Return one of the states; names and data that are not sure are there with these probabilities."""

        def there(change: _Change) -> bool:
            return change.sure or chance.random() < shares[0]

        folders: set[str] = set()
        entries: dict[str, int] = {}
        for change in self.names:
            if not there(change):
                continue
            match change.call:
                case Call("create", path=path, file=file):
                    entries[path] = file
                case Call("make folder", path=path):
                    folders.add(path)
                case Call("rename", path=old, to=new) if old in entries:
                    entries[new] = entries.pop(old)
                case Call("unlink", path=path):
                    entries.pop(path, None)
        state: State = {}
        for path in sorted(folders):
            if all(str(above) in folders for above in list(Path(path).parents)[:-1]):
                state[path] = None
        for path, file in entries.items():
            above = str(Path(path).parent)
            if above == "." or above in state:
                state[path] = _content(self.files.get(file, ()), chance, shares[1])
        return state


def _content(changes: Any, chance: random.Random, share: float) -> bytes:
    content = bytearray()
    for change in changes:
        call: Call = change.call
        if call.name == "truncate":
            if change.sure or chance.random() < share:
                del content[call.at :]
                content.extend(bytes(max(call.at - len(content), 0)))
            continue
        at, end = call.at, call.at + len(call.data)
        while at < end:
            until = end if change.sure else min(end, at // PAGE * PAGE + PAGE)
            piece = call.data[at - call.at : until - call.at]
            if not change.sure and chance.random() >= share:
                fate = chance.randrange(3)
                if fate == 0:  # torn
                    until = min(until, at // SECTOR * SECTOR + SECTOR * chance.randrange(PAGE // SECTOR))
                    piece = piece[: max(until - at, 0)]
                elif fate == 1:  # the size is there
                    piece = bytes(content[at : at + len(piece)]).ljust(len(piece), b"\0")
                else:
                    piece = b""
                until = min(end, at // PAGE * PAGE + PAGE)
            if piece:
                content.extend(bytes(max(at + len(piece) - len(content), 0)))
                content[at : at + len(piece)] = piece
            at = until
    return bytes(content)


def crash_states(calls: list[Call], states: int, seed: int) -> Iterator[tuple[str, int, State]]:
    """Yield states after crashes at any moment: which one (to find it again), what was promised, the state.

    Half of them have nothing of what is not sure, or all: of names, of data; the others are random.
    """
    chance = random.Random(seed)
    moments = list(range(1, len(calls) + 1))
    extremes = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
    plan = [(moment, shares) for shares in extremes for moment in moments]
    plan = chance.sample(plan, min(states // 2, len(plan)))
    others = (0.1, 0.5, 0.9)
    while len(plan) < states:
        plan.append((chance.choice(moments), (chance.choice(others), chance.choice(others))))
    plan.sort()
    model, done = Model(), 0
    for number, (moment, shares) in enumerate(plan):
        for call in calls[done:moment]:
            model.apply(call)
        done = moment
        promised = calls[moment].acked if moment < len(calls) else calls[-1].acked
        what = (
            f"state {number} of seed {seed}: after call {moment} ({calls[moment - 1].name}), {shares} there"
        )
        yield what, promised, model.state(random.Random(f"{seed} {number}"), shares)


def lay_out(state: State, root: Path) -> None:
    """Make a directory of a state."""
    root.mkdir()
    for path, content in sorted(state.items()):
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)


def snapshot(root: Path) -> State:
    """Return what is in a directory."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
        if path.name not in UNRECORDED
    }
