"""Numbers as people read them."""

from datetime import UTC, datetime


def size(size_bytes: float) -> str:
    """Return 1.2 kB, 345 MB …: three digits or so."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while size_bytes >= 999.5 and len(units) > 1:
        size_bytes /= 1000
        del units[0]
    digits = 0 if units[0] == "B" or size_bytes >= 99.95 else 1
    return f"{size_bytes:,.{digits}f} {units[0]}"


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
