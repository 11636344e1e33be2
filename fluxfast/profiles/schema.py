"""The JSON Schema of profile files, for editors; ``ci/schemas`` writes it to ``profile.schema.json``."""

from typing import Any

from pydantic import BaseModel

from fluxfast.profiles.profile import Profile


def profile_schema() -> dict[str, Any]:
    """Return the JSON Schema of a profile file."""
    return file_schema(Profile)


def file_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a kind of file, as a person writes it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_tidy(model.model_json_schema())}


def _tidy(node: Any) -> Any:
    """Leave out what only Python needs: generated titles, and defaults that are not written in files."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy = {key: _tidy(value) for key, value in node.items()}
    if "title" in tidy and isinstance(tidy["title"], str) and "$defs" not in tidy:
        del tidy["title"]
    if "default" in tidy:
        if tidy["default"] is None or isinstance(tidy["default"], dict | list):
            del tidy["default"]
        elif tidy.get("type") == "number":  # pydantic writes decimals as text
            tidy["default"] = float(tidy["default"])
    return tidy
