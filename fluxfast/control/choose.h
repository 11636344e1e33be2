/* Who comes first, without sorting: units are counted by a small whole number, their key, and the key at which
 * it is enough is found; those of that key come in the order of their index. fx_whole rounds powers so, fx_rest
 * lets no more units run than are needed. reference.py has the same, named alike.
 */
#ifndef FLUXFAST_CONTROL_CHOOSE_H
#define FLUXFAST_CONTROL_CHOOSE_H

#include <string.h>

#include "fluxfast/control/split.h"

enum { FX_LEVELS = 64, FX_PERCENTS = 101, FX_KEYS = 3 * FX_PERCENTS + 1, FX_CHOSEN = 512 };
#define FX_HYSTERESIS 1.2 /* units are put to rest when so much more power would not need them */

typedef struct {
    double sum, low, high;
} fx_finer;

/* What units of a finer quantum than `step` do, and could. */
FX_CLONES static void fx_look_finer(const fx_scratch *s, int64_t n, double step, fx_finer *out) {
    const double *restrict quanta = s->quantum, *restrict power = s->power;
    const double *restrict lows = s->low, *restrict highs = s->high;
    double sum = 0, low = 0, high = 0;
    n = FX_PADDED(n);
#pragma omp simd reduction(+:sum, low, high)
    for (int64_t i = 0; i < n; i++) {
        bool finer = (quanta[i] > 0) & (quanta[i] < step);
        sum += finer ? power[i] : 0;
        low += finer ? lows[i] : 0;
        high += finer ? highs[i] : 0;
    }
    *out = (fx_finer){sum, low, high};
}

/* Rounds down those of quantum `step`; key: how large the fraction is, 0 for those that cannot go up. Returns the
 * sum of all. *finest: the coarsest quantum below; 0: none.
 */
FX_CLONES static double fx_floor(const fx_scratch *s, int64_t n, double step, double *finest) {
    const double *restrict quanta = s->quantum, *restrict high = s->high;
    double *restrict power = s->power;
    int32_t *restrict key = s->key;
    double sum = 0, next = 0, per_kw = 1 / step;
    n = FX_PADDED(n);
#pragma omp simd reduction(+:sum) reduction(max:next)
    for (int64_t i = 0; i < n; i++) {
        bool mine = quanta[i] == step;
        double exact = power[i] * per_kw, base = floor(exact + FX_SLACK), down = base * step;
        double fraction = rint((exact - base) * FX_LEVELS) + 1, finer = quanta[i] < step ? quanta[i] : 0;
        double kw = mine ? down : power[i];
        key[i] = (int32_t)(mine & (down + step / 2 < high[i]) ? fraction : 0);
        power[i] = kw;
        sum += kw;
        next = next > finer ? next : finer;
    }
    *finest = next;
    return sum;
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

/* Not `+ step`: a setpoint is the same double as the bound it may be at, a whole number times the quantum. */
static inline double fx_step_up(double power, double step, double per_kw) {
    return (rint(power * per_kw) + 1) * step;
}

FX_CLONES static void fx_raise(
    double *restrict power, const int32_t *restrict key, int64_t n, int32_t above, double step
) {
    double per_kw = 1 / step;
    n = FX_PADDED(n);
    for (int64_t i = 0; i < n; i++) {
        double raised = fx_step_up(power[i], step, per_kw);
        power[i] = key[i] > above ? raised : power[i];
    }
}

/* A key so that no more than *wanted units have a larger one, and more if those that have it are counted, too;
 * *wanted: how many of these are left.
 */
FX_CLONES static int32_t fx_enough(const int32_t *restrict key, int64_t n, double *wanted) {
    int32_t enough = FX_LEVELS + 1, below = -1, larger = 0;
    n = FX_PADDED(n);
    while (enough - below > 1 && larger != *wanted) {
        int32_t middle = (enough + below) / 2, count = 0;
#pragma omp simd reduction(+:count)
        for (int64_t i = 0; i < n; i++) count += key[i] > middle;
        if (count > *wanted) below = middle;
        else enough = middle, larger = count;
    }
    *wanted -= larger;
    return enough;
}

FX_CLONES static double fx_total(const double *restrict power, int64_t n) {
    double sum = 0;
    n = FX_PADDED(n);
#pragma omp simd reduction(+:sum)
    for (int64_t i = 0; i < n; i++) sum += power[i];
    return sum;
}

/* Rounds all powers to their quanta, the coarsest first; finer ones take over what those leave. */
static void fx_whole(
    const fx_scratch *s, int64_t n, double coarsest, double total, double lower, double upper
) {
    double *power = s->power;
    const int32_t *key = s->key;
    double finest;
    for (double step = coarsest; step > 0; step = finest) {
        double sum = fx_floor(s, n, step, &finest);
        fx_finer finer = {0, 0, 0};
        if (finest > 0) fx_look_finer(s, n, step, &finer);
        double wanted = fx_count(&finer, finest == 0, sum - finer.sum, step, total, lower, upper);
        if (wanted > 0) {
            int32_t enough = fx_enough(key, n, &wanted);
            fx_raise(power, key, n, enough, step);
            for (int64_t i = 0; i < n && enough > 0 && wanted > 0; i++)
                if (key[i] == enough) {
                    power[i] = fx_step_up(power[i], step, 1 / step);
                    wanted--;
                }
        }
        if (finest > 0) fx_spread(s, n, total, fx_total(power, n), step);
    }
}

/* Whether the efficiency stage has put any to rest. */
FX_CLONES static bool fx_any_rests(const uint8_t *restrict resting, int64_t n) {
    uint8_t any = 0;
#pragma omp simd reduction(|:any)
    for (int64_t i = 0; i < n; i++) any |= resting[i];
    return any != 0;
}

typedef struct {
    double longest, rooms; /* of those that run: the longest run_s, what they can do */
    double running, fit;   /* how many run, how many could */
} fx_running;

/* What each unit could do in the total's direction, beyond neutral, and its key if it can: first those that run,
 * then those that rest, by whole percents of state of energy.
 */
FX_CLONES static void fx_able(
    const fx_units *u, int64_t n, int up, const double *restrict low, const double *restrict high,
    double *restrict can, int32_t *restrict key, fx_running *out
) {
    const double *restrict soe = u->soe_pct, *restrict run_s = u->run_s;
    const uint8_t *restrict resting = u->resting;
    double longest = -INFINITY, rooms = 0, base = up ? 0 : 100, sign = up ? 1 : -1;
    int32_t running = 0, fits = 0;
    for (int64_t i = 0; i < n; i++) key[i] = resting[i] != 0 ? FX_PERCENTS + 1 : 2 * FX_PERCENTS + 1;
#pragma omp simd reduction(max:longest) reduction(+:rooms)
    for (int64_t i = 0; i < n; i++) {
        double neutral = fx_clip(0, low[i], high[i]), tier = key[i];
        double room = up ? high[i] - neutral : neutral - low[i];
        bool fit = room > 0, run = fit & (tier > 2 * FX_PERCENTS);
        double percent = floor(fx_clip(soe[i], 0, 100)); /* a NaN: 0 */
        double ran = run ? run_s[i] : -INFINITY;
        tier += base + sign * percent;
        can[i] = room;
        key[i] = (int32_t)(fit ? tier : 0);
        rooms += run ? room : 0;
        longest = longest > ran ? longest : ran;
    }
    /* Counted apart: as doubles in the loop above, GCC 12's vector code was wrong for sites of 300. */
#pragma omp simd reduction(+:running, fits)
    for (int64_t i = 0; i < n; i++) {
        running += key[i] > 2 * FX_PERCENTS;
        fits += key[i] > 0;
    }
    *out = (fx_running){longest, rooms, running, fits};
}

/* Puts those to rest that have a key up to `enough`: their bounds become neutral. */
FX_CLONES static void fx_settle(
    const fx_units *u, int64_t n, double *restrict low, double *restrict high, const int32_t *restrict key,
    int32_t enough
) {
    uint8_t *restrict resting = u->resting;
    double *restrict run_s = u->run_s;
    int32_t switched = 0;
#pragma omp simd reduction(+:switched)
    for (int64_t i = 0; i < n; i++) {
        int32_t was = key[i] & (FX_CHOSEN - 1);
        int32_t rests = (key[i] > 0) & (key[i] <= enough), rested = (was > FX_PERCENTS) & (was <= 2 * FX_PERCENTS);
        int32_t switches = rests ^ rested;
        double neutral = fx_clip(0, low[i], high[i]);
        low[i] = rests ? neutral : low[i];
        high[i] = rests ? neutral : high[i];
        run_s[i] = switches ? 0 : run_s[i];
        switched += switches;
    }
    if (switched == 0) return;
    for (int64_t i = 0; i < n; i++) resting[i] = key[i] == 0 ? resting[i] : key[i] <= enough;
}

/* The units of a site that come first run, until they are `wanted` and can do what is `missing`: makes the others'
 * keys no larger than the key that is returned.
 */
static int32_t fx_choose(
    const fx_units *u, int64_t n, bool due, double wanted, double missing, const fx_running *now,
    const double *can, int32_t *key
) {
    int32_t counts[FX_KEYS], enough = FX_KEYS - 1;
    double rooms[FX_KEYS], running = now->running, rooms_running = now->rooms;
    for (int64_t i = 0; i < n && due; i++)
        if (key[i] > 2 * FX_PERCENTS && u->run_s[i] == now->longest) {
            key[i] -= 2 * FX_PERCENTS; /* the one that has run longest is due for relief: it comes last */
            running--;
            rooms_running -= can[i];
            break;
        }
    memset(counts, 0, sizeof counts);
    memset(rooms, 0, sizeof rooms);
    for (int64_t i = 0; i < n; i++) {
        counts[key[i]]++;
        rooms[key[i]] += can[i];
    }
    if (running < wanted || missing - rooms_running > FX_SLACK) { /* all that run are needed, and more */
        wanted -= running;
        missing -= rooms_running;
        enough = 2 * FX_PERCENTS;
    }
    for (; enough > 0; enough--) {
        if (counts[enough] == 0) continue;
        if (counts[enough] >= wanted && missing - rooms[enough] <= FX_SLACK) break;
        wanted -= counts[enough];
        missing -= rooms[enough];
    }
    for (int64_t i = 0; i < n && enough > 0 && (wanted > 0 || missing > FX_SLACK); i++)
        if (key[i] == enough) {
            key[i] += FX_CHOSEN;
            wanted--;
            missing -= can[i];
        }
    return enough;
}

/* Chooses who runs and who rests (u->resting); those that rest are kept at neutral by low and high. */
static void fx_rest(
    const fx_units *u, int64_t n, double efficient_kw, double rotate_s, double total, double need,
    const fx_scratch *s
) {
    double *low = s->low, *high = s->high, *can = s->weight;
    int32_t *key = s->key;
    double needed = fabs(total) / efficient_kw, missing = fabs(need), fewest = fx_max(ceil(needed - 1e-9), 1);
    double most = fx_max(ceil(FX_HYSTERESIS * needed - 1e-9), 1);
    if (fewest >= (double)n && !fx_any_rests(u->resting, n)) return; /* all run, and shall */
    fx_running now;
    fx_able(u, n, need > 0, low, high, can, key, &now);
    double wanted = fx_min(fx_max(now.running, fewest), most);
    bool due = now.longest > rotate_s;
    int32_t enough = 2 * FX_PERCENTS; /* those that run go on, and no other */
    if (wanted >= now.fit) {
        if (now.running == now.fit) return;
        enough = 0;
    } else if (due || wanted != now.running || missing - now.rooms > FX_SLACK) {
        enough = fx_choose(u, n, due, wanted, missing, &now, can, key);
    }
    fx_settle(u, n, low, high, key, enough);
}

#endif
