/* Lets Python say where valgrind's callgrind shall count: a shared library for ctypes (benchmarks/instructions.py). */
#include <valgrind/callgrind.h>

void marks_begin(void) {
    CALLGRIND_ZERO_STATS;
    CALLGRIND_START_INSTRUMENTATION;
}

void marks_end(const char *name) {
    CALLGRIND_STOP_INSTRUMENTATION;
    CALLGRIND_DUMP_STATS_AT(name);
}
