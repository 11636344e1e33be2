/* The few socket calls that differ between systems. Every descriptor made here is non-blocking and
 * close-on-exec; no call raises SIGPIPE.
 */
#ifndef FLUXFAST_SIM_SOCKET_H
#define FLUXFAST_SIM_SOCKET_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/filter.h>
#endif

static inline int fx_accept(int listener) {
    int on = 1;
#ifdef __linux__
    int fd = accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return fd;
#else
    int fd = accept(listener, 0, 0);
    if (fd < 0) return fd;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
#endif
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* MIG 4.2.1.5: answers leave at once */
    return fd;
}

/* A descriptor held back to be given up when there are no more. */
static inline int fx_spare(void) { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

/* Where a connection arrived, as one number: IPv4 address << 16 | port; ::1 is bit 63 | port; any other
 * address is 0, which no device has. Same numbers as `address_key` in listen.py.
 */
static inline uint64_t fx_local_key(int fd) {
    struct sockaddr_storage s;
    socklen_t size = sizeof s;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (getsockname(fd, (struct sockaddr *)&s, &size) < 0) return 0;
    if (s.ss_family == AF_INET) {
        memcpy(&v4, &s, sizeof v4);
        return ((uint64_t)ntohl(v4.sin_addr.s_addr) << 16) | ntohs(v4.sin_port);
    }
    if (s.ss_family == AF_INET6) {
        memcpy(&v6, &s, sizeof v6);
        if (IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr)) return (1ULL << 63) | ntohs(v6.sin6_port);
    }
    return 0;
}

/* Takes a connection off its network: a filter that lets no packet in, so that not even the kernel acknowledges
 * anything. Best effort: newer kernels want CAP_NET_ADMIN for it; without, the connection is merely silent.
 */
static inline void fx_deafen(int fd) {
#ifdef __linux__
    struct sock_filter drop = {BPF_RET | BPF_K, 0, 0, 0};
    struct sock_fprog program = {1, &drop};
    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
#else
    (void)fd;
#endif
}

/* Brings it back. Its peer may have gone in the meantime, unheard, so the kernel asks it within a second. */
static inline void fx_undeafen(int fd) {
#ifdef __linux__
    int on = 1, probes = 3;
    setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
#else
    (void)fd;
#endif
}

/* Makes the close that follows an RST. */
static inline void fx_reset_on_close(int fd) {
    struct linger none = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

#endif
