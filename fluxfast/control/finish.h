/* The end of a site's decision: setpoints, states, and the reasons. reference.py has the same, in explain(). */
#ifndef FLUXFAST_CONTROL_FINISH_H
#define FLUXFAST_CONTROL_FINISH_H

#include "fluxfast/control/bounds.h"

FX_INLINE fx_v fx_set(const fx_units *u, int64_t i, int k, const fx_block *s) {
    fx_v now = V_OF(s->power) + v_all(0), zero = v_all(0), one = v_all(1); /* no -0 */
    fx_v moved = v_abs(now - v_get(u->setpoint_kw + i, k));
    fx_m rests = m_same(now, zero);
    fx_v sign = v_if(m_less(zero, now), one, -one);
    v_put(u->ramp_left_kw + i, v_max(v_get(u->ramp_left_kw + i, k) - moved, zero), k); /* a NaN: 0 */
    v_put(u->idle_s + i, v_keep(rests, v_get(u->idle_s + i, k)), k);
    v_put_bytes(u->direction + i, v_if(rests, v_from_signs(u->direction + i, k), sign), k);
    v_put(u->setpoint_kw + i, now, k);
    return now;
}

/* The powers become setpoints; returns their sum. */
FX_STAGE double fx_finish(const fx_units *u, int64_t n, const fx_block *s) {
    fx_v sum = v_all(0);
    fx_units at = *u;
    FX_EACH(0, n, sum += fx_set(&at, i, k, s++););
    return v_sum(sum);
}

/* Where what each unit could do in one direction is. */
typedef struct {
    const double *rated_kw, *allowed_kw, *bound_kw;
    double way, near, at_end, at_reserve, rests;
    bool up;
} fx_why;

FX_INLINE void fx_explain_at(const fx_units *u, const fx_why *w, int64_t i, int k, const fx_block *s) {
    fx_v there = v_min(v_max(v_get(u->available + i, k), v_all(0)), v_all(1));
    fx_v kw = v_get(w->rated_kw + i, k) * there, energy = w->up ? V_OF(s->full) : V_OF(s->room);
    fx_v may = w->up ? V_OF(s->gives) : V_OF(s->takes), allowed = v_get(w->allowed_kw + i, k);
    fx_v bound = v_get(w->bound_kw + i, k), quantum = V_OF(s->quantum);
    fx_v at_end = v_if(
        m_less(v_get(u->soe_min_pct + i, k), v_get(u->reserve_pct + i, k)), v_all(w->at_reserve), v_all(w->at_end)
    );
    fx_v code = v_if(m_less(there, v_all(1)), v_all(FX_BLOCKS), v_all(FX_RATED));
    code = v_if(m_less(energy, kw), at_end, code);
    code = v_if(m_less(allowed, v_min(kw, energy)), v_all(FX_RISE), code);
    code = v_if(m_less(may, allowed), v_all(FX_HOLD_OFF), code);
    code = v_if(
        m_most(v_all(w->way) * bound + quantum, may + v_all(FX_SLACK) * quantum), v_all(FX_RAMP), code
    );
    fx_m at_bound = m_most(v_abs(v_get(u->setpoint_kw + i, k) - bound), v_all(w->near));
    code = v_if(at_bound, code, v_drop(m_zero(u->resting + i, k), v_all(w->rests)));
    fx_m part = m_less(v_all(0), quantum), usable = m_zero(u->usable + i, k);
    code = v_if(part, code, v_all(FX_BAD));
    code = v_if(usable, code, v_from_bytes(u->usable + i, k, FX_CODES - 1));
    v_put_bytes(u->reason + i, code, k);
}

/* Why each unit does not do more in the direction `way` (1, -1; 0: in none): the last of the steps from its rated
 * power down to its bound that took something away.
 */
FX_STAGE void fx_explain(const fx_units *u, int64_t n, int way, const fx_block *s) {
    bool up = way > 0;
    fx_why w = {
        .rated_kw = up ? u->discharge_kw : u->charge_kw,
        .allowed_kw = up ? u->allowed_discharge_kw : u->allowed_charge_kw,
        .bound_kw = up ? u->upper_kw : u->lower_kw,
        .way = way,
        .near = way != 0 ? FX_SLACK : -1,
        .at_end = up ? FX_SOE_MIN : FX_SOE_MAX,
        .at_reserve = up ? FX_RESERVE : FX_SOE_MAX,
        .rests = way != 0 ? FX_RESTING : 0,
        .up = up,
    };
    fx_units at = *u;
    FX_EACH(0, n, fx_explain_at(&at, &w, i, k, s++););
}

/* The reason that keeps most of `missing` kW from being done; what no unit explains is above their rated power. */
static uint8_t fx_blame(const fx_units *u, int64_t n, int way, double missing) {
    const double *rated_kw = way > 0 ? u->discharge_kw : u->charge_kw;
    double lost[FX_CODES], all = 0;
    uint8_t worst = 0;
    memset(lost, 0, sizeof lost);
    for (int64_t i = 0; i < n; i++) {
        double rated = fabs(rated_kw[i]) <= FX_HUGE ? fx_max(rated_kw[i], 0) : 0;
        lost[u->reason[i]] += u->reason[i] == 0 ? 0 : fx_max(rated - way * u->setpoint_kw[i], 0);
    }
    for (int code = 0; code < FX_CODES; code++) all += lost[code];
    lost[FX_RATED] += fx_max(missing - all, 0);
    for (uint8_t code = 1; code < FX_CODES; code++)
        if (lost[code] > lost[worst]) worst = code;
    return worst;
}

#endif
