"""The kernel's readable twin in NumPy: the same decisions, a line a rule. Tests hold the kernel against it.

    bounds of each unit ─▶ target of each site ─▶ hold, or: exchange or rest ─▶ split ─▶ round ─▶ reasons

Every number that is not finite, or larger than HUGE, puts its unit out of the split (BAD) before it can reach
a minimum or a maximum, which would turn it into full power.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluxfast.control import reasons
from fluxfast.control.columns import ENERGY, POWER, Columns, Sites, Units

HUGE = 1e15  # no number that means something is larger
AT_ONCE = 1e12  # a ramp that is no limit, kW
FINEST = 2.0**-30  # kW: the quantum of "any number"
SLACK = 1e-6  # of a quantum, or kW: what floating point may be off by
LEAVE_PCT = 2.0  # a unit at the end of its window comes back when it is this far inside
EVEN_PCT = 1.0  # states of energy no further from the mean than this are left alone
HYSTERESIS = 1.2  # units are put to rest when so much more power would not need them
STEPS = 60  # Newton steps at most: five are usual
LEVELS = 64  # fractions are compared in so many steps
CODES = 64  # reasons are smaller

Array = NDArray[Any]


class Segments:
    """Sums over the units of each site."""

    def __init__(self, first: NDArray[np.int32]) -> None:
        """Take ``first`` of the columns."""
        self.first = first[:-1].astype(np.int64)
        self.counts = np.diff(first)
        self.site = np.repeat(np.arange(len(self.counts)), self.counts)
        self.index = np.arange(len(self.site))
        self._some = np.flatnonzero(self.counts)

    def _reduce(self, function: np.ufunc, values: Array, empty: float) -> Array:
        result = np.full(len(self.counts), empty)
        if len(self._some):
            result[self._some] = function.reduceat(values, self.first[self._some])
        return result

    def sum(self, values: Array) -> Array:
        """Return each site's sum, float64 [sites]."""
        return self._reduce(np.add, np.asarray(values, np.float64), 0.0)

    def max(self, values: Array) -> Array:
        """Return each site's largest value, float64 [sites]; -inf where there is none."""
        return self._reduce(np.maximum, values, -np.inf)

    def any(self, values: Array) -> Array:
        """Return bool [sites]."""
        return self.sum(values) > 0

    def before(self, values: Array) -> Array:
        """Return for each unit the sum of the values before it in its site."""
        total = np.cumsum(values) - values
        return total - total[np.minimum(self.first, len(total) - 1)][self.site] if len(total) else total

    def ranked(self, key: Array) -> Array:
        """Return the order of units: site by site, the largest key (int, 0 to 1023) first, then by index."""
        return np.argsort((self.site * 1024 + (1023 - key)) * len(key) + self.index)


@dataclass
class Bounds:
    """What each unit may be told, and what comes before that: kW."""

    lower: Array
    upper: Array
    full: Array  # what the energy in the window allows to give; 0 at its end
    room: Array  # likewise to take
    gives: Array  # what it may give but for its ramp and quantum
    takes: Array
    quantum: Array  # 0: takes no part


def decide(columns: Columns, dt_s: float) -> None:
    """Make the decision of one tick, in place, as :meth:`fluxfast.control.kernel.Kernel.decide` does."""
    dt_s = dt_s if 0 <= dt_s <= HUGE else 0.0
    with np.errstate(all="ignore"):
        _decide(columns.units, columns.sites, Segments(columns.first), dt_s)


def _decide(units: Units, sites: Sites, segments: Segments, dt_s: float) -> None:
    site = segments.site
    last = units.setpoint_kw.copy()
    bounds = unit_bounds(units, sites, site, dt_s)
    units.lower_kw[:], units.upper_kw[:] = bounds.lower, bounds.upper

    target = np.where(np.isnan(sites.target_kw), 0, np.clip(sites.target_kw, -HUGE, HUGE))
    lower = np.where(np.isnan(sites.lower_kw), 0, sites.lower_kw)
    upper = np.where(np.isnan(sites.upper_kw), 0, sites.upper_kw)
    crossed = lower > upper
    least = np.minimum(np.maximum(0, upper), lower)  # where they cross: the least power between them
    lower, upper = np.where(crossed, least, lower), np.where(crossed, least, upper)
    limited = np.minimum(np.maximum(target, lower), upper)
    sites.units_lower_kw[:], sites.units_upper_kw[:] = segments.sum(bounds.lower), segments.sum(bounds.upper)
    total = np.minimum(np.maximum(limited, sites.units_lower_kw), sites.units_upper_kw)

    held = hold(units, sites, segments, bounds, target, total, lower, upper, dt_s)
    sites.split_target_kw[:] = np.where(held, sites.split_target_kw, target)
    sites.split_s[:] = np.where(held, sites.split_s, 0)

    neutral = np.clip(0, bounds.lower, bounds.upper)
    need = total - segments.sum(neutral)  # what the units' rest at (or next to) 0 leaves to do
    power, exchanged = exchange(units, sites, segments, bounds, neutral, need, total, ~held)
    rested = rest(units, sites, segments, bounds, neutral, need, total, ~held & ~exchanged)
    low, high = np.where(rested, neutral, bounds.lower), np.where(rested, neutral, bounds.upper)
    weight = weights(units, sites, site, bounds, low, high, need)
    power = np.where(
        exchanged[site], power, split(segments, weight, low, high, total, need, ~held & ~exchanged)
    )
    power = spread(segments, power, low, high, total, bounds.quantum > 0)
    power = whole(segments, power, low, high, bounds.quantum, total, lower, upper)

    setpoint = np.where(held[site], last, power) + 0.0  # no -0
    units.setpoint_kw[:] = setpoint
    units.ramp_left_kw[:] = np.where(
        bounds.quantum > 0, np.maximum(units.ramp_left_kw - np.abs(setpoint - last), 0), 0
    )
    units.direction[:] = np.where(setpoint == 0, units.direction, np.sign(setpoint))
    units.idle_s[:] = np.where(setpoint == 0, units.idle_s, 0)
    explain(units, sites, segments, bounds, target, limited)


def unit_bounds(units: Units, sites: Sites, site: Array, dt_s: float) -> Bounds:
    """Return the bounds of all units, and carry on their states."""
    u = units
    quantum = np.where(u.quantum_kw > FINEST, u.quantum_kw, FINEST)
    size = np.zeros(u.rows)
    for column in (
        *(u.capacity_kwh, u.charge_kw, u.discharge_kw, u.soe_min_pct, u.soe_max_pct, u.reserve_pct),
        *(u.efficiency, u.quantum_kw, u.soe_pct, u.available, u.setpoint_kw, u.run_s, u.ramp_left_kw),
    ):
        size = size + np.abs(column)
    endless = u.idle_s + u.ramp_kw_per_s + u.rise_kw_per_s + u.allowed_charge_kw + u.allowed_discharge_kw
    good = (size <= HUGE) & (u.efficiency > 0) & (endless >= 0)
    part = good & (u.usable == reasons.NONE)

    # State of energy: the window, with hysteresis at its ends (a NaN is at both), and the energy in it.
    soe, top_pct = u.soe_pct, u.soe_max_pct
    floor = np.where(u.soe_min_pct > u.reserve_pct, u.soe_min_pct, u.reserve_pct)
    at_min = ~(soe > floor) | ((u.at_min != 0) & ~(soe >= floor + LEAVE_PCT))
    at_max = ~(soe < top_pct) | ((u.at_max != 0) & ~(soe <= top_pct - LEAVE_PCT))
    u.at_min[:], u.at_max[:] = at_min, at_max
    soonest = max(dt_s, 1e-3)
    horizon_s = sites.horizon_s
    per_pct = np.where(np.isnan(horizon_s), 0, 36 / np.fmax(horizon_s, soonest))[site]  # kW a % and kWh
    full = np.where(at_min, 0, (soe - floor) * u.capacity_kwh * u.efficiency * per_pct)
    room = np.where(at_max, 0, (top_pct - soe) * u.capacity_kwh / u.efficiency * per_pct)

    # Allowed power: falls at once, rises slowly.
    there = np.minimum(np.maximum(u.available, 0), 1)
    rise = np.where(u.rise_kw_per_s > AT_ONCE, AT_ONCE, u.rise_kw_per_s * dt_s)
    discharge = np.minimum(np.minimum(u.discharge_kw * there, full), u.allowed_discharge_kw + rise)
    charge = np.minimum(np.minimum(u.charge_kw * there, room), u.allowed_charge_kw + rise)
    u.allowed_discharge_kw[:] = np.where(part, np.maximum(discharge, 0), 0)
    u.allowed_charge_kw[:] = np.where(part, np.maximum(charge, 0), 0)

    # A unit turns only after a rest at 0.
    idle = np.where(u.setpoint_kw == 0, u.idle_s + dt_s, 0)
    u.idle_s[:] = np.where(idle >= 0, idle, 0)
    waits = ~(idle >= sites.hold_off_s[site])
    gives = np.where(waits & (u.direction < 0), 0, u.allowed_discharge_kw)
    takes = np.where(waits & (u.direction > 0), 0, u.allowed_charge_kw)

    # Whole quanta, inward; the ramp inside what is safe. What a slow ramp leaves of a quantum is saved.
    per_kw = 1 / quantum
    step = u.ramp_kw_per_s * dt_s
    step = np.where(
        u.ramp_kw_per_s > AT_ONCE, AT_ONCE, np.minimum(u.ramp_left_kw + step, np.maximum(step, quantum))
    )
    most, least = np.floor(gives * per_kw + SLACK), -np.floor(takes * per_kw + SLACK)
    here = np.copysign(np.floor(np.abs(u.setpoint_kw) * per_kw + SLACK), u.setpoint_kw)
    top = np.maximum(np.floor((u.setpoint_kw + step) * per_kw + SLACK), here)
    bottom = np.minimum(-np.floor((step - u.setpoint_kw) * per_kw + SLACK), here)
    upper = np.minimum(np.maximum(top, least), most) * quantum
    lower = np.minimum(np.maximum(bottom, least), most) * quantum

    u.ramp_left_kw[:] = np.where(part, step, 0)
    u.run_s[:] = np.where(good, u.run_s + dt_s, 0)
    return Bounds(
        np.where(part, lower, 0) + 0.0,
        np.where(part, upper, 0) + 0.0,
        full,
        room,
        gives,
        takes,
        np.where(part, quantum, 0),
    )


def hold(
    units: Units,
    sites: Sites,
    segments: Segments,
    bounds: Bounds,
    target: Array,
    total: Array,
    lower: Array,
    upper: Array,
    dt_s: float,
) -> Array:
    """Return the sites whose setpoints may stay as they are, bool [sites]."""
    last = units.setpoint_kw
    moves = ~((last >= bounds.lower) & (last <= bounds.upper)) | ((units.resting != 0) & (last != 0))
    was, coarsest = segments.sum(last), np.maximum(segments.max(bounds.quantum), 0)
    split_s = sites.split_s + dt_s
    sites.split_s[:] = np.where(split_s >= 0, split_s, 0)
    held: Array = (
        ~segments.any(moves)
        & (np.abs(target - sites.split_target_kw) < sites.deadband_kw)
        & (np.abs(total - was) < sites.deadband_kw + coarsest + SLACK)
        & (was >= np.maximum(lower, sites.units_lower_kw) - SLACK)
        & (was <= np.minimum(upper, sites.units_upper_kw) + SLACK)
        & (sites.split_s < sites.resplit_s)
    )
    return held


def exchange(
    units: Units,
    sites: Sites,
    segments: Segments,
    bounds: Bounds,
    neutral: Array,
    need: Array,
    total: Array,
    asked: Array,
) -> tuple[Array, Array]:
    """Return powers that bring states of energy together, and the sites (of those asked) that they are for.

    Each unit wants balance_kw_per_pct × its distance from the mean. The side that wants more is scaled down.
    """
    site = segments.site
    asked = asked & (sites.balance_kw_per_pct > 0) & (np.abs(total) <= sites.deadband_kw)
    part = bounds.quantum > 0
    mean = segments.sum(np.where(part, units.soe_pct, 0)) / np.maximum(segments.sum(part), 1)
    off = np.where(part, units.soe_pct, 0) - mean[site]
    off = np.where(np.abs(off) > EVEN_PCT, off, 0)
    wish = np.clip(sites.balance_kw_per_pct[site] * off, bounds.lower, bounds.upper) - neutral
    wish = np.where(part & (off != 0), wish, 0)
    gives, takes = segments.sum(np.maximum(wish, 0)), segments.sum(np.maximum(-wish, 0))
    asked &= (gives > 0) & (takes > 0) & (need + takes >= 0) & (gives - need >= 0)
    give = np.minimum((need + takes) / gives, 1)
    take = np.minimum((gives - need) / takes, 1)
    return neutral + wish * np.where(wish > 0, give[site], take[site]), asked


def rest(
    units: Units,
    sites: Sites,
    segments: Segments,
    bounds: Bounds,
    neutral: Array,
    need: Array,
    total: Array,
    asked: Array,
) -> Array:
    """Choose which units run and which rest (``units.resting``); return those that must, bool [units].

    First those that run, the one that is due for relief last; among equals by whole percents of energy.
    """
    site = segments.site
    stays = ~asked | (np.abs(need) <= SLACK)
    works = (sites.efficient_kw > 0) & ~stays
    off = ~(sites.efficient_kw > 0) | ((sites.balance_kw_per_pct > 0) & (np.abs(total) <= sites.deadband_kw))
    units.resting[off[site]] = 0
    works &= ~off
    can = np.where((need > 0)[site], bounds.upper - neutral, neutral - bounds.lower)
    can = np.where(works[site], can, 0)
    fit, resting = can > 0, units.resting != 0
    ran = np.where(fit & ~resting, units.run_s, -np.inf)
    longest = segments.max(ran)
    due = fit & ~resting & (ran == longest[site]) & (longest > sites.rotate_s)[site]
    due &= segments.before(due) == 0  # one at a time
    running = segments.sum(fit & ~resting)
    units_needed = np.abs(total) / sites.efficient_kw
    fewest = np.maximum(np.ceil(units_needed - 1e-9), 1)
    most = np.maximum(np.ceil(HYSTERESIS * units_needed - 1e-9), 1)
    wanted = np.minimum(np.maximum(running, fewest), most)

    percent = np.floor(np.minimum(np.maximum(np.where(fit, units.soe_pct, 0), 0), 100))
    percent = np.where((need > 0)[site], percent, 100 - percent).astype(np.int64)
    tier = np.where(resting, 1, np.where(due, 0, 2))
    order = segments.ranked(np.where(fit, tier * 101 + percent + 1, 0))
    short = np.abs(need)[site] - segments.before(can[order]) > SLACK
    runs = np.zeros(units.rows, bool)
    runs[order] = fit[order] & ((segments.before(fit[order].astype(np.int64)) < wanted[site]) | short)
    switched = fit & (runs == resting)
    units.resting[fit] = ~runs[fit]
    units.run_s[switched] = 0
    return fit & ~runs


def weights(
    units: Units, sites: Sites, site: Array, bounds: Bounds, low: Array, high: Array, need: Array
) -> Array:
    """Return what the split is in proportion to, float64 [units]; 0 for units without room that way."""
    up = (need > 0)[site]
    energy = np.where(up, bounds.full, bounds.room)
    allowed = np.where(up, units.allowed_discharge_kw, units.allowed_charge_kw)
    by = sites.split[site]
    weight = np.where(by == ENERGY, energy, np.where(by == POWER, allowed, 1.0))
    return np.where(np.where(up, high, -low) > 0, np.minimum(weight, HUGE * HUGE), 0)


def split(
    segments: Segments, weight: Array, low: Array, high: Array, total: Array, need: Array, asked: Array
) -> Array:
    """Return P = clip(λ·weight, low, high), with each site's λ such that its sum is its total.

    The sum rises with λ in straight pieces, so Newton's steps find it; where nothing is free they go on to
    the next piece, and one that would leave the bracket halves it.
    """
    site = segments.site
    everything = segments.sum(weight)
    active = asked & (everything > 0) & (need != 0)
    below, above = np.where(need < 0, -np.inf, 0.0), np.where(need > 0, np.inf, 0.0)
    slope = np.where(active, np.minimum(np.maximum(total / everything, below), above), 0)
    for _ in range(STEPS):
        linear = slope[site] * weight
        miss = total - segments.sum(np.minimum(np.maximum(linear, low), high))
        active = active & (np.abs(miss) > 1e-12 * (1 + np.abs(total)))
        if not active.any():
            break
        free = segments.sum(np.where((linear >= low) & (linear <= high), weight, 0))
        below = np.where(active & (miss > 0), slope, below)
        above = np.where(active & ~(miss > 0), slope, above)
        step = slope + miss / free
        if (active & ~(free > 0)).any():
            rise = segments.max(-np.where((linear < low) & (weight > 0), low / weight, np.inf))
            fall = segments.max(np.where((linear > high) & (weight > 0), high / weight, -np.inf))
            after = np.where(miss > 0, -rise, fall)
            after += np.where(miss > 0, 1e-12, -1e-12) * np.abs(after)
            step = np.where(free > 0, step, after)
        step = np.where((step > below) & (step < above), step, (below + above) / 2)
        active = active & np.isfinite(step) & (step != slope)
        slope = np.where(active, step, slope)
    return np.asarray(np.clip(slope[site] * weight, low, high))


def spread(segments: Segments, power: Array, low: Array, high: Array, total: Array, over: Array) -> Array:
    """Return the powers with what is missing from the total spread by what room units have."""
    site = segments.site
    miss = total - segments.sum(power)
    miss = np.where(np.abs(miss) > 1e-9 * (1 + np.abs(total)), miss, 0)
    room = np.where(over, np.where((miss > 0)[site], high - power, power - low), 0)
    rooms = segments.sum(room)
    part = np.where(rooms > 0, np.clip(miss / np.where(rooms > 0, rooms, 1), -1, 1), 0)
    return np.asarray(np.clip(power + room * part[site], low, high))


def whole(
    segments: Segments,
    power: Array,
    low: Array,
    high: Array,
    quantum: Array,
    total: Array,
    lower: Array,
    upper: Array,
) -> Array:
    """Return the powers in whole quanta with the same sum: the largest fractions go up, then the first.

    The coarsest quantum of a site goes first; finer ones take over what it leaves.
    """
    site = segments.site
    level = segments.max(quantum)
    power = np.where(quantum > 0, power, 0)
    while (level > 0).any():
        step = np.where(level > 0, level, 1)
        mine = (quantum == level[site]) & (quantum > 0)
        finer = (quantum < level[site]) & (quantum > 0)
        exact = power * (1 / step)[site]
        base = np.floor(exact + SLACK)
        fits = mine & (base * step[site] + step[site] / 2 < high)
        power = np.where(mine, base * step[site], power)
        left = total - segments.sum(np.where(finer, 0, power))  # for the units that go up, and for finer ones
        least, most = segments.sum(np.where(finer, low, 0)), segments.sum(np.where(finer, high, 0))
        share = left - segments.sum(np.where(finer, power, 0))
        count = np.maximum(np.floor(share / step + 1e-9), 0)
        rest = left - count * step
        off, off_up = (np.maximum(np.maximum(least - r, r - most), 0) for r in (rest, rest - step))
        nearer_up = share / step - count >= 0.5 - 1e-9
        up = np.where(np.abs(off - off_up) > 1e-9 * step, off_up < off, nearer_up)
        last = ~segments.any(finer)
        total_up = total - rest + step
        up &= ~(last & (total_up > upper + SLACK))
        up |= last & (total - rest < lower - SLACK) & (total_up <= upper + SLACK)
        count += up
        key = np.where(fits, np.rint((exact - base) * LEVELS), 0).astype(np.int64)
        order = segments.ranked(np.where(fits, key + 1, 0))
        chosen = np.zeros(len(power), bool)
        chosen[order] = fits[order] & (segments.before(fits[order].astype(np.int64)) < count[site])
        power = np.where(mine, (base + chosen) * step[site], power)
        power = spread(segments, power, low, high, total, finer)
        level = np.maximum(segments.max(np.where(finer, quantum, 0)), 0)
    return power


def explain(
    units: Units, sites: Sites, segments: Segments, bounds: Bounds, target: Array, limited: Array
) -> None:
    """Fill in sums, unserved power and reasons."""
    site, power = segments.site, units.setpoint_kw
    sites.setpoint_kw[:] = segments.sum(power)
    missing = target - sites.setpoint_kw
    coarsest = np.maximum(segments.max(bounds.quantum), 0)
    missing = np.where(np.abs(missing) < coarsest - SLACK * coarsest, 0, missing)
    sites.unserved_kw[:] = missing
    way = np.where(missing == 0, np.sign(target), np.sign(missing))[site]
    units.reason[:] = why(units, bounds, way)

    rated = np.where(way > 0, units.discharge_kw, units.charge_kw)
    rated = np.where(np.abs(rated) <= HUGE, np.maximum(rated, 0), 0)
    lost = np.where(units.reason == reasons.NONE, 0, np.maximum(rated - way * power, 0))
    rows = len(sites.reason)
    flat: Array = np.bincount(site * CODES + units.reason, lost, rows * CODES)
    by_reason = flat.astype(np.float64).reshape(rows, CODES)
    by_units = np.abs(missing) - np.abs(target - limited)  # the rest is the site's own bounds'
    by_reason[:, reasons.RATED] += np.maximum(by_units - by_reason.sum(axis=1), 0)
    sites.reason[:] = np.where(by_units > np.abs(target - limited), by_reason.argmax(axis=1), reasons.NONE)


def why(units: Units, bounds: Bounds, way: Array) -> Array:
    """Return why each unit does not do more in the direction ``way`` (1, -1; 0: in none).

    That is the last of the steps from its rated power down to its bound that took something away.
    """
    up, there = way > 0, np.minimum(np.maximum(units.available, 0), 1)
    rated = np.where(up, units.discharge_kw, units.charge_kw) * there
    energy = np.where(up, bounds.full, bounds.room)
    allowed = np.where(up, units.allowed_discharge_kw, units.allowed_charge_kw)
    may, bound = np.where(up, bounds.gives, bounds.takes), np.where(up, bounds.upper, bounds.lower)
    at_min = np.where(units.reserve_pct > units.soe_min_pct, reasons.RESERVE, reasons.SOE_MIN)
    code = np.where(there < 1, reasons.BLOCKS, reasons.RATED)
    code = np.where(energy < rated, np.where(up, at_min, reasons.SOE_MAX), code)
    code = np.where(allowed < np.minimum(rated, energy), reasons.RISE, code)
    code = np.where(may < allowed, reasons.HOLD_OFF, code)
    code = np.where(way * bound + bounds.quantum <= may + SLACK * bounds.quantum, reasons.RAMP, code)
    code = np.where((way != 0) & (np.abs(units.setpoint_kw - bound) <= SLACK), code, reasons.NONE)
    code = np.where((code == reasons.NONE) & (way != 0) & (units.resting != 0), reasons.RESTING, code)
    out = np.where(units.usable == reasons.NONE, reasons.BAD, units.usable % CODES)
    return np.where(bounds.quantum > 0, code, out)
