/* How the login helper verifies: one way for its whole life, one question at a time. */
#ifndef PROVOSTD_AUTH_WAY_H
#define PROVOSTD_AUTH_WAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAY_WHY_MAX 128
#define WAY_USER_MAX 128
#define WAY_TEXT_MAX 1024 /* of a text with a name put into it */

enum way_verdict { WAY_OK, WAY_BAD, WAY_FAILED };

/* From the server's configuration; "" where nothing is set. */
struct way_settings {
    const char *way, *domain;
    unsigned timeout_ms;
    const char *url, *ca_file, *user_dn, *bind_dn, *bind_password_file, *base, *filter, *name;
    const char *service;
};

struct way_question {
    const char *user, *password, *peer;
    uint64_t until_ms; /* monotonic: what is not said by then reaches nobody */
};

struct way_answer {
    enum way_verdict verdict;
    char user[WAY_USER_MAX]; /* with OK */
    char why[WAY_WHY_MAX];   /* nothing of the password */
};

uint64_t way_now_ms(void);

struct way {
    const char *name;
    /* false with why: it cannot work so. No server is asked yet. */
    bool (*begin)(const struct way_settings *s, char why[WAY_WHY_MAX]);
    void (*ask)(const struct way_question *q, struct way_answer *a);
    void (*end)(void);
};
extern const struct way way_ldap, way_pam;

#endif
