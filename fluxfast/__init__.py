"""fluxfast: whole fleets of batteries and meters over Modbus TCP, polled, decoded and logged in columns.

``Client`` asks one device, ``Poller`` polls a fleet, ``Station`` polls and logs it; ``load`` reads a site
file, ``open_log`` a log.
"""

import typing

from fluxfast.errors import ConfigError, FluxfastError

if typing.TYPE_CHECKING:
    from fluxfast.client import Client
    from fluxfast.config import load
    from fluxfast.log.reading import open_log
    from fluxfast.poller import Poller
    from fluxfast.station import Station

__all__ = ["Client", "ConfigError", "FluxfastError", "Poller", "Station", "__version__", "load", "open_log"]
__version__ = "0.1.0"

_HOMES = {
    "Client": "fluxfast.client",
    "Poller": "fluxfast.poller",
    "Station": "fluxfast.station",
    "load": "fluxfast.config",
    "open_log": "fluxfast.log.reading",
}


def __getattr__(name: str) -> typing.Any:
    """Import what is asked for when it is asked for: `import fluxfast` alone stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fluxfast' has no attribute '{name}'")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
