/* The floor of the journal: what it takes to hand the same bytes to the operating system.

   One fwrite and one fflush for each frame; nothing is encoded, packed, summed up or synced. */

#include <stdio.h>

/* Returns 0, or -1 if something failed. */
int write_frames(const char *path, const char *frame, size_t size, size_t frames)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return -1;
    int failed = 0;
    for (size_t i = 0; i < frames && !failed; i++)
        failed = fwrite(frame + i * size, 1, size, file) != size || fflush(file);
    return fclose(file) || failed ? -1 : 0;
}
