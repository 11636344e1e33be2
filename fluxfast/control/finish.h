/* The end of a site's decision: setpoints, states, and the reasons. reference.py has the same, in explain(). */
#ifndef FLUXFAST_CONTROL_FINISH_H
#define FLUXFAST_CONTROL_FINISH_H

#include <string.h>

#include "fluxfast/control/bounds.h"

/* power: the new setpoints; returns their sum. */
FX_CLONES static double fx_finish(
    const fx_units *u, int64_t n, const double *restrict power, const double *restrict quanta
) {
    double *restrict setpoint = u->setpoint_kw, *restrict ramp_left = u->ramp_left_kw, *restrict idle_s = u->idle_s;
    int8_t *restrict direction = u->direction;
    double sum = 0;
#pragma omp simd reduction(+:sum)
    for (int64_t i = 0; i < n; i++) {
        double now = power[i] + 0.0; /* no -0 */
        double left = fx_max(ramp_left[i] - fabs(now - setpoint[i]), 0);
        ramp_left[i] = quanta[i] > 0 ? left : 0;
        idle_s[i] = now == 0 ? idle_s[i] : 0;
        setpoint[i] = now;
        sum += now;
    }
    for (int64_t i = 0; i < n; i++) {
        int8_t sign = (int8_t)((setpoint[i] > 0) - (setpoint[i] < 0));
        direction[i] = sign != 0 ? sign : direction[i];
    }
    return sum;
}

/* Why each unit does not do more in the direction `way` (1, -1; 0: in none). */
FX_CLONES static void fx_explain(
    const fx_units *u, int64_t n, const double *restrict quanta, const int32_t *restrict why, int way
) {
    const double *restrict setpoint = u->setpoint_kw, *restrict bound = way > 0 ? u->upper_kw : u->lower_kw;
    const uint8_t *restrict resting = u->resting;
    uint8_t *restrict reason = u->reason;
    int32_t shift = way > 0 ? 0 : 6, any = way != 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t code = (why[i] >> shift) & (FX_CODES - 1);
        int32_t rests = resting[i] != 0 ? FX_RESTING : 0;
        int32_t bound_code = fabs(setpoint[i] - bound[i]) <= FX_SLACK ? code : rests;
        bound_code = any ? bound_code : 0;
        reason[i] = (uint8_t)(quanta[i] > 0 ? bound_code : code);
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
