/* Every allocation failing once: users file, logins, configuration, store. */
#include <crypt.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <gnutls/crypto.h>

#include "src/server/auth/auth.h"
#include "src/server/auth/users.h"
#include "src/server/config.h"
#include "src/server/http/worker.h"
#include "src/server/observe/log.h"
#include "src/server/store/store.h"
#include "tests/unit/failing_malloc.h"

/* ---- what the parts need of the server: nobody is a worker, nobody reads the log ---- */
struct worker *worker_self(void)
{
    return NULL;
}

void worker_post(struct worker *w, struct task *t)
{
    (void)w;
    t->fn(t);
}

void timer_set(struct worker *w, struct timer *t, uint64_t in_ms, void (*fn)(struct timer *))
{
    (void)w, (void)t, (void)in_ms, (void)fn;
    fail();
}

bool log_on(enum log_level level)
{
    (void)level;
    return false;
}

void log_write(enum log_level level, uint64_t session, const char *verb, const struct kv *fields)
{
    (void)level, (void)session, (void)verb, (void)fields;
}

/* ---- what others allocate on our behalf (linked with --wrap): as libcrypt and GnuTLS fail ---- */
char *__real_crypt_r(const char *password, const char *hash, struct crypt_data *data);
char *__wrap_crypt_r(const char *password, const char *hash, struct crypt_data *data);
char *__wrap_crypt_r(const char *password, const char *hash, struct crypt_data *data)
{
    static char failed[] = "*0";
    return failing_malloc_refuses() ? failed : __real_crypt_r(password, hash, data);
}

int __real_gnutls_hmac_fast(gnutls_mac_algorithm_t algorithm, const void *key, size_t key_len,
                            const void *text, size_t len, void *mac);
int __wrap_gnutls_hmac_fast(gnutls_mac_algorithm_t algorithm, const void *key, size_t key_len,
                            const void *text, size_t len, void *mac);
int __wrap_gnutls_hmac_fast(gnutls_mac_algorithm_t algorithm, const void *key, size_t key_len,
                            const void *text, size_t len, void *mac)
{
    return failing_malloc_refuses()
               ? GNUTLS_E_MEMORY_ERROR
               : __real_gnutls_hmac_fast(algorithm, key, key_len, text, len, mac);
}

/* ---- files ---- */
static char folder[64], path[96], error[512];

static void write_text(const char *name, const char *text)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **unused)
{
    (void)unused;
    snprintf(folder, sizeof folder, "/tmp/provost-alloc-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **unused)
{
    static const char *const names[] = {"users", "conf", "more.conf", "state/provost.db",
                                        "state"};
    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
    return rmdir(folder); /* which fails if somebody leaves a temporary file behind */
}

/* ---- the users file ---- */
#define ALICE "alice:$6$x$y\n"
#define BOB "# who else\nbob:$6$v$w:further\n"
static struct users *users;

static void users_file(void)
{
    write_text("users", ALICE BOB);
}

static bool users_run_open(void)
{
    error[0] = '\0';
    users = users_open(path, error, sizeof error);
    return users;
}

static void users_not_open(void)
{
    assert_string_not_equal(error, "");
}

static void users_both(void)
{
    assert_true(users_find(users, "alice", NULL));
    assert_true(users_find(users, "bob", NULL));
    assert_false(users_stale(users));
}

static void users_end(void)
{
    users_close(users);
}

static void users_file_opens(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"users_open", users_file, users_run_open, users_not_open,
                                         users_both, users_end});
}

static void users_only_alice(void)
{
    write_text("users", ALICE);
    assert_true(users_run_open());
}

static void users_more_come(void)
{
    users_only_alice();
    write_text("users", ALICE BOB);
}

static bool users_run_reload(void)
{
    error[0] = '\0';
    return users_reload(users, error, sizeof error);
}

static void users_as_before(void)
{
    assert_string_not_equal(error, "");
    assert_true(users_find(users, "alice", NULL));
    assert_false(users_find(users, "bob", NULL));
    assert_true(users_stale(users)); /* so it is tried again */
}

static void users_file_is_read_again(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"users_reload", users_more_come, users_run_reload,
                                         users_as_before, users_both, users_end});
}

/* ---- changes of it ---- */
static const struct edit {
    const char *name, *user, *hash, *want;
    bool must_exist;
} edits[] = {
    {"users_edit, new", "carol", "$6$c$c", ALICE BOB "carol:$6$c$c\n", false},
    {"users_edit, changed", "bob", "$6$c$c", ALICE "# who else\nbob:$6$c$c:further\n", true},
    {"users_edit, removed", "alice", NULL, BOB, true},
}, *edit;

static void assert_users_file(const char *want)
{
    char text[256] = "", hash[USERS_HASH_MAX];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(text, want);
    assert_false(users_stale(users)); /* memory and file are the same */
    assert_int_equal(users_find(users, "alice", hash), strstr(want, "alice:") != NULL);
    assert_int_equal(users_find(users, "carol", hash), strstr(want, "carol:") != NULL);
    assert_true(users_find(users, "bob", hash));
    assert_non_null(strstr(want, hash));
}

static void edit_begin(void)
{
    users_file();
    assert_true(users_run_open());
}

static bool edit_run(void)
{
    enum auth_edit e = users_edit(users, edit->user, edit->hash, edit->must_exist);
    assert_true(e == AUTH_EDIT_OK || e == AUTH_EDIT_FAILED);
    return e == AUTH_EDIT_OK;
}

static void edit_not_done(void)
{
    assert_users_file(ALICE BOB);
}

static void edit_done(void)
{
    assert_users_file(edit->want);
}

static void users_file_is_changed(void **unused)
{
    (void)unused;
    for (edit = edits; edit < edits + sizeof edits / sizeof *edits; edit++)
        failing_malloc_sweep(&(struct sweep){edit->name, edit_begin, edit_run, edit_not_done,
                                             edit_done, users_end});
}

/* ---- logins ---- */
static struct config config = {
    .auth = {.method = {{"file"}, 1}, .cache_seconds = 300, .threads = 1}};
static struct auth *auth;
static sem_t verified;

static void login_file(void)
{
    char line[512];
    snprintf(line, sizeof line, "ann:%s\n", crypt("secret", "$6$rounds=1000$salt"));
    write_text("users", line);
    config.auth.file = path;
}

static bool auth_run_create(void)
{
    error[0] = '\0';
    auth = auth_create(&config, NULL, error, sizeof error);
    return auth;
}

static void login_begin(void)
{
    login_file();
    assert_true(auth_run_create());
}

static void auth_end(void)
{
    auth_destroy(auth);
}

static void login_judged(struct auth_check *q)
{
    (void)q;
    sem_post(&verified);
}

/* What cannot be verified is never refused as wrong: a phone would ask for the password. */
static bool login_as(const char *authorization, enum auth_verdict want)
{
    struct auth_check q = {.authorization = authorization, .peer = "192.0.2.1",
                           .done = login_judged};
    sem_init(&verified, 0, 0);
    if (!auth_start(auth, &q))
        sem_wait(&verified);
    sem_destroy(&verified);
    if (q.verdict == want)
        assert_string_equal(q.user, "ann");
    else
        assert_int_equal(q.verdict, AUTH_FAILED);
    return q.verdict == want;
}

static bool login_right(void)
{
    return login_as("Basic YW5uOnNlY3JldA==", AUTH_OK);
}

static bool login_wrong(void)
{
    return login_as("Basic YW5uOnNlY3JldHM=", AUTH_BAD);
}

static void login_works(void)
{
    assert_true(login_right());
}

static void logins_are_verified(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"auth_create", login_file, auth_run_create, users_not_open,
                                         login_works, auth_end});
    failing_malloc_sweep(&(struct sweep){"auth_start", login_begin, login_right, NULL, login_works,
                                         auth_end});
    failing_malloc_sweep(&(struct sweep){"auth_start, wrong password", login_begin, login_wrong,
                                         NULL, login_works, auth_end});
}

/* ---- another configuration of logins ---- */
static bool all_differ(const struct config *a, const struct config *b, const char *prefix)
{
    (void)a, (void)b, (void)prefix;
    return true;
}

static bool change_run(void)
{
    static struct config other;
    other = config;
    other.auth.threads = 3;
    error[0] = '\0';
    struct auth_change *change = auth_change_make(auth, &other, all_differ, error, sizeof error);
    if (change) auth_change_use(auth, change);
    auth_reap(auth);
    return change;
}

static void logins_are_verified_anew(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"auth_change_make", login_begin, change_run,
                                         users_not_open, login_works, auth_end});
}

/* ---- logins that others verify; nobody listens there ---- */
static struct config elsewhere = {
    .domain = "example.org",
    .auth = {.threads = 2, .timeout = 10, .helper = HELPER,
             .imap = {.url = "imap://127.0.0.1:1", .user = "%u"},
             .ldap = {.url = "ldap://127.0.0.1:1", .base = "dc=x", .filter = "(uid=%n)",
                      .name = "uid"}}};

static bool elsewhere_run_create(void)
{
    error[0] = '\0';
    auth = auth_create(&elsewhere, NULL, error, sizeof error);
    return auth;
}

static void elsewhere_begin(void)
{
    assert_true(elsewhere_run_create());
}

/* Out of memory and out of reach are one answer. */
static bool elsewhere_login(void)
{
    assert_false(login_as("Basic YW5uOnNlY3JldA==", AUTH_OK));
    return true;
}

static void elsewhere_works(void)
{
    assert_true(elsewhere_login());
}

static void logins_are_verified_elsewhere(void **unused)
{
    static const char *const methods[] = {"imap", "ldap"};
    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        elsewhere.auth.method = (struct config_names){{methods[i]}, 1};
        print_message("# %s\n", methods[i]);
        failing_malloc_sweep(&(struct sweep){"auth_create", NULL, elsewhere_run_create,
                                             users_not_open, elsewhere_works, auth_end});
        failing_malloc_sweep(&(struct sweep){"auth_start", elsewhere_begin, elsewhere_login, NULL,
                                             elsewhere_works, auth_end});
    }
}

/* ---- configuration ---- */
static struct config *loaded;

static void config_files(void)
{
    write_text("more.conf", "domain = \"example.org\";\n");
    write_text("conf", "listen = [\":1\", \":2\"];\nstate = \"here\";\n"
                       "@include \"more.conf\"\n"
                       "mailbox = { path = \"mail/%u\"; special = { sent = \"Gone\"; }; };\n");
}

static bool config_run(void)
{
    error[0] = '\0';
    loaded = config_load(path, error, sizeof error);
    return loaded;
}

static void config_not_loaded(void)
{
    assert_non_null(strstr(error, "out of memory"));
}

static void config_whole(void)
{
    char want[96];
    snprintf(want, sizeof want, "%s/here", folder);
    assert_string_equal(loaded->state, want);
    snprintf(want, sizeof want, "%s/users", folder);
    assert_string_equal(loaded->auth.file, want);
    assert_string_equal(loaded->domain, "example.org");
    assert_int_equal(loaded->listen.count, 2);
    assert_string_equal(loaded->mailbox.sent.name[0], "Gone");
    assert_int_equal(loaded->mailbox.trash.count, 3);
    assert_string_equal(loaded->mailbox.trash.name[2], "Deleted Messages");
}

static void config_end(void)
{
    config_free(loaded);
}

static void configuration_is_read(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"config_load", config_files, config_run,
                                         config_not_loaded, config_whole, config_end});
}

/* Read again: what is in force stays whatever happens. */
static struct config *again;
static struct config_text waiting;

static bool config_run_again(void)
{
    error[0] = '\0';
    again = config_reload(loaded, &waiting, error, sizeof error);
    return again;
}

static void config_not_again(void)
{
    assert_non_null(strstr(error, "out of memory"));
    assert_ptr_equal(config_now(loaded), loaded);
}

static void config_whole_again(void)
{
    assert_false(config_differs(loaded, again, ""));
    assert_ptr_equal(again->groups.block, loaded->groups.block);
}

static void config_end_again(void)
{
    config_drop(again);
    again = NULL;
}

static void configuration_is_read_again(void **unused)
{
    (void)unused;
    config_files();
    assert_true(config_run());
    failing_malloc_sweep(&(struct sweep){"config_reload", NULL, config_run_again, config_not_again,
                                         config_whole_again, config_end_again});
    config_free(loaded);
    loaded = NULL;
}

/* ---- store ---- */
static struct store *store;
static char state[96];
static size_t devices;
static uint32_t key;

static bool store_run_open(void)
{
    snprintf(state, sizeof state, "%s/state", folder);
    error[0] = '\0';
    store = store_open(&(struct store_options){.url = "sqlite", .state = state}, error, sizeof error);
    return store;
}

static void store_begin(void)
{
    assert_true(store_run_open());
}

static void store_end(void)
{
    store_close(store);
}

struct wait {
    struct store_write write;
    sem_t done;
};

static void wait_done(struct store_write *w)
{
    sem_post(&((struct wait *)w)->done);
}

static bool store_run_submit(void)
{
    const struct store_change changes[] = {
        {.kind = STORE_PUT_DEVICE,
         .u.device = {.tag = store_tag(), .user = "ann", .device_id = "DEV1", .device_type = "Phone",
                      .user_agent = "x", .partnership = {.key = 4711}}},
        {.kind = STORE_PUT_INFO, .u.info = {"ann", "DEV1", 1, "{\"Model\":\"M\"}", NULL}},
        {.kind = STORE_PUT_ITEM, .u.item = {"rule", "1", "{}"}},
        {.kind = STORE_PUT_TRAIL, .u.trail = {"ann", "DEV1", "[4]"}},
        {.kind = STORE_ADD_AUDIT, .u.log = {0, "{}"}},
        {.kind = STORE_PUT_FOLDER_STATE,
         .u.folder_state = {"ann", "DEV1", 7, 6, "[1]", "[2]", "{}"}},
        {.kind = STORE_PUT_FOLDER_IDS, .u.folder_ids = {"ann", "[3]"}},
    };
    struct wait w = {.write.done = wait_done};
    sem_init(&w.done, 0, 0);
    bool queued = store_submit(store, changes, sizeof changes / sizeof *changes, &w.write);
    if (queued)
        sem_wait(&w.done);
    sem_destroy(&w.done);
    return queued && w.write.durable;
}

static void see_device(void *ctx, const struct device_record *r)
{
    (void)ctx;
    devices++;
    key = r->partnership.key;
}

static bool store_run_load(void)
{
    devices = key = 0;
    return store_read_devices(store, &(struct store_query){.most = 9}, see_device, NULL);
}

static void store_holds_nothing(void)
{
    assert_true(store_run_load());
    assert_int_equal(devices, 0);
}

static void store_holds_it(void)
{
    assert_true(store_run_load());
    assert_int_equal(devices, 1);
    assert_int_equal(key, 4711);
}

static void store_forget(void)
{
    const struct store_change c = {.kind = STORE_REMOVE_USER, .u.user = {"ann", true}};
    assert_true(store_submit(store, &c, 1, NULL));
    store_close(store);
}

static struct folder_state_record state_read;
static struct folder_ids_record ids_read;
static struct info_record info_read;
static struct trail_record trail_read;
static struct item_record item_read;
static void *blocks[5];
static unsigned lines_read, rows_read;

static void store_put_begin(void)
{
    store_begin();
    assert_true(store_run_submit());
}

static void see_line(void *ctx, const struct log_record *r)
{
    (void)ctx;
    lines_read += r->id == 1 && strcmp(r->json, "{}") == 0;
}

static void see_user(void *ctx, const char *user)
{
    (void)ctx;
    rows_read += strcmp(user, "ann") == 0;
}

static void see_row(void *ctx, const struct device_record *r)
{
    see_user(ctx, r->user);
}

static bool store_run_read(void)
{
    uint64_t count = 0;
    lines_read = rows_read = 0;
    const int found[] = {
        store_read_folder_state(store, "ann", "DEV1", &state_read, &blocks[0]),
        store_read_folder_ids(store, "ann", &ids_read, &blocks[1]),
        store_read_info(store, "ann", "DEV1", &info_read, &blocks[2]),
        store_read_trail(store, "ann", "DEV1", &trail_read, &blocks[3]),
        store_read_item(store, "rule", "1", &item_read, &blocks[4]),
    };
    bool all = store_read_log(store, STORE_LOG_AUDIT, 0, 9, see_line, NULL) &&
               store_read_user(store, "ann", &(struct store_visitor){.device = see_row}, NULL) &&
               store_read_users_of(store, "DEV1", 9, see_user, NULL) &&
               store_count_devices(store, &count) && count == 1;
    for (size_t i = 0; i < 5; i++) {
        assert_true(found[i] == 1 || found[i] == -1); /* never "not there" */
        all = all && found[i] == 1;
    }
    for (size_t i = 0; i < 5 && !all; i++)
        free(found[i] == 1 ? blocks[i] : NULL);
    return all;
}

static void store_was_read(void)
{
    assert_int_equal(state_read.key, 7);
    assert_string_equal(state_read.tree_json, "[1]");
    assert_string_equal(ids_read.ids_json, "[3]");
    assert_string_equal(info_read.info_json, "{\"Model\":\"M\"}");
    assert_string_equal(trail_read.trail_json, "[4]");
    assert_string_equal(item_read.json, "{}");
    assert_int_equal(lines_read, 1);
    assert_int_equal(rows_read, 2);
    for (size_t i = 0; i < 5; i++)
        free(blocks[i]);
}

static void the_store_writes_and_reads(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"store_open", NULL, store_run_open, users_not_open,
                                         store_holds_nothing, store_end});
    failing_malloc_sweep(&(struct sweep){"store_submit", store_begin, store_run_submit,
                                         store_holds_nothing, store_holds_it, store_forget});
    failing_malloc_sweep(&(struct sweep){"store_read", store_put_begin, store_run_read, NULL,
                                         store_was_read, store_forget});
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(users_file_opens),
        TEST(users_file_is_read_again),
        TEST(users_file_is_changed),
        TEST(logins_are_verified),
        TEST(logins_are_verified_elsewhere),
        TEST(logins_are_verified_anew),
        TEST(configuration_is_read),
        TEST(configuration_is_read_again),
        TEST(the_store_writes_and_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
