/* Numbers of several units at once, "lanes": of four where this file is compiled for AVX2, of one for any other
 * processor. What is written with these is one program for both.
 *
 * v_ gives numbers, m_ truths. `k` is how many lanes there are in a column: FX_LANES but at a site's end; lanes
 * beyond it are read as 0 and not written. Comparisons with a NaN are false, and a minimum or maximum with a
 * NaN is its second number, so that nothing that is not a number gets past a bound.
 */
#ifndef FLUXFAST_CONTROL_LANES_H
#define FLUXFAST_CONTROL_LANES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "fluxfast/control/columns.h"

#define FX_HUGE 1e15         /* no number that means something is larger */
#define FX_AT_ONCE 1e12      /* a ramp that is no limit, kW */
#define FX_FINEST 0x1p-30    /* kW: the quantum of "any number" */
#define FX_SLACK 1e-6        /* of a quantum, or kW: what floating point may be off by */

static inline double fx_min(double a, double b) { return a < b ? a : b; }
static inline double fx_max(double a, double b) { return a > b ? a : b; }
static inline double fx_clip(double x, double low, double high) { return fx_min(fx_max(x, low), high); }

#define FX_INLINE static inline __attribute__((always_inline))
#define FX_STAGE static __attribute__((noinline)) /* its loop has the registers for itself */

#if defined(__AVX2__)

#include <immintrin.h>

enum { FX_LANES = 4 };
typedef __m256d fx_v;
typedef __m256d fx_m;

FX_INLINE fx_v v_all(double x) { return _mm256_set1_pd(x); }

FX_INLINE fx_v v_get(const double *p, int k) {
    if (k == FX_LANES) return _mm256_loadu_pd(p);
    return _mm256_maskload_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(k), _mm256_setr_epi64x(0, 1, 2, 3)));
}

FX_INLINE void v_put(double *p, fx_v v, int k) {
    double lanes[FX_LANES];
    if (k == FX_LANES) {
        _mm256_storeu_pd(p, v);
        return;
    }
    _mm256_storeu_pd(lanes, v);
    memcpy(p, lanes, (size_t)k * sizeof *p);
}

FX_INLINE fx_m m_less(fx_v a, fx_v b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
FX_INLINE fx_m m_most(fx_v a, fx_v b) { return _mm256_cmp_pd(a, b, _CMP_LE_OQ); }
FX_INLINE fx_m m_same(fx_v a, fx_v b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
FX_INLINE fx_m m_and(fx_m a, fx_m b) { return _mm256_and_pd(a, b); }
FX_INLINE fx_m m_or(fx_m a, fx_m b) { return _mm256_or_pd(a, b); }
FX_INLINE fx_m m_both(fx_m a, fx_m b) { return (fx_m)_mm256_cmpeq_epi64((__m256i)a, (__m256i)b); } /* or none */
FX_INLINE fx_m m_but(fx_m a, fx_m b) { return _mm256_andnot_pd(b, a); } /* a, but not b */
FX_INLINE fx_m m_not_same(fx_v a, fx_v b) { return _mm256_cmp_pd(a, b, _CMP_NEQ_UQ); }
FX_INLINE fx_m m_get(const double *p) { return _mm256_loadu_pd(p); }
FX_INLINE void m_put(double *p, fx_m m) { _mm256_storeu_pd(p, m); }
FX_INLINE fx_m m_not(fx_m a) { return _mm256_xor_pd(a, (fx_m)_mm256_set1_epi64x(-1)); }
FX_INLINE bool m_any(fx_m a) { return _mm256_movemask_pd(a) != 0; }
FX_INLINE fx_v v_if(fx_m m, fx_v a, fx_v b) { return _mm256_blendv_pd(b, a, m); }
FX_INLINE fx_v v_keep(fx_m m, fx_v a) { return _mm256_and_pd(m, a); }    /* else 0 */
FX_INLINE fx_v v_drop(fx_m m, fx_v a) { return _mm256_andnot_pd(m, a); } /* 0, else a */
FX_INLINE fx_v v_min(fx_v a, fx_v b) { return _mm256_min_pd(a, b); }
FX_INLINE fx_v v_max(fx_v a, fx_v b) { return _mm256_max_pd(a, b); }
FX_INLINE fx_v v_abs(fx_v a) { return _mm256_andnot_pd(v_all(-0.0), a); }
FX_INLINE fx_v v_sign_of(fx_v a, fx_v sign) {
    return _mm256_or_pd(v_abs(a), _mm256_and_pd(v_all(-0.0), sign));
}
FX_INLINE fx_v v_floor(fx_v a) { return _mm256_floor_pd(a); }
FX_INLINE fx_v v_round(fx_v a) { return _mm256_round_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
FX_INLINE double v_sum(fx_v a) { return (a[0] + a[1]) + (a[2] + a[3]); }
FX_INLINE double v_largest(fx_v a) { return fx_max(fx_max(a[0], a[1]), fx_max(a[2], a[3])); }

/* The upper 16 bits of numbers, by which most are seen to be from 0 to 2^45 at one operation each. */
FX_INLINE fx_v v_tops(fx_v a, fx_v b) { return (fx_v)_mm256_max_epu16((__m256i)a, (__m256i)b); }
FX_INLINE bool v_small(fx_v tops) {
    __m256i more = _mm256_subs_epu16((__m256i)tops, _mm256_set1_epi64x(0x42cfffffffffffff)); /* what is just below 2^45 */
    return _mm256_testz_si256(more, _mm256_set1_epi64x((int64_t)0xffff000000000000));
}

/* Bytes of a column, in lanes of 64 bits. */
FX_INLINE __m256i v_bytes(const void *p, int k) {
    int32_t bytes = 0;
    memcpy(&bytes, p, (size_t)k);
    return _mm256_cvtepi8_epi64(_mm_cvtsi32_si128(bytes));
}
FX_INLINE fx_m m_zero(const uint8_t *p, int k) {
    return (fx_m)_mm256_cmpeq_epi64(v_bytes(p, k), _mm256_setzero_si256());
}
FX_INLINE fx_m m_below_0(const int8_t *p, int k) {
    return (fx_m)_mm256_cmpgt_epi64(_mm256_setzero_si256(), v_bytes(p, k));
}
FX_INLINE fx_m m_above_0(const int8_t *p, int k) {
    return (fx_m)_mm256_cmpgt_epi64(v_bytes(p, k), _mm256_setzero_si256());
}
FX_INLINE fx_m m_above(const uint8_t *p, int x) {
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return (fx_m)_mm256_cmpgt_epi64(_mm256_cvtepu8_epi64(_mm_cvtsi32_si128(bytes)), _mm256_set1_epi64x(x));
}

/* Which lanes are true, as bytes of 1. */
FX_INLINE void m_put_bytes(uint8_t *p, fx_m m, int k) {
    static const uint32_t bytes[16] = {
        0x00000000, 0x00000001, 0x00000100, 0x00000101, 0x00010000, 0x00010001, 0x00010100, 0x00010101,
        0x01000000, 0x01000001, 0x01000100, 0x01000101, 0x01010000, 0x01010001, 0x01010100, 0x01010101,
    };
    memcpy(p, &bytes[_mm256_movemask_pd(m)], (size_t)k);
}

/* Small whole numbers to bytes. */
FX_INLINE int32_t v_to_bytes(fx_v v) {
    __m128i bytes = _mm_shuffle_epi8(_mm256_cvttpd_epi32(v), _mm_set1_epi32(0x0c080400));
    return _mm_cvtsi128_si32(bytes);
}
FX_INLINE void v_put_bytes(void *p, fx_v v, int k) {
    int32_t bytes = v_to_bytes(v);
    memcpy(p, &bytes, (size_t)k);
}
FX_INLINE fx_v v_from_bytes(const uint8_t *p, int k, uint8_t bits) {
    int32_t bytes = 0;
    memcpy(&bytes, p, (size_t)k);
    return _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes & bits * 0x01010101)));
}
FX_INLINE fx_v v_from_signs(const int8_t *p, int k) {
    int32_t bytes = 0;
    memcpy(&bytes, p, (size_t)k);
    return _mm256_cvtepi32_pd(_mm_cvtepi8_epi32(_mm_cvtsi32_si128(bytes)));
}

/* How many of n keys are larger than x; which of the first FX_KEYS_AT_ONCE are x, a bit each. */
FX_INLINE int64_t fx_larger(const uint8_t *key, int64_t n, uint8_t x) {
    __m256i sums = _mm256_setzero_si256(), most = _mm256_set1_epi8((char)x), one = _mm256_set1_epi8(1);
    for (int64_t i = 0; i < n; i += FX_KEYS_AT_ONCE) {
        __m256i above = _mm256_subs_epu8(_mm256_loadu_si256((const __m256i *)(key + i)), most);
        sums += _mm256_sad_epu8(_mm256_min_epu8(above, one), _mm256_setzero_si256());
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}
FX_INLINE uint32_t fx_equal(const uint8_t *key, uint8_t x) {
    __m256i same = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)key), _mm256_set1_epi8((char)x));
    return (uint32_t)_mm256_movemask_epi8(same);
}

#else

enum { FX_LANES = 1 };
typedef double fx_v;
typedef bool fx_m;

FX_INLINE fx_v v_all(double x) { return x; }
FX_INLINE fx_v v_get(const double *p, int k) { return *p; }
FX_INLINE void v_put(double *p, fx_v v, int k) { *p = v; }
FX_INLINE fx_m m_less(fx_v a, fx_v b) { return a < b; }
FX_INLINE fx_m m_most(fx_v a, fx_v b) { return a <= b; }
FX_INLINE fx_m m_same(fx_v a, fx_v b) { return a == b; }
FX_INLINE fx_m m_and(fx_m a, fx_m b) { return a & b; }
FX_INLINE fx_m m_or(fx_m a, fx_m b) { return a | b; }
FX_INLINE fx_m m_both(fx_m a, fx_m b) { return a == b; }
FX_INLINE fx_m m_but(fx_m a, fx_m b) { return a & !b; }
FX_INLINE fx_m m_not_same(fx_v a, fx_v b) { return a != b; }
FX_INLINE fx_m m_get(const double *p) { return *p != 0; }
FX_INLINE void m_put(double *p, fx_m m) { *p = m; }
FX_INLINE fx_m m_not(fx_m a) { return !a; }
FX_INLINE bool m_any(fx_m a) { return a; }
FX_INLINE fx_v v_if(fx_m m, fx_v a, fx_v b) { return m ? a : b; }
FX_INLINE fx_v v_keep(fx_m m, fx_v a) { return m ? a : 0; }
FX_INLINE fx_v v_drop(fx_m m, fx_v a) { return m ? 0 : a; }
FX_INLINE fx_v v_min(fx_v a, fx_v b) { return fx_min(a, b); }
FX_INLINE fx_v v_max(fx_v a, fx_v b) { return fx_max(a, b); }
FX_INLINE fx_v v_abs(fx_v a) { return fabs(a); }
FX_INLINE fx_v v_sign_of(fx_v a, fx_v sign) { return copysign(a, sign); }
FX_INLINE fx_v v_floor(fx_v a) { return floor(a); }
FX_INLINE fx_v v_round(fx_v a) { return rint(a); }
FX_INLINE double v_sum(fx_v a) { return a; }
FX_INLINE double v_largest(fx_v a) { return a; }
FX_INLINE fx_v v_tops(fx_v a, fx_v b) { return a; }
FX_INLINE bool v_small(fx_v tops) { return false; }
FX_INLINE fx_m m_zero(const uint8_t *p, int k) { return *p == 0; }
FX_INLINE fx_m m_below_0(const int8_t *p, int k) { return *p < 0; }
FX_INLINE fx_m m_above_0(const int8_t *p, int k) { return *p > 0; }
FX_INLINE fx_m m_above(const uint8_t *p, int x) { return *p > x; }
FX_INLINE void m_put_bytes(uint8_t *p, fx_m m, int k) { *p = m; }
FX_INLINE void v_put_bytes(void *p, fx_v v, int k) { *(uint8_t *)p = (uint8_t)(int32_t)v; }
FX_INLINE fx_v v_from_bytes(const uint8_t *p, int k, uint8_t bits) { return *p & bits; }
FX_INLINE fx_v v_from_signs(const int8_t *p, int k) { return *p; }

FX_INLINE int64_t fx_larger(const uint8_t *key, int64_t n, uint8_t x) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) count += key[i] > x;
    return count;
}
FX_INLINE uint32_t fx_equal(const uint8_t *key, uint8_t x) {
    uint32_t bits = 0;
    for (int j = 0; j < FX_KEYS_AT_ONCE; j++) bits |= (uint32_t)(key[j] == x) << j;
    return bits;
}

#endif

/* Does the statements for every FX_LANES of the units from begin to end: i is the first of them, k how many. */
#define FX_EACH(begin, end, ...) \
    do { \
        int64_t i = (begin); \
        for (; i <= (end) - FX_LANES; i += FX_LANES) { \
            const int k = FX_LANES; \
            __VA_ARGS__ \
        } \
        if (i < (end)) { \
            const int k = (int)((end) - i); \
            __VA_ARGS__ \
        } \
    } while (0)

FX_INLINE fx_v v_clip(fx_v x, fx_v low, fx_v high) { return v_min(v_max(x, low), high); }

#endif
