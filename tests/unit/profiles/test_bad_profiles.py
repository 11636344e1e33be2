"""Every profile of ``bad_profiles.txt`` gives exactly the problems that stand under it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxfast.errors import ConfigError
from fluxfast.profiles import Point, Quirks
from fluxfast.profiles.document import parse_document
from fluxfast.profiles.store import build_profile
from tests.unit.profiles.golden import read_table

TABLE = read_table(Path(__file__).with_name("bad_profiles.txt"))


@pytest.mark.parametrize("name", TABLE)
def test_is_reported(name: str) -> None:
    text, expected = TABLE[name]
    with pytest.raises(ConfigError) as caught:
        build_profile(parse_document(text, "my.yaml"))
    assert [str(problem).removeprefix("my.yaml:").strip() for problem in caught.value.problems] == expected


def test_table_is_long_enough() -> None:
    assert len(TABLE) > 70


KEYS = [*Point.model_json_schema()["properties"], "name"]
WORDS = st.sampled_from(
    [
        "holding",
        "coil",
        "bool",
        "string",
        "int16",
        "uint64",
        "float32",
        "BA",
        "CDAB",
        "rw",
        "fast",
        "slow",
        "a",
        "",
    ]
)
NUMBERS = st.integers() | st.integers(-1, 20) | st.decimals(allow_nan=False, allow_infinity=False)
SIMPLE = WORDS | NUMBERS | st.none() | st.booleans()
VALUES = SIMPLE | st.lists(SIMPLE, max_size=3) | st.dictionaries(SIMPLE, SIMPLE, max_size=3)
POINT = st.fixed_dictionaries(
    {"address": st.integers(0, 4), "type": st.sampled_from(["int16", "uint32", "bool", "string", "float32"])},
    optional={key: VALUES for key in KEYS if key not in ("address", "type")},
)


@settings(max_examples=500, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "name": st.just("p"),
            "points": st.dictionaries(SIMPLE | WORDS, POINT | VALUES, max_size=4) | VALUES,
        },
        optional={
            "quirks": st.dictionaries(
                st.sampled_from(list(Quirks.model_json_schema()["properties"])), VALUES
            ),
            "groups": st.dictionaries(SIMPLE, VALUES, max_size=2),
            "version": VALUES,
        },
    )
)
def test_whatever_it_says_only_config_errors_come_out(data: dict[str, Any]) -> None:
    document = parse_document("name: p", "my.yaml")
    document.data.update(data)
    try:
        build_profile(document)
    except ConfigError as error:
        problems = [str(problem) for problem in error.problems]
    else:
        return
    assert problems
    assert all(map(str.isprintable, problems))
