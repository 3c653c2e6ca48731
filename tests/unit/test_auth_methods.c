/* What all login methods have in common, with methods that obey. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "src/lib/base/base64.h"
#include "src/server/auth/method.h"
#include "src/server/observe/log.h"

/* ---- the world: one worker, whose timers run when told ---- */
static struct timer *held;
static unsigned long long held_ms;

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
    (void)w;
    assert_null(held);
    t->fn = fn;
    held = t;
    held_ms = in_ms;
}

static void timer_comes(void)
{
    struct timer *t = held;
    assert_non_null(t);
    held = NULL;
    t->fn(t);
}

static unsigned errors_logged;

bool log_on(enum log_level level)
{
    return level == LOG_ERROR;
}

void log_write(enum log_level level, uint64_t session, const char *verb, const struct kv *fields)
{
    (void)level, (void)session, (void)fields;
    assert_string_equal(verb, "logins-not-verified");
    errors_logged++;
}

/* ---- a method that obeys ---- */
struct fake {
    struct auth_method method;
    struct auth_method_ops ops;
    enum auth_verdict verdict;
    const char *user; /* what it tells; NULL: as it was given */
    const char *why;
    int64_t until;
    bool later;
    struct auth_try *asked; /* with later: it waits for its answer */
    unsigned count;
    char seen_user[AUTH_USER_MAX], seen_login[AUTH_USER_MAX], seen_secret[LOGIN_PASSWORD_MAX];
};

static struct fake password, bearer, certificate;

static void answer(struct fake *f, struct auth_try *t)
{
    t->verdict = f->verdict;
    if (f->user) snprintf(t->user, sizeof t->user, "%s", f->user);
    if (f->why) snprintf(t->why, sizeof t->why, "%s", f->why);
    t->until = f->until;
}

static bool fake_verify(struct auth_method *m, struct auth_try *t)
{
    struct fake *f = CONTAINER_OF(m, struct fake, method);
    const char *secret = t->kind == AUTH_PASSWORD ? t->login.password
                         : t->kind == AUTH_BEARER ? t->token
                                                  : t->certificate;
    f->count++;
    snprintf(f->seen_user, sizeof f->seen_user, "%s", t->user);
    snprintf(f->seen_login, sizeof f->seen_login, "%s", t->login.name);
    snprintf(f->seen_secret, sizeof f->seen_secret, "%s", secret);
    if (f->later) {
        f->asked = t;
        return false;
    }
    answer(f, t);
    return true;
}

static void fake_says(struct fake *f)
{
    struct auth_try *t = f->asked;
    assert_non_null(t);
    f->asked = NULL;
    answer(f, t);
    t->done(t);
}

static void fake_init(struct fake *f, const char *name, enum auth_kind kind)
{
    *f = (struct fake){.ops = {.name = name, .kinds = 1u << kind, .verify = fake_verify}};
    f->method.ops = &f->ops;
}

static struct config config;
static struct auth *auth;
static char error[256];

static void start(size_t count, const char *first, const char *second)
{
    static struct auth_method *const made[] = {&password.method, &bearer.method,
                                               &certificate.method, NULL};
    config.auth.method = (struct config_names){{first, second}, count};
    auth = auth_create(&config, made, error, sizeof error);
}

static int set_up(void **state)
{
    (void)state;
    config = (struct config){.domain = "example.org", .auth = {.cache_seconds = 300, .threads = 1}};
    fake_init(&password, "imap", AUTH_PASSWORD);
    fake_init(&bearer, "oauth", AUTH_BEARER);
    fake_init(&certificate, "certificate", AUTH_CERTIFICATE);
    held = NULL;
    errors_logged = 0;
    start(2, "imap", "oauth");
    return auth ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    auth_destroy(auth);
    return 0;
}

static unsigned done;

static void check_done(struct auth_check *q)
{
    (void)q;
    done++;
}

static struct auth_check check;

/* true: answered at once. */
static bool ask_field(const char *field, const char *peer)
{
    check = (struct auth_check){.authorization = field, .peer = peer, .done = check_done};
    done = 0;
    return auth_start(auth, &check);
}

static const char *basic(const char *name, const char *word)
{
    static char field[512];
    char plain[300];
    snprintf(plain, sizeof plain, "%s:%s", name, word);
    strcpy(field, "Basic ");
    assert_int_equal(
        pv__base64_encode((const uint8_t *)plain, strlen(plain), field + 6, sizeof field - 6),
        PV_OK);
    return field;
}

static bool ask(const char *name, const char *word)
{
    return ask_field(basic(name, word), "192.0.2.1");
}

static void assert_answer(enum auth_verdict verdict, const char *user)
{
    assert_int_equal(check.verdict, verdict);
    assert_string_equal(check.user, user);
}

/* ---- tests ---- */

static void each_kind_goes_to_the_first_that_takes_it(void **state)
{
    (void)state;
    assert_true(ask("ann", "secret"));
    assert_answer(AUTH_OK, "ann");
    assert_string_equal(password.seen_secret, "secret");
    bearer.user = "bob";
    assert_true(ask_field("Bearer to.ken", "192.0.2.1"));
    assert_answer(AUTH_OK, "bob");
    assert_string_equal(bearer.seen_secret, "to.ken");
    assert_string_equal(bearer.seen_user, "");
    static const char *const nothing[] = {NULL, "", "Negotiate x", "Basic !", "Bearer a b"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        assert_true(ask_field(nothing[i], "192.0.2.1"));
        assert_answer(AUTH_BAD, "");
    }
    assert_int_equal(password.count + bearer.count, 2);
    assert_int_equal(auth_kinds(auth), 1u << AUTH_PASSWORD | 1u << AUTH_BEARER);
}

/* With both at hand the order of the list decides. */
static void a_certificate_and_a_password(void **state)
{
    (void)state;
    certificate.user = "Carl@Example.org";
    for (int first = 0; first < 2; first++) {
        auth_destroy(auth);
        start(2, first ? "certificate" : "imap", first ? "imap" : "certificate");
        assert_non_null(auth);
        struct auth_check q = {.authorization = basic("ann", "x"),
                               .certificate = "DER",
                               .certificate_len = 3,
                               .peer = "::1"};
        assert_true(auth_start(auth, &q));
        assert_string_equal(q.user, first ? "carl" : "ann");
        q.authorization = NULL;
        assert_true(auth_start(auth, &q));
        assert_string_equal(q.user, "carl");
        q.certificate = NULL;
        assert_true(auth_start(auth, &q));
        assert_int_equal(q.verdict, AUTH_BAD);
    }
    assert_int_equal(certificate.count, 2);
}

static void a_method_that_is_never_asked_is_refused(void **state)
{
    (void)state;
    auth_destroy(auth);
    start(2, "imap", "imap");
    assert_null(auth);
    assert_non_null(strstr(error, "never be asked"));
    start(1, "upstream", NULL);
    assert_null(auth);
    assert_non_null(strstr(error, "\"upstream\" has nothing to verify with"));
}

static void one_name_however_it_is_typed(void **state)
{
    (void)state;
    static const char *const typed[] = {"Ann", "ANN@example.org", "CORP\\ann", "ann@EXAMPLE.ORG"};
    for (size_t i = 0; i < sizeof typed / sizeof *typed; i++) {
        assert_true(ask(typed[i], "secret"));
        assert_answer(AUTH_OK, "ann");
    }
    assert_int_equal(password.count, 1); /* the same person, the same password */
    assert_string_equal(password.seen_login, "Ann");
    assert_string_equal(password.seen_user, "ann");

    /* Which other letters a server takes for these nobody knows. */
    assert_true(ask("\xc3\x84nn", "secret"));
    assert_answer(AUTH_BAD, "\xc3\x84nn");
    assert_non_null(strstr(check.why, "ASCII"));
    assert_true(ask("an n", "secret"));
    assert_answer(AUTH_BAD, "an n");
    assert_int_equal(password.count, 1);

    auth_destroy(auth);
    config.auth.case_sensitive = true;
    start(1, "imap", NULL);
    assert_true(ask("Ann@example.org", "secret"));
    assert_answer(AUTH_OK, "Ann");
    assert_true(ask("\xc3\x84nn", "secret"));
    assert_answer(AUTH_OK, "\xc3\x84nn");
}

static void the_method_tells_the_name(void **state)
{
    (void)state;
    password.ops.tells_name = true;
    password.user = "Ann";
    for (int i = 0; i < 2; i++) { /* the second time it is the cache that does */
        assert_true(ask("alias@other.org", "secret"));
        assert_answer(AUTH_OK, "ann");
        assert_true(ask("\xc3\x84nn", "secret"));
        assert_answer(AUTH_OK, "ann");
    }
    assert_int_equal(password.count, 2);
    password.user = "no name";
    assert_true(ask("x", "secret"));
    assert_int_equal(check.verdict, AUTH_BAD);
    assert_non_null(strstr(check.why, "cannot be a user's"));
}

static void what_was_verified_is_remembered(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) assert_true(ask("ann", "secret"));
    assert_int_equal(password.count, 1);
    password.verdict = AUTH_BAD;
    assert_true(ask("ann", "Secret"));
    assert_int_equal(check.verdict, AUTH_BAD);
    assert_true(ask("anna", "secret"));
    assert_int_equal(check.verdict, AUTH_BAD);
    assert_true(ask("ann", "secret"));
    assert_int_equal(check.verdict, AUTH_OK);
    assert_int_equal(password.count, 3);

    /* ... until the upstream says otherwise */
    auth_forget(auth, basic("bob", "secret"));
    auth_forget(auth, NULL);
    assert_true(ask("ann", "secret"));
    assert_int_equal(check.verdict, AUTH_OK);
    auth_forget(auth, basic("CORP\\ANN", "secret"));
    assert_true(ask("ann", "secret"));
    assert_int_equal(check.verdict, AUTH_BAD);
    assert_int_equal(password.count, 4);
}

static void a_token_ends(void **state)
{
    (void)state;
    bearer.user = "bob";
    bearer.until = (int64_t)time(NULL) + 1000;
    assert_true(ask_field("Bearer x", "192.0.2.1"));
    assert_true(ask_field("Bearer x", "192.0.2.1"));
    assert_int_equal(bearer.count, 1);
    auth_forget(auth, "Bearer x");
    bearer.until = (int64_t)time(NULL);
    assert_true(ask_field("Bearer x", "192.0.2.1"));
    assert_true(ask_field("Bearer x", "192.0.2.1"));
    assert_int_equal(bearer.count, 3);
}

/* A server that is down: nobody is told that his password is wrong, and nobody is let in. */
static void who_cannot_say_refuses_nobody(void **state)
{
    (void)state;
    password.verdict = AUTH_FAILED;
    password.why = "connection refused";
    for (int i = 0; i < 100; i++) {
        assert_true(ask("ann", "secret"));
        assert_answer(AUTH_FAILED, "ann");
        assert_string_equal(check.why, "connection refused");
    }
    assert_int_equal(password.count, 100);
    assert_int_equal(errors_logged, 1);
    password.verdict = AUTH_OK;
    assert_true(ask("ann", "secret"));
    assert_answer(AUTH_OK, "ann");
}

static void what_is_stale_is_not_stretched(void **state)
{
    (void)state;
    auth_destroy(auth);
    config.auth.cache_seconds = 0;
    start(1, "imap", NULL);
    assert_true(ask("ann", "secret"));
    assert_int_equal(check.verdict, AUTH_OK);
    password.verdict = AUTH_FAILED;
    assert_true(ask("ann", "secret"));
    assert_int_equal(check.verdict, AUTH_FAILED);
}

static void failures_are_held_back_and_put_off(void **state)
{
    (void)state;
    password.verdict = AUTH_BAD;
    for (int i = 0; i < 5; i++) assert_true(ask("ann", "wrong"));
    for (int i = 5; i < 19; i++) {
        assert_false(ask("ANN", "wrong")); /* another spelling is no way round */
        assert_int_equal(done, 0);
        assert_int_equal(held_ms, i - 5 < 3 ? 1000 << (i - 5) : 8000);
        timer_comes();
        assert_int_equal(done, 1);
        assert_answer(AUTH_BAD, "ann");
    }
    assert_int_equal(password.count, 19);
    /* Twenty at once: who comes first is held back, the others were not even looked at. */
    password.later = true;
    assert_false(ask("ann", "wrong"));
    struct auth_try *first = password.asked;
    fake_says(&password);
    assert_non_null(first);
    timer_comes();
    assert_true(ask("ann", "wrong"));
    assert_answer(AUTH_LATER, "ann");
    assert_int_equal(check.retry_after, 60);
    assert_int_equal(password.count, 20);
}

static void a_queue_is_not_worked_off_for_nothing(void **state)
{
    (void)state;
    password.verdict = AUTH_BAD;
    for (int i = 0; i < 19; i++)
        if (!ask("ann", "wrong")) timer_comes();
    password.later = true;
    struct auth_check queued = {
        .authorization = basic("ann", "secret"), .peer = "192.0.2.1", .done = check_done};
    assert_false(auth_start(auth, &queued));
    struct auth_try *waits = password.asked;
    assert_false(auth_try_hopeless(waits));
    password.later = false;
    assert_false(ask("ann", "wrong"));
    timer_comes();
    assert_true(auth_try_hopeless(waits));
    waits->done(waits);
    assert_int_equal(queued.verdict, AUTH_LATER);
}

/* Tokens name nobody before they are verified: one stranger's do not shut out the others'. */
static void failed_tokens_count_for_their_address(void **state)
{
    (void)state;
    bearer.verdict = AUTH_BAD;
    for (int i = 0; i < 60; i++)
        if (!ask_field("Bearer bad", "192.0.2.1")) timer_comes();
    assert_true(ask_field("Bearer bad", "192.0.2.1"));
    assert_int_equal(check.verdict, AUTH_LATER);
    assert_true(ask_field("Bearer bad", "192.0.2.2"));
    assert_int_equal(check.verdict, AUTH_BAD);
    bearer.verdict = AUTH_OK;
    bearer.user = "bob";
    assert_true(ask_field("Bearer good", "192.0.2.3"));
    assert_answer(AUTH_OK, "bob");
}

static void there_is_no_users_file(void **state)
{
    (void)state;
    char name[AUTH_USER_MAX];
    assert_int_equal(auth_user_add(auth, "ann", "x"), AUTH_EDIT_NO_FILE);
    assert_int_equal(auth_user_passwd(auth, "ann", "x"), AUTH_EDIT_NO_FILE);
    assert_int_equal(auth_user_remove(auth, "ann"), AUTH_EDIT_NO_FILE);
    assert_int_equal(auth_user_each(auth, NULL, 1, NULL, NULL), AUTH_EDIT_NO_FILE);
    assert_true(auth_user_name(auth, "Ann@example.org", name));
    assert_string_equal(name, "ann");
    assert_false(auth_user_name(auth, "a/b", name));
    assert_true(auth_reload(auth, error, sizeof error));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_kind_goes_to_the_first_that_takes_it),
        TEST(a_certificate_and_a_password),
        TEST(a_method_that_is_never_asked_is_refused),
        TEST(one_name_however_it_is_typed),
        TEST(the_method_tells_the_name),
        TEST(what_was_verified_is_remembered),
        TEST(a_token_ends),
        TEST(who_cannot_say_refuses_nobody),
        TEST(what_is_stale_is_not_stretched),
        TEST(failures_are_held_back_and_put_off),
        TEST(a_queue_is_not_worked_off_for_nothing),
        TEST(failed_tokens_count_for_their_address),
        TEST(there_is_no_users_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
