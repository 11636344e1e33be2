"""fluxfast: whole fleets of batteries and meters over Modbus TCP, polled, decoded and logged in columns."""

from fluxfast.errors import ConfigError, FluxfastError

__all__ = ["ConfigError", "FluxfastError", "__version__"]
__version__ = "0.1.0"
