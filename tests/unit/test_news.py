"""What is told when it changes, and what is not."""

from itertools import pairwise

import numpy as np

from fluxfast.config import load
from fluxfast.controller import Controller
from fluxfast.news import NAMED, DeviceNews, SiteNews
from fluxfast.plan.control import plan_control
from fluxfast.poller import Poller
from fluxfast.table import Table, quality
from tests.support.logs import USUAL, site_file

SECOND = 1_000_000_000
GOOD, LATE, TIMEOUT, LOST, NEVER = (
    quality.GOOD, quality.LATE, quality.TIMEOUT, quality.LOST, quality.NEVER
)  # fmt: skip


class Told:
    """A table whose rows get one code each, and what is told of them."""

    def __init__(self, rows):
        self.table = Table("packs", [("soe", 0, 8), ("power", 0, 8)], rows, np.zeros((2, rows), bool))
        self.news = DeviceNews(self.table, [f"b{row}" for row in range(rows)])
        self.row_of = {f"b{row}": row for row in range(rows)}

    def at(self, second, *codes):
        self.table.quality[:] = np.array(codes, np.uint8)
        self.table.close(0)
        said = self.news.take(round(second * SECOND))
        for row, text in said:
            assert row is None or self.row_of[text.split(":")[0]] == row
        return [text for _, text in said]


def test_a_device_is_told_of_when_its_quality_or_its_reason_changes():
    told = Told(2)
    assert told.at(0, GOOD, TIMEOUT) == ["b1: bad: timeout"]
    assert told.at(11, GOOD, TIMEOUT) == []
    assert told.at(12, LATE, LOST) == ["b0: uncertain: late", "b1: bad: connection lost"]
    assert told.at(23, GOOD, quality.EXCEPTION + 2) == [
        "b0: good again", "b1: bad: exception 2 illegal data address"
    ]  # fmt: skip
    told.table.quality[:, 1] = [GOOD, TIMEOUT]
    told.table.close(0)
    assert told.news.take(34 * SECOND) == [(1, "b1: uncertain: timeout")]


def test_what_was_never_read_is_no_news():
    told = Told(2)
    assert told.at(0, NEVER, NEVER) == []
    assert told.at(1, GOOD, TIMEOUT) == ["b1: bad: timeout"]


def test_a_device_that_flaps_is_told_of_now_and_then_and_in_the_end_truly():
    told, said = Told(1), []
    for tick in range(100):  # half a second each
        said += told.at(tick / 2, TIMEOUT if tick % 3 else GOOD)
    assert 4 <= len(said) <= 6
    for second in range(50, 62):
        said += told.at(second, TIMEOUT)
    assert said[-1] == "b0: bad: timeout"
    assert all(before != after for before, after in pairwise(said))


def test_of_many_at_once_some_are_named_and_the_others_counted():
    told = Told(50)
    said = told.at(0, *[TIMEOUT] * 40, *[LOST] * 9, GOOD)
    assert said[:NAMED] == [f"b{row}: bad: timeout" for row in range(NAMED)]
    assert said[NAMED:] == ["packs: and 41 more: 32 bad: timeout, 9 bad: connection lost"]
    assert told.at(11, *[TIMEOUT] * 40, *[LOST] * 9, GOOD) == []
    assert told.at(12, *[GOOD] * 50)[NAMED:] == ["packs: and 41 more: 41 good again"]


def test_a_site_tells_which_limit_binds_and_when_no_more(tmp_path):
    control = """
  action: shadow
  modes: [{type: fixed_power, power_kw: 0}]
  limits: {import_kw: 100}
"""
    poller = Poller(fleet := load(site_file(tmp_path, control)))
    for name, value in USUAL.items():
        poller["powerpack"][name][:] = value
    plan = plan_control(fleet, poller.plan)
    controller = Controller(plan, poller.tables, fleet.poll.every_ns)
    news, said = SiteNews(controller), []
    for tick in range(90):
        now_ns = (1000 + tick // 2) * SECOND + tick % 2 * SECOND // 2
        for table in poller.tables.values():
            table.quality[:] = GOOD
            table.requested_ns[:] = table.received_ns[:] = now_ns
        grid_kw = 50 if tick < 10 else 150 if tick < 20 or tick == 60 else 20
        poller["acuvim2"]["power_total"][:] = grid_kw * 1000
        controller.gather(now_ns)
        controller.decide(now_ns, now_ns // 1000)
        said += [(tick, *line) for line in news.take(now_ns)]
    assert [(kind, site, text) for _, kind, site, text in said] == [
        ("limit", "S", "limited by import limit"),
        ("limit", "S", "no longer limited by import limit"),
        ("limit", "S", "limited by import limit"),
        ("limit", "S", "no longer limited by import limit"),
    ]
    ticks = [tick for tick, *_ in said]
    assert ticks[0] in range(10, 14)
    assert ticks[1] == ticks[0] + 20
    assert ticks[3] == ticks[2] + 20
