/* What methods have in common that block while they verify: threads, a bounded queue. Embed it. */
#ifndef PROVOSTD_AUTH_BLOCKING_H
#define PROVOSTD_AUTH_BLOCKING_H

#include "src/server/auth/method.h"

struct blocking {
    struct auth_method method;
    struct pool *pool;
    unsigned patience_ms; /* who has waited in the queue so long is put off; 0: no limit */
    /* On a thread of the pool. Sets what verify sets. */
    void (*ask)(struct blocking *b, struct auth_try *t);
};

/* false: no memory or threads. */
bool blocking_start(struct blocking *b, unsigned threads);
void blocking_stop(struct blocking *b); /* also when it was never started */
/* For auth_method_ops.verify. */
bool blocking_verify(struct auth_method *m, struct auth_try *t);

#endif
