"""What is shown of control: in 78 columns, in a line, in sentences."""

from dataclasses import asdict, replace

import pytest
from rich.console import Console

from fluxfast.cli.sites import sentences, summary
from fluxfast.cli.status import line, render
from fluxfast.status import SiteStatus, Status, TableStatus, UnitsOut

SITE = SiteStatus(
    name="plant-7", action="act", stopped=False, mode="peak_shaving", target_kw=-40.0, limit="import limit",
    setpoint_kw=-36.0, unserved_kw=-4.0, unserved_why="rated power", grid_kw=1234.56, meter_stale=False,
    units=4, in_use=3, out=(UnitsOut("not ready", 1, ("b3",)),), unconfirmed=2,
)  # fmt: skip
QUIET = replace(SITE, limit=None, unserved_kw=0.0, unserved_why=None, in_use=4, out=())
STOPPED = replace(
    SITE, stopped=True, limit="emergency stop", in_use=0, out=(UnitsOut("stopped", 4, ("b1", "b2", "b3")),)
)
SHADOW = replace(QUIET, name="plant-8", action="shadow", mode=None, grid_kw=None, meter_stale=True)


def status(*sites, **changes):
    one = Status(1.0, (TableStatus("powerpack", 4, 0, 0),), 0.0, 0.0, None, None, 1, 0, 0, 0, 0, 0, 0, 0, 0.0)
    return replace(one, control=sites, reaction_p50_ms=8.13, **changes)


def view(told):
    console = Console(width=80)
    with console.capture() as captured:
        console.print(render(told))
    return captured.get()


def test_sentences():
    assert sentences(SITE) == [
        "plant-7: act, mode peak_shaving",
        "  target −40.0 kW (import limit), served −36.0 kW, unserved −4.0 kW (rated power)",
        "  grid 1,234.6 kW",
        "  units: 3 of 4 ours; 1 not ready (b3)",
    ]
    assert sentences(STOPPED)[1] == "  STOPPED, until acknowledged"
    assert sentences(STOPPED)[-1] == (
        "  units: 0 of 4 ours; 4 stopped (b1, b2, b3, …); 2 have not confirmed 0 kW yet"
    )
    assert sentences(SHADOW) == [
        "plant-8: shadow: nothing is written, no mode applies",
        "  target −40.0 kW, served −36.0 kW, unserved 0.0 kW",
        "  grid – (stale)",
        "  units: 4 of 4 usable",
    ]


@pytest.mark.parametrize(("site", "findings"), [(SITE, True), (QUIET, False), (STOPPED, True)])
def test_what_a_person_should_look_at(site, findings):
    assert site.has_findings == findings


def test_it_comes_back_from_its_dictionary():
    assert SiteStatus.from_dict(asdict(STOPPED)) == STOPPED


def test_a_line():
    assert line(status(SITE, SHADOW)).endswith(
        " | no mode, peak_shaving: target −80.0 kW, served −72.0 kW, unserved −4.0 kW (rated power)"
        " | 7 of 8 units in use; 1 not ready | reaction p50 8.1 ms | shadow: nothing is written (plant-8)"
    )
    assert " | STOPPED: plant-7" in line(status(STOPPED))
    assert line(status(QUIET, control_ended=True)).endswith(" | control has ended: the watchdog died")
    assert "control" not in line(replace(status(), reaction_p50_ms=None))


def test_the_view_fits_and_shows_first_who_needs_a_look():
    many = [replace(QUIET, name=f"site-{n}-with-a-name-that-is-long") for n in range(9)]
    shown = view(status(*many, STOPPED, replace(SITE, setpoint_kw=-123456.7, grid_kw=-99999.9)))
    assert max(map(len, shown.splitlines())) <= 78
    for part in ("STOPPED", "0/4", "3/4", "4/4", "−123,456.7", "and 6 sites more", "reaction p50 8.1 ms"):
        assert part in shown
    assert shown.index("STOPPED") < shown.index("3/4") < shown.index("4/4")
    assert "plant-7: 1 not ready (b3)" in shown


def test_the_view_without_control_has_nothing_of_it():
    assert "reaction" not in view(status())


def test_a_summary_says_what_became_of_the_units():
    assert summary(status(QUIET, given_back=4))[1:] == ["4 units were told 0 and given back"]
    left = tuple(f"b{n}" for n in range(1, 11))
    assert summary(status(QUIET, commanded=12, commanded_ids=left))[1:] == [
        "not given back, left to the watchdog, which stops them: "
        "b1, b2, b3, b4, b5, b6, b7, b8, b9, b10 and 2 more"
    ]
    assert (
        "left to nobody: stop them by hand: b1"
        in (summary(status(QUIET, commanded=1, commanded_ids=("b1",), control_ended=True))[1])
    )
