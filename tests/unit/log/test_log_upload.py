"""Copies at the remote: all of them, whole, whatever the network does meanwhile."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from fluxfast.errors import FluxfastError
from fluxfast.log import LogWriter, directory, remote
from fluxfast.log.compactor import compact
from fluxfast.log.job import CompactionJob
from fluxfast.log.manifest import NAME, Manifest
from fluxfast.log.remote import Remote, RemoteAwayError, check, shown
from fluxfast.log.retention import Retention, remove_old
from fluxfast.log.upload import Uploaded, upload
from tests.support import buckets
from tests.support.journals import DAY_US, NOON_US, WORDS, dataset, minutes, write_segment


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(remote, "PAUSES_S", (0.01,))
    for name, value in buckets.KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def log(tmp_path):
    root = tmp_path / "log"
    write(root, 3)
    return root


@pytest.fixture
def share(tmp_path):
    folder = tmp_path / "share" / "logs"
    folder.mkdir(parents=True)
    return folder


def write(root, n, run="c0ffee00", **options):
    """Convert ``n`` segments more, not merged."""
    for s, times in enumerate(minutes(*range(n), **options)):
        write_segment(root, run, 10 * s, dataset(), times)
    compact(root, print, merge=False)


def sent(root, url, **options):
    told: list[str] = []
    done = upload(root, url, told.append, **options)
    assert told == []
    return done


def live(root):
    return {name: (root / name).read_bytes() for name in Manifest(root).files}


def in_folder(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def is_copied(root, copied):
    """All live files, nothing else, and a manifest that lacks nothing but its own last line."""
    manifest = copied.pop(NAME)
    assert copied == live(root)
    own = (root / NAME).read_bytes()
    assert own.startswith(manifest)
    assert own[len(manifest) :].count(b"\n") == 1


def big_file(root, name, size):
    """Add a file that takes a while, without being Parquet."""
    data = np.random.default_rng(5).bytes(size)
    (root / name).write_bytes(data)
    about = {"bytes": size, "sha256": hashlib.sha256(data).hexdigest()}
    Manifest(root).append([{"op": "put", "file": name, **about}])


# ---- a bucket ----


def test_every_live_file_is_in_the_bucket_and_can_be_read_there(log):
    with buckets.bucket() as bucket:
        done = sent(log, bucket.url)
        files = live(log)
        assert (done.files, done.bytes) == (len(files), sum(map(len, files.values())))
        assert (done.reached, done.complete) == (True, True)
        is_copied(log, {name: bucket.read(name) for name in bucket.names()})
        system, path = pa.fs.FileSystem.from_uri(bucket.url)
        table = ds.dataset(f"{path}/d", filesystem=system, partitioning="hive").to_table()
        assert (len(table), table["date"].unique().to_pylist()) == (18, ["2026-09-21"])
        # Nothing new: nobody is asked.
        assert sent(log, bucket.url) == Uploaded(complete=True)
        write(log, 1, "c0ffee01")
        assert sent(log, bucket.url).files == 1
        is_copied(log, {name: bucket.read(name) for name in bucket.names()})


def test_the_server_is_away_at_first(log):
    port = buckets.free_port()
    with pytest.raises(RemoteAwayError, match=r"s3://plant/logs: .*connect"):
        upload(log, buckets.url(port), print)
    assert not Manifest(log).uploaded
    with buckets.bucket(port) as bucket:
        sent(log, bucket.url)
        is_copied(log, {name: bucket.read(name) for name in bucket.names()})


@pytest.mark.long  # curl needs seven seconds more than it is told to
def test_the_server_takes_connections_and_says_nothing(log, monkeypatch):
    monkeypatch.setattr(remote, "REQUEST_TIMEOUT_S", 1.0)
    with socket.socket() as listening:
        listening.bind((buckets.HOST, 0))
        listening.listen()
        url = buckets.url(listening.getsockname()[1])
        with pytest.raises(RemoteAwayError, match=r"s3://plant/logs: .*(slow|timeout)"):
            upload(log, url, print)


def test_there_is_no_such_bucket(log):
    with buckets.bucket() as bucket:
        url = bucket.url.replace("plant", "plnat")
        with pytest.raises(RemoteAwayError, match=r"s3://plnat/logs: .*bucket"):
            upload(log, url, print)


@pytest.mark.long
def test_killed_in_the_middle_and_done_again(log):
    big_file(log, "big", 48 << 20)
    with buckets.bucket() as bucket:
        environment = {**os.environ, "FLUXFAST_LOG_REMOTE": bucket.url}
        command = [sys.executable, "-m", "fluxfast.log", log, "{}", "--upload"]
        for _ in range(3):
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
            while not _parts(bucket.client):
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert "big" not in bucket.names()
            assert "big" not in Manifest(log).uploaded
            for key, upload_id in _unfinished(bucket.client):
                bucket.client.abort_multipart_upload(Bucket="plant", Key=key, UploadId=upload_id)
        said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
        assert json.loads(said.stdout) == {"reached": "s3://plant/logs"}
        is_copied(log, {name: bucket.read(name) for name in bucket.names()})


def _unfinished(client):
    listed = client.list_multipart_uploads(Bucket="plant").get("Uploads", [])
    return [(one["Key"], one["UploadId"]) for one in listed]


def _parts(client):
    return [
        part
        for key, upload_id in _unfinished(client)
        for part in client.list_parts(Bucket="plant", Key=key, UploadId=upload_id).get("Parts", [])
    ]


@pytest.mark.long
def test_the_station_tells_once_that_it_fails_and_once_that_it_works_again(log):
    told: list[str] = []
    port = buckets.free_port()
    job = CompactionJob(log, told.append, Retention(remote=True), buckets.url(port))

    def passes_until(done):
        while not done():
            job.start()
            time.sleep(0.5)

    try:
        passes_until(lambda: told)
        job.start()  # fails as well, without a word
        time.sleep(8)
        [line] = told
        assert line.startswith("s3://plant/logs: ")
        assert line.endswith("; copies wait here, and each pass tries again")
        with buckets.bucket(port) as bucket:
            passes_until(lambda: len(told) > 1)
            assert told[1:] == ["s3://plant/logs can be reached again"]
            is_copied(log, {name: bucket.read(name) for name in bucket.names()})
    finally:
        assert job.close(10)


# ---- a share ----


def test_a_share_gets_the_same(log, share):
    sent(log, share.as_uri())
    is_copied(log, in_folder(share))
    assert sent(log, str(share)) == Uploaded(complete=True)


def test_a_share_that_is_not_mounted_is_away(log, share):
    shutil.rmtree(share)
    with pytest.raises(RemoteAwayError, match="share/logs: there is no such folder"):
        upload(log, share.as_uri(), print)
    assert not share.exists()


def test_what_a_dead_upload_has_left_is_written_over(log, share):
    name = next(iter(Manifest(log).files))
    (share / (directory.HIDDEN + name.replace("/", "+"))).write_bytes(b"half")
    sent(log, share.as_uri())
    is_copied(log, in_folder(share))


def test_sources_go_there_once_the_merged_file_is_there(log, share, monkeypatch):
    sent(log, share.as_uri())
    compact(log, print)
    changes = []
    for what in ("put", "remove"):
        original = getattr(Remote, what)

        def noted(self, name, *data, what=what, original=original):
            changes.append((what, name.split("/")[0]))
            original(self, name, *data)

        monkeypatch.setattr(Remote, what, noted)
    done = sent(log, share.as_uri())
    assert (done.files, done.removed) == (1, 3)
    assert changes == [("put", "d"), *[("remove", "d")] * 3, ("put", NAME)]
    is_copied(log, in_folder(share))


def test_a_merge_in_the_middle_of_it(log, share, monkeypatch):
    original = Remote.put
    merged = []

    def put(self, name, data):
        original(self, name, data)
        if not merged:
            merged.append(compact(log, print).merged)

    monkeypatch.setattr(Remote, "put", put)
    sent(log, share.as_uri())
    assert merged == [3]
    is_copied(log, in_folder(share))


def test_what_is_too_old_goes_there_too_and_what_is_too_much_stays(log, share):
    write(log, 1, "c0ffee01", first_us=NOON_US + DAY_US)
    write(log, 1, "c0ffee02", first_us=NOON_US + 2 * DAY_US)
    sent(log, share.as_uri())

    def days():
        return sorted(f.name[-2:] for f in (share / "d").iterdir())

    list(remove_old(log, Manifest(log), Retention(max_bytes=0, remote=True), 0, print))
    assert len(list(log.glob("d/date=*/*.parquet"))) == 1
    sent(log, share.as_uri())
    assert days() == ["21", "22", "23"]
    age_s = time.time() - NOON_US / 1e6
    sent(log, share.as_uri(), keep_s=age_s - 43_200)
    assert days() == ["22", "23"]
    sent(log, share.as_uri(), keep_s=1000 * 86_400)
    assert days() == ["22", "23"]


def test_a_damaged_file_is_not_copied_and_told_once(log, share):
    bad, gone, *_ = sorted(name for name in Manifest(log).files if name.startswith("d/"))
    (log / bad).write_bytes(b"?" + (log / bad).read_bytes()[1:])
    (log / gone).unlink()
    told: list[str] = []
    upload(log, share.as_uri(), told.append)
    assert told == [
        f"{bad} is damaged: its bytes are not those that were written",
        f"{gone} is gone: somebody has removed it",
    ]
    assert {bad, gone}.isdisjoint(in_folder(share))
    upload(log, share.as_uri(), told.append)
    assert len(told) == 2


def test_only_one_process_copies(log, share):
    with directory.held(log / ".uploading", wait=False):
        assert sent(log, share.as_uri()) == Uploaded()
    assert in_folder(share) == {}


def test_a_station_copies_all_at_its_end(tmp_path, share):
    root, told = tmp_path / "log", []
    options = {"quality_names": WORDS.qualities, "reasons": WORDS.reasons, "on_event": told.append}
    with LogWriter(root, [dataset()], tick_seconds=1, remote=share.as_uri(), **options) as log:
        ones = np.ones(2, np.uint8)
        log.append(0, NOON_US, np.ones(2, np.float32), ones * 0, [np.ones(2)], [ones])
    assert told == []
    is_copied(root, in_folder(share))
    shutil.rmtree(share)
    with LogWriter(root, [dataset()], tick_seconds=1, remote=share.as_uri(), **options) as log:
        log.append(0, NOON_US + 1, np.ones(2, np.float32), ones * 0, [np.ones(2)], [ones])
    assert told == [
        f"log: {share.as_uri()}: there is no such folder; copies wait here, and each pass tries again",
        "log: not all copies are at the remote yet; the next start goes on",
    ]


# ---- other places ----


def test_any_file_system_of_fsspec(log):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    sent(log, "memory://plant/logs")
    copied = {name.removeprefix("/plant/logs/"): data.getvalue() for name, data in memory.store.items()}
    is_copied(log, copied)
    compact(log, print)
    assert sent(log, "memory://plant/logs").removed == 3
    memory.store.clear()


def test_a_kind_that_nobody_knows_is_refused_at_once(tmp_path, monkeypatch):
    with pytest.raises(FluxfastError, match="'logs' is no URL"):
        check("logs")
    pytest.importorskip("fsspec")
    with pytest.raises(FluxfastError, match=r"^nix://: "):
        check("nix://host/logs")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(FluxfastError, match=r"^memory:// needs fsspec: pip install fsspec$"):
        LogWriter(
            tmp_path / "log", [dataset()], tick_seconds=1, remote="memory://x",
            quality_names=WORDS.qualities, reasons=WORDS.reasons,
        )  # fmt: skip
    assert not (tmp_path / "log").exists()


def test_no_message_has_a_secret(log):
    secrets = ("AKIASECRET", "s3cr3t%2Fkey", "s3cr3t/key", buckets.KEYS["AWS_SECRET_ACCESS_KEY"])
    url = buckets.url(1).replace("s3://", "s3://AKIASECRET:s3cr3t%2Fkey@")
    with pytest.raises(RemoteAwayError) as away:
        upload(log, url, print)
    assert not any(secret in str(away.value) for secret in secrets)
    with pytest.raises(RemoteAwayError) as away:
        Remote(url + "&secret_key=s3cr3t%2Fkey")
    assert "secret_key" in str(away.value)
    assert not any(secret in str(away.value) for secret in secrets)
    assert shown(url) == "s3://plant/logs"
