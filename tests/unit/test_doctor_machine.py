"""What a doctor says of the machine, from figures; and that looking gets such figures here."""

from dataclasses import replace
from pathlib import Path

import pytest

from fluxfast.doctor import Machine, judge_machine, look
from tests.support.examined import BESS, at, site

WELL = Machine(
    links=500,
    year=2026,
    synchronised=True,
    open_files=4096,
    ports=28232,
    log_dir="log",
    log_error="",
    disk_free=100_000_000_000,
    disk_type="ext4",
    log_bytes_per_day=400e6,
    kept_days=None,
    kept_bytes=None,
    memory_free=4 << 30,
    cpu_share=0.02,
)


def test_a_machine_in_order_has_no_finding() -> None:
    assert judge_machine(WELL) == []


@pytest.mark.parametrize(
    ("change", "check", "severity", "cure"),
    [
        ({"year": 1970}, "clock", "fault", "set it"),
        ({"synchronised": False}, "clock", "note", "timedatectl set-ntp true"),
        ({"open_files": 512}, "open-files", "fault", "ulimit -n 564"),
        ({"ports": 100}, "ports", "warning", "ip_local_port_range"),
        ({"log_error": "No space left on device"}, "disk", "fault", "make room"),
        ({"disk_free": 500_000_000}, "disk", "fault", "max_size"),
        ({"disk_free": 4_000_000_000}, "disk", "warning", "max_size"),
        ({"disk_free": 10_000_000_000, "kept_days": 90.0}, "disk", "warning", "keep"),
        ({"disk_type": "tmpfs"}, "disk", "note", "log: dir:"),
        ({"disk_type": "nfs4"}, "disk", "note", "remote:"),
        ({"memory_free": 100 << 20}, "memory", "warning", "256 MB"),
        ({"cpu_share": 0.7}, "cpu", "warning", "slow groups"),
        ({"cpu_share": 1.7}, "cpu", "fault", "slow groups"),
    ],
)
def test_each_thing_that_is_wrong_is_one_finding(
    change: dict[str, object], check: str, severity: str, cure: str
) -> None:
    (finding,) = judge_machine(replace(WELL, **change))
    assert (finding.check, finding.severity.value, finding.subject) == (check, severity, "machine")
    assert cure in finding.cure


def test_what_is_kept_bounds_what_is_needed() -> None:
    assert judge_machine(replace(WELL, disk_free=2_000_000_000, kept_bytes=1_000_000_000)) == []
    assert judge_machine(replace(WELL, disk_free=2_000_000_000, kept_days=2.0)) == []
    assert (
        judge_machine(replace(WELL, open_files=None, ports=None, memory_free=None, synchronised=None)) == []
    )


def test_looking(tmp_path: Path) -> None:
    machine = look(site(tmp_path, f"b: {BESS}, {at(1, 502)}"))
    assert (machine.links, machine.log_error) == (1, "")
    assert machine.year >= 2024
    assert machine.disk_free > 0
    assert machine.log_bytes_per_day == 5 * 2 * 86400
    assert list(tmp_path.iterdir()) == [tmp_path / "site.yaml"]  # nothing is left behind


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fleet = site(tmp_path, f"b: {BESS}, {at(1, 502)}", head="log: {dir: ./file/log}")
    (finding,) = (one for one in judge_machine(look(fleet)) if one.check == "disk")
    assert "is no folder" in finding.seen


def test_a_disk_that_is_full() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    from fluxfast.doctor.machine import try_writing

    with Path("/dev/full").open("wb", buffering=0) as full:
        assert try_writing(full) == "No space left on device"
