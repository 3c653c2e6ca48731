/* What server and login helper say to each other: a letter and some texts, one packet of a
 * SOCK_SEQPACKET socket for each message. Both sides bound what they read. */
#ifndef PROVOSTD_AUTH_MESSAGE_H
#define PROVOSTD_AUTH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#define MESSAGE_MAX ((size_t)16 * 1024)
#define MESSAGE_TEXTS_MAX 32

enum message_kind {
    MESSAGE_SETTINGS = 'S', /* to the helper, first: names and values in turn */
    MESSAGE_READY = 'Y',    /* back: why not, or "" */
    MESSAGE_ASK = 'A',      /* to the helper: enum message_asked */
    MESSAGE_SAYS = 'R'      /* back: enum message_said */
};
enum message_asked { ASKED_USER, ASKED_PASSWORD, ASKED_PEER, ASKED_COUNT };
enum message_said { SAID_VERDICT, SAID_USER, SAID_WHY, SAID_COUNT };
/* Verdicts */
#define SAID_OK "ok"
#define SAID_BAD "bad"
#define SAID_FAILED "failed"

struct message {
    enum message_kind kind;
    size_t count;
    const char *text[MESSAGE_TEXTS_MAX];
};

/* Texts point into the packet. false: it is none. */
bool message_read(const char *packet, size_t len, struct message *out);
/* @return length of the packet; 0: it does not fit. */
size_t message_write(const struct message *m, char *packet, size_t cap);

#endif
