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
    bool moves; /* a setpoint is outside its bounds */
} fx_sums;

/* Ends scratch with units that do nothing, too. */
FX_CLONES static void fx_sum(const fx_units *u, int64_t n, const fx_scratch *s, fx_sums *out) {
    const double *restrict low = s->low, *restrict high = s->high, *restrict quantum = s->quantum;
    const double *restrict setpoint = u->setpoint_kw;
    double lower = 0, upper = 0, neutral = 0, last = 0, coarsest = 0, moves = 0;
#pragma omp simd reduction(+:lower, upper, neutral, last, moves) reduction(max:coarsest)
    for (int64_t i = 0; i < n; i++) {
        double least = low[i], most = high[i], was = setpoint[i];
        lower += least;
        upper += most;
        neutral += fx_clip(0, least, most);
        last += was;
        coarsest = coarsest > quantum[i] ? coarsest : quantum[i];
        moves += fx_clip(was, least, most) == was ? 0.0 : 1.0;
    }
    for (int64_t i = n; i < FX_PADDED(n); i++)
        s->quantum[i] = s->low[i] = s->high[i] = s->power[i] = s->weight[i] = 0;
    *out = (fx_sums){lower, upper, neutral, last, coarsest, moves > 0};
}

/* Whether a unit that was put to rest still runs. */
static int fx_comes_to_rest(const fx_units *u, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (u->resting[i] != 0 && u->setpoint_kw[i] != 0) return 1;
    return 0;
}

/* Fills in the weights, 0 for units without room in that direction; returns their sum. */
FX_CLONES static double fx_weigh(const fx_units *u, int64_t n, int by, bool up, const fx_scratch *s) {
    const double *restrict energy = up ? s->full : s->room, *restrict end = up ? s->high : s->low;
    const double *restrict allowed = up ? u->allowed_discharge_kw : u->allowed_charge_kw;
    const double *restrict from = by == FX_ENERGY ? energy : allowed;
    double *restrict weight = s->weight;
    double sum = 0, equal = by == FX_ENERGY || by == FX_POWER ? 0 : 1, way = up ? 1 : -1;
#pragma omp simd reduction(+:sum)
    for (int64_t i = 0; i < n; i++) {
        double w = equal > 0 ? equal : fx_min(from[i], FX_HUGE * FX_HUGE);
        w = way * end[i] > 0 ? w : 0;
        weight[i] = w;
        sum += w;
    }
    return sum;
}

/* The powers at a lambda; returns their sum. *free_weight: how fast that grows. */
FX_CLONES static double fx_at(
    const double *restrict weight, const double *restrict low, const double *restrict high, int64_t n,
    double lambda, double *restrict power, double *free_weight
) {
    double sum = 0, slope = 0;
    n = FX_PADDED(n);
#pragma omp simd reduction(+:sum, slope)
    for (int64_t i = 0; i < n; i++) {
        double linear = lambda * weight[i], kw = fx_clip(linear, low[i], high[i]);
        power[i] = kw;
        sum += kw;
        slope += kw == linear ? weight[i] : 0;
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

/* Fills in the power of every unit; returns their sum. `need`: the total minus what lambda = 0 gives, the neutral
 * powers.
 *
 * The sum rises with lambda in straight pieces, so Newton's steps find it; where nothing is free they go on to
 * the next piece, and one that would leave the bracket halves it.
 */
static double fx_split(const fx_scratch *s, int64_t n, double weights, double total, double need) {
    double below = need < 0 ? -INFINITY : 0, above = need > 0 ? INFINITY : 0, lambda = 0, free_weight;
    bool any = weights > 0 && need != 0;
    if (any) lambda = fx_clip(total / weights, below, above);
    double sum = fx_at(s->weight, s->low, s->high, n, lambda, s->power, &free_weight);
    for (int step = 1; step < FX_STEPS && any; step++) {
        double miss = total - sum;
        if (!(fabs(miss) > 1e-12 * (1 + fabs(total)))) break;
        if (miss > 0) below = lambda;
        else above = lambda;
        double next = free_weight > 0 ? lambda + miss / free_weight
                                      : fx_next(s->weight, s->low, s->high, n, lambda, miss > 0);
        if (!(next > below && next < above)) next = (below + above) / 2;
        if (!isfinite(next) || next == lambda) break;
        lambda = next;
        sum = fx_at(s->weight, s->low, s->high, n, lambda, s->power, &free_weight);
    }
    return sum;
}

/* Spreads what the powers' sum misses of the total over the units with a quantum below `level`, by what room they
 * have.
 */
FX_CLONES static void fx_spread(const fx_scratch *s, int64_t n, double total, double sum, double level) {
    double miss = total - sum, sign = miss > 0 ? 1 : -1, rooms = 0;
    if (!(fabs(miss) > 1e-9 * (1 + fabs(total)))) return;
    const double *restrict quanta = s->quantum, *restrict low = s->low, *restrict high = s->high;
    const double *restrict end = miss > 0 ? high : low;
    double *restrict power = s->power;
    n = FX_PADDED(n);
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
 * side that wants more is scaled down. Returns their sum, a NaN if there is nothing to exchange.
 */
FX_CLONES static double fx_exchange(
    const fx_units *u, int64_t n, double balance, double need, const fx_scratch *s
) {
    const double *restrict soe = u->soe_pct, *restrict quanta = s->quantum;
    const double *restrict low = s->low, *restrict high = s->high;
    double *restrict power = s->power;
    double energies = 0, part = 0, gives = 0, takes = 0, sum = 0;
#pragma omp simd reduction(+:energies, part)
    for (int64_t i = 0; i < n; i++) {
        energies += quanta[i] > 0 ? soe[i] : 0;
        part += quanta[i] > 0 ? 1.0 : 0.0;
    }
    double mean = energies / fx_max(part, 1);
#pragma omp simd reduction(+:gives, takes)
    for (int64_t i = 0; i < n; i++) {
        double off = soe[i] - mean, wish;
        wish = fx_clip(balance * off, low[i], high[i]) - fx_clip(0, low[i], high[i]);
        wish = (quanta[i] > 0) & (fabs(off) > FX_EVEN_PCT) ? wish : 0;
        power[i] = wish;
        gives += fx_max(wish, 0);
        takes += fx_max(-wish, 0);
    }
    if (!(gives > 0 && takes > 0 && need + takes >= 0 && gives - need >= 0)) return NAN;
    double give = fx_min((need + takes) / gives, 1), take = fx_min((gives - need) / takes, 1);
#pragma omp simd reduction(+:sum)
    for (int64_t i = 0; i < n; i++) {
        double wish = power[i], part_of_it = wish > 0 ? give : take;
        double kw = fx_clip(0, low[i], high[i]) + wish * part_of_it;
        power[i] = kw;
        sum += kw;
    }
    return sum;
}

#endif
