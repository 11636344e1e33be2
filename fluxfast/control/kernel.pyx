"""The kernel: what every battery unit of every site shall do this tick, decided at once and without the GIL.

    bounds of each unit ─▶ target of the site ─▶ hold, or: exchange or rest ─▶ split ─▶ round ─▶ reasons

Here the columns of columns.py are bound; the decision is in C headers, compiled for any processor
(``kernel_any.c``) and for those with AVX2 (``kernel_avx2.c``): ``site.h`` has the order of a site's decision
and what always holds, ``bounds.h``, ``split.h``, ``choose.h``, ``finish.h`` the loops over its units,
``lanes.h`` what these are made of. ``reference.py`` is the same in readable NumPy.
"""

cimport cython
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t

import numpy as np


cdef extern from "fluxfast/control/columns.h" nogil:
    int64_t FX_SCRATCH, FX_LANES_MOST, FX_KEYS_AT_ONCE
    bint FX_HAS_AVX2
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
    ctypedef struct fx_sites:
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
    ctypedef void (*fx_decide)(
        const fx_units *units, const fx_sites *at, const int32_t *first, int64_t count, double dt_s,
        void *scratch, uint8_t *key
    ) noexcept
    void fx_decide_any(
        const fx_units *units, const fx_sites *at, const int32_t *first, int64_t count, double dt_s,
        void *scratch, uint8_t *key
    ) noexcept
    void fx_decide_avx2(
        const fx_units *units, const fx_sites *at, const int32_t *first, int64_t count, double dt_s,
        void *scratch, uint8_t *key
    ) noexcept


@cython.final
cdef class Kernel:
    """Decides for all units of all sites, in place.

    It keeps the arrays that the columns have when it is made: they are to be filled, not replaced. Making it
    raises ValueError for a column that is not a contiguous array of its dtype and length. ``plain``: with the
    code for any processor, whatever this one can do (for tests).
    """

    cdef fx_units units
    cdef fx_sites sites
    cdef int64_t site_count
    cdef const int32_t *first
    cdef void *scratch
    cdef uint8_t *key
    cdef fx_decide decision
    cdef list arrays  # that the pointers above point into

    def __cinit__(self, columns, *, bint plain=False):
        # Scratch is made here, for the largest site.
        cdef const int32_t[::1] first = columns.first
        cdef Py_ssize_t most = int(np.diff(columns.first).max(initial=0)) + FX_LANES_MOST
        ends = columns.first[[0, -1]].tolist()
        if len(first) != columns.sites.rows + 1 or ends != [0, columns.units.rows] or (
            np.diff(columns.first) < 0
        ).any():
            raise ValueError("Columns.first does not cut the units into sites: make columns by Columns.make")
        keys = np.zeros(most + FX_KEYS_AT_ONCE, np.uint8)
        self.arrays = [columns.first, np.zeros(FX_SCRATCH * most + 8), keys]
        self.site_count = columns.sites.rows
        self.first = &first[0]
        self.scratch = <void *>((<size_t>self.at(1) + 63) & ~<size_t>63)  # where a cache line begins
        self.key = <uint8_t *>self.at(2)
        self.decision = fx_decide_avx2 if FX_HAS_AVX2 and not plain else fx_decide_any
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
        if not 0 <= dt_s <= 1e15:
            dt_s = 0
        with nogil:
            self.decision(
                &self.units, &self.sites, self.first, self.site_count, dt_s, self.scratch, self.key
            )
