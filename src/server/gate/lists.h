/* Lists: what every server that shares the store has in memory as a whole: policies and whom they are
 * assigned to, access rules and the default, tokens of the administration, and where upstreams have sent
 * users. A name in the store, their generation, is new after each change by an administrator; who makes
 * one says which generation it was made of, so that two on different servers cannot both be right. */
#ifndef PROVOSTD_GATE_LISTS_H
#define PROVOSTD_GATE_LISTS_H

#include <stdbool.h>

#include "src/server/gate/gate.h"

#define LISTS_KIND "lists"       /* of the store's items; the only one is named: */
#define LISTS_NAME "generation"
#define LISTS_TEXT 19            /* a tag in hexadecimal digits and quotation marks */

enum lists_need {
    LISTS_KNOWN, /* in memory, unless another server is known to have changed them */
    LISTS_FRESH  /* of a shared store: compared with it after it was asked for */
};
/* Must live until ready. */
struct lists_waiter {
    struct task task;          /* private; first, so that the task is the waiter */
    struct lists_waiter *next; /* private */
    struct worker *home;       /* private */
    uint64_t until;            /* private */
    bool ok;                   /* private */
    void (*ready)(struct lists_waiter *w, bool ok); /* on the worker that asked; false: the store is out
                                                       of reach, or what it holds cannot be used */
};
/* On a worker. true: they are, and ready is not called. Else ready comes later. */
bool lists_want(struct gate *g, struct lists_waiter *w, enum lists_need need);
/* Another server has changed lists, or perhaps: they are read again, and nothing that only memory says
 * is believed until then. Any thread; does not block. */
void lists_stale(struct gate *g);
/* Could the lists of that store, which is not the gate's, be read and be in force? From a thread that may
 * block. false: error, one sentence. */
bool gate_lists_fit(struct gate *g, struct store *other, char *error, size_t error_cap);
/* Are lists in memory what this server has heard of? Cheap, any thread. */
bool lists_are_known(const struct gate *g);
/* Once a minute: try again what has failed, and read what may wait. Any thread. */
void lists_look_after(struct gate *g);

/* ---- a change by an administrator ---- */
/* What it was made of, and what it makes. */
struct lists_guard {
    char was[LISTS_TEXT], next[LISTS_TEXT];
};
/* Goes with the submission; borrows from guard. */
struct store_change lists_change(const struct lists_guard *guard);
/* The same without a change: a conflict if another one was made meanwhile. */
struct store_change lists_check(const struct lists_guard *guard);
/* It is durable. true: the caller now puts in memory what it has stored. false: lists were read again
 * meanwhile, with this change; there is nothing left to do. Either way lists_leave follows. Any thread,
 * no shard locked. */
bool lists_enter(struct gate *g, const struct lists_guard *guard);
void lists_leave(struct gate *g);
/* It is not durable. true: since lists have been changed by another server, and are read again now. What
 * nobody knows is read again as well. */
bool lists_failed(struct gate *g, const struct store_write *w);
#define LISTS_CONFLICT "It was changed meanwhile on another server; look at it and try again."

/* A change of items from outside of the gate: it has its turn with the others, is made of lists that
 * are fresh, and durable before done. */
struct lists_submit {
    const struct store_change *changes; /* at most LISTS_SUBMIT_MOST; live until done, with all strings */
    size_t count;
    /* It is durable: into memory. On the worker that asked, and so is done. Must not ask for lists. */
    void (*keep)(struct lists_submit *s);
    void (*done)(struct lists_submit *s, enum gate_result result); /* OK, CONFLICT, STORE; never at
                                                                      once */
    struct store_write write;   /* private, as the rest */
    enum gate_result result;
    struct lists_waiter waiter;
    struct lists_guard guard;
    struct gate *gate;
    void *turn;
};
#define LISTS_SUBMIT_MOST 4
/* On a worker. */
void gate_submit_lists(struct gate *g, struct lists_submit *s);

/* ---- what others keep of lists ---- */
struct lists_part {
    void *(*begin)(void *ctx);                             /* NULL: no memory */
    void (*item)(void *reading, const struct item_record *r); /* of any kind */
    void (*end)(void *ctx, void *reading, bool take);      /* take: in force from now on */
    void *ctx;
    bool behind; /* changed without a new generation, and nothing depends on it: read again now and then */
};
#define LISTS_PARTS_MAX 2
/* Reads it now, in the caller's thread, and whenever lists are read again, in another one. p must live
 * until gate_drop_lists, or as long as the gate. Before serving. false: error is set. */
bool gate_add_lists(struct gate *g, const struct lists_part *p, char *error, size_t error_cap);
/* It is not read from now on, nor is it being read; harmless if it was not added. */
void gate_drop_lists(struct gate *g, const struct lists_part *p);

#endif
