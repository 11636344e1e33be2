/* What each unit may be told this tick: fx_bounds carries on the units' states, fills in their bounds and sums
 * them up. The order of the arithmetic is reference.py's, unit_bounds().
 *
 * In two loops, so that the numbers and the addresses of each fit into registers.
 */
#ifndef FLUXFAST_CONTROL_BOUNDS_H
#define FLUXFAST_CONTROL_BOUNDS_H

#include "fluxfast/control/columns.h"
#include "fluxfast/control/lanes.h"

enum { FX_RATED = 1, FX_BLOCKS, FX_SOE_MIN, FX_SOE_MAX, FX_RISE, FX_RAMP, FX_HOLD_OFF, FX_RESTING, FX_RESERVE };
enum { FX_BAD = 17, FX_CODES = 64 };
enum { FX_STRIP = 256 }; /* units that go through both loops while they are in the cache */
#define FX_LEAVE_PCT 2.0 /* a unit at the end of its window comes back when it is this far inside */

/* Scratch: what is known of as many units as there are lanes. */
typedef struct {
    double good[FX_LANES];                  /* whether its numbers mean something, a truth */
    double quantum[FX_LANES];               /* 0: takes no part */
    double low[FX_LANES], high[FX_LANES];   /* the bounds, kept at neutral for units that rest */
    union {
        double power[FX_LANES];
        double endless[FX_LANES]; /* before: the sum of what may be infinite */
    };
    double weight[FX_LANES];                /* of the split; before: what it could do */
    double full[FX_LANES], room[FX_LANES];  /* what the energy in the window allows, kW; 0 at its ends */
    double gives[FX_LANES], takes[FX_LANES]; /* what it may do but for its ramp and quantum, kW */
} fx_block;

#define V_OF(array) v_get(array, FX_LANES)
#define V_TO(array, v) v_put(array, v, FX_LANES)

typedef struct {
    double lower, upper, neutral, last, coarsest;
    bool moves; /* a setpoint is outside its bounds */
} fx_sums;

/* Whether numbers are finite, and none too large; in detail, where their upper bits leave it open. What may be
 * infinite (others than these) must be so upwards; a NaN is not less than anything.
 */
static __attribute__((noinline, cold)) fx_m fx_sane(const fx_units *u, int64_t i, int k) {
    fx_v size = v_abs(v_get(u->capacity_kwh + i, k)) + v_abs(v_get(u->charge_kw + i, k)) +
        v_abs(v_get(u->discharge_kw + i, k)) + v_abs(v_get(u->soe_min_pct + i, k)) +
        v_abs(v_get(u->soe_max_pct + i, k)) + v_abs(v_get(u->reserve_pct + i, k)) +
        v_abs(v_get(u->efficiency + i, k)) + v_abs(v_get(u->quantum_kw + i, k)) +
        v_abs(v_get(u->soe_pct + i, k)) + v_abs(v_get(u->available + i, k)) +
        v_abs(v_get(u->setpoint_kw + i, k)) + v_abs(v_get(u->run_s + i, k)) + v_abs(v_get(u->ramp_left_kw + i, k));
    return m_most(size, v_all(FX_HUGE));
}

/* State of energy: the window, with hysteresis at its ends, and the energy in it. Allowed power: falls at once,
 * rises slowly; whether the unit takes part is not known yet.
 */
FX_INLINE void fx_window(
    const fx_units *u, int64_t i, int k, double dt_s, double per_pct, fx_block *s, const fx_units *units
) {
    fx_v soe = v_get(u->soe_pct + i, k), top_pct = v_get(u->soe_max_pct + i, k), inside = v_all(FX_LEAVE_PCT);
    fx_v soe_min = v_get(u->soe_min_pct + i, k), reserve = v_get(u->reserve_pct + i, k), zero = v_all(0);
    fx_v capacity = v_get(u->capacity_kwh + i, k), eta = v_get(u->efficiency + i, k);
    fx_v tops = v_tops(v_tops(soe, top_pct), v_tops(v_tops(soe_min, reserve), capacity));
    fx_v floor_pct = v_max(soe_min, reserve);
    fx_v leave_pct = floor_pct + v_drop(m_zero(u->at_min + i, k), inside);
    fx_v enter_pct = top_pct - v_drop(m_zero(u->at_max + i, k), inside);
    fx_m gives = m_and(m_less(floor_pct, soe), m_most(leave_pct, soe)); /* (a NaN is at both ends) */
    fx_m takes = m_and(m_less(soe, top_pct), m_most(soe, enter_pct));
    fx_v full = v_keep(gives, (soe - floor_pct) * capacity * eta * v_all(per_pct));
    fx_v room = v_keep(takes, (top_pct - soe) * capacity / eta * v_all(per_pct));
    m_put_bytes(u->at_min + i, m_not(gives), k);
    m_put_bytes(u->at_max + i, m_not(takes), k);
    V_TO(s->full, full);
    V_TO(s->room, room);

    fx_v at_once = v_all(FX_AT_ONCE), rise_kw = v_get(u->rise_kw_per_s + i, k);
    fx_v available = v_get(u->available + i, k), there = v_min(v_max(available, zero), v_all(1));
    fx_v rise = v_if(m_less(at_once, rise_kw), at_once, rise_kw * v_all(dt_s));
    fx_v discharge_kw = v_get(u->discharge_kw + i, k), charge_kw = v_get(u->charge_kw + i, k);
    fx_v discharged = v_get(u->allowed_discharge_kw + i, k), charged = v_get(u->allowed_charge_kw + i, k);
    tops = v_tops(v_tops(tops, eta), v_tops(v_tops(available, discharge_kw), charge_kw));
    V_TO(s->gives, v_max(v_min(v_min(discharge_kw * there, full), discharged + rise), zero));
    V_TO(s->takes, v_max(v_min(v_min(charge_kw * there, room), charged + rise), zero));
    V_TO(s->endless, rise_kw + charged + discharged);
    fx_m good = m_less(zero, eta);
    if (!v_small(tops)) good = m_and(good, fx_sane(units, i, k));
    m_put(s->good, good);
}

/* A unit turns only after a rest at 0. Whole quanta, inward; the ramp inside what is safe. */
FX_INLINE void fx_quanta(
    const fx_units *u, int64_t i, int k, double dt_s, double hold_off_s, fx_block *s, const fx_units *units,
    fx_v *sums, fx_m *moves
) {
    fx_v last = v_get(u->setpoint_kw + i, k), zero = v_all(0), slack = v_all(FX_SLACK), dt = v_all(dt_s);
    fx_v ramp = v_get(u->ramp_kw_per_s + i, k), saved = v_get(u->ramp_left_kw + i, k);
    fx_v ran = v_get(u->run_s + i, k), idle = v_get(u->idle_s + i, k), quantum = v_get(u->quantum_kw + i, k);
    fx_m good = m_and(m_get(s->good), m_most(zero, V_OF(s->endless) + idle + ramp));
    if (!v_small(v_tops(v_tops(ran, quantum), v_tops(saved, v_abs(last)))))
        good = m_and(good, fx_sane(units, i, k));
    fx_m part = m_and(good, m_zero(u->usable + i, k));
    v_put(u->run_s + i, v_keep(good, ran + dt), k);

    fx_v gives = v_keep(part, V_OF(s->gives)), takes = v_keep(part, V_OF(s->takes));
    v_put(u->allowed_discharge_kw + i, gives, k);
    v_put(u->allowed_charge_kw + i, takes, k);
    idle = v_keep(m_same(last, zero), idle + dt);
    v_put(u->idle_s + i, v_max(idle, zero), k); /* a NaN: 0 */
    fx_m turns = m_most(v_all(hold_off_s), idle);
    gives = v_drop(m_but(m_below_0(u->direction + i, k), turns), gives);
    takes = v_drop(m_but(m_above_0(u->direction + i, k), turns), takes);
    V_TO(s->gives, gives);
    V_TO(s->takes, takes);

    quantum = v_max(quantum, v_all(FX_FINEST));
    fx_v per_kw = v_all(1) / quantum, step = ramp * dt, at_once = v_all(FX_AT_ONCE);
    step = v_min(saved + step, v_max(step, quantum));
    step = v_if(m_less(at_once, ramp), at_once, step);
    fx_v most = v_floor(gives * per_kw + slack), least = -v_floor(takes * per_kw + slack);
    fx_v here = v_sign_of(v_floor(v_abs(last) * per_kw + slack), last);
    fx_v top = v_max(v_floor((last + step) * per_kw + slack), here);
    fx_v bottom = v_min(-v_floor((step - last) * per_kw + slack), here);
    top = v_keep(part, v_clip(top, least, most) * quantum + zero); /* no -0 */
    bottom = v_keep(part, v_clip(bottom, least, most) * quantum + zero);
    quantum = v_keep(part, quantum);
    v_put(u->ramp_left_kw + i, v_keep(part, step), k);
    v_put(u->upper_kw + i, top, k);
    v_put(u->lower_kw + i, bottom, k);
    V_TO(s->high, top);
    V_TO(s->low, bottom);
    V_TO(s->quantum, quantum);

    sums[0] += bottom;
    sums[1] += top;
    sums[2] += v_clip(zero, bottom, top);
    sums[3] += last;
    sums[4] = v_max(quantum, sums[4]);
    *moves = m_or(*moves, m_not_same(v_clip(last, bottom, top), last));
}

/* per_pct: kW a % and kWh. */
FX_STAGE void fx_bounds(
    const fx_units *units, int64_t n, double dt_s, double per_pct, double hold_off_s, fx_block *scratch,
    fx_sums *out
) {
    fx_v zero = v_all(0), sums[5] = {zero, zero, zero, zero, zero};
    fx_m moves = m_less(zero, zero);
    fx_units u = *units; /* here: no store can change where its columns are */
    for (int64_t from = 0; from < n; from += FX_STRIP) {
        int64_t end = from + FX_STRIP < n ? from + FX_STRIP : n;
        fx_block *s = scratch + from / FX_LANES;
        FX_EACH(from, end, fx_window(&u, i, k, dt_s, per_pct, s++, units););
        s = scratch + from / FX_LANES;
        FX_EACH(from, end, fx_quanta(&u, i, k, dt_s, hold_off_s, s++, units, sums, &moves););
    }
    *out = (fx_sums){
        v_sum(sums[0]), v_sum(sums[1]), v_sum(sums[2]), v_sum(sums[3]), v_largest(sums[4]), m_any(moves),
    };
}

#endif
