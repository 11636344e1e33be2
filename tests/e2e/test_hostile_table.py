"""The table is whole: each of its 76 inputs is a row, or is named here with the test that has it."""

from pathlib import Path

from fluxfast.table import quality
from tests.e2e.test_hostile_writes import HOSTILE
from tests.support.hostile_reads import AT_ONCE, AT_THE_DEADLINE

ROOT = Path(__file__).parents[2]
LINKS, WRITES = "tests/e2e/test_hostile_links.py", "tests/e2e/test_hostile_writes.py"
VALUES = "tests/e2e/test_hostile_values.py"
UNCLEAR = (WRITES, "test_a_write_without_a_clear_answer_is_read_back_and_never_repeated")
UNREACHABLE = (LINKS, "test_what_never_answers_says_why_and_is_left_in_peace")
ELSEWHERE = {
    **dict.fromkeys(range(50, 55), UNCLEAR),
    **dict.fromkeys(range(59, 64), UNREACHABLE),
    64: (LINKS, "test_a_peer_that_is_gone_without_a_word_is_given_up"),
    65: (LINKS, "test_a_device_with_one_slot_costs_one_reconnect_for_each_rival"),
    66: (LINKS, "test_units_of_a_gateway_that_are_busy_or_gone_cost_the_others_nothing"),
    67: (LINKS, "test_units_of_a_gateway_that_are_busy_or_gone_cost_the_others_nothing"),
    68: (LINKS, "test_a_peer_that_never_reads_is_given_up"),
    70: (LINKS, "test_a_peer_that_talks_before_it_is_asked_is_closed"),
    71: ("tests/unit/link/test_conversation.py", "test_identifiers_wrap_around_a_request_that_is_pending"),
    72: (VALUES, "test_a_value_that_is_none_is_marked_alone_and_for_as_long_as_it_lasts"),
    73: (VALUES, "test_a_value_that_is_none_is_marked_alone_and_for_as_long_as_it_lasts"),
    75: (WRITES, "test_device_identification_that_never_ends_is_ended"),
    76: ("tests/e2e/test_names.py", "test_a_name_that_resolves_no_longer_keeps_its_last_address"),
}
# The same values for many ticks: there is no such quality yet. (Of 73, limits of a value's rate neither.)
NOT_BUILT = {74: "frozen"}


def test_every_input_has_its_place():
    rows = {case.number for case in AT_ONCE + AT_THE_DEADLINE}
    assert sorted([*rows, *ELSEWHERE, *NOT_BUILT]) == list(range(1, 77))
    for path, test in ELSEWHERE.values():
        assert f"\ndef {test}(" in (ROOT / path).read_text()
    assert {int(name.split()[0]) for name in HOSTILE} >= set(range(50, 55))


def test_what_is_not_built_is_not_there():
    """Whoever builds it finds here that its case is still to be written."""
    for word in NOT_BUILT.values():
        assert not any(word in (reason or "") for reason in quality.REASONS)
