"""The schedule's books under random weather: every count agrees after every step, no point is lost."""

import random

import numpy as np
import pytest

from fluxfast.plan import structs
from fluxfast.table import Table, quality

MS = 1_000_000
LINKS, UNITS, POINTS = 3, 4, 6  # units on a link; points of a unit, in two blocks
WEATHER = {
    "fair": {},
    "silent": {quality.TIMEOUT: 0.3},
    "gateway": {quality.EXCEPTION + 11: 0.3},
    "busy": {quality.EXCEPTION + 6: 0.4},
    "refusing": {quality.EXCEPTION + 2: 0.5},
    "foul": {
        quality.TIMEOUT: 0.1,
        quality.EXCEPTION + 2: 0.1,
        quality.EXCEPTION + 6: 0.1,
        quality.MISMATCH: 0.1,
    },
}


@pytest.fixture
def book(books):
    """Return (Book, table): LINKS x UNITS units of two blocks of three uint32 points; the second is slow."""
    units = [(link, 2 * (link * UNITS + u), 2, 3) for link in range(LINKS) for u in range(UNITS)]
    links = np.zeros(LINKS, structs.LINK)
    links["first_block"] = np.arange(LINKS) * 2 * UNITS
    links["n_blocks"] = 2 * UNITS
    links["n_units"] = UNITS
    links["max_in_flight"] = 2
    blocks = np.zeros(2 * len(units), structs.BLOCK)
    blocks["unit"] = blocks["row"] = np.arange(len(blocks)) // 2
    half = np.arange(len(blocks)) % 2
    blocks["first_op"], blocks["n_ops"] = 3 * half, 3
    blocks["address"], blocks["quantity"] = 100 + 6 * half, 6
    blocks["every"] = 1 + 2 * half
    blocks["slot"] = half
    ops = np.zeros(POINTS, structs.OP)
    ops["column"], ops["source"], ops["size"] = np.arange(POINTS), 4 * (np.arange(POINTS) % 3), 4
    ops["low"], ops["high"] = -np.inf, np.inf
    rows = len(units)
    table = Table(
        "t",
        [(f"p{i}", 2, 8) for i in range(POINTS)],
        rows,
        np.zeros((POINTS, rows), bool),
        np.repeat([[0], [1]], 3, axis=0).astype(np.int16),
    )
    parts = [links, np.array(units, structs.UNIT), blocks, ops, table.structs]
    made = books.Book(*[part.view(np.uint8) for part in parts], table.times, 7)
    return made, table


@pytest.mark.parametrize(
    "seed", [*range(8), *(pytest.param(n, marks=pytest.mark.long) for n in range(8, 20))]
)
@pytest.mark.parametrize("weather", WEATHER)
def test_the_books_agree_whatever_happens(book, weather, seed):
    schedule, table = book
    rng, now, in_flight = random.Random(seed), 0, {}
    odds = WEATHER[weather]
    for tick in range(30):
        now += 100 * MS
        schedule.begin(tick, now)
        for _ in range(200):
            now += rng.randrange(3) * MS
            link = rng.randrange(LINKS)
            if sum(of == link for of, _ in in_flight.values()) < 2:
                block = schedule.next(link, now)
                if block >= 0:
                    assert block not in in_flight  # a block is never in flight twice
                    in_flight[block] = (link, now)
            if in_flight and rng.random() < 0.7:
                block = rng.choice(list(in_flight))
                _, sent = in_flight.pop(block)
                code = rng.choices([0, *odds], [1 - sum(odds.values()), *odds.values()])[0]
                if code:
                    schedule.fail(block, code, sent, now)
                else:
                    schedule.reply(block, sent, now)
            elif weather == "foul" and rng.random() < 0.02:
                schedule.link_down(link, quality.LOST)
                in_flight = {b: v for b, v in in_flight.items() if v[0] != link}
            assert schedule.check(in_flight) == LINKS * UNITS * POINTS
        schedule.end(now)
        assert schedule.outstanding == 0
        schedule.check(in_flight)
        if weather == "fair" and not in_flight:
            table.close(0)
            assert not table.row_quality.any()


def run_tick(schedule, tick, now, answer, length_ms=80, timeout_ms=0):
    """Serve link 0 for one tick, one request at a time; return [(block, time sent)] and the time it ended.

    ``answer(block)`` is a quality code; a timeout takes ``timeout_ms``, anything else 1 ms.
    """
    sent, end = [], now + length_ms * MS
    schedule.begin(tick, now, length_ms * MS)
    while now < end:
        block = schedule.next(0, now)
        if block < 0:
            wait = schedule.wait_until(0, now)
            if wait >= end:
                break
            now = wait
            continue
        sent.append((block, now))
        code = answer(block)
        now += timeout_ms * MS if code == quality.TIMEOUT else MS
        if code:
            schedule.fail(block, code, sent[-1][1], now)
        else:
            schedule.reply(block, sent[-1][1], now)
        schedule.check([])
    schedule.end(now)
    return sent, now


def silent(*units):
    return lambda block: quality.TIMEOUT if block // 2 in units else quality.GOOD


def test_a_read_that_timed_out_comes_again_behind_the_other_units_work(book):
    schedule, table = book
    answers = iter([quality.TIMEOUT])
    sent, _ = run_tick(schedule, 0, MS, lambda b: next(answers, quality.GOOD) if b == 2 else quality.GOOD)
    # Unit 1 has blocks 2 and 3: the second waits with the first, and both come when unit 3 is done.
    assert [block for block, _ in sent] == [0, 1, 2, 4, 5, 6, 7, 2, 3]
    table.close(0)
    assert not table.row_quality[:UNITS].any()


def test_the_waits_of_retries_grow_and_then_the_unit_is_dead(book):
    """The document's: i seconds after the i-th failure. The first retry at once: the timeout was its wait."""
    schedule, table = book
    sent, _ = run_tick(schedule, 0, 0, silent(1), length_ms=60_000, timeout_ms=500)
    tries = [time // MS for block, time in sent if block // 2 == 1]
    assert np.diff(tries)[:3].tolist() == [500 + 4, 1500, 2500]  # at once: when units 2 and 3 are done
    assert schedule.is_dead(1)
    table.close(0)
    assert table.row_quality[:UNITS].tolist() == [0, quality.TIMEOUT, 0, 0]
    assert len(sent) - len(tries) == 6  # the others were read once, and first
    assert all(block // 2 != 1 for block, _ in sent[3:7])


def test_a_tick_does_not_wait_for_a_retry_that_comes_too_late(book):
    schedule, _ = book
    schedule.begin(0, 0, 900 * MS)
    now = 0
    while schedule.outstanding:
        block = schedule.next(0, now)
        now += MS
        if block < 0:
            break
        if block // 2 == 1:
            schedule.fail(block, quality.TIMEOUT, now, now)  # twice: then it is to wait for a second
        else:
            schedule.reply(block, now, now)
    assert schedule.outstanding == 4 * UNITS  # of the other two links


def test_a_silent_unit_keeps_its_wait_over_ticks(book):
    schedule, _ = book
    asked, now = [], 0
    for tick in range(80):
        sent, _ = run_tick(schedule, tick, now, silent(1))
        asked += [time // MS for block, time in sent if block // 2 == 1]
        assert sum(block // 2 == 0 for block, _ in sent) == (2 if tick % 3 == 0 else 1)
        now += 100 * MS
    gaps = np.diff(asked)
    assert asked[0] < 80
    assert asked[1] < 80
    assert 1000 <= gaps[1] <= 1100
    assert 2000 <= gaps[2] <= 2100
    assert all(gaps[3:] >= 2000)


def test_a_busy_answer_goes_behind_the_other_units_work(book):
    schedule, table = book
    answers = iter([quality.EXCEPTION + 6] * 2)
    sent, _ = run_tick(
        schedule, 0, MS, lambda b: next(answers, quality.GOOD) if b // 2 == 0 else quality.GOOD, length_ms=500
    )
    assert [block // 2 for block, _ in sent] == [0, 1, 1, 2, 2, 3, 3, 0, 0, 0]
    table.close(0)
    assert not table.row_quality[:UNITS].any()


def test_requests_that_time_out_together_are_one_silence(book):
    schedule, _ = book
    schedule.begin(0, 0)
    together = [schedule.next(0, 0) for _ in range(4)]
    assert [schedule.unit(b) for b in together] == [0, 0, 1, 1]
    assert not schedule.expects_silence(together[0])
    for block in together:
        schedule.fail(block, quality.TIMEOUT, 0, 50 * MS)
        assert not schedule.is_dead(schedule.unit(block))
        assert schedule.expects_silence(together[0])  # units 2 and 3 may well be there
    assert schedule.unit(schedule.next(0, 50 * MS)) == 2


def test_the_silence_of_all_units_is_the_link_s(book):
    schedule, _ = book
    schedule.begin(0, 0)
    asked = {schedule.unit(block): block for block in (schedule.next(0, 0) for _ in range(2 * UNITS))}
    for unit in range(UNITS):
        schedule.fail(asked[unit], quality.TIMEOUT, 0, 50 * MS)
        assert schedule.expects_silence(asked[unit]) == (unit < UNITS - 1)
    schedule.reply(asked[0] - 1, 0, 60 * MS)
    assert not schedule.expects_silence(asked[0])
    assert schedule.expects_silence(asked[1])


def test_a_dead_unit_says_nothing_good_of_what_it_was_asked_for_before(book):
    """Also a slow block, whose turn would come much later."""
    schedule, table = book
    _, now = run_tick(schedule, 0, 0, silent())
    table.close(0)
    assert not table.row_quality[:UNITS].any()
    run_tick(schedule, 1, now, silent(1), length_ms=60_000)
    assert schedule.is_dead(1)
    assert (table.quality[:, 1] == quality.TIMEOUT).all()
    assert not table.quality[:, 0].any()


def test_no_single_block_keeps_a_unit_dead(book):
    """It answers for block 3, but block 2 makes it hang."""
    schedule, _ = book
    _, now = run_tick(schedule, 0, 0, silent(1), length_ms=20_000)
    assert schedule.is_dead(1)
    for tick in range(1, 400):
        run_tick(schedule, tick, now, lambda b: quality.TIMEOUT if b == 2 else quality.GOOD)
        now += 100 * MS
        if not schedule.is_dead(1):
            return
    pytest.fail("it was never asked for its other block")


@pytest.mark.parametrize("timeout_ms", [0, 300, 700, 1500])
def test_a_dead_unit_is_tried_within_the_probe_interval_even_on_a_link_that_is_never_idle(book, timeout_ms):
    schedule, _ = book
    schedule.set_probe_interval(1000 * MS)
    tried, others, now, tick = [], 0, 0, 0
    while now < 60_000 * MS:
        if now >= tick * 100 * MS:
            schedule.end(now)
            tick = now // (100 * MS) + 1
            schedule.begin(tick, now)
        block = schedule.next(0, now)
        if block >= 0 and schedule.unit(block) == 1:
            tried.append(now)
            now += timeout_ms * MS
            schedule.fail(block, quality.TIMEOUT, tried[-1], now)
        elif block >= 0:
            others += 1
            now += 40 * MS  # more than a tick can hold of the others alone
            schedule.reply(block, now, now)
        else:
            now += MS
    gaps = np.diff(tried)
    its_turn = (100 + 2 * UNITS * 40) * MS  # from the next tick on, after one read of every other block
    assert gaps.max() <= max(1000, timeout_ms) * MS + its_turn
    assert len(tried) <= 4 + 60_000 / max(1000, timeout_ms)  # and it takes no more than that from the others
    assert others * 40 + len(tried) * timeout_ms >= 60_000 - 100


def test_times_are_those_of_each_block_and_of_its_halves(book):
    schedule, table = book
    schedule.begin(0, 0)
    for sent_ms, received_ms in ((10, 20), (25, 30)):
        schedule.reply(schedule.next(0, sent_ms * MS), sent_ms * MS, received_ms * MS)
    assert table.requested_ns[:, 0].tolist() == [10 * MS, 25 * MS]
    assert table.received_ns[:, 0].tolist() == [20 * MS, 30 * MS]
    assert table.age_ns("p0", 100 * MS)[0] == 90 * MS
    assert table.age_ns("p5", 100 * MS)[0] == 75 * MS
    refused = schedule.next(0, 40 * MS)
    schedule.fail(refused, quality.EXCEPTION + 2, 40 * MS, 45 * MS)
    assert not table.requested_ns[:, 1].any()
    half = schedule.next(0, 50 * MS)
    assert schedule.unit(half) == 1
    schedule.reply(half, 50 * MS, 55 * MS)
    assert table.requested_ns[:, 1].tolist() in ([50 * MS, 0], [0, 50 * MS])


@pytest.mark.parametrize("timeout_ms", [250, 270, 333, 400])
def test_probes_that_fill_a_tick_leave_the_good_unit_its_turn(book, timeout_ms):
    """Three of four units are dead, and to probe them takes all the time that they may wait."""
    schedule, _ = book
    schedule.set_probe_interval(1000 * MS)
    answered, now, tick, is_open = [], 0, 0, False
    while tick < 60:
        if is_open and now >= (1000 * tick + 800) * MS:
            schedule.end(now)
            is_open = False
        elif now >= 1000 * (tick + 1) * MS:
            tick, is_open = now // (1000 * MS), True
            schedule.begin(tick, now, 800 * MS)
        block = schedule.next(0, now)
        sent = now
        if block < 0:
            now += MS
        elif schedule.unit(block) == 2:
            now += MS
            schedule.reply(block, sent, now)
            answered.append(tick)
        else:
            now += timeout_ms * MS
            schedule.fail(block, quality.TIMEOUT, sent, now)
    assert set(range(20, 60)) <= set(answered)


def test_what_is_refused_ends_as_holes_that_are_seldom_asked_for(book):
    schedule, _ = book
    now, asked = 0, []
    for tick in range(20):
        now += 100 * MS
        schedule.begin(tick, now)
        count = 0
        while (block := schedule.next(0, now)) >= 0:
            count += 1
            schedule.fail(block, quality.EXCEPTION + 2, now, now)
        asked.append(count)
        schedule.end(now)
    assert asked[0] == UNITS * 2 * 5  # three points: 1 + 2 + 2 reads until each is alone
    assert not any(asked[1:])
    now += 61_000 * MS
    schedule.begin(20, now)
    assert schedule.next(0, now) >= 0
