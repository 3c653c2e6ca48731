#include "src/server/service.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "src/server/http/http.h"

/* ---- sockets ---- */

static bool make_ready(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return sd_is_socket(fd, 0, SOCK_STREAM, 1) > 0 && flags >= 0 &&
           fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

bool service_sockets_get(struct service_sockets *s, char *error, size_t error_cap)
{
    int n = sd_listen_fds(1);
    *s = (struct service_sockets){0};
    if (n < 0) {
        snprintf(error, error_cap, "sockets were handed over wrongly: %s", strerror(-n));
        return false;
    }
    if (n == 0) return true;
    s->at = calloc((size_t)n, sizeof *s->at);
    if (!s->at) {
        snprintf(error, error_cap, "out of memory");
        return false;
    }
    for (; s->count < (size_t)n; s->count++) {
        int fd = SD_LISTEN_FDS_START + (int)s->count;
        s->at[s->count].fd = fd;
        if (make_ready(fd)) continue;
        snprintf(error, error_cap, "descriptor %d, which was handed over, is no listening socket",
                 fd);
        return false;
    }
    return true;
}

int service_sockets_take(struct service_sockets *s, const char *address)
{
    for (size_t i = 0; i < s->count; i++)
        if (!s->at[i].taken && http_is_bound(s->at[i].fd, address)) {
            s->at[i].taken = true;
            return s->at[i].fd;
        }
    return 0;
}

bool service_sockets_all_taken(const struct service_sockets *s, char *error, size_t error_cap)
{
    char name[HTTP_NAME_MAX];
    for (size_t i = 0; i < s->count; i++) {
        if (s->at[i].taken) continue;
        http_name_bound(s->at[i].fd, name);
        snprintf(error, error_cap,
                 "the socket %s was handed over, but none of listen, admin.socket and admin.listen "
                 "names it",
                 name);
        return false;
    }
    return true;
}

void service_sockets_finish(struct service_sockets *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (!s->at[i].taken) close(s->at[i].fd);
    free(s->at);
    *s = (struct service_sockets){0};
}

/* ---- telling ---- */

void service_ready(const char *status)
{
    sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

/* The time tells this reload from what was said before. */
void service_reloading(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=Reloading the configuration",
               (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000);
}

void service_stopping(uint64_t within_ms)
{
    sd_notifyf(0,
               "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64
               "\nSTATUS=Ending what is under way, then leaving",
               within_ms * 1000);
}

uint64_t service_watchdog_ms(void)
{
    uint64_t usec = 0;
    return sd_watchdog_enabled(0, &usec) > 0 ? usec / 1000 : 0;
}

void service_alive(void)
{
    sd_notify(0, "WATCHDOG=1");
}
