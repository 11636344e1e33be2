"""Numbers as people read them."""

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def size(n_bytes: float) -> str:
    """Return 1,234,567 as ``1.2 MB``."""
    power = 0
    while n_bytes >= 1000 and power < len(_UNITS) - 1:
        n_bytes, power = n_bytes / 1000, power + 1
    return f"{n_bytes:.0f} B" if power == 0 else f"{n_bytes:,.1f} {_UNITS[power]}"


def plural(number: int, words: str) -> str:
    """Return ``1 file`` for 1, ``files``."""
    return f"{number:,} {words[:-1] if number == 1 else words}"


def period(first_us: int | None, last_us: int | None) -> str:
    """Return UTC microseconds since 1970 to the minute, or the day if there are several."""
    if first_us is None or last_us is None:
        return "–"
    first, last = (datetime.fromtimestamp(us // 1_000_000, UTC) for us in (first_us, last_us))
    if first.date() == last.date():
        return f"{first:%Y-%m-%d %H:%M} – {last:%H:%M}"
    return f"{first:%Y-%m-%d} – {last:%Y-%m-%d}"


def percent(part: float | None) -> str:
    """Return a share; all is only what is all."""
    if part is None:
        return "–"
    text = f"{100 * part:.2f}"
    return f"{'99.99' if text == '100.00' and part < 1 else text} %"
