/* What the tests of the store share: a worker, a state directory for each test, records in which no
 * two fields are alike. */
#ifndef TEST_STORE_HELP_H
#define TEST_STORE_HELP_H

#include <pthread.h>
#include <sqlite3.h>

#include "src/server/store/store.h"

struct worker {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct task *head, **tail;
};
extern struct worker the_worker;
extern _Thread_local struct worker *self;
extern _Atomic unsigned logged_failures, logged_back;
extern char logged_line[600]; /* texts of the last one: key=text key=text */
/* Runs the next task that is posted to the_worker, waiting for it. */
void worker_run_one(struct worker *w);

/* ---- a store for each test, empty: SQLite's, or what the variable PROVOST_STORE_URL says ---- */
extern char state[64], error[256];
int set_up(void **unused);
int tear_down(void **unused);
/* How this test's store is opened, by the name of one of several nodes. */
struct store_options options_of(const char *node);
struct store *open_store(void);
/* In the database of PROVOST_STORE_URL, by another connection. */
void run_sql(const char *sql);
/* Opens it in another directory, or another kind of store; NULL: error is set. */
struct store *open_elsewhere(const char *url, const char *directory);
/* Hold SQLite's file from outside, so that what is submitted meanwhile gathers. */
sqlite3 *hold_file(void);
void release_file(sqlite3 *db);

/* ---- writes that are waited for ---- */
struct wait {
    struct store_write write;
    unsigned order;
    bool done;
};
extern unsigned done_count;
void wait_done(struct store_write *w);
/* Is it durable? */
bool wait_for(struct wait *x);
bool put(struct store *s, const struct store_change *changes, size_t count);
/* Not stored, since the store holds something else; anything but that and stored is a failure. */
bool conflicts(struct store *s, const struct store_change *changes, size_t count);
struct store_change user_change(const char *user, bool enabled);
struct store_change policy_change(uint64_t revision, const char *name);
/* The first of its tags: there is none yet. */
struct store_change device_change(const char *user, const char *id);
/* The next state of a device that is saved. */
void next_tag(struct store_change *c);

/* ---- what a store holds, read back ---- */
#define SEEN_MAX 64
struct seen {
    struct device_record devices[SEEN_MAX];
    struct policy_record policies[SEEN_MAX];
    struct user_record users[SEEN_MAX];
    struct item_record items[SEEN_MAX];
    size_t item_count, device_count, policy_count, user_count, text_count;
    char *texts[SEEN_MAX * 12];
};
extern const struct store_visitor see_all; /* its ctx is a struct seen */
/* Items but bonds, policies, users with flags, devices. */
struct seen *read_all(struct store *s);
struct seen *read_user(struct store *s, const char *user);
void forget(struct seen *seen);
void assert_same_device(const struct device_record *a, const struct device_record *b);

/* Texts of the log's lines behind that id, each with a space, in the order of their ids. */
extern uint64_t line_ids[8];
const char *lines_of(struct store *s, enum store_log which, uint64_t after, unsigned most);

#define MANY 200 /* submissions that gather */
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
