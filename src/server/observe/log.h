/* One line for each event on standard error: time, level, session id, verb, key=value. Raw bytes of
 * a peer never appear: values are escaped and cut. Secrets are never given to it. Safe from any
 * thread; never blocks the server on a slow reader for long (see log.c). */
#ifndef PROVOSTD_LOG_H
#define PROVOSTD_LOG_H

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum kv_kind { KV_END, KV_TEXT, KV_INT, KV_UINT };
struct kv {
    const char *key;
    enum kv_kind kind;
    union { const char *text; int64_t i; uint64_t u; } v;
};
#define KV_TEXT(k, s) { .key = (k), .kind = KV_TEXT, .v.text = (s) }
#define KV_INT(k, n) { .key = (k), .kind = KV_INT, .v.i = (n) }
#define KV_UINT(k, n) { .key = (k), .kind = KV_UINT, .v.u = (n) }

/* session 0: none. LOG(LOG_INFO, id, "refuse", KV_TEXT("user", user), KV_UINT("status", 142)); */
#define LOG(level, session, verb, ...)                                                             \
    do {                                                                                           \
        if (log_on(level))                                                                         \
            log_write(level, session, verb,                                                        \
                      (const struct kv[]){ __VA_ARGS__ __VA_OPT__(, ) { .kind = KV_END } });       \
    } while (0)

void log_open(enum log_level most);
/* Another level from now on; after log_open. */
void log_set_level(enum log_level most);
_Bool log_on(enum log_level level);
void log_write(enum log_level level, uint64_t session, const char *verb, const struct kv *fields);
/* Everything that was logged is written when it returns. */
void log_flush(void);
void log_close(void);

#endif
