"""The two codecs that every golden test runs against."""

from types import ModuleType

import pytest

from fluxfast import modbus
from fluxfast.modbus import reference


@pytest.fixture(params=[pytest.param(reference, id="ref"), pytest.param(modbus, id="cy")])
def codec(request: pytest.FixtureRequest) -> ModuleType:
    return request.param
