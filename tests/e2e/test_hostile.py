"""The table of hostile inputs: no value is ever credited that the device did not send for that request.

All devices of a group stand in one station, each plain (one request in flight) and pipelined (four), so every
one of them also has to leave all others alone.
"""

import pytest

from tests.support.hostile import MODES, poll, slowest_ms
from tests.support.hostile_reads import AT_ONCE, AT_THE_DEADLINE, DEADLINE_S

pytestmark = pytest.mark.usefixtures("no_descriptor_lost")
COUNTERS = ("late", "foreign", "malformed", "timeouts", "exceptions")
TICKS = 3
TIMEOUT_MS, SLACK_MS = round(DEADLINE_S * 1000), 10


@pytest.fixture(scope="module")
def at_once():
    """Timeouts of five seconds: whatever a tick waits for in vain is unanswered at its end."""
    return poll(AT_ONCE, ticks=TICKS, every_ms=1000, timeout_ms=5000, net=42)


def run_to_the_deadline(ticks=1):
    return poll(AT_THE_DEADLINE, ticks=ticks, every_ms=500, timeout_ms=TIMEOUT_MS, net=42)


@pytest.fixture(scope="module")
def at_the_deadline():
    return run_to_the_deadline(TICKS)


def check(run, case, mode):
    seen, outcome = run.seen[case, mode], case.expected(mode)
    assert seen.wrong == []
    assert seen.reasons == outcome.reasons(mode, TICKS)
    assert seen.counted["connects"] == outcome.connects
    assert {name: seen.counted[name] for name in COUNTERS if seen.counted[name]} == outcome.counted


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", AT_ONCE, ids=str)
def test_what_needs_no_deadline(at_once, case, mode):
    check(at_once, case, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", AT_THE_DEADLINE, ids=str)
def test_what_runs_into_its_deadline(at_the_deadline, case, mode):
    check(at_the_deadline, case, mode)


def test_what_is_asked_again_within_the_tick_is_credited_no_wrong_value_either():
    """The retry meets an honest device, and sometimes the late answer to the first try."""
    run = poll(AT_THE_DEADLINE, ticks=1, every_ms=1000, timeout_ms=TIMEOUT_MS, net=42, retry_count=1)
    for (case, mode), seen in run.seen.items():
        outcome = case.expected(mode)
        (expected,) = outcome.reasons(mode, 1)
        mended = outcome.after == "good" and outcome.connects == 1  # what is closed waits for the next tick
        assert seen.wrong == []
        assert seen.reasons == [["good"] * len(expected) if mended else expected], str(case)


def test_fin_rst_and_broken_framing_are_seen_at_once(at_once):
    """No tick had to wait for anything."""
    assert at_once.unanswered == [0] * TICKS


def test_every_request_ends_by_its_deadline(at_the_deadline):
    limit_ms = TIMEOUT_MS + SLACK_MS
    assert slowest_ms(at_the_deadline, run_to_the_deadline, limit_ms) <= limit_ms
