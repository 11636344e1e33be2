"""`fluxfast control` as operators meet it: a station in another process, simulated batteries."""

import json
import signal
import stat

import pytest

from tests.support.command import fluxfast, invoked, started
from tests.support.operated import OTHER, eventually, operated, shown

DONE, FINDINGS, BAD_INPUT, COULD_NOT = 0, 1, 2, 3


@pytest.fixture
def site(tmp_path):
    with operated(tmp_path, "127.71.10.1") as site:
        yield site


def control(site, *args):
    done = invoked("control", site.file, *args)
    return done.returncode, done.stdout, done.stderr


def status(site):
    code, out, err = control(site, "status", "--json")
    assert err == ""
    return code, json.loads(out)


def test_status_tells_what_the_site_does(site):
    with started("run", site.file, "--json"):
        eventually(lambda: site.setpoints() == [2, 2, 2])
        assert control(site, "status") == (
            DONE,
            f"{site.name}: act, mode some\n"
            "  target 6.0 kW, served 6.0 kW, unserved 0.0 kW\n"
            "  grid –\n"
            "  units: 3 of 3 ours\n",
            "",
        )
        site.simulator.set_value("b2", "status", 0)
        eventually(lambda: site.setpoints() == [3, 0, 3])
        code, told = status(site)
        assert code == FINDINGS
        assert told["out"] == [{"reason": "not ready", "count": 1, "ids": ["b2"]}]
        assert (told["units"], told["in_use"], told["setpoint_kw"]) == (3, 2, 6)


def test_a_stop_holds_until_it_is_acknowledged(site):
    with started("run", site.file, "--json") as run:
        eventually(lambda: site.setpoints() == [2, 2, 2])
        code, out, _ = control(site, "stop")
        assert site.setpoints() == [0, 0, 0]
        assert (code, out) == (
            DONE,
            f"{site.name}: stopped until acknowledged; every unit that was commanded has confirmed 0 kW\n",
        )
        told = shown(run, lambda told: told["control"][0]["stopped"])
        told = run.wait_for_ticks(told["ticks"] + 8)
        assert site.setpoints() == [0, 0, 0]
        assert told["control"][0]["stopped"]
        assert f"{site.name}: emergency stop, until acknowledged" in told["messages"]
        code, out, _ = control(site, "status")
        assert code == FINDINGS
        assert "STOPPED, until acknowledged" in out
        assert "units: 0 of 3 ours; 3 stopped (b1, b2, b3)" in out
        assert control(site, "ack") == (DONE, f"{site.name}: acknowledged\n", "")
        eventually(lambda: site.setpoints() == [2, 2, 2])
        assert run.end()[0] == DONE
    assert site.setpoints() == [0, 0, 0]
    assert site.sources() == [OTHER] * 3


@pytest.mark.long
def test_a_stop_outlives_the_station(site):
    with started("run", site.file, "--json") as run:
        eventually(lambda: site.setpoints() == [2, 2, 2])
        assert control(site, "stop")[0] == DONE
        run.end(signal.SIGKILL)
    eventually(lambda: site.sources() == [OTHER] * 3)
    with started_again(site) as run:
        told = run.wait_for_ticks(6)
        assert site.setpoints() == [0, 0, 0]
        assert site.sources() == [OTHER] * 3, "a stopped site takes no unit"
        assert told["control"][0]["stopped"]
        assert f"{site.name}: it was stopped before this start; acknowledge it" in told["messages"]
        assert control(site, "ack")[0] == DONE
        eventually(lambda: site.setpoints() == [2, 2, 2])


def started_again(site):
    """Start it once the watchdog of the one that was killed has let go of the lock."""
    eventually(lambda: fluxfast("run", site.file, "--duration", "250ms").returncode != COULD_NOT)
    return started("run", site.file, "--json")


def test_what_was_left_to_another_is_taken_again_when_acknowledged(site):
    with started("run", site.file, "--json"):
        eventually(lambda: site.setpoints() == [2, 2, 2])
        site.simulator.set_value("b1", "command_source", OTHER + 1)
        eventually(lambda: site.setpoints()[1:] == [3, 3])
        code, told = status(site)
        assert code == FINDINGS
        assert told["out"] == [{"reason": "command source changed by another", "count": 1, "ids": ["b1"]}]
        assert control(site, "ack")[0] == DONE
        eventually(lambda: site.setpoints() == [2, 2, 2])
        assert status(site)[0] == DONE


def test_modes_are_switched(site):
    with started("run", site.file, "--json"):
        eventually(lambda: site.setpoints() == [2, 2, 2])
        assert control(site, "enable", "more") == (DONE, f"{site.name}: mode more enabled\n", "")
        eventually(lambda: site.setpoints() == [3, 3, 3])
        assert control(site, "disable", "more") == (DONE, f"{site.name}: mode more disabled\n", "")
        eventually(lambda: site.setpoints() == [2, 2, 2])
        assert control(site, "disable", "some")[0] == DONE
        eventually(lambda: site.setpoints() == [0, 0, 0])
        _, told = status(site)
        assert (told["mode"], told["limit"]) == (None, "no mode applies")


def test_wrong_input(site):
    for args, said in (
        (("stop", "--site", "operated"), f"no site operated (known: {site.name})"),
        (("stop", "some"), "stop takes no mode"),
        (("enable",), "which mode? One of more, some"),
        (("disable", "moree"), "no mode moree (did you mean 'more'?)"),
        (("halt",), "'halt' is not one of"),
    ):
        code, out, err = control(site, *args)
        assert (code, out) == (BAD_INPUT, "")
        assert said in err


def test_without_a_station(site, tmp_path):
    done = fluxfast("control", site.file, "status")
    assert (done.returncode, done.stdout) == (COULD_NOT, "")
    assert done.stderr == f"no station controls site {site.name}: start `fluxfast run` for it first\n"
    site.file.write_text(site.file.read_text().replace("action: act", "action: shadow"))
    assert control(site, "status")[::2] == (
        COULD_NOT,
        "no site is controlled: none has action: act in its control\n",
    )
    assert control(site, "status", "--site", site.name)[::2] == (
        COULD_NOT,
        f"site {site.name} is not controlled: its action is shadow\n",
    )


def test_the_socket_is_its_owners_and_goes_with_the_station(site):
    with started("run", site.file, "--json") as run:
        run.wait_for_ticks(1)
        assert stat.S_IMODE(site.path("sock").stat().st_mode) == 0o600
        assert run.end()[0] == DONE
    assert not site.path("sock").exists()
    with started("run", site.file, "--json") as run:
        run.wait_for_ticks(1)
        run.end(signal.SIGKILL)
    assert site.path("sock").exists()
    assert control(site, "status")[0] == COULD_NOT
    with started_again(site) as run:
        run.wait_for_ticks(1)
        assert status(site)[0] == DONE
