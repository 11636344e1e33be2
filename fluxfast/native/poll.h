/* One readiness set: epoll on Linux, kqueue on macOS and BSD, with the same five calls.
 *
 * Level-triggered. The descriptor that fx_poll_create returns is itself readable when an event waits,
 * so it can be handed to another loop (that is how the reactor sits inside uvloop).
 */
#ifndef FLUXFAST_POLL_H
#define FLUXFAST_POLL_H

#include <errno.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#define FX_POLL_READ 1
#define FX_POLL_WRITE 2
#define FX_POLL_HANGUP 4

typedef struct {
    uint32_t id;     /* what the caller registered the descriptor as */
    uint32_t events; /* FX_POLL_* bits */
} fx_poll_event;

#define FX_POLL_BATCH 256

#ifdef __linux__
#include <sys/epoll.h>

static inline int fx_poll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline int fx_poll_change(int set, int op, int fd, uint32_t id, int interest) {
    struct epoll_event e;
    e.events = (interest & FX_POLL_READ ? (uint32_t)EPOLLIN : 0u) |
               (interest & FX_POLL_WRITE ? (uint32_t)EPOLLOUT : 0u);
    e.data.u64 = id;
    return epoll_ctl(set, op, fd, &e);
}
static inline int fx_poll_add(int set, int fd, uint32_t id, int interest) {
    return fx_poll_change(set, EPOLL_CTL_ADD, fd, id, interest);
}
static inline int fx_poll_modify(int set, int fd, uint32_t id, int interest) {
    return fx_poll_change(set, EPOLL_CTL_MOD, fd, id, interest);
}
static inline int fx_poll_wait(int set, fx_poll_event *out, int max, int timeout_ms) {
    struct epoll_event e[FX_POLL_BATCH];
    if (max > FX_POLL_BATCH) max = FX_POLL_BATCH;
    int n = epoll_wait(set, e, max, timeout_ms);
    for (int i = 0; i < n; i++) {
        out[i].id = (uint32_t)e[i].data.u64;
        out[i].events = (e[i].events & EPOLLIN ? FX_POLL_READ : 0u) |
                        (e[i].events & EPOLLOUT ? FX_POLL_WRITE : 0u) |
                        (e[i].events & (EPOLLERR | EPOLLHUP) ? FX_POLL_HANGUP : 0u);
    }
    return n;
}
#else
#include <sys/event.h>
#include <sys/types.h>

static inline int fx_poll_create(void) { return kqueue(); }

static inline int fx_poll_filter(int set, int fd, uint32_t id, int filter, int on) {
    struct kevent k;
    EV_SET(&k, fd, filter, on ? EV_ADD : EV_DELETE, 0, 0, (void *)(uintptr_t)id);
    int r = kevent(set, &k, 1, 0, 0, 0);
    return (r < 0 && !on && errno == ENOENT) ? 0 : r;
}
static inline int fx_poll_modify(int set, int fd, uint32_t id, int interest) {
    if (fx_poll_filter(set, fd, id, EVFILT_READ, interest & FX_POLL_READ) < 0) return -1;
    return fx_poll_filter(set, fd, id, EVFILT_WRITE, interest & FX_POLL_WRITE);
}
static inline int fx_poll_add(int set, int fd, uint32_t id, int interest) {
    return fx_poll_modify(set, fd, id, interest);
}
static inline int fx_poll_wait(int set, fx_poll_event *out, int max, int timeout_ms) {
    struct kevent k[FX_POLL_BATCH];
    struct timespec t = {timeout_ms / 1000, (timeout_ms % 1000) * 1000000L};
    if (max > FX_POLL_BATCH) max = FX_POLL_BATCH;
    int n = kevent(set, 0, 0, k, max, timeout_ms < 0 ? 0 : &t);
    for (int i = 0; i < n; i++) {
        out[i].id = (uint32_t)(uintptr_t)k[i].udata;
        out[i].events = (k[i].filter == EVFILT_READ ? FX_POLL_READ : FX_POLL_WRITE) |
                        (k[i].flags & (EV_EOF | EV_ERROR) ? FX_POLL_HANGUP : 0u);
    }
    return n;
}
#endif

/* Closing a descriptor takes it out of the set on both systems. */

/* Nanoseconds that go on during suspend (a resumed machine must see its data as old). */
static inline int64_t fx_now_ns(void) {
    struct timespec t;
#ifdef CLOCK_BOOTTIME
    clock_gettime(CLOCK_BOOTTIME, &t);
#else
    clock_gettime(CLOCK_MONOTONIC, &t);
#endif
    return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Sleeps for less than a second; a signal may end it early. */
static inline void fx_pause(int64_t ns) {
    struct timespec t = {0, (long)ns};
    nanosleep(&t, 0);
}

#endif
