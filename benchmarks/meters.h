/* The job of meters.py for clients in C: the meters' addresses, the columns, the clock, the check, what is said. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINKS = 20000, FIRST = 0x4000, FLOATS = 36, COUNTERS = 9, VALUES = FLOATS + COUNTERS, BYTES = 4 * VALUES };

static struct meter { char ip[64]; int port, unit; } meter[LINKS];
static double column[VALUES][LINKS];
static uint8_t quality[VALUES][LINKS];
static int64_t received[LINKS];

/* Read "ip port unit" lines from stdin; return how many. */
static int read_meters(void) {
    int n = 0;
    while (n < LINKS && scanf("%63s %d %d", meter[n].ip, &meter[n].port, &meter[n].unit) == 3) n++;
    return n;
}

static double cpu_us(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void wait_until(int64_t when_ns) {
    int64_t wait_us = (when_ns - now_ns()) / 1000;
    if (wait_us > 0) usleep((useconds_t)wait_us);
}

static long resident(void) {
    long all, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%ld %ld", &all, &pages) != 2) pages = 0;
    if (file) fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* What everybody does with the values, in the plainest way: each into its column, its quality beside it. */
static void decode(const uint8_t *p, int row) {
    for (int c = 0; c < VALUES; c++, p += 4) {
        uint32_t raw;
        float f;
        memcpy(&raw, p, 4);
        raw = __builtin_bswap32(raw);
        memcpy(&f, &raw, 4);
        column[c][row] = c < FLOATS ? f : raw / 10.0;
        quality[c][row] = 0;
    }
    received[row] = now_ns();
}

static int connected(const struct meter *m) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)m->port)};
    inet_pton(AF_INET, m->ip, &to.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, (struct sockaddr *)&to, sizeof to)) {
        perror(m->ip);
        exit(1);
    }
    return s;
}

static void make_request(uint8_t q[12], int transaction, int unit) {
    const uint8_t request[12] = {(uint8_t)(transaction >> 8), (uint8_t)transaction, 0, 0, 0, 6, (uint8_t)unit, 3,
                                 FIRST >> 8, FIRST & 255, 0, BYTES / 2};
    memcpy(q, request, 12);
}

/* Whether a row that read(row) has filled is what its meter says; its values may change in between. */
static int is_right(int row, int (*read)(int)) {
    static uint8_t q[12], reply[9 + BYTES];
    double got[VALUES];
    int s = connected(&meter[row]), right = 0;
    make_request(q, 1, meter[row].unit);
    for (int k = 0; k < 40 && !right; k++) {
        if (!read(row) || send(s, q, 12, 0) != 12) return 0;
        if (recv(s, reply, sizeof reply, MSG_WAITALL) != sizeof reply) return 0;
        for (int c = 0; c < VALUES; c++) got[c] = column[c][row];
        decode(reply + 9, row);
        right = 1;
        for (int c = 0; c < VALUES; c++) right = right && got[c] == column[c][row];
    }
    close(s);
    return right;
}

/* Print what apart.py reads. took_us[0] is that of the first tick, which does not count. */
static void say(double cost, int right, const double *took_us, int ticks, long unanswered, double connect_us,
                double up_s) {
    printf("{\"cost\": %.3f, \"right\": %s, \"said\": {\"unanswered\": %ld, \"connect_us\": %.2f, \"up_s\": %.3f,"
           " \"resident\": %ld}, \"times\": [",
           cost, right ? "true" : "false", unanswered, connect_us, up_s, resident());
    for (int k = 1; k < ticks; k++) printf("%s%.1f", k > 1 ? ", " : "", took_us[k]);
    puts("]}");
}
