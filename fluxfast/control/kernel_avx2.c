/* The kernel's decision for processors with AVX2. */
#include "fluxfast/control/columns.h"

#ifndef fx_decide_avx2 /* where it is another's name, there is none */
#pragma GCC target("avx2")
#include "fluxfast/control/site.h"

void fx_decide_avx2(
    const fx_units *units, const fx_sites *at, const int32_t *first, int64_t count, double dt_s, void *scratch,
    uint8_t *key
) {
    fx_decide_sites(units, at, first, count, dt_s, scratch, key);
}
#endif
