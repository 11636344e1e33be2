/* What each unit may be told this tick: fx_bounds carries on the units' states and fills in their bounds.
 * The order of the arithmetic is reference.py's, unit_bounds().
 *
 * Bytes and doubles do not mix in vector code, so units go in batches: bytes to 64-bit flags, then everything
 * that is 64 bits wide, then flags back to bytes.
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

enum { FX_AT_MIN = 2, FX_AT_MAX = 4, FX_DISCHARGED = 8, FX_CHARGED = 16, FX_UNUSABLE = 32, FX_BATCH = 128 };

/* why[i]: the reason of the upper bound + FX_CODES × that of the lower; both the same where a unit takes no part.
 * quantum[i]: 0 where it takes no part.
 */
FX_CLONES static void fx_bounds(
    const fx_units *u, int64_t count, double dt_s, double per_pct, double hold_off_s,
    double *restrict quanta, int32_t *restrict why
) {
    uint8_t bytes[FX_BATCH];
    int64_t flags[FX_BATCH];
    double marks[FX_BATCH]; /* which ends, and why; a double, as processors without AVX-512 need */
    for (int64_t from = 0; from < count; from += FX_BATCH) {
        int64_t n = count - from < FX_BATCH ? count - from : FX_BATCH;
        const uint8_t *restrict usable = u->usable + from;
        const int8_t *restrict direction = u->direction + from;
        uint8_t *restrict at_min = u->at_min + from, *restrict at_max = u->at_max + from;
        for (int64_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)(
                (usable[i] != 0 ? FX_UNUSABLE : 0) | (at_min[i] != 0 ? FX_AT_MIN : 0) |
                (at_max[i] != 0 ? FX_AT_MAX : 0) | (direction[i] > 0 ? FX_DISCHARGED : 0) |
                (direction[i] < 0 ? FX_CHARGED : 0));
        for (int64_t i = 0; i < n; i++) flags[i] = bytes[i];

        const double *restrict capacity = u->capacity_kwh + from, *restrict charge_kw = u->charge_kw + from;
        const double *restrict discharge_kw = u->discharge_kw + from, *restrict eta = u->efficiency + from;
        const double *restrict soe_min = u->soe_min_pct + from, *restrict soe_max = u->soe_max_pct + from;
        const double *restrict reserve = u->reserve_pct + from, *restrict ramp = u->ramp_kw_per_s + from;
        const double *restrict rise_kw = u->rise_kw_per_s + from, *restrict quantum_kw = u->quantum_kw + from;
        const double *restrict soe_pct = u->soe_pct + from, *restrict available = u->available + from;
        const double *restrict setpoint = u->setpoint_kw + from;
        double *restrict ramp_left = u->ramp_left_kw + from, *restrict run_s = u->run_s + from;
        double *restrict allowed_charge = u->allowed_charge_kw + from, *restrict idle_s = u->idle_s + from;
        double *restrict allowed_discharge = u->allowed_discharge_kw + from;
        double *restrict lower = u->lower_kw + from, *restrict upper = u->upper_kw + from;
        double *restrict quantum_out = quanta + from;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            double soe = soe_pct[i], last = setpoint[i], efficiency = eta[i], left = ramp_left[i];
            double quantum = quantum_kw[i] > FX_FINEST ? quantum_kw[i] : FX_FINEST;
            double size = fabs(capacity[i]) + fabs(charge_kw[i]) + fabs(discharge_kw[i]) + fabs(soe_min[i]) +
                fabs(soe_max[i]) + fabs(reserve[i]) + fabs(efficiency) + fabs(quantum_kw[i]) + fabs(soe) +
                fabs(available[i]) + fabs(last) + fabs(run_s[i]) + fabs(left);
            double endless = idle_s[i] + ramp[i] + rise_kw[i] + allowed_charge[i] + allowed_discharge[i];
            /* False for a NaN, too; what may be infinite must be so upwards. */
            bool good = (size <= FX_HUGE) & (efficiency > 0) & (endless >= 0);
            int64_t flag = flags[i];
            bool part = good & ((flag & FX_UNUSABLE) == 0);

            /* State of energy: the window, with hysteresis at its ends, and the energy in it. */
            double floor_pct = fx_max(soe_min[i], reserve[i]), top_pct = soe_max[i];
            /* (A NaN is at both ends.) */
            bool gives = (soe > floor_pct) & (((flag & FX_AT_MIN) == 0) | (soe >= floor_pct + FX_LEAVE_PCT));
            bool takes = (soe < top_pct) & (((flag & FX_AT_MAX) == 0) | (soe <= top_pct - FX_LEAVE_PCT));
            double full = (soe - floor_pct) * capacity[i] * efficiency * per_pct;
            double room = (top_pct - soe) * capacity[i] / efficiency * per_pct;
            full = gives ? full : 0;
            room = takes ? room : 0;

            /* Allowed power: falls at once, rises slowly. */
            double there = fx_min(fx_max(available[i], 0), 1);
            double rise = rise_kw[i] * dt_s;
            rise = rise_kw[i] > FX_AT_ONCE ? FX_AT_ONCE : rise;
            double discharge_rated = discharge_kw[i] * there, charge_rated = charge_kw[i] * there;
            double discharge_could = fx_min(discharge_rated, full), charge_could = fx_min(charge_rated, room);
            double discharge = fx_max(fx_min(discharge_could, allowed_discharge[i] + rise), 0);
            double charge = fx_max(fx_min(charge_could, allowed_charge[i] + rise), 0);
            double why_upper = there < 1 ? FX_BLOCKS : FX_RATED, why_lower = why_upper;
            double why_floor = reserve[i] > soe_min[i] ? FX_RESERVE : FX_SOE_MIN;
            why_upper = full < discharge_rated ? why_floor : why_upper;
            why_lower = room < charge_rated ? FX_SOE_MAX : why_lower;
            why_upper = discharge < discharge_could ? FX_RISE : why_upper;
            why_lower = charge < charge_could ? FX_RISE : why_lower;
            allowed_discharge[i] = part ? discharge : 0;
            allowed_charge[i] = part ? charge : 0;

            /* A unit turns only after a rest at 0. */
            double idle = idle_s[i] + dt_s, runs = run_s[i] + dt_s;
            idle = last == 0 ? idle : 0;
            idle_s[i] = idle >= 0 ? idle : 0;
            bool waits = !(idle >= hold_off_s);
            bool no_discharge = waits & ((flag & FX_CHARGED) != 0);
            bool no_charge = waits & ((flag & FX_DISCHARGED) != 0);
            why_upper = no_discharge & (discharge_could > 0) ? FX_HOLD_OFF : why_upper;
            why_lower = no_charge & (charge_could > 0) ? FX_HOLD_OFF : why_lower;
            discharge = no_discharge ? 0 : discharge;
            charge = no_charge ? 0 : charge;

            /* Whole quanta, inward; the ramp inside what is safe. */
            double per_kw = 1 / quantum, step = ramp[i] * dt_s;
            step = fx_min(left + step, fx_max(step, quantum));
            step = ramp[i] > FX_AT_ONCE ? FX_AT_ONCE : step;
            double most = floor(discharge * per_kw + FX_SLACK), least = -floor(charge * per_kw + FX_SLACK);
            double here = copysign(floor(fabs(last) * per_kw + FX_SLACK), last);
            double top = fx_max(floor((last + step) * per_kw + FX_SLACK), here);
            double bottom = fx_min(-floor((step - last) * per_kw + FX_SLACK), here);
            why_upper = top < most ? FX_RAMP : why_upper;
            why_lower = bottom > least ? FX_RAMP : why_lower;
            top = fx_clip(top, least, most) * quantum + 0.0; /* no -0 */
            bottom = fx_clip(bottom, least, most) * quantum + 0.0;

            upper[i] = part ? top : 0;
            lower[i] = part ? bottom : 0;
            ramp_left[i] = part ? step : 0;
            run_s[i] = good ? runs : 0;
            quantum_out[i] = part ? quantum : 0;
            double ends = (gives ? 0 : (double)FX_AT_MIN) + (takes ? 0 : (double)FX_AT_MAX);
            double both = part ? why_upper + FX_CODES * why_lower : (double)(FX_BAD * (1 + FX_CODES));
            marks[i] = ends + 8 * both;
        }
        int32_t *restrict why_out = why + from;
        for (int64_t i = 0; i < n; i++) why_out[i] = (int32_t)marks[i];
        for (int64_t i = 0; i < n; i++) {
            int32_t mark = why_out[i];
            at_min[i] = (mark & FX_AT_MIN) != 0;
            at_max[i] = (mark & FX_AT_MAX) != 0;
            why_out[i] = usable[i] == 0 ? mark >> 3 : usable[i] % FX_CODES * (1 + FX_CODES);
        }
    }
}

#endif
