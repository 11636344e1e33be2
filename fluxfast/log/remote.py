"""Where copies go: a file system of pyarrow or fsspec, by its URL.

A network that is away fails within seconds: few attempts, short timeouts. URLs may hold secrets; no message
of this module does.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from fluxfast.errors import FluxfastError
from fluxfast.log.directory import HIDDEN

PAUSES_S: Final = (2.0,)  # between our attempts, each of which is two of the library's
CONNECT_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 10.0  # without a byte
PIECE_BYTES: Final = 8 << 20
ATOMIC: Final = frozenset({"s3", "gcs", "abfs"})  # file systems in which a file appears when it is closed
ARROW_SCHEMES: Final = frozenset({"file", "s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs"})
MAX_TEXT: Final = 300
_SECRET: Final = ("key", "secret", "token", "sig", "pass", "cred")
_SECRET_VARIABLES: Final = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY")

T = TypeVar("T")


class RemoteAwayError(FluxfastError):
    """The remote does not answer, or refuses; its text is one line without secrets."""


class Remote:
    """A place for copies. Its methods raise RemoteAwayError after some attempts."""

    def __init__(self, url: str) -> None:
        """Connect; FluxfastError if there is no such kind of remote."""
        check(url)
        self._url = url
        self._fs, self._base = self._try(lambda: _open(url))
        self._base = self._base.rstrip("/")

    def put(self, name: str, data: BinaryIO) -> None:
        """Make the file ``name``, or another one of that name, whole or not at all."""
        target = f"{self._base}/{name}"
        if self._fs.type_name in ATOMIC:
            self._try(lambda: self._write(target, data))
        else:
            self._try(lambda: self._write_and_move(target, name, data))

    def remove(self, name: str) -> None:
        """Remove a file; nothing if there is none."""
        self._try(lambda: self._remove(f"{self._base}/{name}"))

    def _write(self, path: str, data: BinaryIO) -> None:
        # Not in a `with`: after an error that would make the file of what has come so far.
        stream = self._fs.open_output_stream(path)
        data.seek(0)
        while piece := data.read(PIECE_BYTES):
            stream.write(piece)
        stream.close()
        if (size := self._fs.get_file_info(path).size) != data.tell():
            raise OSError(f"{size} bytes have arrived of {data.tell()}")

    def _write_and_move(self, target: str, name: str, data: BinaryIO) -> None:
        hidden = f"{self._base}/{HIDDEN}{name.replace('/', '+')}"
        is_local = self._fs.type_name == "local"
        if is_local and not os.path.isdir(self._base):  # a share that is not mounted
            raise FileNotFoundError("there is no such folder")
        self._write(hidden, data)
        if is_local:
            _sync(hidden)
        self._fs.create_dir(target.rpartition("/")[0], recursive=True)
        self._fs.move(hidden, target)

    def _remove(self, path: str) -> None:
        from pyarrow import fs

        if self._fs.get_file_info(path).type == fs.FileType.NotFound:
            return
        self._fs.delete_file(path)
        folder = path.rpartition("/")[0]
        if folder != self._base and not self._fs.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
            self._fs.delete_dir(folder)

    def _try(self, action: Callable[[], T]) -> T:
        for pause_s in (*PAUSES_S, None):
            try:
                return action()
            except FluxfastError:
                raise
            except Exception as error:  # of any library
                if pause_s is None:
                    raise RemoteAwayError(f"{shown(self._url)}: {_one_line(self._url, error)}") from None
                time.sleep(pause_s)
        raise AssertionError


def check(url: str) -> None:
    """Raise FluxfastError if there is no such kind of remote. Asks no network."""
    scheme = urlsplit(url).scheme
    if scheme in ARROW_SCHEMES or (not scheme and Path(url).is_absolute()):
        return
    if not scheme:
        raise FluxfastError(f"'{shown(url)}' is no URL: it begins with s3://, gs://, abfss://, file:///")
    try:
        import fsspec
    except ImportError:
        raise FluxfastError(f"{scheme}:// needs fsspec: pip install fsspec") from None
    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        raise FluxfastError(f"{scheme}://: {_one_line(url, error)}") from None


def shown(url: str) -> str:
    """Return a URL without what may be secret: its user and its query."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _open(url: str) -> tuple[Any, str]:
    from pyarrow import fs

    parts = urlsplit(url)
    if parts.scheme in ARROW_SCHEMES or not parts.scheme:
        query = "&retry_limit_seconds=30" if parts.scheme in ("gs", "gcs") and parts.query else ""
        file_system, path = fs.FileSystem.from_uri(url + query)
        return _impatient(file_system), path
    import fsspec

    other, path = fsspec.core.url_to_fs(url)
    return fs.PyFileSystem(fs.FSSpecHandler(other)), path


def _impatient(file_system: Any) -> Any:
    """Return an S3 file system that gives up within seconds; URLs have no word for that."""
    if file_system.type_name != "s3":
        return file_system
    from pyarrow import fs

    make, (options, *rest) = file_system.__reduce__()
    options |= {"connect_timeout": CONNECT_TIMEOUT_S, "request_timeout": REQUEST_TIMEOUT_S}
    options["retry_strategy"] = fs.AwsStandardS3RetryStrategy(max_attempts=2)
    if "allow_delayed_open" in options:  # small files in one request
        options["allow_delayed_open"] = True
    return make(options, *rest)


def _sync(path: str) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _one_line(url: str, error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def _secrets(url: str) -> set[str]:
    parts = urlsplit(url)
    secrets = set(parts.netloc.rpartition("@")[0].split(":"))
    secrets |= {v for k, v in parse_qsl(parts.query) if any(word in k.lower() for word in _SECRET)}
    secrets |= {os.environ.get(name, "") for name in _SECRET_VARIABLES}
    secrets |= {unquote(secret) for secret in secrets}
    return {secret for secret in secrets if len(secret) > 2}
