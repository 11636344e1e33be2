"""Why a unit does not do more, or a site not what its mode wants: one code a cell, one text a code."""

from typing import Final

NONE: Final = 0
NOT_CONTROLLED: Final = 255  # no unit of a site that decides
# A unit's bound that binds.
RATED, BLOCKS, SOE_MIN, SOE_MAX, RISE, RAMP, HOLD_OFF, RESTING, RESERVE = range(1, 10)
# Why a unit takes no part: from here on l = u = 0.
UNUSABLE: Final = 16
STALE, BAD, NOT_READY, NOT_OURS, FOREIGN_SOURCE, FOREIGN_TARGET, WRITE_FAILED, STOPPED = range(16, 24)
# A site's bound that binds.
IMPORT, EXPORT, CHARGE, DISCHARGE, TARGET_RAMP, GRID_RAMP, HOLDING, RAMP_DOWN, EMERGENCY, NO_MODE = range(
    32, 42
)

_TEXTS: Final = {
    RATED: "rated power",
    BLOCKS: "available blocks",
    SOE_MIN: "state of energy at its minimum",
    SOE_MAX: "state of energy at its maximum",
    RISE: "allowed power rises slowly",
    RAMP: "ramp",
    HOLD_OFF: "rest before it turns",
    RESTING: "rests so that fewer run efficiently",
    RESERVE: "reserve",
    STALE: "stale",
    BAD: "bad data",
    NOT_READY: "not ready",
    NOT_OURS: "command source not taken yet",
    FOREIGN_SOURCE: "command source changed by another",
    FOREIGN_TARGET: "target power changed by another",
    WRITE_FAILED: "writes fail",
    STOPPED: "stopped",
    IMPORT: "import limit",
    EXPORT: "export limit",
    CHARGE: "charge limit",
    DISCHARGE: "discharge limit",
    TARGET_RAMP: "target ramp",
    GRID_RAMP: "grid ramp",
    HOLDING: "meter stale: holding",
    RAMP_DOWN: "meter stale: ramping to zero",
    EMERGENCY: "emergency stop",
    NO_MODE: "no mode applies",
}
# TEXTS[code]; None where there is no reason.
TEXTS: Final[tuple[str | None, ...]] = tuple(_TEXTS.get(code) for code in range(256))
