"""Whom a scan asks what, and the verdict, without sockets or time: peers are functions."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxfast.constants import ExceptionCode
from fluxfast.scan import Options, Result, Step, Verdict, candidates
from fluxfast.scan.examination import Examination
from fluxfast.scan.exchange import Kind, Reply
from fluxfast.scan.prober import Ask, Connect, Opened
from fluxfast.scan.questions import Question
from fluxfast.scan.targets import Target

PROFILES = candidates()
Says = Callable[[int, Question], Reply]
TARGET = Target("10.0.0.1", (502,))


class Held:
    """An examination that was held: its result, what was asked in which order, its connects and seconds."""

    def __init__(
        self, says: Says, options: Options | None = None, opens: Callable[[int], Opened] = lambda _: Opened.UP
    ) -> None:
        self.asked: list[tuple[int, Question]] = []
        self.connects = 0
        self.now_s = 0.0
        options = options or Options(profiles=PROFILES)
        talk = Examination(TARGET, 502, options, lambda: self.now_s).run()
        wish = next(talk)
        while True:
            outcome: Opened | list[Reply]
            if isinstance(wish, Connect):
                self.connects += 1
                self.now_s += wish.pause_s + wish.listen_s
                outcome = opens(self.connects)
            else:
                assert isinstance(wish, Ask)
                self.asked.append((wish.unit, wish.question))
                reply = says(wish.unit, wish.question)
                self.now_s += wish.patience_s if reply.kind is Kind.SILENCE else 0.001
                outcome = [reply]
            try:
                wish = talk.send(outcome)
            except StopIteration as end:
                self.result: Result = end.value
                return

    @property
    def steps(self) -> list[Step]:
        return [question.step for _, question in self.asked]


def silent(unit: int, question: Question) -> Reply:
    return Reply(unit, question, Kind.SILENCE)


def refuses(code: int) -> Says:
    return lambda unit, question: Reply(unit, question, Kind.EXCEPTION, code)


def gateway(units: set[int]) -> Says:
    def says(unit: int, question: Question) -> Reply:
        return refuses(1 if unit in units else 11)(unit, question)

    return says


def test_silence_is_asked_from_safe_to_intrusive_and_given_up_soon() -> None:
    held = Held(silent)
    assert held.result.verdict is Verdict.SILENT
    assert "--units 1-247" in held.result.detail
    assert held.steps == sorted(held.steps)
    assert held.steps[0] is Step.IDENTIFICATION
    assert [unit for unit, _ in held.asked] == [1, 1, 1, 1, 1, 255, 0, 1]
    assert held.now_s <= 8 * 0.4
    assert held.connects == 1


def test_each_step_can_be_the_last() -> None:
    for step in Step:
        for says in (silent, refuses(2), gateway({3})):
            held = Held(says, Options(max_step=step, profiles=PROFILES))
            assert all(asked <= step for asked in held.steps)
            assert (Verdict.OPEN is held.result.verdict) == (step is Step.CONNECT)


def test_a_silent_gateway_is_found_by_its_units() -> None:
    def says(unit: int, question: Question) -> Reply:
        return refuses(2)(unit, question) if unit == 17 else silent(unit, question)

    assert Held(says).result.verdict is Verdict.SILENT
    held = Held(says, Options(units=tuple(range(1, 248))))
    assert held.result.verdict is Verdict.EXCEPTION
    assert [unit.id for unit in held.result.units] == [17]
    assert held.now_s < 0.4 * 300  # one question to each of the silent


def test_a_gateway_shows_itself_and_is_swept() -> None:
    held = Held(gateway({3, 17, 246}))
    assert held.result.verdict is Verdict.GATEWAY
    assert [unit.id for unit in held.result.units] == [3, 17, 246]
    assert held.result.swept == "247 of 247 units asked"
    kept = Held(gateway({3, 17, 246}), Options(gateway_budget_s=0.0))
    assert kept.result.verdict is Verdict.GATEWAY
    assert kept.result.units == ()
    assert kept.result.detail == "denies unit 0, 1, 255"


def test_a_gateway_whose_first_unit_answers_is_swept_too() -> None:
    assert [unit.id for unit in Held(gateway({1, 2, 199})).result.units] == [1, 2, 199]


def test_a_device_that_denies_others_is_not_swept_far() -> None:
    held = Held(gateway({1}))
    assert held.result.verdict is Verdict.EXCEPTION
    assert len(held.asked) < 100


def test_few_ports_are_asked_for_all_units() -> None:
    assert [unit.id for unit in Held(gateway({1, 77})).result.units] == [1]
    held = Held(gateway({1, 77}), Options(is_thorough=True))
    assert [unit.id for unit in held.result.units] == [1, 77]
    assert held.result.verdict is Verdict.GATEWAY


def test_units_in_a_row_are_found_where_others_are_silent() -> None:
    def says(unit: int, question: Question) -> Reply:
        return refuses(2)(unit, question) if unit in (1, 2, 5, 9) else silent(unit, question)

    held = Held(says)
    assert [unit.id for unit in held.result.units] == [1, 2, 5]
    assert held.result.detail == "silent for other units, asked up to 8 (all: --units 1-247)"
    kept = Held(says, Options(gateway_budget_s=0.0)).result
    assert ([unit.id for unit in kept.units], kept.detail) == ([1], "")
    late = Held(says, Options(gateway_budget_s=1.2)).result  # the time for 255, 3 and 4
    assert "asked up to 4 " in late.detail


def test_one_that_closes_on_rtu_only_is_silent() -> None:
    held = Held(lambda unit, question: Reply(unit, question, Kind.LOST if question.is_rtu else Kind.SILENCE))
    assert "--units 1-247" in held.result.detail


def test_a_sweep_ends_with_its_budget() -> None:
    def says(unit: int, question: Question) -> Reply:
        return gateway({40})(unit, question) if unit in (1, 255, 0, 40) else silent(unit, question)

    held = Held(says, Options(gateway_budget_s=10.0))
    assert "of 247 units asked in 10 s (more: --gateway-budget)" in held.result.swept
    assert held.now_s < 12


def test_all_units_alike_are_one_device() -> None:
    held = Held(refuses(2), Options(units=tuple(range(1, 248))))
    assert [unit.id for unit in held.result.units] == [1]
    assert held.result.detail == "answers for any unit identifier"
    assert [unit.id for unit in Held(refuses(2), Options(units=(4, 5))).result.units] == [4, 5]


def test_a_peer_that_closes_at_once_is_busy() -> None:
    def lost(unit: int, question: Question) -> Reply:
        return Reply(unit, question, Kind.LOST)

    held = Held(lost, opens=lambda number: Opened.UP if number == 1 else Opened.ENDED)
    assert held.result.verdict is Verdict.BUSY
    assert held.connects == 4
    assert Held(lost, opens=lambda _: Opened.ENDED).result.verdict is Verdict.BUSY
    held = Held(lost)
    assert held.result.verdict is Verdict.SILENT
    assert "closes the connection" in held.result.detail
    assert held.connects <= 1 + len(held.asked)


def test_what_is_not_open() -> None:
    assert Held(silent, opens=lambda _: Opened.CLOSED).result.verdict is Verdict.CLOSED
    assert Held(silent, opens=lambda _: Opened.UNREACHABLE).result.verdict is Verdict.UNREACHABLE


KINDS = st.sampled_from([Kind.EXCEPTION, Kind.WRONG, Kind.GARBAGE, Kind.SILENCE, Kind.LOST])
CODES = st.sampled_from([*ExceptionCode, 0, 200])


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from([None, (5,), (1, 2, 3), tuple(range(1, 60))]))
def test_whatever_a_peer_does_it_ends_and_only_answers_make_a_device(
    data: st.DataObject, units: tuple[int, ...] | None
) -> None:
    seen: list[Kind] = []

    def says(unit: int, question: Question) -> Reply:
        kind = data.draw(KINDS)
        seen.append(kind)
        value = data.draw(CODES) if kind is Kind.EXCEPTION else None
        return Reply(unit, question, kind, value, heard=b"\1\2\3" if kind is Kind.GARBAGE else b"")

    held = Held(
        says,
        Options(units=units, profiles=PROFILES, gateway_budget_s=2.0),
        opens=lambda number: Opened.UP if number == 1 else data.draw(st.sampled_from(Opened)),
    )
    assert held.result.verdict.is_found == (Kind.EXCEPTION in seen)
    assert held.connects <= 1 + 3 * len(held.asked)
    for unit, question in set(held.asked):  # a question is repeated only where the connection was lost
        assert held.asked.count((unit, question)) <= 2
