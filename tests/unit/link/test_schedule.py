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
    return make_book(books)


def make_book(books, every=3):
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
    blocks["every"] = 1 + (every - 1) * half
    ops = np.zeros(POINTS, structs.OP)
    ops["column"], ops["source"], ops["size"] = np.arange(POINTS), 4 * (np.arange(POINTS) % 3), 4
    ops["low"], ops["high"] = -np.inf, np.inf
    rows = len(units)
    table = Table("t", [(f"p{i}", 2, 8) for i in range(POINTS)], rows, np.zeros((POINTS, rows), bool))
    received = np.array([table.received_ns.ctypes.data], np.uint64)
    parts = [links, np.array(units, structs.UNIT), blocks, ops, table.structs]
    made = books.Book(*[part.view(np.uint8) for part in parts], received, 7)
    return made, (table, received)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("weather", WEATHER)
def test_the_books_agree_whatever_happens(book, weather, seed):
    schedule, (table, _) = book
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
                    schedule.fail(block, code, now)
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
            table.close()
            assert not table.row_quality.any()


def test_a_silent_unit_is_asked_once_a_tick_then_ever_less(book):
    schedule, _ = book
    asked, now = [0] * UNITS, 0
    for tick in range(100):
        now += 100 * MS
        schedule.begin(tick, now)
        while (block := schedule.next(0, now)) >= 0:
            unit = schedule.unit(block)
            asked[unit] += 1
            if unit == 1:
                schedule.fail(block, quality.TIMEOUT, now)
            else:
                schedule.reply(block, now, now)
        schedule.end(now)
    assert asked[0] == asked[2] == asked[3] == 100 + 34
    assert 5 <= asked[1] <= 12


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
            schedule.fail(block, quality.TIMEOUT, now)
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


def test_a_dead_unit_has_no_good_cell(books):
    """Its slow block was read before, and its turn does not come while it is dead."""
    schedule, (table, _) = make_book(books, every=100)
    now = 0
    for tick in range(9):
        now += 100 * MS
        schedule.begin(tick, now)
        while (block := schedule.next(0, now)) >= 0:
            if schedule.unit(block) == 1 and tick > 0:
                schedule.fail(block, quality.TIMEOUT, now)
            else:
                schedule.reply(block, now, now)
        schedule.end(now)
        good = (table.quality[:, :UNITS] == quality.GOOD).all(0)
        assert good.tolist() == [True, tick == 0, True, True]
        if tick == 4:  # four in a row: from now on it is dead
            assert (table.quality[:3, 1] == quality.TIMEOUT).all()
        if tick > 4:
            assert (table.quality[:, 1] == quality.TIMEOUT).all()


def test_what_is_refused_ends_as_holes_that_are_seldom_asked_for(book):
    schedule, _ = book
    now, asked = 0, []
    for tick in range(20):
        now += 100 * MS
        schedule.begin(tick, now)
        count = 0
        while (block := schedule.next(0, now)) >= 0:
            count += 1
            schedule.fail(block, quality.EXCEPTION + 2, now)
        asked.append(count)
        schedule.end(now)
    assert asked[0] == UNITS * 2 * 5  # three points: 1 + 2 + 2 reads until each is alone
    assert not any(asked[1:])
    now += 61_000 * MS
    schedule.begin(20, now)
    assert schedule.next(0, now) >= 0
