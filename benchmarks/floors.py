"""The floors of cases in one process: functions of floors.c."""

import ctypes
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from measured import HERE

ARGUMENTS = {
    "floor_decode_float32": (ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p),
    "floor_write": (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t),
}


@cache
def floors() -> ctypes.CDLL:
    """Compile and load them."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "floors.so"
        subprocess.run(["cc", "-O3", "-shared", "-fPIC", "-o", library, HERE / "floors.c"], check=True)
        loaded = ctypes.CDLL(str(library))
    for name, arguments in ARGUMENTS.items():
        getattr(loaded, name).argtypes = arguments
    return loaded
