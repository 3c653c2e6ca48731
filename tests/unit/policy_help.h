/* What the tests of the policy model share. */
#ifndef TESTS_POLICY_HELP_H
#define TESTS_POLICY_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <provost/policy.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static unsigned char block[1 << 18] __attribute__((aligned(16)));
static unsigned char scratch_block[1 << 18] __attribute__((aligned(16)));
static struct pv_arena arena, scratch;

static inline int fresh(void **state)
{
    (void)state;
    pv_arena_init(&arena, block, sizeof block);
    pv_arena_init(&scratch, scratch_block, sizeof scratch_block);
    return 0;
}

static inline enum pv_err set(struct pv_policy *p, const char *name, const char *value,
                              char message[200])
{
    return pv_policy_set(p, &arena, name, value, message, 200);
}

/* "A=1 B=2" */
static inline struct pv_policy policy_of(const char *settings)
{
    struct pv_policy p = {0};
    char copy[2048], message[200], *save, *pair;

    snprintf(copy, sizeof copy, "%s", settings);
    for (pair = strtok_r(copy, " ", &save); pair; pair = strtok_r(NULL, " ", &save)) {
        char *equals = strchr(pair, '=');
        assert_non_null(equals);
        *equals = '\0';
        if (set(&p, pair, equals + 1, message)) fail_msg("%s", message);
    }
    return p;
}

static inline bool hash_differs(const struct pv_policy *a, const struct pv_policy *b,
                                enum pv_version v)
{
    uint8_t x[PV_HASH_LEN], y[PV_HASH_LEN];

    assert_int_equal(pv_policy_hash(a, v, &scratch, x), PV_OK);
    assert_int_equal(pv_policy_hash(b, v, &scratch, y), PV_OK);
    return memcmp(x, y, sizeof x) != 0;
}

#endif
