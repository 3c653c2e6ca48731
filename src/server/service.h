/* What the manager that has started the server gives it and wants to hear: sd_listen_fds(3),
 * sd_notify(3). Without one all of it does nothing. On the main thread. */
#ifndef PROVOSTD_SERVICE_H
#define PROVOSTD_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- sockets that were handed over ---- */
struct service_socket { int fd; bool taken; };
struct service_sockets { struct service_socket *at; size_t count; };
/* Before the first descriptor is opened. They are closed in programs that are started later, and do
 * not block. false with error, one sentence: one of them cannot be served on. */
bool service_sockets_get(struct service_sockets *s, char *error, size_t error_cap);
/* The one that is bound to what a key says, taken from now on; 0: none is. */
int service_sockets_take(struct service_sockets *s, const char *address);
/* Every one was taken. false: error names one that no key wants; whoever came there would wait for
 * ever. */
bool service_sockets_all_taken(const struct service_sockets *s, char *error, size_t error_cap);
/* Those that were not taken are closed. */
void service_sockets_finish(struct service_sockets *s);

/* ---- what is told ---- */
/* Serving, with one line of what. Also after service_reloading. */
void service_ready(const char *status);
void service_reloading(void);
/* It ends, which takes at most so long. */
void service_stopping(uint64_t within_ms);
/* How often the watchdog wants to hear that all is well; 0: never. */
uint64_t service_watchdog_ms(void);
void service_alive(void);

#endif
