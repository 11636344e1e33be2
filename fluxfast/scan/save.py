"""A site file of what a scan found: the devices whose profile is known, the others as comments."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from fluxfast.constants import DEFAULT_PORT
from fluxfast.errors import FluxfastError
from fluxfast.scan.result import Result, Unit


def save_site(results: Iterable[Result], file: Path, overwrite: bool) -> int:
    """Write a site file that ``fluxfast check`` accepts; return how many devices it has.

    Raises FluxfastError if there is none to write, if the file exists and is not to be replaced, or if it
    cannot be written.
    """
    lists: dict[str, list[str]] = {"bess": [], "meters": []}
    others: list[str] = []
    for result in results:
        if not result.verdict.is_found:
            continue
        if not result.units:
            others.append(f"{result.place}: {result.detail}")
        for unit in result.units:
            if unit.guesses and unit.id > 0:
                kind = "bess" if unit.guesses[0].is_bess else "meters"
                lists[kind] += _device(result, unit, file.parent)
            else:
                others.append(f"{result.place} unit {unit.id}: {unit}")
    count = sum(line.startswith("    - ") for lines in lists.values() for line in lines)
    if not count:
        raise FluxfastError(
            f"nothing to save in {file}: no profile fits what was found"
            " (make one: fluxfast profile new, then --profiles FOLDER)"
        )
    try:
        with open(file, "w" if overwrite else "x", encoding="utf-8") as out:
            out.writelines(f"{line}\n" for line in _lines(lists, others))
    except FileExistsError:
        raise FluxfastError(f"{file} exists (replace it by --force, or name another)") from None
    except OSError as error:
        raise FluxfastError(f"cannot write {file}: {error.strerror}") from error
    return count


def _lines(lists: dict[str, list[str]], others: list[str]) -> Iterator[str]:
    yield "# Found by fluxfast scan. Names, capacities and powers of battery units, and the roles of meters"
    yield "# are for you to fill in; nothing is controlled until control: action: says so."
    yield "control: {action: observe}"
    yield "devices:"
    for kind, lines in lists.items():
        if lines:
            yield f"  {kind}:"
            yield from lines
    if others:
        yield "# Also found, and of no profile that is known here:"
        yield from (f"# - {other}" for other in others)


def _device(result: Result, unit: Unit, folder: Path) -> Iterator[str]:
    best, *others = unit.guesses
    host = result.name or result.ip
    port = "" if result.port == DEFAULT_PORT else f", port: {result.port}"
    address = f"{result.ip}{port and f'-{result.port}'}-{unit.id}".replace(":", "-")
    type_ = best.type
    if os.sep in type_:
        type_ = os.path.relpath(type_, folder)
        type_ = type_ if type_.startswith("..") else f"./{type_}"
    yield f"    # {best}" + "".join(f"; or {other}" for other in others)
    yield (
        f"    - {{id: {best.profile}-{address}, type: {_quoted(type_)},"
        f" modbus: {{host: {_quoted(host)}{port}, address: {unit.id}}}}}"
    )


def _quoted(text: str) -> str:
    """Return text as YAML takes it inside a flow mapping."""
    plain = all(c.isalnum() or c in "./_-" for c in text) and text.isascii()
    return text if plain else "'" + text.replace("'", "''") + "'"
