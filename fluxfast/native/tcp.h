/* TCP sockets as the link wants them: non-blocking, no Nagle, dead peers noticed by the kernel. */
#ifndef FLUXFAST_TCP_H
#define FLUXFAST_TCP_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE instead */
#endif

typedef union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} fx_address;

/* From 4 or 16 bytes in network order. */
static inline void fx_address_set(fx_address *a, const uint8_t *ip, int ip_size, uint16_t port,
                                  uint32_t scope) {
    memset(a, 0, sizeof *a);
    if (ip_size == 4) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons(port);
        memcpy(&a->v4.sin_addr, ip, 4);
    } else {
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons(port);
        a->v6.sin6_scope_id = scope;
        memcpy(&a->v6.sin6_addr, ip, 16);
    }
}

static inline void fx_socket_option(int fd, int level, int name, int value) {
    setsockopt(fd, level, name, &value, sizeof value); /* best effort: none of them is needed to be right */
}

/* Begins to connect; returns the descriptor, or -errno. unacknowledged_ms bounds how long sent data may stay
 * unacknowledged before the kernel gives the connection up (a peer that lost power sends no RST). */
static inline int fx_connect(const fx_address *a, int unacknowledged_ms) {
    socklen_t size = a->any.sa_family == AF_INET ? sizeof a->v4 : sizeof a->v6;
    int fd = socket(a->any.sa_family, SOCK_STREAM, 0);
    if (fd < 0) return -errno;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        int e = errno;
        close(fd);
        return -e;
    }
    fx_socket_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    fx_socket_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef SO_NOSIGPIPE
    fx_socket_option(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
#ifdef TCP_KEEPIDLE
    fx_socket_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
    fx_socket_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 3);
    fx_socket_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
#endif
#ifdef TCP_USER_TIMEOUT
    fx_socket_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, unacknowledged_ms);
#else
    (void)unacknowledged_ms;
#endif
    if (connect(fd, &a->any, size) < 0 && errno != EINPROGRESS) {
        int e = errno;
        close(fd);
        return -e;
    }
    return fd;
}

/* The outcome of a connect, once the descriptor is writable: 0 or an errno. */
static inline int fx_connect_result(int fd) {
    int e = 0;
    socklen_t size = sizeof e;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &size) < 0) e = errno;
    return e;
}

/* After broken framing: RST, so that the peer frees its slot at once and nothing more arrives. */
static inline void fx_abort(int fd) {
    struct linger none = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
}

/* Bytes moved; 0 if the kernel has no room or nothing there now; -1 if the connection is over. */
static inline long fx_send(int fd, const uint8_t *p, long n) {
    ssize_t r;
    do r = send(fd, p, (size_t)n, MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    if (r < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    return r;
}
static inline long fx_receive(int fd, uint8_t *p, long n) {
    ssize_t r;
    do r = recv(fd, p, (size_t)n, 0);
    while (r < 0 && errno == EINTR);
    if (r < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    return r ? r : -1; /* an orderly end is an end too */
}

#endif
