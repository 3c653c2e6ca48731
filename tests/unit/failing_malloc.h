/* Every allocation failing once. Linked with --wrap, so that only what our own objects (and the
 * test) ask for counts and fails, not what SQLite or libc take for themselves. A test that wants
 * jansson to fail as well calls json_set_alloc_funcs(malloc, free): its malloc is a wrapped one. */
#ifndef TEST_FAILING_MALLOC_H
#define TEST_FAILING_MALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* One thing to be done without memory. What it works on is the test's own. */
struct sweep {
    const char *name;
    void (*begin)(void);     /* before each round; may be NULL */
    bool (*run)(void);       /* allocations fail here. false: it says that it failed */
    void (*unchanged)(void); /* after a failure; may be NULL. Then run must succeed */
    void (*check)(void);     /* after success: everything that it promises is there */
    void (*end)(void);       /* frees; may be NULL */
};

/* Round after round, the first, the second, ... allocation of run fails until run needs no more
 * than were granted; then again, where all that follow fail, too. Each round ends well: run either
 * says that it failed and succeeds when it is called again, or has succeeded as far as check can
 * tell. Prints how many allocations failed. */
void failing_malloc_sweep(const struct sweep *s);
/* For what else a test wraps: is this call one that fails? errno is set then. */
bool failing_malloc_refuses(void);

#endif
