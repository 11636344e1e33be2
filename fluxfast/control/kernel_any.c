/* The kernel's decision for any processor. */
#include "fluxfast/control/site.h"

void fx_decide_any(
    const fx_units *units, const fx_sites *at, const int32_t *first, int64_t count, double dt_s, void *scratch,
    uint8_t *key
) {
    fx_decide_sites(units, at, first, count, dt_s, scratch, key);
}
