"""Modes that a user wrote: what they get, and that nothing they do gets past them."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fluxfast.control.modes import Modes
from fluxfast.control.modes.view import ARRAYS
from fluxfast.errors import ConfigError
from tests.support.views import decide, modes, target, view

GAIN = """
import numpy as np

def follow(view, gain=1.0, steps=()):
    return gain * view.load_kw + sum(steps)
"""


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def made(source: str, *sites: str) -> Modes:
        (tmp_path / "own.py").write_text(source)
        return modes(*sites, folder=tmp_path)

    return made


def problem(made: Any, source: str, function: str = "own.py:mode", keys: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        made(source, f"[{{type: python, function: {function}{keys}}}]")
    (one,) = caught.value.problems
    assert str(one).isprintable()
    return str(one).rpartition("/")[2]


def test_a_function_on_columns(make: Any) -> None:
    asked = make(
        GAIN,
        "[{type: python, function: own.py:follow, gain: 0.5}]",
        "[{type: python, function: own.py:follow, gain: 0.5}, {type: balance}]",
        "[{type: python, function: own.py:follow, steps: [1, 0.5]}]",
    )
    assert decide(asked, view(sites=3, load_kw=[10, np.nan, 30])) == [(5, 0), (0, 1), (31.5, 0)]
    assert asked.take_events() == []


def test_it_sees_its_own_sites_only_and_one_call_serves_them_all(make: Any) -> None:
    source = "calls = []\ndef mode(view):\n    calls.append(view)\n    return view.soe_pct + 0.0\n"
    own = "[{type: python, function: own.py:mode}]"
    asked = make(source, own, "[{type: balance}]", own, "[{type: balance}]", own)
    (module,) = (
        one
        for name, one in sys.modules.items()
        if name.startswith("fluxfast_mode:") and hasattr(one, "calls")
    )
    module.calls.clear()
    seen = view("2026-06-01T12:00Z", 5, soe_pct=[1, 2, 3, 4, 5])
    assert [power for power, _ in decide(asked, seen)] == [1, 0, 3, 0, 5]
    (call,) = module.calls
    assert call.time_s == seen.time_s
    assert call.soe_pct.tolist() == [1, 3, 5]


@pytest.mark.parametrize("name", ARRAYS)
def test_it_cannot_change_what_it_sees(make: Any, name: str) -> None:
    source = f"""
import numpy as np
def mode(view):
    if view.dt_s == 0.5:
        view.{name}.setflags(write=True)
        view.{name}[:] = 1e6
        view.{name} = None
    return np.zeros(len(view.soe_pct))
def polite(view):
    if view.dt_s == 0.5:
        view.{name}[0] = 1e6
    return np.zeros(len(view.soe_pct))
"""
    for function in ("mode", "polite"):
        asked = make(source, f"[{{type: python, function: own.py:{function}}}]")
        seen = view()
        before = {column: getattr(seen, column).tolist() for column in ARRAYS}
        assert target(asked, seen) is None
        assert {column: getattr(seen, column).tolist() for column in ARRAYS} == before
        ((site, text),) = asked.take_events()
        assert site == 0
        assert "cannot assign" in text or "read-only" in text


def test_a_failure_is_told_once_until_it_works_again(make: Any) -> None:
    source = """
def mode(view, limit):
    if view.load_kw[0] > limit:
        raise ValueError("the load is\\n too high")
    return view.load_kw.copy()
"""
    own = "{type: python, function: own.py:mode, limit: 1000}"
    asked = make(source, f"[{own}, {{type: fixed_power, power_kw: 3}}]", f"[{own}]")
    assert decide(asked, view(sites=2, load_kw=7)) == [(7, 0), (7, 0)]
    for _ in range(3):
        (first, (_, second)) = decide(asked, view(sites=2, load_kw=2000))
        assert (first, second) == ((3, 1), -1)
    text = r"mode python does not apply: mode(): ValueError: the load is\n too high (line 4)"
    assert asked.take_events() == [(0, text), (1, text)]
    assert asked.take_events() == []
    assert decide(asked, view(sites=2, load_kw=7)) == [(7, 0), (7, 0)]
    decide(asked, view(sites=2, load_kw=2000))
    assert len(asked.take_events()) == 2


def test_it_is_not_called_while_none_of_its_sites_wants_it(make: Any) -> None:
    source = "def mode(view):\n    if view.dt_s == 0.5:\n        raise OSError\n    return view.soe_pct\n"
    asked = make(source, "[{type: python, function: own.py:mode, enabled: false}]")
    assert target(asked, view()) is None
    assert asked.take_events() == []
    asked.set_enabled(0, "python", True)
    assert target(asked, view()) is None
    asked.set_enabled(0, "python", False)
    assert target(asked, view()) is None
    asked.set_enabled(0, "python", True)
    assert target(asked, view()) is None
    assert asked.take_events() == [(0, "mode python does not apply: mode(): OSError:  (line 3)")]


@pytest.mark.parametrize(
    ("result", "what"),
    [
        ("None", "it must return a float64 array, not NoneType"),
        ("0.0", "it must return a float64 array, not float"),
        ("view.load_kw.tolist()", "it must return a float64 array, not list"),
        ("view.load_kw.astype('f4')", "it must return a float64 array, not float32"),
        ("view.load_kw > 0", "it must return a float64 array, not bool"),
        ("np.ma.masked_array(view.load_kw, True)", "it must return a float64 array, not MaskedArray"),
        ("view.load_kw[:0]", "it must return 2 rows, not an array of shape (0,)"),
        ("np.zeros((2, 1))", "it must return 2 rows, not an array of shape (2, 1)"),
        ("view.load_kw / 0", "it returned an infinite power"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("view.nonsense", "AttributeError: 'View' object has no attribute 'nonsense'"),
    ],
)
def test_a_wrong_result(make: Any, result: str, what: str) -> None:
    own = "[{type: python, function: own.py:mode}]"
    head = "import sys\nimport numpy as np\nnp.seterr(all='ignore')\n"
    with pytest.raises(ConfigError, match="the trial run failed") as caught:
        make(f"{head}def mode(view):\n    return {result}\n", own, own)
    assert what in str(caught.value)
    later = f"{head}def mode(view):\n    return {result} if view.dt_s == 0.5 else view.soe_pct\n"
    asked = make(later, own, own)
    assert [index for _, index in decide(asked, view(sites=2, load_kw=1))] == [-1, -1]
    events = asked.take_events()
    assert [site for site, _ in events] == [0, 1]
    assert what in events[0][1]


def test_no_number_is_no_failure(make: Any) -> None:
    asked = make(
        "def mode(view):\n    return view.soe_pct * float('nan')\n", "[{type: python, function: own.py:mode}]"
    )
    assert target(asked, view()) is None
    assert asked.take_events() == []


@pytest.mark.parametrize(
    ("source", "keys", "expected"),
    [
        ("", "", "own.py: mode: there is no function mode"),
        ("def mod(view): ...", "", "own.py: mode: there is no function mode (did you mean 'mod'?)"),
        ("mode = 7", "", "own.py: mode: mode is no function, but int"),
        ("def mode(:", "",
         "own.py: mode: the file cannot be run: SyntaxError: invalid syntax (own.py, line 1)"),
        ("\nimport nowhere", "", "own.py: mode: the file cannot be run: "
         "ModuleNotFoundError: No module named 'nowhere' (line 2)"),
        ("raise SystemExit", "", "own.py: mode: the file cannot be run: SystemExit:  (line 1)"),
        ("def mode(view): return view.soe_pct", ", gain: 2",
         "own.py: mode(): the trial run failed: TypeError: mode() got an unexpected keyword argument 'gain'"),
        ("def mode(view, gain): return view.soe_pct", "",
         "own.py: mode(): the trial run failed: "
         "TypeError: mode() missing 1 required positional argument: 'gain'"),
        ("def mode(view):\n    return 1 / 0", "",
         "own.py: mode(): the trial run failed: ZeroDivisionError: division by zero (line 2)"),
    ],
)  # fmt: skip
def test_it_is_tried_before_it_runs(make: Any, source: str, keys: str, expected: str) -> None:
    assert problem(make, source, keys=keys) == expected


def test_there_is_no_file(make: Any) -> None:
    expected = "nowhere.py: mode: there is no such file (its path is relative to the site file)"
    assert problem(make, "", function="nowhere.py:mode") == expected


def test_a_dataclass_in_its_file(make: Any) -> None:
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: float = 2.0\ndef mode(view):\n    return view.soe_pct * A().x\n"
    )
    assert target(make(source, "[{type: python, function: own.py:mode}]"), view()) == 100


class TestEntryPoints:
    @pytest.fixture(autouse=True)
    def package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Install a package that has two, one of which cannot be loaded."""
        info = tmp_path / "site/ours-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[fluxfast.modes]\nhalf = ours_modes:half\nlost = ours_modes:lost\n"
        )
        (tmp_path / "site/ours_modes.py").write_text("def half(view):\n    return view.load_kw / 2\n")
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.delitem(sys.modules, "ours_modes", raising=False)

    def test_by_name(self) -> None:
        assert target(modes("[{type: python, function: half}]"), view(load_kw=8)) == 4

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("hafl", "entry point: hafl: no installed package has an entry point hafl"
             " in the group fluxfast.modes (did you mean 'half'?)"),
            ("lost", "entry point: lost: cannot be loaded:"
             " AttributeError: module 'ours_modes' has no attribute 'lost'"),
        ],
    )  # fmt: skip
    def test_wrong(self, name: str, expected: str) -> None:
        with pytest.raises(ConfigError) as caught:
            modes(f"[{{type: python, function: {name}}}]")
        assert str(caught.value) == expected
