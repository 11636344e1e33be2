"""The process that makes passes beside a station: asked for, told by, ended, and missed."""

import os
import signal
import threading

import pytest

from fluxfast.log import job
from fluxfast.log.job import CompactionJob
from fluxfast.log.retention import Retention
from tests.support.proved_log import append_tick, open_log, read, wait_until


@pytest.fixture
def crashed(tmp_path):
    """Return a log that a crash has left."""
    log = open_log(tmp_path, tick_seconds=1)
    append_tick(log, 0)
    log._job.close(10)
    log._journal.close(10)
    log._directory.close()
    return tmp_path


@pytest.fixture
def make():
    """Return what makes jobs; each is closed at the end."""
    jobs = []

    def make(root, told):
        jobs.append(CompactionJob(root, told.append, Retention(), None))
        return jobs[-1]

    yield make
    assert all(one.close(10) for one in jobs)


def test_a_pass_is_made_and_what_it_tells_is_told(crashed, make):
    (path,) = (crashed / ".journal").iterdir()
    path.write_bytes(path.read_bytes() + b"torn")
    told = []
    make(crashed, told).start()
    wait_until(lambda: told, 30)
    assert told == [f"{path.name}: 4 bytes are torn off; the rest is recovered"]
    assert read(crashed).seconds == [0]


def test_a_pass_that_fails_is_told_once_and_made_again(crashed, make, monkeypatch):
    monkeypatch.setattr(job, "RETRY_S", 0.05)
    (crashed / "pack").write_text("in the way")
    told = []
    passes = make(crashed, told)
    passes.start()
    wait_until(lambda: len(told) == 2, 30)
    assert "compaction" in told[0]
    assert told[1] == "compaction ended with exit code 3; it is tried again every 0.05 s"
    (crashed / "pack").unlink()
    wait_until(lambda: not list((crashed / ".journal").iterdir()), 30)
    assert read(crashed).seconds == [0]
    assert len(told) == 2


def test_a_pass_that_is_killed_is_made_again(crashed, make, monkeypatch):
    monkeypatch.setattr(job, "RETRY_S", 0.05)
    told = []
    passes = make(crashed, told)
    passes.start()
    wait_until(lambda: passes._pass._process is not None)
    os.kill(passes._pass._process.pid, signal.SIGKILL)
    wait_until(lambda: not list((crashed / ".journal").iterdir()), 30)
    assert "exit code -9" in told[0]


def test_no_process_can_be_started(crashed, make, monkeypatch):
    monkeypatch.setattr(job, "RETRY_S", 0.05)
    monkeypatch.setattr(job.sys, "executable", str(crashed / "nothing"))
    told = []
    make(crashed, told).start()
    wait_until(lambda: len(told) == 2)
    assert "No such file" in told[0]
    monkeypatch.undo()
    wait_until(lambda: not list((crashed / ".journal").iterdir()), 90)


def test_it_hears_no_ctrl_c_and_is_nice_to_our_session(crashed, make):
    passes = make(crashed, [])
    passes.start()
    wait_until(lambda: passes._pass._process is not None)
    pid = passes._pass._process.pid
    assert os.getpgid(pid) == pid != os.getpgid(0)
    assert os.getsid(pid) == os.getsid(0)
    wait_until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + job.NICE)


def test_closing_ends_it_wherever_it_is(crashed, make):
    passes = make(crashed, [])
    passes.start()
    wait_until(lambda: passes._pass._process is not None)
    process = passes._pass._process
    assert passes.close(10)
    assert process.returncode in (0, -signal.SIGKILL)
    assert not [one for one in threading.enumerate() if one is passes._pass._thread]


def test_lines_that_are_no_lines_are_left_out():
    assert job._read('{"tell": "a"}\n{"tell": \n[]\nnull\n{"tell": "b"}\n{"te') == [
        {"tell": "a"},
        {"tell": "b"},
    ]
