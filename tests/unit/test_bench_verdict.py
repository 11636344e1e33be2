"""What a bench says: the sentence, what it means, and what gave out."""

from dataclasses import replace
from pathlib import Path

import pytest

from fluxfast.bench import OwnBench, Result, SiteBench, Trial, explanations, sentence
from fluxfast.bench.measure import Measured, Window
from fluxfast.config import load

FOUND = Measured(
    devices=1200, registers=90.0, every_ms=500.0, deadline_ms=400.0, links=1200, links_up=1200, up_s=0.5,
    ticks=20, skipped=0, missed=0, cpu_percent=41.6, memory_mb=120.0, tick_p50_ms=80.0, tick_p99_ms=90.0,
    tick_max_ms=95.0, begin_p99_ms=0.4,
)  # fmt: skip


def trial(found=FOUND, simulator=30.0, others=1.0):
    return Trial(found.devices, round(found.every_ms * 1000), True, found, simulator, others, found.why)


@pytest.fixture
def own():
    return OwnBench(90, 500_000, 2000, log=False, quick=True)


@pytest.fixture
def real(tmp_path):
    file = Path(tmp_path) / "site.yaml"
    file.write_text(
        "devices: {meters: [{id: 'm{n}', count: 3, type: acuvim2, modbus: {host: 127.101.9.1}}]}\n"
    )
    return SiteBench(file, load(file), 100_000, quick=True)


def test_the_sentence(own, real):
    held = Result([trial()], trial(), None)
    text = "this machine holds 1,200 devices at 500 ms with 90 registers, at 42 % CPU"
    assert sentence(held, own) == text
    one = trial(replace(FOUND, devices=1, registers=33.25, every_ms=62.5))
    text = "this machine holds 1 device at 62.5 ms with 33.2 registers, at 42 % CPU"
    assert sentence(Result([one], one, None), real) == text


def test_the_sentence_where_nothing_holds(own, real):
    failed = trial(replace(FOUND, missed=1, every_ms=4000))
    result = Result([failed], None, failed)
    assert sentence(result, own) == "this machine does not hold a single device at 500 ms"
    assert sentence(result, real) == "this machine does not hold these devices, not even at 4000 ms"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (FOUND, ""),
        (replace(FOUND, missed=1), "1 reading missed"),
        (replace(FOUND, missed=2000, skipped=3), "2,000 readings missed"),
        (replace(FOUND, skipped=2), "2 ticks skipped"),
        (replace(FOUND, tick_p99_ms=400.1), "ticks took longer than 400 ms"),
        (replace(FOUND, ticks=0, tick_p99_ms=None), "no tick was done"),
    ],
)
def test_what_holds(found, why):
    assert found.why == why
    assert trial(found).held == (why == "")


@pytest.mark.parametrize(
    ("cpu", "simulator", "others", "expected"),
    [
        (97, 60, 1, "that is its limit"),
        (60, 97, 1, "it was the simulator that gave out, so the machine may hold more"),
        (20, 20, 150, "other programs 150 %: while it is quiet the machine may hold more"),
        (20, 20, 1, "no core was full, the time was too short"),
    ],
)
def test_what_gave_out(own, cpu, simulator, others, expected):
    own.shares_core = False
    broke = trial(replace(FOUND, devices=1300, missed=7, cpu_percent=cpu), simulator, others)
    meaning, gave_out = explanations(Result([trial(), broke], trial(), broke), own)
    assert meaning == "CPU is the station's, of one core; the simulator took 30 % of another"
    assert gave_out.startswith("what gave out with 1,300 devices: 7 readings missed; the station took ")
    assert gave_out.endswith(expected)


def test_on_a_single_core_the_simulator_is_in_the_way(own):
    own.shares_core = True
    broke = trial(replace(FOUND, missed=7, cpu_percent=50), 45.0)
    meaning, gave_out = explanations(Result([trial(), broke], trial(), broke), own)
    assert meaning.endswith("the simulator took 30 % of the same core")
    assert gave_out.endswith("of the same one, so without a simulator it may hold more")


def test_no_memory_is_said(own):
    broke = Trial(5000, 500_000, False, None, None, None, "the station was killed")
    *_, gave_out = explanations(Result([trial(), broke], trial(), broke), own)
    assert gave_out == "what gave out with 5,000 devices: the station was killed; memory was short"
    assert broke.as_dict()["devices"] == 5000


def test_slow_devices_are_named(real):
    slow = replace(FOUND, every_ms=100, missed=9, cpu_percent=2, missed_by=[("m2", 7), ("m1", 2)])
    *_, gave_out = explanations(Result([trial(), trial(slow)], trial(), trial(slow)), real)
    assert gave_out.startswith("what gave out at 100 ms: 9 readings missed; ")
    assert gave_out.endswith("the devices or the network gave out, ticks missed: m2 (7), m1 (2)")


def test_the_end_of_the_search_is_no_limit(own, real):
    held = Result([trial()], trial(), None)
    own.is_bound_by_files = False
    assert list(explanations(held, own))[1].startswith("nothing gave out with 2,000 devices")
    own.is_bound_by_files, own.open_files = True, 2065
    assert "a process may have 2,065, enough for 2,000 devices" in list(explanations(held, own))[1]
    assert list(explanations(held, real))[1].startswith("nothing gave out at 100 ms, where the search ends")


def test_open_files_bound_the_search(monkeypatch):
    monkeypatch.setattr("fluxfast.bench.bench.resource.getrlimit", lambda _: (100, 300))
    bound = OwnBench(90, 500_000, None, log=False, quick=True)
    assert (bound.range.hardest, bound.is_bound_by_files) == (235, True)
    asked = OwnBench(90, 500_000, 200, log=False, quick=True)
    assert (asked.range.hardest, asked.is_bound_by_files) == (200, False)


def test_windows_are_whole_ticks():
    window = Window(ticks=10, seconds=5, warm_ticks=2, warm_s=1)
    assert (window.warm_up(0.5), window.length(0.5)) == (2, 10)
    assert (window.warm_up(0.03), window.length(0.03)) == (34, 167)
    assert (window.warm_up(10), window.length(10), window.lasts_s(10)) == (2, 10, 120)
