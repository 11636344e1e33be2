/* The floor: the least that any client of one request per link and tick can cost. One epoll set, one send and one
 * receive per request, a segment each way; nothing is parsed but the length. With "decode" it also does what the
 * others do with the values.
 * Usage: floor TICKS PERIOD_MS [decode] < "ip port unit" lines. 1 on any failure. */
#include <sys/epoll.h>
#include <netinet/tcp.h>

#include "meters.h"

static int fd[LINKS];
static uint8_t buffer[65536];

static int read_one(int row) {
    uint8_t q[12];
    make_request(q, 1, meter[row].unit);
    if (send(fd[row], q, 12, 0) != 12 || recv(fd[row], buffer, 9 + BYTES, MSG_WAITALL) != 9 + BYTES) return 0;
    decode(buffer + 9, row);
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    int ticks = atoi(argv[1]), period = atoi(argv[2]), decodes = argc > 3, one = 1, n = read_meters();
    int set = epoll_create1(0);
    double used_us = cpu_us(), connect_us, before = 0, *took_us = calloc((size_t)ticks, sizeof *took_us);
    int64_t begun = now_ns();
    for (int i = 0; i < n; i++) {
        fd[i] = connected(&meter[i]);
        setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(set, EPOLL_CTL_ADD, fd[i], &e);
    }
    connect_us = (cpu_us() - used_us) / n;
    int64_t next = now_ns();
    double up_s = (double)(next - begun) / 1e9;
    for (int k = 0; k < ticks; k++, next += period * 1000000LL) {
        if (k == 1) before = cpu_us();
        wait_until(next);
        for (int i = 0; i < n; i++) {
            uint8_t q[12];
            make_request(q, k, meter[i].unit);
            if (send(fd[i], q, 12, 0) != 12) return 1;
        }
        int missing = n;
        while (missing) {
            struct epoll_event e[256];
            int m = epoll_wait(set, e, 256, 2000);
            if (m <= 0) return 1;
            for (int j = 0; j < m; j++) {
                int i = (int)e[j].data.u32;
                if (recv(fd[i], buffer, sizeof buffer, 0) != 9 + BYTES) return 1;
                if (decodes) decode(buffer + 9, i);
                missing--;
            }
        }
        took_us[k] = (double)(now_ns() - next) / 1000;
    }
    double cost = (cpu_us() - before) / ((double)n * (ticks - 1));
    say(cost, is_right(n - 1, read_one), took_us, ticks, 0, connect_us, up_s);
    return 0;
}
