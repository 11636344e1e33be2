"""The kernel: what every battery unit of every site shall do this tick, decided at once and without the GIL.

    bounds of each unit ─▶ target of the site ─▶ hold, or: exchange or rest ─▶ split ─▶ round ─▶ reasons

Here is the order of a site's decision; the loops over its units are in C headers, as only C can ask for
vector code for several processors: ``bounds.h``, ``split.h``, ``choose.h``, ``finish.h``. ``reference.py`` is
the same in readable NumPy.

Invariants:

1. A setpoint is within its unit's bounds, and 0 for a unit that takes no part.
2. A number that is not finite only ever touches its own unit: fx_bounds puts it out of the split before
   anything is summed. A site's numbers that are not finite are taken as what moves least.
3. Nothing is allocated in a decision. Scratch is as long as the largest site, so it stays in the cache.
"""

cimport cython
from libc.math cimport INFINITY, NAN, fabs, isnan
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t
from libc.string cimport memset

import numpy as np


cdef extern from "fluxfast/control/bounds.h" nogil:
    double FX_HUGE, FX_SLACK
    int64_t FX_PADDED(int64_t n) noexcept
    ctypedef struct fx_units:
        const double *capacity_kwh
        const double *charge_kw
        const double *discharge_kw
        const double *soe_min_pct
        const double *soe_max_pct
        const double *reserve_pct
        const double *efficiency
        const double *ramp_kw_per_s
        const double *rise_kw_per_s
        const double *quantum_kw
        const double *soe_pct
        const double *available
        double *setpoint_kw
        double *ramp_left_kw
        double *allowed_charge_kw
        double *allowed_discharge_kw
        double *idle_s
        double *run_s
        double *lower_kw
        double *upper_kw
        const uint8_t *usable
        uint8_t *at_min
        uint8_t *at_max
        uint8_t *resting
        uint8_t *reason
        int8_t *direction
    ctypedef struct fx_scratch:
        double *quantum
        double *low
        double *high
        double *full
        double *room
        double *gives
        double *takes
        double *power
        double *weight
        int32_t *key
    double fx_min(double a, double b) noexcept
    double fx_max(double a, double b) noexcept
    double fx_clip(double x, double low, double high) noexcept
    fx_units fx_units_at(const fx_units *u, int64_t first) noexcept
    void fx_bounds(
        const fx_units *u, int64_t count, double dt_s, double per_pct, double hold_off_s, const fx_scratch *s
    ) noexcept

cdef extern from "fluxfast/control/split.h" nogil:
    ctypedef struct fx_sums:
        double lower, upper, neutral, last, coarsest
        bint moves
    void fx_sum(const fx_units *u, int64_t n, const fx_scratch *s, fx_sums *out) noexcept
    bint fx_comes_to_rest(const fx_units *u, int64_t n) noexcept
    double fx_weigh(const fx_units *u, int64_t n, int by, bint up, const fx_scratch *s) noexcept
    double fx_split(const fx_scratch *s, int64_t n, double weights, double total, double need) noexcept
    void fx_spread(const fx_scratch *s, int64_t n, double total, double sum, double level) noexcept
    double fx_exchange(
        const fx_units *u, int64_t n, double balance, double need, const fx_scratch *s
    ) noexcept

cdef extern from "fluxfast/control/choose.h" nogil:
    void fx_whole(
        const fx_scratch *s, int64_t n, double coarsest, double total, double lower, double upper
    ) noexcept
    void fx_rest(
        const fx_units *u, int64_t n, double efficient_kw, double rotate_s, double total, double need,
        const fx_scratch *s,
    ) noexcept

cdef extern from "fluxfast/control/finish.h" nogil:
    double fx_finish(const fx_units *u, int64_t n, const double *power, const fx_scratch *s) noexcept
    void fx_explain(const fx_units *u, int64_t n, int way, const fx_scratch *s) noexcept
    uint8_t fx_blame(const fx_units *u, int64_t n, int way, double missing) noexcept


cdef struct Site:
    # Pointers to the columns of columns.py, at the first site.
    const uint8_t *split
    const double *horizon_s
    const double *hold_off_s
    const double *deadband_kw
    const double *resplit_s
    const double *efficient_kw
    const double *rotate_s
    const double *balance_kw_per_pct
    const double *target_kw
    const double *lower_kw
    const double *upper_kw
    double *split_target_kw
    double *split_s
    double *units_lower_kw
    double *units_upper_kw
    double *setpoint_kw
    double *unserved_kw
    uint8_t *reason


@cython.final
cdef class Kernel:
    """Decides for all units of all sites, in place.

    It keeps the arrays that the columns have when it is made: they are to be filled, not replaced. Making it
    raises ValueError for a column that is not a contiguous array of its dtype and length.
    """

    cdef fx_units units
    cdef Site sites
    cdef int64_t site_count
    cdef const int32_t *first
    cdef fx_scratch scratch
    cdef list arrays  # that the pointers above point into

    def __cinit__(self, columns):
        # Scratch is made here, for the largest site.
        cdef const int32_t[::1] first = columns.first
        cdef Py_ssize_t most = FX_PADDED(int(np.diff(columns.first).max(initial=0))) + 16
        ends = columns.first[[0, -1]].tolist()
        if len(first) != columns.sites.rows + 1 or ends != [0, columns.units.rows] or (
            np.diff(columns.first) < 0
        ).any():
            raise ValueError("Columns.first does not cut the units into sites: make columns by Columns.make")
        self.arrays = [columns.first, np.zeros(10 * most + 8)]
        self.site_count = columns.sites.rows
        self.first = &first[0]
        cdef double *row = <double *>((<size_t>self.at(1) + 63) & ~<size_t>63)  # where a cache line begins
        self.scratch = fx_scratch(
            row, row + most, row + 2 * most, row + 3 * most, row + 4 * most, row + 5 * most, row + 6 * most,
            row + 7 * most, row + 8 * most, <int32_t *>(row + 9 * most),
        )
        self.bind_units(columns.units)
        self.bind_sites(columns.sites)

    cdef void *at(self, int index) except? NULL:
        # Where the array begins.
        cdef const uint8_t[::1] data = self.arrays[index].reshape(-1).view(np.uint8)
        return <void *>&data[0] if len(data) else NULL

    cdef void *column(self, rows, str name) except? NULL:
        array = getattr(rows, name)
        wanted = np.dtype(rows.dtypes()[name])
        if array.dtype != wanted or array.shape != (rows.rows,) or not array.flags.carray:
            raise ValueError(
                f"column {name}: {array.dtype} {array.shape} is not a contiguous {wanted} ({rows.rows},): "
                "make columns by Columns.make, and fill them in place"
            )
        self.arrays.append(array)
        return self.at(len(self.arrays) - 1)

    cdef int bind_units(self, rows) except -1:
        self.units.capacity_kwh = <double *>self.column(rows, "capacity_kwh")
        self.units.charge_kw = <double *>self.column(rows, "charge_kw")
        self.units.discharge_kw = <double *>self.column(rows, "discharge_kw")
        self.units.soe_min_pct = <double *>self.column(rows, "soe_min_pct")
        self.units.soe_max_pct = <double *>self.column(rows, "soe_max_pct")
        self.units.reserve_pct = <double *>self.column(rows, "reserve_pct")
        self.units.efficiency = <double *>self.column(rows, "efficiency")
        self.units.ramp_kw_per_s = <double *>self.column(rows, "ramp_kw_per_s")
        self.units.rise_kw_per_s = <double *>self.column(rows, "rise_kw_per_s")
        self.units.quantum_kw = <double *>self.column(rows, "quantum_kw")
        self.units.soe_pct = <double *>self.column(rows, "soe_pct")
        self.units.available = <double *>self.column(rows, "available")
        self.units.setpoint_kw = <double *>self.column(rows, "setpoint_kw")
        self.units.ramp_left_kw = <double *>self.column(rows, "ramp_left_kw")
        self.units.allowed_charge_kw = <double *>self.column(rows, "allowed_charge_kw")
        self.units.allowed_discharge_kw = <double *>self.column(rows, "allowed_discharge_kw")
        self.units.idle_s = <double *>self.column(rows, "idle_s")
        self.units.run_s = <double *>self.column(rows, "run_s")
        self.units.lower_kw = <double *>self.column(rows, "lower_kw")
        self.units.upper_kw = <double *>self.column(rows, "upper_kw")
        self.units.usable = <uint8_t *>self.column(rows, "usable")
        self.units.at_min = <uint8_t *>self.column(rows, "at_min")
        self.units.at_max = <uint8_t *>self.column(rows, "at_max")
        self.units.resting = <uint8_t *>self.column(rows, "resting")
        self.units.reason = <uint8_t *>self.column(rows, "reason")
        self.units.direction = <int8_t *>self.column(rows, "direction")
        return 0

    cdef int bind_sites(self, rows) except -1:
        self.sites.split = <uint8_t *>self.column(rows, "split")
        self.sites.horizon_s = <double *>self.column(rows, "horizon_s")
        self.sites.hold_off_s = <double *>self.column(rows, "hold_off_s")
        self.sites.deadband_kw = <double *>self.column(rows, "deadband_kw")
        self.sites.resplit_s = <double *>self.column(rows, "resplit_s")
        self.sites.efficient_kw = <double *>self.column(rows, "efficient_kw")
        self.sites.rotate_s = <double *>self.column(rows, "rotate_s")
        self.sites.balance_kw_per_pct = <double *>self.column(rows, "balance_kw_per_pct")
        self.sites.target_kw = <double *>self.column(rows, "target_kw")
        self.sites.lower_kw = <double *>self.column(rows, "lower_kw")
        self.sites.upper_kw = <double *>self.column(rows, "upper_kw")
        self.sites.split_target_kw = <double *>self.column(rows, "split_target_kw")
        self.sites.split_s = <double *>self.column(rows, "split_s")
        self.sites.units_lower_kw = <double *>self.column(rows, "units_lower_kw")
        self.sites.units_upper_kw = <double *>self.column(rows, "units_upper_kw")
        self.sites.setpoint_kw = <double *>self.column(rows, "setpoint_kw")
        self.sites.unserved_kw = <double *>self.column(rows, "unserved_kw")
        self.sites.reason = <uint8_t *>self.column(rows, "reason")
        return 0

    def decide(self, double dt_s):
        """Make the decision of one tick, ``dt_s`` seconds after the last.

        Reads parameters and inputs, carries on the states, fills in setpoints and the other outputs. A
        ``dt_s`` that is negative, infinite or not a number counts as 0.
        """
        cdef int64_t site
        if not 0 <= dt_s <= FX_HUGE:
            dt_s = 0
        with nogil:
            for site in range(self.site_count):
                self.decide_site(site, dt_s)

    cdef void decide_site(self, int64_t s, double dt_s) noexcept nogil:
        cdef Site *at = &self.sites
        cdef fx_units u = fx_units_at(&self.units, self.first[s])
        cdef int64_t n = self.first[s + 1] - self.first[s]
        cdef fx_sums sums
        cdef double soonest = fx_max(dt_s, 1e-3), horizon_s = at.horizon_s[s]
        cdef double per_pct = 0 if isnan(horizon_s) else 36 / fx_max(horizon_s, soonest)  # kW a % and kWh
        fx_bounds(&u, n, dt_s, per_pct, at.hold_off_s[s], &self.scratch)
        fx_sum(&u, n, &self.scratch, &sums)

        # The total: what is asked for, inside the site's bounds (where they cross: the least power between
        # them), inside what the units can do.
        cdef double target = 0 if isnan(at.target_kw[s]) else fx_clip(at.target_kw[s], -FX_HUGE, FX_HUGE)
        cdef double lower = 0 if isnan(at.lower_kw[s]) else at.lower_kw[s]
        cdef double upper = 0 if isnan(at.upper_kw[s]) else at.upper_kw[s]
        if lower > upper:
            lower = upper = fx_clip(0, upper, lower)
        cdef double limited = fx_clip(target, lower, upper)
        cdef double total = fx_clip(limited, sums.lower, sums.upper), deadband = at.deadband_kw[s]
        at.units_lower_kw[s], at.units_upper_kw[s] = sums.lower, sums.upper

        cdef double split_s = at.split_s[s] + dt_s
        at.split_s[s] = split_s if split_s >= 0 else 0
        cdef bint held = (
            not sums.moves
            and fabs(target - at.split_target_kw[s]) < deadband
            and fabs(total - sums.last) < deadband + sums.coarsest + FX_SLACK
            and sums.last >= fx_max(lower, sums.lower) - FX_SLACK
            and sums.last <= fx_min(upper, sums.upper) + FX_SLACK
            and at.split_s[s] < at.resplit_s[s]
            and not fx_comes_to_rest(&u, n)
        )
        cdef bint even = at.balance_kw_per_pct[s] > 0 and fabs(total) <= deadband
        if n and (even or not at.efficient_kw[s] > 0):
            memset(u.resting, 0, n)
        if not held:
            at.split_target_kw[s] = target
            at.split_s[s] = 0
            self.share(&u, s, n, &sums, total, lower, upper, even)
        self.finish(&u, s, n, u.setpoint_kw if held else self.scratch.power, sums.coarsest, target, limited)

    cdef void share(
        self, const fx_units *u, int64_t s, int64_t n, const fx_sums *sums, double total, double lower,
        double upper, bint even,
    ) noexcept nogil:
        # Fills in the powers: an exchange, or a split over those that need not rest; in whole quanta.
        cdef Site *at = &self.sites
        cdef double weights, sum = NAN, need = total - sums.neutral  # what the units at rest leave to do
        if even:
            sum = fx_exchange(u, n, at.balance_kw_per_pct[s], need, &self.scratch)
        if isnan(sum):
            if not even and at.efficient_kw[s] > 0 and fabs(need) > FX_SLACK:
                fx_rest(u, n, at.efficient_kw[s], at.rotate_s[s], total, need, &self.scratch)
            weights = fx_weigh(u, n, at.split[s], need > 0, &self.scratch)
            sum = fx_split(&self.scratch, n, weights, total, need)
        fx_spread(&self.scratch, n, total, sum, INFINITY)
        fx_whole(&self.scratch, n, sums.coarsest, total, lower, upper)

    cdef void finish(
        self, const fx_units *u, int64_t s, int64_t n, const double *power, double coarsest, double target,
        double limited,
    ) noexcept nogil:
        # Setpoints, and why they are not more.
        cdef Site *at = &self.sites
        cdef double total = fx_finish(u, n, power, &self.scratch), missing = target - total
        if fabs(missing) < coarsest - FX_SLACK * coarsest:
            missing = 0
        cdef double way = missing if missing != 0 else target, cut = fabs(target - limited)
        cdef int sign = (way > 0) - (way < 0)
        fx_explain(u, n, sign, &self.scratch)
        at.setpoint_kw[s] = total
        at.unserved_kw[s] = missing
        cdef double by_units = fabs(missing) - cut  # the rest is the site's own bounds'
        at.reason[s] = fx_blame(u, n, sign, by_units) if by_units > cut else 0
