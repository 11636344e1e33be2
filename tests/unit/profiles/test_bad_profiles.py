"""Every profile of ``bad_profiles.txt`` gives exactly the problems that stand under it."""

from pathlib import Path

import pytest

from fluxfast.errors import ConfigError
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
