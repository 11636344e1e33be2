/* The floor: the least that any client of one request per link and tick can cost. One epoll set, one send and one
 * receive per request, a segment each way; nothing is parsed but the length. With "decode" it also does what the
 * others do with the values, in the plainest way: 36 floats and 9 counters in tenths into a column each, a quality
 * byte beside every one, and the time of the reply.
 * Usage: floor QUANTITY TICKS PERIOD_MS [decode] < "ip port unit address" lines.
 * Prints JSON as apart.py reads it: CPU microseconds per request, and the times of its ticks in µs; 1 on any failure. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <time.h>
#include <unistd.h>

enum { LINKS = 20000, FLOATS = 36, COUNTERS = 9 };

static double column[FLOATS + COUNTERS][LINKS];
static uint8_t quality[FLOATS + COUNTERS][LINKS];
static int64_t received[LINKS];

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

static void decode(const uint8_t *p, int row) {
    for (int c = 0; c < FLOATS + COUNTERS; c++, p += 4) {
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

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    int quantity = atoi(argv[1]), ticks = atoi(argv[2]), period = atoi(argv[3]), n = 0;
    int decodes = argc > 4 && quantity == 2 * (FLOATS + COUNTERS);
    static int fd[LINKS], unit[LINKS], address[LINKS];
    int port, u, a;
    char ip[64];
    int set = epoll_create1(0), one = 1;
    while (n < LINKS && scanf("%63s %d %d %d", ip, &port, &u, &a) == 4) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        inet_pton(AF_INET, ip, &to.sin_addr);
        fd[n] = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd[n], (struct sockaddr *)&to, sizeof to)) { perror(ip); return 1; }
        setsockopt(fd[n], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)n};
        epoll_ctl(set, EPOLL_CTL_ADD, fd[n], &e);
        unit[n] = u;
        address[n] = a;
        n++;
    }
    double before = cpu_us(), *took_us = calloc((size_t)ticks, sizeof *took_us);
    int64_t next = now_ns();
    static uint8_t buffer[65536];
    for (int k = 0; k < ticks; k++, next += period * 1000000LL) {
        int64_t wait = next - now_ns();
        if (wait > 0) usleep((useconds_t)(wait / 1000));
        for (int i = 0; i < n; i++) {
            uint8_t q[12] = {(uint8_t)(k >> 8), (uint8_t)k, 0, 0, 0, 6, (uint8_t)unit[i], 3,
                             (uint8_t)(address[i] >> 8), (uint8_t)address[i],
                             (uint8_t)(quantity >> 8), (uint8_t)quantity};
            if (send(fd[i], q, 12, 0) != 12) return 1;
        }
        int missing = n;
        while (missing) {
            struct epoll_event e[256];
            int m = epoll_wait(set, e, 256, 2000);
            if (m <= 0) return 1;
            for (int j = 0; j < m; j++) {
                int i = (int)e[j].data.u32;
                if (recv(fd[i], buffer, sizeof buffer, 0) != 9 + 2 * quantity) return 1;
                if (decodes) decode(buffer + 9, i);
                missing--;
            }
        }
        took_us[k] = (double)(now_ns() - next) / 1000;
    }
    printf("{\"cost\": %.3f, \"right\": true, \"times\": [", (cpu_us() - before) / ((double)n * ticks));
    for (int k = 0; k < ticks; k++) printf("%s%.1f", k ? ", " : "", took_us[k]);
    puts("]}");
    return 0;
}
