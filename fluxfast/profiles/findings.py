"""From pydantic's errors to sentences: what is wrong at which place of the data, and how to mend it."""

import difflib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from fluxfast.profiles.fields import describe

Loc = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class Finding(NamedTuple):
    """One thing wrong with data that was read from a file."""

    loc: Loc
    message: str
    cure: str = ""
    is_missing_key: bool = False


def raise_findings(findings: Iterable[Finding]) -> None:
    """Raise the findings of a validator that looks at several places at once, if there are any."""
    found = list(findings)
    if found:
        text = "; ".join(f"{show_loc(one.loc)}: {one.message}" for one in found)
        raise PydanticCustomError("fluxfast", "{message}", {"message": text, "findings": found})


def validate(model: type[M], data: Any) -> tuple[M | None, list[Finding]]:
    """Return the model, or none and everything that is wrong with ``data``."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        findings: list[Finding] = []
        for detail in error.errors(include_url=False):
            findings.extend(_explain(model, detail))
        return None, findings


def nearest(word: object, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest known word, or the list of a few, or nothing."""
    names = sorted(set(known))
    close = difflib.get_close_matches(str(word), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names)}" if names else ""


def show_loc(loc: Sequence[str | int]) -> str:
    """Return ``devices.bess[3].id`` for a place in the data."""
    text = ""
    for key in loc:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def _explain(model: type[BaseModel], detail: ErrorDetails) -> list[Finding]:
    loc, kind, value = detail["loc"], detail["type"], detail["input"]
    context = detail.get("ctx", {})
    if len(loc) > 2 and loc[-3] == "points" and loc[-1] == "name":
        loc = loc[:-1]  # a point's name is its key
    if "findings" in context:
        return [Finding((*loc, *one.loc), one.message, one.cure) for one in context["findings"]]
    if kind == "fluxfast":
        return [Finding(loc, context["message"], context.get("cure", ""))]
    if kind == "invalid_key":  # pydantic's loc holds the key as text, which would not be found again
        loc = (*loc[:-1], value)
    if kind == "extra_forbidden" and loc[-1] == "<<":
        return [
            Finding(loc, "merge keys are not read", "write the keys out, or use an alias for all of them")
        ]
    if kind in ("extra_forbidden", "invalid_key"):
        return [Finding(loc, f"unknown key '{loc[-1]}'", nearest(loc[-1], _known_keys(model, loc[:-1])))]
    if kind == "missing":
        return [Finding(loc[:-1], f"the key '{loc[-1]}' is missing", is_missing_key=True)]
    if kind in ("string_too_short", "too_short") and not value:
        return [Finding(loc, "must not be empty")]
    if kind == "literal_error":
        allowed = str(context["expected"])
        return [Finding(loc, f"must be {allowed}, not {describe(value)}")]
    wanted = _WANTED.get(kind)
    if wanted is None:
        return [Finding(loc, detail["msg"][:1].lower() + detail["msg"][1:])]
    wanted = wanted.format(**context)
    cure = ""
    if kind == "int_type" and isinstance(value, str) and value.isdecimal():
        cure = f"write {value.lstrip('0') or 0}, without quotes and leading zeros"
    elif kind == "string_type" and value is not None and not isinstance(value, dict | list):
        cure = f"put it in quotes: '{describe(value)}'"
    if loc and loc[-1] == "[key]":  # pydantic's mark for: the key itself is wrong
        loc = loc[:-1]
    return [Finding(loc, f"must be {wanted}, not {describe(value)}", cure)]


_WANTED = {
    "int_type": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "list_type": "a list",
    "tuple_type": "a list",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "string_too_long": "text of at most {max_length} characters",
}


def _known_keys(model: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys that the model has at ``loc``, found by walking its JSON Schema."""
    root = node = _schema(model)
    for key in loc:
        inside = node.get("items") if isinstance(key, int) else node.get("properties", {}).get(key)
        node = _resolve(root, inside or node.get("additionalProperties") or {})
    return list(node.get("properties", {}))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _resolve(root: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference means, and of "this or null" the first."""
    for option in node.get("anyOf", ()):
        if option.get("type") != "null":
            node = option
            break
    if "$ref" in node:
        target: dict[str, Any] = root["$defs"][node["$ref"].rsplit("/", 1)[1]]
        return target
    return node
