"""Output whose reader has gone, as in ``fluxfast plan … | head``, or whose terminal has: no error."""

import os
import sys
from contextlib import suppress


def drop_unread_output() -> None:
    """Send what is written to a closed pipe nowhere from now on; the other stream stays as it is."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
            with suppress(BrokenPipeError):
                stream.flush()
