/* How a site's total is split: P = clip(lambda * weight, low, high). Blocks are those of one site; reference.py has
 * the same, named alike.
 */
#ifndef FLUXFAST_CONTROL_SPLIT_H
#define FLUXFAST_CONTROL_SPLIT_H

#include "fluxfast/control/bounds.h"

enum { FX_ENERGY, FX_POWER, FX_EQUAL, FX_STEPS = 60 };
#define FX_EVEN_PCT 1.0 /* states of energy no further from the mean than this are left alone */

static inline int64_t fx_blocks(int64_t n) { return (n + FX_LANES - 1) / FX_LANES; }

/* What the split is in proportion to: none of it for units without room in that direction. */
typedef struct {
    const double *allowed_kw;
    int by;
    bool up;
} fx_weights;

FX_INLINE fx_v fx_weight(const fx_weights *w, int64_t i, int k, fx_v low, fx_v high, const fx_block *s) {
    fx_v weight = v_all(1), most = v_all(FX_HUGE * FX_HUGE);
    if (w->by == FX_ENERGY) weight = v_min(w->up ? V_OF(s->full) : V_OF(s->room), most);
    else if (w->by == FX_POWER) weight = v_min(v_get(w->allowed_kw + i, k), most);
    return v_keep(w->up ? m_less(v_all(0), high) : m_less(low, v_all(0)), weight);
}

/* Fills in the weights; returns their sum. */
FX_STAGE double fx_weigh(const fx_weights *weights, int64_t n, fx_block *s) {
    fx_weights w = *weights;
    fx_v sum = v_all(0);
    FX_EACH(0, n, {
        fx_v weight = fx_weight(&w, i, k, V_OF(s->low), V_OF(s->high), s);
        V_TO(s->weight, weight);
        sum += weight;
        s++;
    });
    return v_sum(sum);
}

/* The powers at a lambda; returns their sum. *free_weight: how fast that grows. */
FX_STAGE double fx_at(fx_block *s, int64_t blocks, double lambda, double *free_weight) {
    fx_v sum = v_all(0), slope = v_all(0), by = v_all(lambda);
#pragma GCC unroll 2
    for (int64_t b = 0; b < blocks; b++, s++) {
        fx_v weight = V_OF(s->weight), linear = by * weight, kw = v_clip(linear, V_OF(s->low), V_OF(s->high));
        V_TO(s->power, kw);
        sum += kw;
        slope += v_keep(m_same(kw, linear), weight);
    }
    *free_weight = v_sum(slope);
    return v_sum(sum);
}

/* Where the next unit comes off its bound, above lambda or below; infinite: nowhere. */
static double fx_next(const fx_block *s, int64_t blocks, double lambda, bool up) {
    double next = -INFINITY, sign = up ? -1 : 1; /* the largest of sign * bound / weight */
    for (int64_t b = 0; b < blocks; b++, s++)
        for (int j = 0; j < FX_LANES; j++) {
            double weight = s->weight[j], bound = sign * (up ? s->low[j] : s->high[j]);
            if (weight > 0 && sign * lambda * weight > bound) next = fx_max(next, bound / weight);
        }
    return sign * next + (up ? 1e-12 : -1e-12) * fabs(next);
}

/* Fills in the power of every unit; returns their sum. `need`: the total minus what lambda = 0 gives, the neutral
 * powers.
 *
 * The sum rises with lambda in straight pieces, so Newton's steps find it; where nothing is free they go on to
 * the next piece, and one that would leave the bracket halves it.
 */
static double fx_split(fx_block *s, int64_t blocks, double weights, double total, double need) {
    double below = need < 0 ? -INFINITY : 0, above = need > 0 ? INFINITY : 0, lambda = 0, free_weight;
    bool any = weights > 0 && need != 0;
    if (any) lambda = fx_clip(total / weights, below, above);
    double sum = fx_at(s, blocks, lambda, &free_weight);
    for (int step = 1; step < FX_STEPS && any; step++) {
        double miss = total - sum;
        if (!(fabs(miss) > 1e-12 * (1 + fabs(total)))) break;
        if (miss > 0) below = lambda;
        else above = lambda;
        double next = free_weight > 0 ? lambda + miss / free_weight : fx_next(s, blocks, lambda, miss > 0);
        if (!(next > below && next < above)) next = (below + above) / 2;
        if (!isfinite(next) || next == lambda) break;
        lambda = next;
        sum = fx_at(s, blocks, lambda, &free_weight);
    }
    return sum;
}

/* Spreads what the powers' sum misses of the total over the units with a quantum below `level`, by what room they
 * have.
 */
static void fx_spread(fx_block *scratch, int64_t blocks, double total, double sum, double level) {
    double miss = total - sum;
    bool up = miss > 0;
    if (!(fabs(miss) > 1e-9 * (1 + fabs(total)))) return;
    fx_v sums = v_all(0), zero = v_all(0), below = v_all(level);
    fx_block *s = scratch;
    for (int64_t b = 0; b < blocks; b++, s++) {
        fx_v quantum = V_OF(s->quantum), more = (up ? V_OF(s->high) : V_OF(s->low)) - V_OF(s->power);
        sums += v_keep(m_and(m_less(zero, quantum), m_less(quantum, below)), more);
    }
    double rooms = fabs(v_sum(sums));
    fx_v part = v_all(rooms > 0 ? fx_min(fabs(miss) / rooms, 1) : 0);
    s = scratch;
    for (int64_t b = 0; b < blocks; b++, s++) {
        fx_v quantum = V_OF(s->quantum), power = V_OF(s->power), low = V_OF(s->low), high = V_OF(s->high);
        fx_v more = v_keep(m_and(m_less(zero, quantum), m_less(quantum, below)), (up ? high : low) - power);
        V_TO(s->power, v_clip(power + more * part, low, high));
    }
}

/* Powers that bring states of energy together: each unit wants balance × its distance from the mean, and the
 * side that wants more is scaled down. Returns their sum, a NaN if there is nothing to exchange.
 */
static double fx_exchange(const fx_units *u, int64_t n, double balance, double need, fx_block *scratch) {
    fx_v energies = v_all(0), parts = v_all(0), gives = v_all(0), takes = v_all(0), sum = v_all(0);
    fx_v zero = v_all(0), one = v_all(1);
    const double *soe_pct = u->soe_pct;
    fx_block *s = scratch;
    FX_EACH(0, n, {
        fx_m part = m_less(zero, V_OF(s->quantum));
        energies += v_keep(part, v_get(soe_pct + i, k));
        parts += v_keep(part, one);
        s++;
    });
    fx_v mean = v_all(v_sum(energies) / fx_max(v_sum(parts), 1));
    s = scratch;
    FX_EACH(0, n, {
        fx_v off = v_get(soe_pct + i, k) - mean, low = V_OF(s->low), high = V_OF(s->high);
        fx_v wish = v_clip(v_all(balance) * off, low, high) - v_clip(zero, low, high);
        wish = v_keep(m_and(m_less(zero, V_OF(s->quantum)), m_less(v_all(FX_EVEN_PCT), v_abs(off))), wish);
        V_TO(s->power, wish);
        gives += v_max(wish, zero);
        takes += v_max(-wish, zero);
        s++;
    });
    double give = v_sum(gives), take = v_sum(takes);
    if (!(give > 0 && take > 0 && need + take >= 0 && give - need >= 0)) return NAN;
    fx_v part_given = v_all(fx_min((need + take) / give, 1)), part_taken = v_all(fx_min((give - need) / take, 1));
    s = scratch;
    for (int64_t b = 0; b < fx_blocks(n); b++, s++) {
        fx_v wish = V_OF(s->power), part = v_if(m_less(zero, wish), part_given, part_taken);
        fx_v kw = v_clip(zero, V_OF(s->low), V_OF(s->high)) + wish * part;
        V_TO(s->power, kw);
        sum += kw;
    }
    return v_sum(sum);
}

#endif
