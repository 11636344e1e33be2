/* The end of a site's decision: setpoints, states, and the reasons. reference.py has the same, in explain(). */
#ifndef FLUXFAST_CONTROL_FINISH_H
#define FLUXFAST_CONTROL_FINISH_H

#include <string.h>

#include "fluxfast/control/bounds.h"

/* power: the new setpoints; returns their sum. */
FX_CLONES static double fx_finish(const fx_units *u, int64_t n, const double *restrict power, const fx_scratch *s) {
    double *restrict setpoint = u->setpoint_kw, *restrict ramp_left = u->ramp_left_kw, *restrict idle_s = u->idle_s;
    double *restrict signs = s->weight, sum = 0;
    int8_t *restrict direction = u->direction;
#pragma omp simd reduction(+:sum)
    for (int64_t i = 0; i < n; i++) {
        double now = power[i] + 0.0; /* no -0 */
        ramp_left[i] = fx_max(ramp_left[i] - fabs(now - setpoint[i]), 0); /* a NaN: 0 */
        idle_s[i] = now == 0 ? idle_s[i] : 0;
        signs[i] = (now > 0 ? 1.0 : 0.0) - (now < 0 ? 1.0 : 0.0);
        setpoint[i] = now;
        sum += now;
    }
    int8_t *restrict sign = (int8_t *)s->key;
    for (int64_t i = 0; i < n; i++) sign[i] = (int8_t)(int32_t)signs[i];
    for (int64_t i = 0; i < n; i++) direction[i] = sign[i] != 0 ? sign[i] : direction[i];
    return sum;
}

/* Why each unit does not do more in the direction `way` (1, -1; 0: in none): the last of the steps from its rated
 * power down to its bound that took something away.
 */
FX_CLONES static void fx_explain(const fx_units *u, int64_t n, int way, const fx_scratch *s) {
    bool up = way > 0;
    const double *restrict rated_kw = up ? u->discharge_kw : u->charge_kw, *restrict available = u->available;
    const double *restrict soe_min = u->soe_min_pct, *restrict reserve = u->reserve_pct;
    const double *restrict energy = up ? s->full : s->room, *restrict may = up ? s->gives : s->takes;
    const double *restrict allowed_kw = up ? u->allowed_discharge_kw : u->allowed_charge_kw;
    const double *restrict bound = up ? u->upper_kw : u->lower_kw, *restrict setpoint = u->setpoint_kw;
    const double *restrict quantum = s->quantum;
    double *restrict codes = s->weight, sign = way, near = way != 0 ? FX_SLACK : -1;
    double at_end = up ? FX_SOE_MIN : FX_SOE_MAX, at_reserve = up ? FX_RESERVE : FX_SOE_MAX;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        double there = fx_min(fx_max(available[i], 0), 1), kw = rated_kw[i] * there, most = sign * bound[i];
        double code = there < 1 ? (double)FX_BLOCKS : (double)FX_RATED;
        double why_energy = reserve[i] > soe_min[i] ? at_reserve : at_end;
        code = energy[i] < kw ? why_energy : code;
        code = allowed_kw[i] < fx_min(kw, energy[i]) ? FX_RISE : code;
        code = may[i] < allowed_kw[i] ? FX_HOLD_OFF : code;
        code = most + quantum[i] <= may[i] + FX_SLACK * quantum[i] ? FX_RAMP : code;
        code = fabs(setpoint[i] - bound[i]) <= near ? code : 0;
        codes[i] = quantum[i] > 0 ? code : FX_BAD;
    }
    uint8_t *restrict bytes = (uint8_t *)s->key;
    fx_to_bytes(codes, n, bytes);
    const uint8_t *restrict resting = u->resting, *restrict usable = u->usable;
    uint8_t *restrict reason = u->reason, rests = way != 0 ? FX_RESTING : 0;
    for (int64_t i = 0; i < n; i++) {
        uint8_t code = bytes[i], other = resting[i] != 0 ? rests : 0, out = usable[i] % FX_CODES;
        code = code == 0 ? other : code;
        reason[i] = usable[i] != 0 ? out : code;
    }
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
