/* A tick's decision, site by site, in the order of the drawing in kernel.pyx. kernel_any.c and kernel_avx2.c compile
 * it, once for any processor and once for those with AVX2.
 *
 * 1. A setpoint is within its unit's bounds, and 0 for a unit that takes no part.
 * 2. A number that is not finite only ever touches its own unit: fx_check puts it out of the split before anything
 *    is summed. A site's numbers that are not finite are taken as what moves least.
 * 3. Nothing is allocated. Scratch is as long as the largest site, so it stays in the cache.
 */
#ifndef FLUXFAST_CONTROL_SITE_H
#define FLUXFAST_CONTROL_SITE_H

#include "fluxfast/control/choose.h"
#include "fluxfast/control/finish.h"

/* Whether a unit that was put to rest still runs. */
static bool fx_comes_to_rest(const fx_units *u, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (u->resting[i] != 0 && u->setpoint_kw[i] != 0) return true;
    return false;
}

/* Fills in the powers: an exchange, or a split over those that need not rest; in whole quanta. */
static void fx_share(
    const fx_units *u, int64_t n, const fx_sites *at, int64_t site, const fx_sums *sums, double total,
    double lower, double upper, bool even, fx_block *s, uint8_t *key
) {
    double sum = NAN, need = total - sums->neutral; /* what the units at rest leave to do */
    int64_t blocks = fx_blocks(n);
    if (even) sum = fx_exchange(u, n, at->balance_kw_per_pct[site], need, s);
    if (isnan(sum)) {
        bool up = need > 0, rest = !even && at->efficient_kw[site] > 0 && fabs(need) > FX_SLACK;
        fx_weights w = {up ? u->allowed_discharge_kw : u->allowed_charge_kw, at->split[site], up};
        double weights =
            rest ? fx_rest(u, n, at->efficient_kw[site], at->rotate_s[site], total, need, &w, s, key)
                 : fx_weigh(&w, n, s);
        sum = fx_split(s, blocks, weights, total, need);
    }
    fx_spread(s, blocks, total, sum, INFINITY);
    fx_whole(s, n, key, sums->coarsest, total, lower, upper);
}

/* The setpoints stay as they are. */
static void fx_hold(const fx_units *u, int64_t n, fx_block *s) {
    const double *setpoint_kw = u->setpoint_kw;
    FX_EACH(0, n, V_TO(s->power, v_get(setpoint_kw + i, k)); s++;);
}

static void fx_decide_site(
    const fx_units *u, int64_t n, const fx_sites *at, int64_t site, double dt_s, fx_block *s, uint8_t *key
) {
    fx_sums sums;
    double horizon_s = at->horizon_s[site];
    double per_pct = isnan(horizon_s) ? 0 : 36 / fx_max(horizon_s, fx_max(dt_s, 1e-3)); /* kW a % and kWh */
    fx_bounds(u, n, dt_s, per_pct, at->hold_off_s[site], s, &sums);

    /* The total: what is asked for, inside the site's bounds (where they cross: the least power between them),
     * inside what the units can do.
     */
    double target = isnan(at->target_kw[site]) ? 0 : fx_clip(at->target_kw[site], -FX_HUGE, FX_HUGE);
    double lower = isnan(at->lower_kw[site]) ? 0 : at->lower_kw[site];
    double upper = isnan(at->upper_kw[site]) ? 0 : at->upper_kw[site];
    if (lower > upper) lower = upper = fx_clip(0, upper, lower);
    double limited = fx_clip(target, lower, upper), deadband = at->deadband_kw[site];
    double total = fx_clip(limited, sums.lower, sums.upper);
    at->units_lower_kw[site] = sums.lower;
    at->units_upper_kw[site] = sums.upper;

    double split_s = at->split_s[site] + dt_s;
    at->split_s[site] = split_s >= 0 ? split_s : 0;
    bool held = !sums.moves && fabs(target - at->split_target_kw[site]) < deadband &&
        fabs(total - sums.last) < deadband + sums.coarsest + FX_SLACK &&
        sums.last >= fx_max(lower, sums.lower) - FX_SLACK && sums.last <= fx_min(upper, sums.upper) + FX_SLACK &&
        at->split_s[site] < at->resplit_s[site] && !fx_comes_to_rest(u, n);
    bool even = at->balance_kw_per_pct[site] > 0 && fabs(total) <= deadband;
    if (n > 0 && (even || !(at->efficient_kw[site] > 0))) memset(u->resting, 0, (size_t)n);
    if (held) {
        fx_hold(u, n, s);
    } else {
        at->split_target_kw[site] = target;
        at->split_s[site] = 0;
        fx_share(u, n, at, site, &sums, total, lower, upper, even, s, key);
    }

    /* Setpoints, and why they are not more. */
    double done = fx_finish(u, n, s), missing = target - done;
    if (fabs(missing) < sums.coarsest - FX_SLACK * sums.coarsest) missing = 0;
    double way = missing != 0 ? missing : target, cut = fabs(target - limited);
    int sign = (way > 0) - (way < 0);
    fx_explain(u, n, sign, s);
    at->setpoint_kw[site] = done;
    at->unserved_kw[site] = missing;
    double by_units = fabs(missing) - cut; /* the rest is the site's own bounds' */
    at->reason[site] = by_units > cut ? fx_blame(u, n, sign, by_units) : 0;
}

static void fx_decide_sites(
    const fx_units *units, const fx_sites *at, const int32_t *first, int64_t count, double dt_s, fx_block *s,
    uint8_t *key
) {
    for (int64_t site = 0; site < count; site++) {
        fx_units u = fx_units_at(units, first[site]);
        fx_decide_site(&u, first[site + 1] - first[site], at, site, dt_s, s, key);
    }
}

#endif
