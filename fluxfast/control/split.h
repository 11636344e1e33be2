/* How a site's total is split: P = clip(lambda * weight, low, high), and the sums that go with it. Rows are
 * those of one site; reference.py has the same, named alike.
 */
#ifndef FLUXFAST_CONTROL_SPLIT_H
#define FLUXFAST_CONTROL_SPLIT_H

#include "fluxfast/control/bounds.h"

enum { FX_ENERGY, FX_POWER, FX_EQUAL, FX_STEPS = 60 };
#define FX_EVEN_PCT 1.0 /* states of energy no further from the mean than this are left alone */

typedef struct {
    double lower, upper, neutral, last, coarsest;
    int64_t part, moves; /* units that take part; whether a setpoint is outside its bounds */
} fx_sums;

/* Copies the units' bounds to scratch, too: low, high. */
FX_CLONES static void fx_sum(
    const fx_units *u, int64_t n, double *restrict quanta, double *restrict low, double *restrict high,
    double *restrict power, double *restrict weight, fx_sums *out
) {
    const double *restrict lower_kw = u->lower_kw, *restrict upper_kw = u->upper_kw, *restrict was = u->setpoint_kw;
    double lower = 0, upper = 0, neutral = 0, last = 0, coarsest = 0;
    int64_t part = 0, moves = 0;
#pragma omp simd reduction(+:lower, upper, neutral, last, part, moves) reduction(max:coarsest)
    for (int64_t i = 0; i < n; i++) {
        double least = lower_kw[i], most = upper_kw[i];
        low[i] = least;
        high[i] = most;
        lower += least;
        upper += most;
        neutral += fx_clip(0, least, most);
        last += was[i];
        coarsest = coarsest > quanta[i] ? coarsest : quanta[i];
        part += quanta[i] > 0 ? 1 : 0;
        moves += (was[i] >= least) & (was[i] <= most) ? 0 : 1;
    }
    for (int64_t i = n; i < FX_PADDED(n); i++) quanta[i] = low[i] = high[i] = power[i] = weight[i] = 0;
    *out = (fx_sums){lower, upper, neutral, last, coarsest, part, moves};
}

/* Whether a unit that was put to rest still runs. */
static int fx_comes_to_rest(const fx_units *u, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (u->resting[i] != 0 && u->setpoint_kw[i] != 0) return 1;
    return 0;
}

/* Fills in the weights, none negative; returns their sum. */
FX_CLONES static double fx_weigh(const fx_units *u, int64_t n, int by, int up, double *restrict weight) {
    const double *restrict capacity = u->capacity_kwh, *restrict eta = u->efficiency, *restrict soe = u->soe_pct;
    const double *restrict soe_min = u->soe_min_pct, *restrict soe_max = u->soe_max_pct;
    const double *restrict reserve = u->reserve_pct;
    const double *restrict allowed = up ? u->allowed_discharge_kw : u->allowed_charge_kw;
    double sum = 0;
    if (by == FX_POWER) {
        for (int64_t i = 0; i < n; i++) weight[i] = allowed[i];
    } else if (by != FX_ENERGY) {
        for (int64_t i = 0; i < n; i++) weight[i] = 1;
    } else if (up) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            weight[i] = fx_max(soe[i] - fx_max(soe_min[i], reserve[i]), 0) * capacity[i] * eta[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) weight[i] = fx_max(soe_max[i] - soe[i], 0) * capacity[i] / eta[i];
    }
#pragma omp simd reduction(+:sum)
    for (int64_t i = 0; i < n; i++) {
        double w = weight[i];
        w = (w >= 0) & (w <= FX_HUGE * FX_HUGE) ? w : 0; /* a NaN: 0 */
        weight[i] = w;
        sum += w;
    }
    return sum;
}

/* The sum at a lambda; *free_weight: how fast it grows. */
FX_CLONES static double fx_at(
    const double *restrict weight, const double *restrict low, const double *restrict high, int64_t n,
    double lambda, double *free_weight
) {
    double sum = 0, slope = 0;
    n = FX_PADDED(n);
#pragma omp simd reduction(+:sum, slope)
    for (int64_t i = 0; i < n; i++) {
        double linear = lambda * weight[i];
        sum += fx_clip(linear, low[i], high[i]);
        slope += (linear >= low[i]) & (linear <= high[i]) ? weight[i] : 0;
    }
    *free_weight = slope;
    return sum;
}

/* Where the next unit comes off its bound, above lambda or below; infinite: nowhere. */
static double fx_next(
    const double *weight, const double *low, const double *high, int64_t n, double lambda, int up
) {
    double next = up ? INFINITY : -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double linear = lambda * weight[i];
        if (!(weight[i] > 0)) continue;
        if (up && linear < low[i]) next = fx_min(next, low[i] / weight[i]);
        if (!up && linear > high[i]) next = fx_max(next, high[i] / weight[i]);
    }
    return next + (up ? 1e-12 : -1e-12) * fabs(next);
}

/* The powers at a lambda. */
FX_CLONES static void fx_clip_all(
    const double *restrict weight, const double *restrict low, const double *restrict high, int64_t n,
    double lambda, double *restrict power
) {
    n = FX_PADDED(n);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) power[i] = fx_clip(lambda * weight[i], low[i], high[i]);
}

/* Fills in the power of every unit. `need`: the total minus what lambda = 0 gives, the neutral powers.
 *
 * The sum rises with lambda in straight pieces, so Newton's steps find it; where nothing is free they go on to
 * the next piece, and one that would leave the bracket halves it.
 */
static void fx_split(
    const double *weight, const double *low, const double *high, int64_t n, double weights, double total,
    double need, double *power
) {
    double below = need < 0 ? -INFINITY : 0, above = need > 0 ? INFINITY : 0, lambda = 0;
    if (weights > 0 && need != 0) {
        lambda = fx_clip(total / weights, below, above);
        for (int step = 0; step < FX_STEPS; step++) {
            double free_weight, miss = total - fx_at(weight, low, high, n, lambda, &free_weight);
            if (!(fabs(miss) > 1e-12 * (1 + fabs(total)))) break;
            if (miss > 0) below = lambda;
            else above = lambda;
            double next = free_weight > 0 ? lambda + miss / free_weight
                                          : fx_next(weight, low, high, n, lambda, miss > 0);
            if (!(next > below && next < above)) next = (below + above) / 2;
            if (!isfinite(next) || next == lambda) break;
            lambda = next;
        }
    }
    fx_clip_all(weight, low, high, n, lambda, power);
}

/* Spreads what is missing from the total over the units with a quantum below `level`, by what room they have. */
FX_CLONES static void fx_spread(
    double *restrict power, const double *restrict low, const double *restrict high,
    const double *restrict quanta, int64_t n, double total, double level
) {
    double sum = 0, rooms = 0;
    n = FX_PADDED(n);
#pragma omp simd reduction(+:sum)
    for (int64_t i = 0; i < n; i++) sum += power[i];
    double miss = total - sum, sign = miss > 0 ? 1 : -1;
    if (!(fabs(miss) > 1e-9 * (1 + fabs(total)))) return;
    const double *restrict end = miss > 0 ? high : low;
#pragma omp simd reduction(+:rooms)
    for (int64_t i = 0; i < n; i++)
        rooms += (quanta[i] > 0) & (quanta[i] < level) ? sign * (end[i] - power[i]) : 0;
    double part = rooms > 0 ? fx_min(fabs(miss) / rooms, 1) : 0;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        double more = (quanta[i] > 0) & (quanta[i] < level) ? end[i] - power[i] : 0;
        power[i] = fx_clip(power[i] + more * part, low[i], high[i]);
    }
}

/* Powers that bring states of energy together: each unit wants balance × its distance from the mean, and the
 * side that wants more is scaled down. Returns 0 if there is nothing to exchange.
 */
FX_CLONES static int fx_exchange(
    const fx_units *u, int64_t n, const double *restrict quanta, double balance, int64_t part, double need,
    double *restrict power
) {
    const double *restrict soe = u->soe_pct, *restrict low = u->lower_kw, *restrict high = u->upper_kw;
    double sum = 0, gives = 0, takes = 0;
#pragma omp simd reduction(+:sum)
    for (int64_t i = 0; i < n; i++) sum += quanta[i] > 0 ? soe[i] : 0;
    double mean = sum / (double)(part > 0 ? part : 1);
#pragma omp simd reduction(+:gives, takes)
    for (int64_t i = 0; i < n; i++) {
        double off = soe[i] - mean, wish;
        wish = fx_clip(balance * off, low[i], high[i]) - fx_clip(0, low[i], high[i]);
        wish = (quanta[i] > 0) & (fabs(off) > FX_EVEN_PCT) ? wish : 0;
        power[i] = wish;
        gives += fx_max(wish, 0);
        takes += fx_max(-wish, 0);
    }
    if (!(gives > 0 && takes > 0 && need + takes >= 0 && gives - need >= 0)) return 0;
    double give = fx_min((need + takes) / gives, 1), take = fx_min((gives - need) / takes, 1);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        double wish = power[i], part_of_it = wish > 0 ? give : take;
        power[i] = fx_clip(0, low[i], high[i]) + wish * part_of_it;
    }
    return 1;
}

#endif
