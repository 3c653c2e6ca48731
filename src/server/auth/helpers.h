/* Helper processes that log in elsewhere on the server's behalf, with libraries that it should not hold.
 * A bounded number; each does one question at a time, is killed when it takes too long and started anew
 * when it has ended. */
#ifndef PROVOSTD_AUTH_HELPERS_H
#define PROVOSTD_AUTH_HELPERS_H

#include "src/server/auth/helper/message.h"
#include "src/server/auth/method.h"

struct helpers;

struct helpers_setup {
    const char *program;     /* absolute path */
    const char *method;      /* for the log */
    unsigned count;          /* processes at a time, and threads that ask at a time */
    unsigned timeout_ms;     /* for one question */
    struct message settings; /* what each is told first; its texts are copied */
};

/* Starts one, which looks at the settings. NULL with error: one sentence. */
struct helpers *helpers_create(const struct helpers_setup *setup, char *error, size_t error_cap);
/* Kills them. Nobody asks any more; NULL is accepted. */
void helpers_destroy(struct helpers *h);
/* Blocks; at most setup.count threads at a time. Sets what auth_method_ops.verify sets. */
void helpers_ask(struct helpers *h, struct auth_try *t);
/* Each is started anew before its next question: they read their files then. Any thread. */
void helpers_renew(struct helpers *h);

#endif
