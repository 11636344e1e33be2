/* The floors of cases in one process, for ctypes: the least that a stage can cost, without anything that makes it
 * right. Compiled as the extensions are. */
#include <stdint.h>
#include <stdio.h>
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

/* Frames to a file: one fwrite and one fflush each; nothing is encoded, packed, summed up or synced. Returns 0, or
 * -1 if something failed. */
int floor_write(const char *path, const char *frame, size_t size, size_t frames) {
    FILE *file = fopen(path, "wb");
    if (!file) return -1;
    int failed = 0;
    for (size_t i = 0; i < frames && !failed; i++) failed = fwrite(frame + i * size, 1, size, file) != size || fflush(file);
    return fclose(file) || failed ? -1 : 0;
}
