"""What became of a call or a write: ``call_outcome`` of calls.pxd and ``write_refusal`` of writes.pxd."""

from typing import Final

# The device answered, if only with an exception; nothing was sent, or no answer came to a read; the value was
# read back; another was; nobody knows.
ANSWERED, FAILED, CONFIRMED, DIFFERS, UNKNOWN = range(5)

TOO_OFTEN: Final = 3
REFUSALS: Final = (
    "",
    "not a number",
    "outside its bounds",
    "too soon after the last one",
    "its register wears out, and has been written often enough",
    "its readings are too old",
)
