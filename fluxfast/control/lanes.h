/* What the kernel's loops have in common: plain C that compilers turn into vector code, compiled for several
 * processors where the loader can choose among them. No -ffast-math: comparisons with a NaN must be false. So
 * sums say by `#pragma omp simd` (no OpenMP library is needed) that their order does not matter.
 */
#ifndef FLUXFAST_CONTROL_LANES_H
#define FLUXFAST_CONTROL_LANES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
#define FX_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), noinline))
#else
#define FX_CLONES __attribute__((noinline))
#endif

/* Scratch of a site is filled up with units that do nothing, so that its loops need not end in single steps. */
#define FX_PADDED(n) (((n) + 15) & ~(int64_t)15)

#define FX_HUGE 1e15         /* no number that means something is larger */
#define FX_AT_ONCE 1e12      /* a ramp that is no limit, kW */
#define FX_FINEST 0x1p-30    /* kW: the quantum of "any number" */
#define FX_SLACK 1e-6        /* of a quantum, or kW: what floating point may be off by */

static inline double fx_min(double a, double b) { return a < b ? a : b; }
static inline double fx_max(double a, double b) { return a > b ? a : b; }
static inline double fx_clip(double x, double low, double high) { return fx_min(fx_max(x, low), high); }

#endif
