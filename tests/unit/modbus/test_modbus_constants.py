"""The numbers that C sees equal those of fluxfast.constants, and the room exports what it says."""

import re
from pathlib import Path

from fluxfast import constants, modbus
from fluxfast.modbus import reference

ROOM = Path(modbus.__file__).parent


def test_every_enum_equals_constants() -> None:
    text = (ROOM / "constants.pxd").read_text()
    spelled = {
        name: int(value, 0) for name, value in re.findall(r"^    FX_(\w+) = (\w+)$", text, re.MULTILINE)
    }
    known = {
        **vars(constants),
        **constants.FunctionCode.__members__,
        **constants.ExceptionCode.__members__,
    }
    assert len(spelled) == text.count("FX_") - 1  # one is in the comment
    assert spelled == {name: known[name] for name in spelled}
    assert set(constants.FunctionCode.__members__) <= set(spelled)


def test_exports() -> None:
    public = {name for name, value in vars(modbus).items() if not name.startswith("_")}
    modules = {"adu", "identification", "pdu", "read", "reference", "reference_adu", "request", "write"}
    assert public - modules == set(modbus.__all__)
    assert set(reference.__all__) <= set(modbus.__all__)


def test_nothing_at_runtime_imports_the_reference() -> None:
    for file in ROOM.parent.rglob("*.py*"):
        if file.suffix in (".py", ".pyx") and not file.name.startswith("reference"):
            assert "modbus.reference" not in file.read_text()
            assert "import reference" not in file.read_text()
