"""Finding the function of a ``python`` mode: in a file beside the site file, or in an installed package."""

import importlib.util
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from fluxfast.config.modes import PythonMode
from fluxfast.errors import ConfigError
from fluxfast.profiles.document import make_problem, one_line
from fluxfast.profiles.findings import nearest

GROUP: Final = "fluxfast.modes"
MAX_TEXT: Final = 200


def load_function(mode: PythonMode) -> Callable[..., Any]:
    """Return the function; raise ``ConfigError`` when there is none. Runs the file that holds it."""
    name = mode.function_name
    found = _from_package(name) if mode.file is None else _from_file(mode.file, name)
    if not callable(found):
        message = f"{name} is no function, but {type(found).__name__}"
        raise ConfigError([make_problem(mode.file or "entry point", None, name, message)])
    function: Callable[..., Any] = found
    return function


def reason(error: BaseException, file: str | None) -> str:
    """Return what went wrong on one line, with the line of the user's file where it did."""
    text = one_line(f"{type(error).__name__}: {error}")[:MAX_TEXT]
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == file]
    return f"{text} (line {lines[-1]})" if lines else text


def _from_file(file: str, name: str) -> object:
    if not Path(file).is_file():
        cure = "its path is relative to the site file"
        raise ConfigError([make_problem(file, None, name, "there is no such file", cure)])
    module_name = f"fluxfast_mode:{Path(file).resolve()}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    assert spec is not None, "the name of a .py file always has a loader"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # where dataclasses look up their own module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        message = f"the file cannot be run: {reason(error, file)}"
        raise ConfigError([make_problem(file, None, name, message)]) from None
    if not hasattr(module, name):
        functions = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        message = f"there is no function {name}"
        raise ConfigError([make_problem(file, None, name, message, nearest(name, functions))])
    found: object = getattr(module, name)
    return found


def _from_package(name: str) -> object:
    points = entry_points(group=GROUP)
    if name not in points.names:
        cure = nearest(name, points.names) or "install the package that has it, or write file.py:name"
        message = f"no installed package has an entry point {name} in the group {GROUP}"
        raise ConfigError([make_problem("entry point", None, name, message, cure)])
    try:
        found: object = points[name].load()
    except (Exception, SystemExit) as error:
        message = f"cannot be loaded: {reason(error, None)}"
        raise ConfigError([make_problem("entry point", None, name, message)]) from None
    return found
