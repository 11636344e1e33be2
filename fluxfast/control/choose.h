/* Who comes first, without sorting: each unit has a small whole number, its key, and the key at which it is enough
 * is found by halves; those of that key come in the order of their index. fx_whole rounds powers so, fx_rest lets
 * no more units run than are needed. reference.py has the same, named alike.
 */
#ifndef FLUXFAST_CONTROL_CHOOSE_H
#define FLUXFAST_CONTROL_CHOOSE_H

#include "fluxfast/control/split.h"

enum { FX_LEVELS = 64, FX_DUE = 1, FX_RESTED = 2, FX_RAN = FX_RESTED + 101, FX_KEYS = FX_RAN + 101, FX_FIRST = 255 };
#define FX_HYSTERESIS 1.2 /* units are put to rest when so much more power would not need them */

typedef struct {
    double sum, low, high;
} fx_finer;

/* What units of a finer quantum than `step` do, and could. */
static fx_finer fx_look_finer(const fx_block *s, int64_t blocks, double step) {
    fx_v sum = v_all(0), low = v_all(0), high = v_all(0);
    for (int64_t b = 0; b < blocks; b++, s++) {
        fx_v quantum = V_OF(s->quantum);
        fx_m finer = m_and(m_less(v_all(0), quantum), m_less(quantum, v_all(step)));
        sum += v_keep(finer, V_OF(s->power));
        low += v_keep(finer, V_OF(s->low));
        high += v_keep(finer, V_OF(s->high));
    }
    return (fx_finer){v_sum(sum), v_sum(low), v_sum(high)};
}

/* Rounds down those of quantum `step`; key: how large the fraction is, 0 for those that cannot go up. Returns the
 * sum of all. *finest: the coarsest quantum below; 0: none.
 */
static double fx_floor(fx_block *s, int64_t blocks, double step, uint8_t *key, double *finest) {
    fx_v sum = v_all(0), next = v_all(0), quantum_up = v_all(step), per_kw = v_all(1 / step);
    for (int64_t b = 0; b < blocks; b++, s++, key += FX_LANES) {
        fx_v quantum = V_OF(s->quantum), power = V_OF(s->power), exact = power * per_kw;
        fx_m mine = m_same(quantum, quantum_up);
        fx_v base = v_floor(exact + v_all(FX_SLACK)), down = base * quantum_up;
        fx_v fraction = v_round((exact - base) * v_all(FX_LEVELS)) + v_all(1);
        fx_m fits = m_and(mine, m_less(down + v_all(step / 2), V_OF(s->high)));
        v_put_bytes(key, v_keep(fits, fraction), FX_LANES);
        power = v_if(mine, down, power);
        V_TO(s->power, power);
        sum += power;
        next = v_max(v_keep(m_less(quantum, quantum_up), quantum), next);
    }
    *finest = v_largest(next);
    return v_sum(sum);
}

/* How many units go up of those whose powers are `sum`, without the finer ones': the whole number of steps that
 * leaves the finer units what they can do, or comes nearest; at the finest level, not past the site's own bounds.
 */
static double fx_count(
    const fx_finer *finer, bool last, double sum, double step, double total, double lower, double upper
) {
    double left = total - sum, share = left - finer->sum;
    double count = fx_max(floor(share / step + 1e-9), 0);
    double rest = left - count * step, rest_up = rest - step;
    double off = fx_max(fx_max(finer->low - rest, rest - finer->high), 0);
    double off_up = fx_max(fx_max(finer->low - rest_up, rest_up - finer->high), 0);
    bool up = fabs(off - off_up) > 1e-9 * step ? off_up < off : share / step - count >= 0.5 - 1e-9;
    if (last) {
        double total_down = total - rest, total_up = total_down + step;
        if (total_up > upper + FX_SLACK) up = false;
        else if (total_down < lower - FX_SLACK) up = true;
    }
    return count + up;
}

/* How many of a site's units have a key larger than x. Keys are 0 from the last unit to FX_KEYS_AT_ONCE more. */
static int64_t fx_count_above(const uint8_t *key, int64_t n, int x) {
    return fx_larger(key, n, (uint8_t)x);
}

/* A key so that no more than *wanted units have a larger one, and more if those that have it are counted, too;
 * *wanted: how many of these are left. Always as many steps, and no branch: which way one goes is anybody's guess.
 */
static int fx_enough(const uint8_t *key, int64_t n, double *wanted) {
    int enough = FX_LEVELS + 1, below = -1;
    int64_t most = *wanted < (double)n ? (int64_t)*wanted : n, larger = 0;
    for (int width = enough - below; width > 1; width -= width / 2) {
        int middle = below + width / 2;
        int64_t count = fx_count_above(key, n, middle);
        bool more = count > most;
        below = more ? middle : below;
        enough = more ? enough : middle;
        larger = more ? larger : count;
    }
    *wanted -= (double)larger;
    return enough;
}

/* Gives the first `wanted` units of key `enough`, and more while they can do less than is `missing`, FX_FIRST. */
static void fx_mark(uint8_t *key, int64_t n, int enough, double wanted, double missing, const fx_block *s) {
    for (int64_t i = 0; i < n && enough > 0; i += FX_KEYS_AT_ONCE)
        for (uint32_t bits = fx_equal(key + i, (uint8_t)enough); bits != 0; bits &= bits - 1) {
            if (!(wanted > 0 || missing > FX_SLACK)) return;
            int64_t unit = i + __builtin_ctz(bits);
            key[unit] = FX_FIRST;
            wanted--;
            missing -= s[unit / FX_LANES].weight[unit % FX_LANES];
        }
}

/* Units with a key above `enough` go up. Not `+ step`: a setpoint is the same double as the bound it may be at, a
 * whole number times the quantum.
 */
static void fx_raise(fx_block *s, int64_t blocks, const uint8_t *key, int enough, double step) {
    fx_v per_kw = v_all(1 / step);
    for (int64_t b = 0; b < blocks; b++, s++, key += FX_LANES) {
        fx_v power = V_OF(s->power), raised = (v_round(power * per_kw) + v_all(1)) * v_all(step);
        V_TO(s->power, v_if(m_above(key, enough), raised, power));
    }
}

static double fx_total(const fx_block *s, int64_t blocks) {
    fx_v sum = v_all(0);
    for (int64_t b = 0; b < blocks; b++, s++) sum += V_OF(s->power);
    return v_sum(sum);
}

/* Rounds all powers to their quanta, the coarsest first; finer ones take over what those leave. */
FX_STAGE void fx_whole(
    fx_block *s, int64_t n, uint8_t *key, double coarsest, double total, double lower, double upper
) {
    double finest;
    int64_t blocks = fx_blocks(n);
    memset(key + n, 0, FX_KEYS_AT_ONCE);
    for (double step = coarsest; step > 0; step = finest) {
        double sum = fx_floor(s, blocks, step, key, &finest);
        fx_finer finer = {0, 0, 0};
        if (finest > 0) finer = fx_look_finer(s, blocks, step);
        double wanted = fx_count(&finer, finest == 0, sum - finer.sum, step, total, lower, upper);
        if (wanted > 0) {
            int enough = fx_enough(key, n, &wanted);
            fx_mark(key, n, enough, wanted, 0, s);
            fx_raise(s, blocks, key, enough, step);
        }
        if (finest > 0) fx_spread(s, blocks, total, fx_total(s, blocks), step);
    }
}

/* Whether the efficiency stage has put any to rest. */
static bool fx_any_rests(const uint8_t *resting, int64_t n) {
    uint8_t any = 0;
    for (int64_t i = 0; i < n; i++) any |= resting[i];
    return any != 0;
}

typedef struct {
    double longest, rooms; /* of those that run: the longest run_s, what they can do */
    double running, fit;   /* how many run, how many could */
    double weights;        /* their sum */
} fx_running;

/* Units that rest are kept at neutral; the others are weighed. */
static fx_running fx_able(const fx_units *u, int64_t n, const fx_weights *weights, fx_block *s) {
    fx_v longest = v_all(-INFINITY), rooms = v_all(0), running = v_all(0), fits = v_all(0), zero = v_all(0);
    fx_v sum = v_all(0);
    fx_weights w = *weights;
    const uint8_t *resting = u->resting;
    const double *run_s = u->run_s;
    FX_EACH(0, n, {
        fx_v low = V_OF(s->low), high = V_OF(s->high), neutral = v_clip(zero, low, high);
        fx_v room = w.up ? high - neutral : neutral - low;
        fx_m fit = m_less(zero, room), run = m_and(fit, m_zero(resting + i, k)), rests = m_but(fit, run);
        fx_v weight = v_drop(rests, fx_weight(&w, i, k, low, high, s));
        V_TO(s->low, v_if(rests, neutral, low));
        V_TO(s->high, v_if(rests, neutral, high));
        V_TO(s->weight, weight);
        sum += weight;
        rooms += v_keep(run, room);
        longest = v_max(v_if(run, v_get(run_s + i, k), longest), longest);
        running += v_keep(run, v_all(1));
        fits += v_keep(fit, v_all(1));
        s++;
    });
    return (fx_running){v_largest(longest), v_sum(rooms), v_sum(running), v_sum(fits), v_sum(sum)};
}

/* What each unit could do in the total's direction beyond neutral (as its weight), and its key, 0 if that is
 * nothing: first those that run, then those that rest, by whole percents of state of energy. The one that has run
 * longest comes last if it is due for relief.
 */
static void fx_rank(
    const fx_units *u, int64_t n, bool up, bool due, double longest, fx_block *s, uint8_t *key
) {
    fx_v zero = v_all(0), base = v_all(up ? 0 : 100), sign = v_all(up ? 1 : -1);
    const uint8_t *resting = u->resting;
    const double *soe_pct = u->soe_pct, *lower_kw = u->lower_kw, *upper_kw = u->upper_kw;
    memset(key + n, 0, FX_KEYS_AT_ONCE);
    FX_EACH(0, n, {
        fx_v low = v_get(lower_kw + i, k), high = v_get(upper_kw + i, k), neutral = v_clip(zero, low, high);
        fx_v can = up ? high - neutral : neutral - low;
        fx_v percent = base + sign * v_floor(v_clip(v_get(soe_pct + i, k), zero, v_all(100)));
        fx_v tier = v_if(m_zero(resting + i, k), v_all(FX_RAN), v_all(FX_RESTED));
        V_TO(s->weight, can);
        v_put_bytes(key + i, v_keep(m_less(zero, can), tier + percent), FX_LANES);
        s++;
    });
    for (int64_t i = 0; i < n && due; i++)
        if (key[i] >= FX_RAN && u->run_s[i] == longest) {
            key[i] = FX_DUE;
            break;
        }
}

/* What units with a key above x can do. */
static double fx_rooms_above(const fx_block *s, int64_t blocks, const uint8_t *key, int x) {
    fx_v sum = v_all(0);
    for (int64_t b = 0; b < blocks; b++, s++, key += FX_LANES) sum += v_keep(m_above(key, x), V_OF(s->weight));
    return v_sum(sum);
}

/* The largest key below `above` so that those from it on are `wanted` units, or can do so much; 0: none. */
static int fx_until(int64_t n, const fx_block *s, const uint8_t *key, int above, double wanted, bool kw) {
    int enough = 0;
    while (above - enough > 1) {
        int middle = (enough + above) / 2, x = middle - 1;
        double have = kw ? fx_rooms_above(s, fx_blocks(n), key, x) : (double)fx_count_above(key, n, x);
        if (have >= wanted) enough = middle;
        else above = middle;
    }
    return enough;
}

/* The key up to which units rest: the others are those that come first, until they are `wanted` and can do what is
 * `missing`.
 */
static int fx_choose(int64_t n, double wanted, double missing, const fx_block *s, uint8_t *key) {
    int64_t blocks = fx_blocks(n);
    int enough = fx_until(n, s, key, FX_KEYS, wanted, false);
    if (enough > 0 && missing - fx_rooms_above(s, blocks, key, enough - 1) > FX_SLACK)
        enough = fx_until(n, s, key, enough, missing - FX_SLACK, true);
    wanted -= (double)fx_count_above(key, n, enough);
    fx_mark(key, n, enough, wanted, missing - fx_rooms_above(s, blocks, key, enough), s);
    return enough;
}

/* Of the units that have a key, those with one up to `enough` rest, at neutral; the others run, and are weighed.
 * Returns the weights' sum.
 */
static double fx_settle(
    const fx_units *u, int64_t n, const uint8_t *key, int enough, const fx_weights *weights, fx_block *s
) {
    fx_v zero = v_all(0), sum = v_all(0);
    fx_weights w = *weights;
    uint8_t *resting = u->resting;
    double *run_s = u->run_s;
    const double *lower_kw = u->lower_kw, *upper_kw = u->upper_kw;
    FX_EACH(0, n, {
        fx_v low = v_get(lower_kw + i, k), high = v_get(upper_kw + i, k), neutral = v_clip(zero, low, high);
        fx_m fit = m_above(key + i, 0), rests = m_but(fit, m_above(key + i, enough));
        fx_m ran = m_zero(resting + i, k), switches = m_and(fit, m_both(rests, ran));
        fx_v weight = v_drop(rests, fx_weight(&w, i, k, low, high, s));
        V_TO(s->low, v_if(rests, neutral, low));
        V_TO(s->high, v_if(rests, neutral, high));
        V_TO(s->weight, weight);
        sum += weight;
        v_put(run_s + i, v_drop(switches, v_get(run_s + i, k)), k);
        m_put_bytes(resting + i, m_or(rests, m_but(m_not(ran), fit)), k);
        s++;
    });
    return v_sum(sum);
}

/* Chooses who runs and who rests (u->resting); those that rest are kept at neutral by low and high. Fills in the
 * weights; returns their sum.
 */
FX_STAGE double fx_rest(
    const fx_units *u, int64_t n, double efficient_kw, double rotate_s, double total, double need,
    const fx_weights *weights, fx_block *s, uint8_t *key
) {
    double needed = fabs(total) / efficient_kw, missing = fabs(need), fewest = fx_max(ceil(needed - 1e-9), 1);
    double most = fx_max(ceil(FX_HYSTERESIS * needed - 1e-9), 1);
    if (fewest >= (double)n && !fx_any_rests(u->resting, n)) return fx_weigh(weights, n, s); /* all run, and shall */
    fx_running now = fx_able(u, n, weights, s);
    double wanted = fx_min(fx_max(now.running, fewest), fx_min(most, now.fit));
    bool due = now.longest > rotate_s && wanted < now.fit;
    if (!due && wanted == now.running && (missing - now.rooms <= FX_SLACK || wanted == now.fit))
        return now.weights; /* as they are */
    fx_rank(u, n, weights->up, due, now.longest, s, key);
    return fx_settle(u, n, key, fx_choose(n, wanted, missing, s, key), weights, s);
}

#endif
