/* What the tests of the store share: a worker, a state directory for each test, records in which no
 * two fields are alike. */
#ifndef TEST_STORE_HELP_H
#define TEST_STORE_HELP_H

#include <pthread.h>
#include <sqlite3.h>

#include "src/server/store/store.h"

#define STORE_URL "sqlite"

struct worker {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct task *head, **tail;
};
extern struct worker the_worker;
extern _Thread_local struct worker *self;
extern _Atomic unsigned logged_failures, logged_back;
/* Runs the next task that is posted to the_worker, waiting for it. */
void worker_run_one(struct worker *w);

/* ---- a state directory for each test ---- */
extern char state[64], error[256];
int set_up(void **unused);
int tear_down(void **unused);
struct store *open_store(void);
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
struct store_change user_change(const char *user, bool enabled);
struct store_change policy_change(uint64_t revision, const char *name);
struct store_change device_change(const char *user, const char *id);

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
struct seen *read_all(struct store *s);
void forget(struct seen *seen);
void assert_same_device(const struct device_record *a, const struct device_record *b);

#define MANY 200 /* submissions that gather */
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
