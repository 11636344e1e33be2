/* The floors of cases in one process, for ctypes: the least that a stage can cost, without anything that makes it
 * right. Compiled as the extensions are. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Bytes from one place to another. */
void floor_copy(void *to, const void *from, size_t size) { memcpy(to, from, size); }

/* The same for several columns. */
void floor_copy_columns(void *const *to, const void *const *from, int columns, size_t size) {
    for (int column = 0; column < columns; column++) memcpy(to[column], from[column], size);
}

/* A read request in its envelope, so many times. */
void floor_build(uint8_t *out, int times, uint16_t address, uint16_t quantity) {
    for (int n = 0; n < times; n++) {
        const uint8_t adu[12] = {n >> 8, n, 0, 0, 0, 6, 1, 3, address >> 8, address, quantity >> 8, quantity};
        memcpy(out + 12 * n, adu, sizeof adu);
    }
}

/* Big-endian registers of a response's data, so many times. */
void floor_parse(uint16_t *out, const uint8_t *data, int registers, int times) {
    for (int n = 0; n < times; n++) {
        for (int i = 0; i < registers; i++) out[i] = (uint16_t)(data[2 * i] << 8 | data[2 * i + 1]);
        __asm__ volatile("" ::: "memory");
    }
}

/* Walks from length to length, and copies every frame. */
int floor_split(uint8_t *out, const uint8_t *stream, size_t size) {
    int frames = 0;
    for (size_t at = 0; at + 6 <= size; frames++) {
        size_t length = 6 + (size_t)(stream[at + 4] << 8 | stream[at + 5]);
        memcpy(out, stream + at, length);
        out += length;
        at += length;
    }
    return frames;
}

/* Replies into columns. `type` is struct's letter, `order` counts ABCD, DCBA, BADC, CDAB; with `tenths`, int16 become
 * float64. A quality byte goes beside every value: 0, or 33 for floats that are not finite. */
static inline __attribute__((always_inline)) uint64_t load(const uint8_t *p, int size, int order) {
    uint16_t r[4];
    uint64_t raw = 0;
    memcpy(r, p, (size_t)size);
    for (int i = 0; i < size / 2; i++) {
        uint16_t word = r[order == 1 || order == 3 ? size / 2 - 1 - i : i];
        raw = raw << 16 | (order == 0 || order == 3 ? __builtin_bswap16(word) : word);
    }
    return raw;
}

#define EACH(STATEMENTS)                                                                                   \
    for (int row = 0; row < rows; row++)                                                                   \
        for (int column = 0; column < columns; column++, p += size) {                                      \
            uint64_t raw = load(p, size, order);                                                           \
            uint8_t own = 0;                                                                               \
            STATEMENTS;                                                                                    \
            quality[(size_t)column * (size_t)rows + (size_t)row] = own;                                    \
        }

static inline __attribute__((always_inline)) void decode(
    const uint8_t *p, int rows, int columns, int size, int order, char type, int tenths, void *const *out,
    uint8_t *quality) {
    if (type == 'f') {
        EACH(uint32_t bits = (uint32_t)raw; own = (bits & 0x7F800000) == 0x7F800000 ? 33 : 0;
             ((uint32_t *)out[column])[row] = bits)
    } else if (type == 'd') {
        EACH(own = (raw >> 52 & 0x7FF) == 0x7FF ? 33 : 0; ((uint64_t *)out[column])[row] = raw)
    } else if (type == 'e') {
        EACH(uint16_t bits = (uint16_t)raw; _Float16 half; memcpy(&half, &bits, 2);
             own = (bits & 0x7C00) == 0x7C00 ? 33 : 0; ((float *)out[column])[row] = (float)half)
    } else if (tenths) {
        EACH(((double *)out[column])[row] = (int16_t)raw / 10.0)
    } else if (type == 'h') {
        EACH(((int64_t *)out[column])[row] = (int16_t)raw)
    } else if (type == 'i') {
        EACH(((int64_t *)out[column])[row] = (int32_t)raw)
    } else {
        EACH(((uint64_t *)out[column])[row] = raw)
    }
}

#define ORDERS(TYPE, SIZE)                                                                  \
    case TYPE:                                                                              \
        if (order == 0) decode(p, rows, columns, SIZE, 0, TYPE, tenths, out, quality);      \
        else if (order == 1) decode(p, rows, columns, SIZE, 1, TYPE, tenths, out, quality); \
        else if (order == 2) decode(p, rows, columns, SIZE, 2, TYPE, tenths, out, quality); \
        else decode(p, rows, columns, SIZE, 3, TYPE, tenths, out, quality);                 \
        break;

void floor_decode(const uint8_t *p, int rows, int columns, char type, int order, int tenths, void *const *out,
                  uint8_t *quality) {
    switch (type) {
        ORDERS('h', 2)
        ORDERS('H', 2)
        ORDERS('e', 2)
        ORDERS('i', 4)
        ORDERS('I', 4)
        ORDERS('f', 4)
        ORDERS('q', 8)
        ORDERS('Q', 8)
        ORDERS('d', 8)
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
