"""What SunSpec's models mean: pysunspec2's JSON files, as data. Nothing else of it is used."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fluxfast.errors import MissingExtraError

Group = Mapping[str, Any]  # as in the files: name, points, groups, count, label, desc


@cache
def _folder() -> Path:
    package = find_spec("sunspec2")
    if package is None or package.origin is None:
        raise MissingExtraError(
            "SunSpec's model definitions come with pysunspec2: pip install 'fluxfast[sunspec]'"
        )
    return Path(package.origin).parent / "models" / "json"


@cache
def definition(model_id: int) -> Group | None:
    """Return a model's group of points, None for one that is not known; raise MissingExtraError."""
    try:
        text = (_folder() / f"model_{model_id}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    group: Group = json.loads(text)["group"]
    return group
