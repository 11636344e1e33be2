/* The floors of cases in one process, for ctypes: the least that a stage can cost, without anything that makes it
 * right. Compiled as the extensions are. */
#include <stdint.h>
#include <string.h>

/* Big-endian float32 of every row, into a column each. */
void floor_decode_float32(const uint8_t *replies, int rows, int columns, float *const *out) {
    for (int row = 0; row < rows; row++) {
        for (int column = 0; column < columns; column++, replies += 4) {
            uint32_t raw;
            memcpy(&raw, replies, 4);
            raw = __builtin_bswap32(raw);
            memcpy(&out[column][row], &raw, 4);
        }
    }
}
