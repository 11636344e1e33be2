/* Who comes first, without sorting: units are counted by a small whole number, their key, and the key at which
 * it is enough is found; those of that key come in the order of their index. fx_whole rounds powers so, fx_rest
 * lets no more units run than are needed. reference.py has the same, named alike.
 */
#ifndef FLUXFAST_CONTROL_CHOOSE_H
#define FLUXFAST_CONTROL_CHOOSE_H

#include <string.h>

#include "fluxfast/control/split.h"

enum { FX_LEVELS = 64, FX_PERCENTS = 101, FX_KEYS = 3 * FX_PERCENTS + 1 };
#define FX_HYSTERESIS 1.2 /* units are put to rest when so much more power would not need them */

typedef struct {
    double sum, finer_sum, finer_low, finer_high, finest; /* finest: the coarsest quantum below the level */
} fx_level;

/* Rounds down those of quantum `step`; key: how large the fraction is, 0 for those that cannot go up. */
FX_CLONES static void fx_floor(
    double *restrict power, const double *restrict low, const double *restrict high,
    const double *restrict quanta, int64_t n, double step, int32_t *restrict key, fx_level *out
) {
    double sum = 0, finer_sum = 0, finer_low = 0, finer_high = 0, next = 0, per_kw = 1 / step;
#pragma omp simd reduction(+:sum, finer_sum, finer_low, finer_high) reduction(max:next)
    for (int64_t i = 0; i < n; i++) {
        bool mine = quanta[i] == step, finer = (quanta[i] > 0) & (quanta[i] < step);
        double exact = power[i] * per_kw, base = floor(exact + FX_SLACK), low_kw = base * step;
        double fraction = fx_clip(rint((exact - base) * FX_LEVELS), 0, FX_LEVELS) + 1;
        bool fits = mine & ((base + 1) * step <= high[i] + FX_SLACK * step);
        double quantum = finer ? quanta[i] : 0, kw = mine ? low_kw : power[i];
        key[i] = (int32_t)(fits ? fraction : 0);
        power[i] = kw;
        sum += finer ? 0 : kw;
        finer_sum += finer ? kw : 0;
        finer_low += finer ? low[i] : 0;
        finer_high += finer ? high[i] : 0;
        next = next > quantum ? next : quantum;
    }
    *out = (fx_level){sum, finer_sum, finer_low, finer_high, next};
}

/* How many units go up: the whole number of steps that leaves the finer units what they can do, or comes
 * nearest; at the finest level, not past the site's own bounds.
 */
static double fx_count(const fx_level *at, double step, double total, double lower, double upper) {
    double left = total - at->sum, share = left - at->finer_sum;
    double count = fx_max(floor(share / step + 1e-9), 0);
    double rest = left - count * step, rest_up = rest - step;
    double off = fx_max(fx_max(at->finer_low - rest, rest - at->finer_high), 0);
    double off_up = fx_max(fx_max(at->finer_low - rest_up, rest_up - at->finer_high), 0);
    bool up = fabs(off - off_up) > 1e-9 * step ? off_up < off : share / step - count >= 0.5 - 1e-9;
    if (at->finest == 0) {
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
    for (int64_t i = 0; i < n; i++) {
        double raised = fx_step_up(power[i], step, per_kw);
        power[i] = key[i] > above ? raised : power[i];
    }
}

/* Rounds all powers to their quanta, the coarsest first; finer ones take over what those leave. */
static void fx_whole(
    double *power, const double *low, const double *high, const double *quanta, int64_t n, double coarsest,
    double total, double lower, double upper, int32_t *key
) {
    fx_level at;
    for (double step = coarsest; step > 0; step = at.finest) {
        int32_t counts[FX_LEVELS + 2], enough = FX_LEVELS + 1;
        fx_floor(power, low, high, quanta, n, step, key, &at);
        double wanted = fx_count(&at, step, total, lower, upper);
        if (wanted > 0) {
            memset(counts, 0, sizeof counts);
            for (int64_t i = 0; i < n; i++) counts[key[i]]++;
            for (; enough > 0 && counts[enough] <= wanted; enough--) wanted -= counts[enough];
            fx_raise(power, key, n, enough, step);
            for (int64_t i = 0; i < n && enough > 0 && wanted > 0; i++)
                if (key[i] == enough) {
                    power[i] = fx_step_up(power[i], step, 1 / step);
                    wanted--;
                }
        }
        if (at.finest > 0) fx_spread(power, low, high, quanta, n, total, step);
    }
}

typedef struct {
    double longest, rooms; /* of those that run: the longest run_s, what they can do */
    int64_t running;
} fx_running;

/* What each unit could do in the total's direction, beyond neutral, and its key if it can: first those that run,
 * then those that rest, by whole percents of state of energy.
 */
FX_CLONES static void fx_able(
    const fx_units *u, int64_t n, int up, double *restrict can, int32_t *restrict key, fx_running *out
) {
    const double *restrict low = u->lower_kw, *restrict high = u->upper_kw, *restrict soe = u->soe_pct;
    const double *restrict run_s = u->run_s;
    const uint8_t *restrict resting = u->resting;
    double longest = -INFINITY, rooms = 0, running = 0, base = up ? 0 : 100, sign = up ? 1 : -1;
    for (int64_t i = 0; i < n; i++) key[i] = resting[i] != 0 ? FX_PERCENTS + 1 : 2 * FX_PERCENTS + 1;
#pragma omp simd reduction(max:longest) reduction(+:running, rooms)
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
        running += run ? 1 : 0;
        longest = longest > ran ? longest : ran;
    }
    *out = (fx_running){longest, rooms, (int64_t)running};
}

/* Puts those to rest that have a key up to `enough`: their bounds become neutral. Returns how many switched. */
FX_CLONES static int64_t fx_settle(
    const fx_units *u, int64_t n, double *restrict low, double *restrict high, const int32_t *restrict key,
    int32_t enough
) {
    uint8_t *restrict resting = u->resting;
    int32_t switched = 0;
    for (int64_t i = 0; i < n; i++) {
        bool rests = (key[i] > 0) & (key[i] <= enough);
        double neutral = fx_clip(0, low[i], high[i]);
        low[i] = rests ? neutral : low[i];
        high[i] = rests ? neutral : high[i];
    }
    for (int64_t i = 0; i < n; i++) {
        int32_t was = resting[i], now = key[i] == 0 ? was : key[i] <= enough;
        switched += was != now;
        resting[i] = (uint8_t)(now | (was != now) << 1); /* the second bit: switched */
    }
    return switched;
}

/* Chooses who runs and who rests (u->resting); low and high: the bounds, those that rest kept at neutral. */
static void fx_rest(
    const fx_units *u, int64_t n, double efficient_kw, double rotate_s, double total, double need,
    double *restrict low, double *restrict high, double *restrict can, int32_t *restrict key
) {
    fx_running now;
    fx_able(u, n, need > 0, can, key, &now);
    double needed = fabs(total) / efficient_kw, missing = fabs(need), fewest = fx_max(ceil(needed - 1e-9), 1);
    double most = fx_max(ceil(FX_HYSTERESIS * needed - 1e-9), 1);
    double wanted = fx_min(fx_max((double)now.running, fewest), most);
    int32_t enough = 2 * FX_PERCENTS; /* those that run go on, and no other */
    if (now.longest > rotate_s || wanted != (double)now.running || missing - now.rooms > FX_SLACK) {
        int32_t counts[FX_KEYS];
        double rooms[FX_KEYS];
        for (int64_t i = 0; i < n && now.longest > rotate_s; i++)
            if (key[i] > 2 * FX_PERCENTS && u->run_s[i] == now.longest) {
                key[i] -= 2 * FX_PERCENTS; /* the one that has run longest is due for relief: it comes last */
                now.running--;
                now.rooms -= can[i];
                break;
            }
        memset(counts, 0, sizeof counts);
        memset(rooms, 0, sizeof rooms);
        for (int64_t i = 0; i < n; i++) {
            counts[key[i]]++;
            rooms[key[i]] += can[i];
        }
        enough = FX_KEYS - 1;
        if (now.running < wanted || missing - now.rooms > FX_SLACK) { /* all that run are needed, and more */
            wanted -= (double)now.running;
            missing -= now.rooms;
            enough = 2 * FX_PERCENTS;
        }
        for (; enough > 0; enough--) {
            if (counts[enough] >= wanted && missing - rooms[enough] <= FX_SLACK) break;
            wanted -= counts[enough];
            missing -= rooms[enough];
        }
        for (int64_t i = 0; i < n && enough > 0 && (wanted > 0 || missing > FX_SLACK); i++)
            if (key[i] == enough) {
                key[i] = FX_KEYS;
                wanted--;
                missing -= can[i];
            }
    }
    if (fx_settle(u, n, low, high, key, enough))
        for (int64_t i = 0; i < n; i++) {
            if (u->resting[i] > 1) u->run_s[i] = 0;
            u->resting[i] &= 1;
        }
}

#endif
