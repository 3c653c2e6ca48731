/* What talk.c and talk_say.c share: one connection, step by step. */
#ifndef PROVOSTD_IMAP_TALK_H
#define PROVOSTD_IMAP_TALK_H

#include "src/server/imap/inner.h"

enum said {
    SAID_NOTHING, /* there is nothing to say of that kind */
    SAID,         /* commands are under way: t->step */
    SAID_LOST     /* the connection is lost, or no memory */
};
/* The next of what is asked for: lists, then looks. */
enum said talk_say_errand(struct talk *t);
/* The server is to tell of what is watched; not without t->held. */
enum said talk_say_watch(struct talk *t);
/* The tree, if it has stirred and somebody waits for it. */
enum said talk_say_tree(struct talk *t);
/* Places that have stirred and that somebody waits for. */
enum said talk_say_looks(struct talk *t);
/* IDLE is of use now. */
bool talk_idles(const struct talk *t);
enum said talk_say_idle(struct talk *t);
enum said talk_say_noop(struct talk *t);
/* The rest of a step that takes more commands than fit at once. */
enum said talk_say_more(struct talk *t);

/* What comes in; and a step has ended. */
void talk_take(struct talk *t, const struct imap_response *r);
void talk_step_ended(struct talk *t);

void talk_stir(struct talk *t, struct place *p); /* NULL is accepted */

#endif
