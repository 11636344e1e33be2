"""Which station to watch: one that runs, or one of our own that only polls."""

import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, Self

from fluxfast.config import Fleet
from fluxfast.errors import FluxfastError
from fluxfast.running import Running, running_stations

READY_WITHIN_S: Final = 60.0  # large fleets take their time to load
ENDS_WITHIN_S: Final = 5.0


def polling(fleet: Fleet) -> list[Running]:
    """Return the running stations that poll all devices of a fleet, by its sites' names and endpoints."""
    sites = {site.name for site in fleet.sites}
    ends = {
        (str(device.modbus.host), device.modbus.port)
        for device in fleet.devices
        if device.modbus.transport == "tcp"
    }
    return [
        station for station in running_stations() if sites <= set(station.sites) and ends <= station.endpoints
    ]


class OwnStation:
    """A station that only polls, in a process of its own, for the length of a with block.

    It writes nothing, to devices or disk, and ends with us, however we end: it hears its input end.
    """

    def __init__(self, site: Path) -> None:
        """Take the site file or folder."""
        self._command = [sys.executable, "-m", "fluxfast.top.own", str(site)]

    def __enter__(self) -> Self:
        """Start it, and wait until it lets us look on; FluxfastError with its own words if it does not."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us
        )
        try:
            said = self._first_line()
            if "error" in said:
                raise FluxfastError(str(said["error"]))
            self._socket = Path(said["socket"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        process = self._process
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def running(self) -> list[Running]:
        """Return it, as long as it runs."""
        return [station for station in running_stations() if station.socket == self._socket]

    def _first_line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line, end = b"", time.monotonic() + READY_WITHIN_S
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not ready.select(max(end - time.monotonic(), 0)):
                    raise FluxfastError("the station of its own did not start in time")
                data = os.read(self._process.stdout.fileno(), 65536)
                if not data:
                    raise FluxfastError("the station of its own has ended at once")
                line += data
        said: dict[str, Any] = json.loads(line)
        return said
