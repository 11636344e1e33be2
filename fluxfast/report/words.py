"""Numbers, times and durations as a page writes them."""

import math
from datetime import tzinfo

from fluxfast.report.source import local


def number(value: float | None, unit: str = "", digits: int | None = None) -> str:
    """Return ``1,234.5 kWh``; an en dash for nothing. Without ``digits`` as many as its size asks for."""
    if value is None or math.isnan(value):
        return "–"
    if digits is None:
        digits = 0 if abs(value) >= 1000 or value == 0 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}".replace("-", "−")
    if text.strip("−0.,") == "":
        text = text.removeprefix("−")
    return f"{text} {unit}" if unit else text


def percent(share: float) -> str:
    """Return a percentage, 100 only when nothing is missing, 0 only when all is."""
    if math.isnan(share):
        return "–"
    if share >= 1 or share <= 0:
        return "100 %" if share >= 1 else "0 %"
    digits = 2 if share > 0.99 or share < 0.01 else 1
    return f"{min(max(100 * share, 0.01), 99.99):.{digits}f} %"


def duration(us: float) -> str:
    """Return ``450 ms``, ``20 s``, ``12 min``, ``3 h 05 min``."""
    seconds = us / 1e6
    if seconds < 1:
        return f"{us / 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest:02} s" if rest and minutes < 10 else "")
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h" + (f" {minutes:02} min" if minutes else "")


def clock(us: int, zone: tzinfo | None, fine: bool) -> str:
    """Return a time of day; ``fine`` has seconds, and what is smaller if there is anything."""
    moment = local(us, zone)
    if not fine:
        return f"{moment:%H:%M}"
    text = f"{moment:%H:%M:%S}"
    return f"{text}.{moment.microsecond // 1000:03}" if moment.microsecond else text


def zone_name(from_us: int, to_us: int, zone: tzinfo | None) -> str:
    """Return ``Europe/Berlin (UTC+1)``, both offsets if it changes; None has the machine's name for it."""
    offsets = list(dict.fromkeys(_offset(us, zone) for us in (from_us, to_us)))
    shown = ", then ".join(offsets)
    name = str(zone) if zone is not None else (local(from_us, None).tzname() or "")
    return shown if name in ("", "UTC", shown) else f"{name} ({shown})"


def _offset(us: int, zone: tzinfo | None) -> str:
    offset = local(us, zone).utcoffset()
    hours = 0.0 if offset is None else offset.total_seconds() / 3600
    return f"UTC{hours:+g}".replace("-", "−") if hours else "UTC"
