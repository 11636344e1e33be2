"""The shipped JSON Schemas are those of the models, and agree with them about files."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import fluxfast
from fluxfast.config.schema import site_schema
from fluxfast.profiles import builtin_profiles
from fluxfast.profiles.document import parse_document, read_document
from fluxfast.profiles.schema import profile_schema
from tests.unit.config.test_load import DOCUMENT_BESS, DOCUMENT_METERS, DOCUMENT_SERIAL

PACKAGE = Path(fluxfast.__file__).parent
SITE, PROFILE = (jsonschema.Draft202012Validator(schema()) for schema in (site_schema, profile_schema))


@pytest.mark.parametrize(
    ("file", "schema"),
    [("profiles/profile.schema.json", PROFILE.schema), ("config/site.schema.json", SITE.schema)],
)
def test_shipped_is_current(file: str, schema: dict[str, Any]) -> None:
    assert json.loads((PACKAGE / file).read_text(encoding="utf-8")) == schema, "run ci/schemas"
    jsonschema.Draft202012Validator.check_schema(schema)


def text_keys(node: Any) -> Any:
    """JSON has text keys only: an editor sees ``{1: READY}`` as ``{"1": "READY"}``."""
    if isinstance(node, dict):
        return {str(key): text_keys(value) for key, value in node.items()}
    return [text_keys(item) for item in node] if isinstance(node, list) else node


@pytest.mark.parametrize("name", builtin_profiles())
def test_builtin_profiles_are_valid(name: str) -> None:
    data = read_document(PACKAGE / "profiles" / f"{name}.yaml").data
    PROFILE.validate(text_keys(data))


@pytest.mark.parametrize(
    "text",
    [
        DOCUMENT_BESS,
        DOCUMENT_METERS,
        DOCUMENT_SERIAL,
        "devices: {bess: , meters: []}",
        "control: {modes: }",
        "control: {action: act, hold_off: 5s, modes: [{type: fixed_power, power_kw: -5}]}",
        "devices: {bess: [{id: a, type: t, control: false, modbus: {host: h}}]}",
        "overrides: {t: {control: {refresh: 5s, blocks: null}}}",
        "sites: [{site: a, overrides: {powerpack: {points: {soe: {scale: 0.1}, status: null}}}}]",
        "poll: {connects_per_s: 0, probe_interval: 1h}",
        "poll: {every: 500ms, deadline: 80%}\ncontrol: {limits: {import_kw: 0.5}}",
        "control: {modes: [{type: python, function: f, own: 1}, {type: balance, between: [17:00, 24:00]}]}",
    ],
)
def test_sites_are_valid(text: str) -> None:
    SITE.validate(text_keys(parse_document(text, "x").data))


@pytest.mark.parametrize(
    "text",
    [
        "pol: {}",
        "poll: {every: 500}",
        "poll: {deadline: 0.8}",
        "poll: {connects_per_s: 400/s}",
        "sites: [{devices: {}}]",
        "devices: {bess: [{id: b1, type: powerpack, modbus: {host: h, port: 70000}}]}",
        "devices: {bess: [{id: b1, type: powerpack, modbus: {host: h, address: 0}}]}",
        "devices: {bess: [{id: b1, type: powerpack}]}",
        "control: {modes: [{type: fixed_power}]}",
        "control: {modes: [{power_kw: 1}]}",
        "control: {modes: [{type: time_of_use, periods: []}]}",
        "control: {action: drive}",
        "control: {hold_off: 5}",
        "control: {limits: {import_kw: -1}}",
        "control: {limits: {unit_ramp_kw_per_s: 0}}",
        "overrides: {t: {control: 5}}",
        "devices: {bess: [{id: b1, type: powerpack, capacity_kwh: 0, modbus: {host: h}}]}",
    ],
)
def test_wrong_sites_are_not(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        SITE.validate(text_keys(parse_document(text, "x").data))
