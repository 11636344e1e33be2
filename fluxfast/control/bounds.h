/* What each unit may be told this tick: fx_bounds carries on the units' states and fills in their bounds.
 * The order of the arithmetic is reference.py's, unit_bounds().
 *
 * Bytes and doubles do not mix in vector code, so units go in batches: bytes to 64-bit flags, then everything
 * that is 64 bits wide, then flags back to bytes. In several loops, so that a loop's numbers fit into registers.
 */
#ifndef FLUXFAST_CONTROL_BOUNDS_H
#define FLUXFAST_CONTROL_BOUNDS_H

#include "fluxfast/control/lanes.h"

enum { FX_RATED = 1, FX_BLOCKS, FX_SOE_MIN, FX_SOE_MAX, FX_RISE, FX_RAMP, FX_HOLD_OFF, FX_RESTING, FX_RESERVE };
enum { FX_BAD = 17, FX_CODES = 64 };
#define FX_LEAVE_PCT 2.0 /* a unit at the end of its window comes back when it is this far inside */

/* The columns of columns.py, from a site's first unit on. */
typedef struct {
    const double *capacity_kwh, *charge_kw, *discharge_kw, *soe_min_pct, *soe_max_pct, *reserve_pct;
    const double *efficiency, *ramp_kw_per_s, *rise_kw_per_s, *quantum_kw, *soe_pct, *available;
    double *setpoint_kw, *ramp_left_kw, *allowed_charge_kw, *allowed_discharge_kw, *idle_s, *run_s;
    double *lower_kw, *upper_kw;
    const uint8_t *usable;
    uint8_t *at_min, *at_max, *resting, *reason;
    int8_t *direction;
} fx_units;

static fx_units fx_units_at(const fx_units *u, int64_t first) {
    fx_units at = *u;
    at.capacity_kwh += first;
    at.charge_kw += first;
    at.discharge_kw += first;
    at.soe_min_pct += first;
    at.soe_max_pct += first;
    at.reserve_pct += first;
    at.efficiency += first;
    at.ramp_kw_per_s += first;
    at.rise_kw_per_s += first;
    at.quantum_kw += first;
    at.soe_pct += first;
    at.available += first;
    at.setpoint_kw += first;
    at.ramp_left_kw += first;
    at.allowed_charge_kw += first;
    at.allowed_discharge_kw += first;
    at.idle_s += first;
    at.run_s += first;
    at.lower_kw += first;
    at.upper_kw += first;
    at.usable += first;
    at.at_min += first;
    at.at_max += first;
    at.resting += first;
    at.reason += first;
    at.direction += first;
    return at;
}

/* Scratch of a site, a row per unit; the kernel allocates it. */
typedef struct {
    double *quantum;         /* 0: takes no part */
    double *low, *high;      /* the bounds, kept at neutral for units that rest */
    double *full, *room;     /* what the energy in the window allows, kW; 0 at its ends */
    double *gives, *takes;   /* what it may do but for its ramp and quantum, kW */
    double *power, *weight;
    int32_t *key;
} fx_scratch;

static fx_scratch fx_scratch_at(const fx_scratch *s, int64_t first) {
    return (fx_scratch){
        s->quantum + first, s->low + first, s->high + first, s->full + first, s->room + first,
        s->gives + first, s->takes + first, s->power + first, s->weight + first, s->key + first,
    };
}

enum { FX_AT_MIN = 1, FX_AT_MAX = 2, FX_DISCHARGED = 4, FX_CHARGED = 8, FX_UNUSABLE = 16, FX_INVALID = 32 };
enum { FX_BATCH = 128 };

/* What one loop over a batch leaves to the next. */
typedef struct {
    uint8_t bytes[FX_BATCH];
    int64_t flags[FX_BATCH];
    double ends[FX_BATCH]; /* FX_AT_MIN, FX_AT_MAX; doubles, as processors without AVX-512 need */
} fx_batch;

/* Small whole numbers. */
static inline void fx_to_bytes(const double *restrict from, int64_t n, uint8_t *restrict to) {
    for (int64_t i = 0; i < n; i++) to[i] = (uint8_t)(int32_t)from[i];
}

static inline void fx_flags(const fx_units *u, int64_t n, fx_batch *b) {
    const uint8_t *restrict usable = u->usable, *restrict at_min = u->at_min, *restrict at_max = u->at_max;
    const int8_t *restrict direction = u->direction;
    for (int64_t i = 0; i < n; i++)
        b->bytes[i] = (uint8_t)(
            (usable[i] != 0 ? FX_UNUSABLE : 0) | (at_min[i] != 0 ? FX_AT_MIN : 0) |
            (at_max[i] != 0 ? FX_AT_MAX : 0) | (direction[i] > 0 ? FX_DISCHARGED : 0) |
            (direction[i] < 0 ? FX_CHARGED : 0));
    for (int64_t i = 0; i < n; i++) b->flags[i] = b->bytes[i];
}

/* Numbers that mean nothing; a NaN, too, is not less than anything. What may be infinite must be so upwards. */
static inline void fx_check(const fx_units *u, int64_t n, fx_batch *b) {
    const double *restrict capacity = u->capacity_kwh, *restrict charge_kw = u->charge_kw;
    const double *restrict discharge_kw = u->discharge_kw, *restrict eta = u->efficiency;
    const double *restrict soe_min = u->soe_min_pct, *restrict soe_max = u->soe_max_pct;
    const double *restrict reserve = u->reserve_pct, *restrict ramp = u->ramp_kw_per_s;
    const double *restrict rise_kw = u->rise_kw_per_s, *restrict quantum_kw = u->quantum_kw;
    const double *restrict soe_pct = u->soe_pct, *restrict available = u->available;
    const double *restrict setpoint = u->setpoint_kw, *restrict ramp_left = u->ramp_left_kw;
    const double *restrict run_s = u->run_s, *restrict idle_s = u->idle_s;
    const double *restrict allowed_charge = u->allowed_charge_kw;
    const double *restrict allowed_discharge = u->allowed_discharge_kw;
    int64_t *restrict flags = b->flags;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        double size = fabs(capacity[i]) + fabs(charge_kw[i]) + fabs(discharge_kw[i]) + fabs(soe_min[i]) +
            fabs(soe_max[i]) + fabs(reserve[i]) + fabs(eta[i]) + fabs(quantum_kw[i]) + fabs(soe_pct[i]) +
            fabs(available[i]) + fabs(setpoint[i]) + fabs(run_s[i]) + fabs(ramp_left[i]);
        double endless = idle_s[i] + ramp[i] + rise_kw[i] + allowed_charge[i] + allowed_discharge[i];
        bool good = (size <= FX_HUGE) & (eta[i] > 0) & (endless >= 0);
        flags[i] |= good ? 0 : FX_INVALID;
    }
}

/* State of energy: the window, with hysteresis at its ends, and the energy in it. */
static inline void fx_window(const fx_units *u, int64_t n, double per_pct, const fx_scratch *s, fx_batch *b) {
    const double *restrict capacity = u->capacity_kwh, *restrict eta = u->efficiency;
    const double *restrict soe_min = u->soe_min_pct, *restrict soe_max = u->soe_max_pct;
    const double *restrict reserve = u->reserve_pct, *restrict soe_pct = u->soe_pct;
    const int64_t *restrict flags = b->flags;
    double *restrict full = s->full, *restrict room = s->room, *restrict ends = b->ends;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        double soe = soe_pct[i], floor_pct = fx_max(soe_min[i], reserve[i]), top_pct = soe_max[i];
        /* (A NaN is at both ends.) */
        double leave_pct = (flags[i] & FX_AT_MIN) != 0 ? floor_pct + FX_LEAVE_PCT : floor_pct;
        double enter_pct = (flags[i] & FX_AT_MAX) != 0 ? top_pct - FX_LEAVE_PCT : top_pct;
        bool gives = (soe > floor_pct) & (soe >= leave_pct), takes = (soe < top_pct) & (soe <= enter_pct);
        double out = (soe - floor_pct) * capacity[i] * eta[i] * per_pct;
        double in = (top_pct - soe) * capacity[i] / eta[i] * per_pct;
        full[i] = gives ? out : 0;
        room[i] = takes ? in : 0;
        ends[i] = (gives ? 0 : (double)FX_AT_MIN) + (takes ? 0 : (double)FX_AT_MAX);
    }
}

/* Allowed power: falls at once, rises slowly. */
static inline void fx_allow(const fx_units *u, int64_t n, double dt_s, const fx_scratch *s, fx_batch *b) {
    const double *restrict charge_kw = u->charge_kw, *restrict discharge_kw = u->discharge_kw;
    const double *restrict rise_kw = u->rise_kw_per_s, *restrict available = u->available;
    const double *restrict full = s->full, *restrict room = s->room;
    double *restrict allowed_charge = u->allowed_charge_kw, *restrict allowed_discharge = u->allowed_discharge_kw;
    const int64_t *restrict flags = b->flags;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        bool part = (flags[i] & (FX_UNUSABLE | FX_INVALID)) == 0;
        double there = fx_min(fx_max(available[i], 0), 1);
        double rise = rise_kw[i] > FX_AT_ONCE ? FX_AT_ONCE : rise_kw[i] * dt_s;
        double discharge = fx_min(fx_min(discharge_kw[i] * there, full[i]), allowed_discharge[i] + rise);
        double charge = fx_min(fx_min(charge_kw[i] * there, room[i]), allowed_charge[i] + rise);
        allowed_discharge[i] = part ? fx_max(discharge, 0) : 0;
        allowed_charge[i] = part ? fx_max(charge, 0) : 0;
    }
}

/* A unit turns only after a rest at 0. */
static inline void fx_turn(
    const fx_units *u, int64_t n, double dt_s, double hold_off_s, const fx_scratch *s, fx_batch *b
) {
    const double *restrict setpoint = u->setpoint_kw;
    const double *restrict allowed_charge = u->allowed_charge_kw;
    const double *restrict allowed_discharge = u->allowed_discharge_kw;
    double *restrict idle_s = u->idle_s, *restrict run_s = u->run_s;
    double *restrict gives = s->gives, *restrict takes = s->takes;
    const int64_t *restrict flags = b->flags;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        double idle = setpoint[i] == 0 ? idle_s[i] + dt_s : 0, runs = run_s[i] + dt_s;
        idle_s[i] = idle >= 0 ? idle : 0;
        run_s[i] = (flags[i] & FX_INVALID) == 0 ? runs : 0;
        int64_t waits = idle >= hold_off_s ? 0 : FX_CHARGED | FX_DISCHARGED;
        gives[i] = (flags[i] & waits & FX_CHARGED) != 0 ? 0 : allowed_discharge[i];
        takes[i] = (flags[i] & waits & FX_DISCHARGED) != 0 ? 0 : allowed_charge[i];
    }
}

/* Whole quanta, inward; the ramp inside what is safe. */
static inline void fx_quanta(const fx_units *u, int64_t n, double dt_s, const fx_scratch *s, fx_batch *b) {
    const double *restrict setpoint = u->setpoint_kw, *restrict quantum_kw = u->quantum_kw;
    const double *restrict ramp = u->ramp_kw_per_s;
    double *restrict ramp_left = u->ramp_left_kw, *restrict lower = u->lower_kw, *restrict upper = u->upper_kw;
    const int64_t *restrict flags = b->flags;
    const double *restrict gives = s->gives, *restrict takes = s->takes;
    double *restrict quanta = s->quantum, *restrict low = s->low, *restrict high = s->high;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        bool part = (flags[i] & (FX_UNUSABLE | FX_INVALID)) == 0;
        double last = setpoint[i], quantum = quantum_kw[i] > FX_FINEST ? quantum_kw[i] : FX_FINEST;
        double per_kw = 1 / quantum, step = ramp[i] * dt_s;
        step = fx_min(ramp_left[i] + step, fx_max(step, quantum));
        step = ramp[i] > FX_AT_ONCE ? FX_AT_ONCE : step;
        double most = floor(gives[i] * per_kw + FX_SLACK), least = -floor(takes[i] * per_kw + FX_SLACK);
        double here = copysign(floor(fabs(last) * per_kw + FX_SLACK), last);
        double top = fx_max(floor((last + step) * per_kw + FX_SLACK), here);
        double bottom = fx_min(-floor((step - last) * per_kw + FX_SLACK), here);
        top = fx_clip(top, least, most) * quantum + 0.0; /* no -0 */
        bottom = fx_clip(bottom, least, most) * quantum + 0.0;
        top = part ? top : 0;
        bottom = part ? bottom : 0;
        upper[i] = high[i] = top;
        lower[i] = low[i] = bottom;
        ramp_left[i] = part ? step : 0;
        quanta[i] = part ? quantum : 0;
    }
}

/* per_pct: kW a % and kWh. */
FX_CLONES static void fx_bounds(
    const fx_units *units, int64_t count, double dt_s, double per_pct, double hold_off_s,
    const fx_scratch *scratch
) {
    fx_batch batch, *b = &batch;
    for (int64_t from = 0; from < count; from += FX_BATCH) {
        int64_t n = count - from < FX_BATCH ? count - from : FX_BATCH;
        fx_units at = fx_units_at(units, from), *u = &at;
        fx_scratch s = fx_scratch_at(scratch, from);
        fx_flags(u, n, b);
        fx_check(u, n, b);
        fx_window(u, n, per_pct, &s, b);
        fx_allow(u, n, dt_s, &s, b);
        fx_turn(u, n, dt_s, hold_off_s, &s, b);
        fx_quanta(u, n, dt_s, &s, b);
        fx_to_bytes(b->ends, n, b->bytes);
        uint8_t *restrict at_min = u->at_min, *restrict at_max = u->at_max;
        for (int64_t i = 0; i < n; i++) {
            at_min[i] = b->bytes[i] & FX_AT_MIN;
            at_max[i] = b->bytes[i] >> 1;
        }
    }
}

#endif
