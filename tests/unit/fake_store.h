/* A store in memory that several nodes of one test share: it compares tags and was_json, tells
 * followers, and can be out of reach, silent or slow. What is submitted is stored when the tasks run,
 * in the order in which it was submitted. One thread. */
#ifndef TEST_FAKE_STORE_H
#define TEST_FAKE_STORE_H

#include "src/server/store/store.h"

struct fake_db; /* what all nodes have */

struct fake_db *fake_db_create(void);
/* After all nodes are closed. */
void fake_db_destroy(struct fake_db *db);
/* Rows, by kind of the change that put them. */
unsigned fake_db_count(const struct fake_db *db, enum store_kind kind);
/* A device as it is stored; NULL: none. Until the next change. */
const struct device_record *fake_db_device(const struct fake_db *db, const char *user,
                                           const char *device_id);
const char *fake_db_item(const struct fake_db *db, const char *kind, const char *name);

/* A node's view of it: the store is the first member. What the test sets: */
struct fake_node {
    struct store base;
    struct fake_db *db;         /* private */
    struct fake_node *next;     /* private */
    bool unheard;               /* its lease is over */
    bool unreachable;           /* reading and writing fail */
    bool deaf;                  /* it does not hear what others change until fake_hear */
    bool holds;                 /* what it submits waits for fake_release */
    bool at_once;               /* what it submits is stored when it is submitted */
    bool loses;                 /* the connection goes during each commit: stored, but nobody knows */
    unsigned conflicts, reads;  /* counted */
    struct store_follower follower; /* private, as the rest */
    struct fake_write *held, **held_tail;
    struct fake_write *queue, **queue_tail; /* on their way */
    struct fake_news *news, **news_tail;
    uint64_t submitted, settled;
};
struct fake_node *fake_node_open(struct fake_db *db);
/* What was submitted of late is stored first: run the tasks. */
void fake_node_close(struct fake_node *n);
/* What a deaf node has missed. */
void fake_hear(struct fake_node *n);
/* The oldest of what it holds goes on its way; false: it holds nothing. */
bool fake_release(struct fake_node *n);

#endif
