"""The floors of cases in one process: functions of floors.c."""

import ctypes
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from ctypes import c_char, c_char_p, c_int, c_size_t, c_uint16, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from measured import HERE
from numpy.typing import NDArray

FLAGS = ("-O3", "-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno")  # setup.py's
ARGUMENTS = {
    "floor_copy": (c_void_p, c_void_p, c_size_t),
    "floor_copy_columns": (c_void_p, c_void_p, c_int, c_size_t),
    "floor_build": (c_void_p, c_int, c_uint16, c_uint16),
    "floor_parse": (c_void_p, c_void_p, c_int, c_int),
    "floor_split": (c_void_p, c_void_p, c_size_t),
    "floor_decode": (c_void_p, c_int, c_int, c_char, c_int, c_int, c_void_p, c_void_p),
    "floor_write": (c_char_p, c_char_p, c_size_t, c_size_t),
}


@cache
def floors() -> ctypes.CDLL:
    """Compile and load them."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "floors.so"
        subprocess.run(["cc", *FLAGS, "-shared", "-fPIC", "-o", library, HERE / "floors.c"], check=True)
        loaded = ctypes.CDLL(str(library))
    for name, arguments in ARGUMENTS.items():
        getattr(loaded, name).argtypes = arguments
    return loaded


def floor(name: str, *arguments: Any, result: Any = None, keep: Any = None) -> Callable[[], Any]:
    """Return what calls a floor, returns ``result``. Arrays are given by address and kept, as is ``keep``."""
    function = getattr(floors(), name)
    given = [one.ctypes.data if isinstance(one, np.ndarray) else one for one in arguments]

    def run(kept: Any = (arguments, keep)) -> Any:
        function(*given)
        return result

    return run


def addresses(arrays: Sequence[NDArray[Any]]) -> NDArray[np.uint64]:
    """Return where the arrays are: what C takes as an array of pointers. The caller keeps the arrays."""
    return np.array([array.ctypes.data for array in arrays], np.uint64)
