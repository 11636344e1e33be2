"""The examples of docs/modes.md are what they claim to be."""

import re
from pathlib import Path

import pytest

from fluxfast.config.modes import MODES
from tests.support.views import modes, target, view

PAGE = (Path(__file__).parents[3] / "docs/modes.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"Example: `(\{type: (\w+).*\})`", PAGE)


def test_every_type_has_an_example() -> None:
    assert [type_ for _, type_ in EXAMPLES] == list(MODES)
    assert re.findall(r"^## (\w+)$", PAGE, re.M) == list(MODES)


@pytest.mark.parametrize("example", [text for text, _ in EXAMPLES])
def test_examples_can_be_used(example: str, tmp_path: Path) -> None:
    (plan,) = re.findall(r"(?:^    (?:start|2026).*\n)+", PAGE, re.M)
    (tmp_path / "plan.csv").write_text(re.sub("^ +", "", plan, flags=re.M))
    (function,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    (tmp_path / "modes.py").write_text(function)
    asked = modes(f"[{example}]", folder=tmp_path)
    answers = {
        target(asked, view(hour * 3600.0, load_kw=-100.0, soe_pct=soe, frequency_hz=49.8, discharge_kw=500.0))
        for hour in range(20_605 * 24, 20_607 * 24)  # 1 and 2 June 2026
        for soe in (10, 60)
    }
    assert answers - {None}


def test_the_droop_is_as_the_page_says() -> None:
    (example,) = [text for text, type_ in EXAMPLES if type_ == "frequency_droop"]
    assert target(modes(f"[{example}]"), view(frequency_hz=49.8, discharge_kw=800)) == pytest.approx(500)
    assert target(modes(f"[{example}]"), view(frequency_hz=49.89, discharge_kw=800)) == pytest.approx(250)
