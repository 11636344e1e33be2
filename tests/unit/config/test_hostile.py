"""Files that are no site files at all, and files that want to hurt: one clear line, never a traceback."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxfast.config import load
from fluxfast.errors import ConfigError
from fluxfast.profiles import document
from tests.unit.config.conftest import Fail, Load


def problem_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    text = str(problem)
    assert text.startswith(problem.file)
    assert text.isprintable()
    return text.removeprefix(problem.file)


def test_missing(tmp_path: Path) -> None:
    assert problem_of(tmp_path / "nowhere.yaml") == ": no such file"


def test_folder_without_yaml(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    assert problem_of(tmp_path).startswith(": the folder holds no *.yaml or *.yml file")


def test_not_readable_as_text(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"site: a\n\xff\xfe\n")
    assert problem_of(file) == ":2: not UTF-8 text (save the file as UTF-8)"


@pytest.mark.parametrize("data", [b"\x00\x01\x02", b"\x7fELF\x02\x01", b"PAR1\x15\x04", os.urandom(1000)])
def test_binary(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(data)
    assert problem_of(file)


def test_utf16_is_refused_and_a_bom_is_not(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    text = "devices: {bess: [{id: b1, type: powerpack, modbus: {host: h}}]}"
    file.write_bytes(text.encode("utf-16"))
    assert "not UTF-8 text" in problem_of(file)
    file.write_text(text, encoding="utf-8-sig")
    assert len(load(file).devices) == 1


def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    assert problem_of(tmp_path / "a.yaml") == ": not a regular file"


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "loop"])
def test_paths_that_the_system_refuses(tmp_path: Path, load_text: Load, name: str) -> None:
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    assert problem_of(tmp_path / f"{name}.yaml")
    escaped = name.replace("\0", "\\0")
    with pytest.raises(ConfigError, match="there is no profile file"):
        load_text(f'devices: {{bess: [{{id: b, type: "./{escaped}.yaml", modbus: {{host: h}}}}]}}')


def test_folder_with_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("nowhere")
    assert problem_of(tmp_path) == ": no such file"


def test_hidden_files_of_a_folder_are_no_sites(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("devices: {bess: [{id: b1, type: powerpack, modbus: {host: h}}]}")
    (tmp_path / ".#a.yaml").symlink_to("someone@host.123")  # Emacs's lock
    (tmp_path / "._a.yaml").write_bytes(b"\x00\x05\x16\x07")  # the other half of a file that macOS copied
    assert len(load(tmp_path).devices) == 1


def test_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert problem_of(tmp_path) == ": cannot be read: Permission denied"


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    with file.open("wb") as sparse:
        sparse.truncate(document.MAX_FILE_BYTES + 1)
    assert "the file is larger than 32 MiB" in problem_of(file)


@pytest.mark.timeout(20)
def test_billion_laughs(fail_text: Fail) -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    (problem,) = fail_text("\n".join(lines))
    assert "expand to more than 100,000 values" in problem.message


def test_few_aliases_are_fine(load_text: Load) -> None:
    fleet = load_text("""\
devices:
  bess:
    - {id: b1, type: powerpack, points: &p {soe: {scale: 0.1}}, modbus: {host: 10.0.0.1}}
    - {id: b2, type: powerpack, points: *p, modbus: {host: 10.0.0.2}}
""")
    assert fleet.devices[0].profile is fleet.devices[1].profile


@pytest.mark.parametrize("bracket", ["[", "{a: ", "- ", "? "])
def test_deep_nesting(fail_text: Fail, bracket: str) -> None:
    (problem,) = fail_text("a: " * (bracket in "[{a: ") + bracket * 100_000)
    assert problem.message.startswith(("nested deeper", "not valid YAML", "a key must be"))


@pytest.mark.timeout(20)  # int() of a million digits takes longer
def test_long_numbers_are_not_computed(fail_text: Fail) -> None:
    for number in ("9" * 1_000_000, "0x" + "f" * 1_000_000, "1." + "0" * 1_000_000, "1e999999999"):
        fail_text(
            f"devices: {{bess: [{{id: b1, type: powerpack, capacity_kwh: {number}, modbus: {{host: h}}}}]}}"
        )


WORDS = st.sampled_from(
    """site sites devices bess meters meter id name type modbus host port address timeout poll every log dir
    control overrides points quirks count step powerpack acuvim2 soe scale 5s 10.0.0.1 502 0.1 null true ~
    {n} b{n} ./x.yaml &a *a !t | > ' " << -""".split()  # noqa: SIM905
)
VALUES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(WORDS, children, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(WORDS, VALUES, max_size=5).map(repr)
    | st.lists(WORDS | st.sampled_from([": ", "\n", "\n  ", "- ", "[", "]", "{", "}", ", "])).map("".join)
    | VALUES.map(
        lambda value: (
            f"devices: {{bess: [{{id: b1, type: powerpack, modbus: {{host: h}}, points: {value!r}}}]}}"
        )
    )
    | VALUES.map(lambda value: f"sites: [{{site: a, devices: {value!r}}}, {value!r}]")
)
def test_whatever_it_says_only_config_errors_come_out(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8", errors="replace")
    try:
        load(file)
    except ConfigError as error:
        problems = [str(problem) for problem in error.problems]
    else:
        return
    assert problems
    assert all(map(str.isprintable, problems))
