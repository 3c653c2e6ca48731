/* A conversation with an IMAP server: login, what the server can do, then commands of the owner and
 * their ends. Everything on one worker. */
#ifndef PROVOSTD_IMAP_SESSION_H
#define PROVOSTD_IMAP_SESSION_H

#include "src/server/imap/facts.h"
#include "src/server/imap/link.h"
#include "src/server/imap/reader.h"

#define IMAP_PIPELINE_MAX 32 /* commands under way */

struct imap_login {
    bool bearer;             /* secret is a token */
    const char *user, *secret;
};

enum imap_end {
    IMAP_END_REFUSED,        /* the login is not taken */
    IMAP_END_LATER,          /* the server answers, but lets nobody in just now */
    IMAP_END_UNREACHABLE,    /* nothing was heard of it, or nothing that makes sense, before the login */
    IMAP_END_CLOSED,         /* by the server, after the login */
    IMAP_END_BROKEN          /* silent or malformed after the login; no memory at any time */
};

struct imap_command { unsigned number, what; };

/* Embed, zeroed but for the callbacks; in any of them it may be closed. */
struct imap_session {
    void (*ready)(struct imap_session *s); /* logged in: what the server can do is known */
    /* What it says apart from ends of commands: IMAP_DATA and IMAP_CONDITION. */
    void (*data)(struct imap_session *s, const struct imap_response *r);
    /* A command of that kind has ended. */
    void (*done)(struct imap_session *s, unsigned what, const struct imap_response *r);
    /* It is over, and closed. why: one sentence for the log. */
    void (*ended)(struct imap_session *s, enum imap_end end, const char *why);

    uint32_t caps;                         /* IMAP_CAP() */
    bool utf8;                             /* names are UTF-8 */
    struct imap_namespaces spaces;
    /* private: */
    struct imap_link link;
    struct imap_reader reader;
    const struct imap_login *login;
    unsigned quiet_ms;                     /* may be changed before a command is said */
    struct timer silence, more;
    uint64_t since_ms;                     /* of the oldest command under way */
    struct imap_command pending[IMAP_PIPELINE_MAX];
    unsigned pending_count, last_number;
    char *answer;                          /* to be said when the server asks to go on; wiped */
    unsigned asked;                        /* to go on with the login */
    bool open, preauth, logged_in, told_caps;
    bool in_idle, idles, leaves_idle;      /* IDLE was said, the server agreed, it is to end */
    bool *gone;                            /* set when it is closed, for who is in the middle of it */
};

/* login lives until ready or ended. quiet_ms: how long the server may say nothing while it is asked.
 * false: no memory; nothing is called then, and nothing before it returns. */
bool imap_session_open(struct imap_session *s, struct imap_net *n, const struct imap_login *login,
                       unsigned quiet_ms);
/* A command without tag and line end; what comes back in done. Not while it idles. false: the session
 * is lost (ended is not called; close it). */
bool imap_say(struct imap_session *s, unsigned what, const char *text);
/* No command is under way. */
bool imap_is_idle(const struct imap_session *s);
/* IDLE (RFC 2177) ends with done, after imap_leave_idle. */
bool imap_idle(struct imap_session *s, unsigned what);
bool imap_leave_idle(struct imap_session *s);
/* Nothing is called any more. polite: the server is told. Twice is fine. */
void imap_session_close(struct imap_session *s, bool polite);

#endif
