/* The columns of columns.py, as the kernel's loops see them. */
#ifndef FLUXFAST_CONTROL_COLUMNS_H
#define FLUXFAST_CONTROL_COLUMNS_H

#include <stdint.h>

/* From a site's first unit on. */
typedef struct {
    const double *capacity_kwh, *charge_kw, *discharge_kw, *soe_min_pct, *soe_max_pct, *reserve_pct;
    const double *efficiency, *ramp_kw_per_s, *rise_kw_per_s, *quantum_kw, *soe_pct, *available;
    double *setpoint_kw, *ramp_left_kw, *allowed_charge_kw, *allowed_discharge_kw, *idle_s, *run_s;
    double *lower_kw, *upper_kw;
    const uint8_t *usable;
    uint8_t *at_min, *at_max, *resting, *reason;
    int8_t *direction;
} fx_units;

static inline fx_units fx_units_at(const fx_units *u, int64_t first) {
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

/* From a site on. */
typedef struct {
    const uint8_t *split;
    const double *horizon_s, *hold_off_s, *deadband_kw, *resplit_s, *efficient_kw, *rotate_s;
    const double *balance_kw_per_pct, *target_kw, *lower_kw, *upper_kw;
    double *split_target_kw, *split_s, *units_lower_kw, *units_upper_kw, *setpoint_kw, *unserved_kw;
    uint8_t *reason;
} fx_sites;

/* The decision for any processor, and for those with AVX2. scratch, at a cache line: FX_SCRATCH doubles for each
 * unit of the largest site and FX_LANES_MOST more; key: a byte for each, and FX_KEYS_AT_ONCE more.
 */
typedef void (*fx_decide)(
    const fx_units *units, const fx_sites *at, const int32_t *first, int64_t count, double dt_s, void *scratch,
    uint8_t *key
);
enum { FX_SCRATCH = 10, FX_LANES_MOST = 4, FX_KEYS_AT_ONCE = 32 };

void fx_decide_any(
    const fx_units *units, const fx_sites *at, const int32_t *first, int64_t count, double dt_s, void *scratch,
    uint8_t *key
);

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FX_HAS_AVX2 __builtin_cpu_supports("avx2")
void fx_decide_avx2(
    const fx_units *units, const fx_sites *at, const int32_t *first, int64_t count, double dt_s, void *scratch,
    uint8_t *key
);
#else
#define FX_HAS_AVX2 0
#define fx_decide_avx2 fx_decide_any
#endif

#endif
