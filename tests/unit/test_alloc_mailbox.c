/* Every allocation failing once: Maildir, ServerIds, the tree as it is told and kept, Ping. jansson
 * fails, too. */
#include <ftw.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "src/server/http/worker.h"
#include "src/server/mailbox/maildir.h"
#include "src/server/mailbox/memos.h"
#include "src/server/mailbox/ping_request.h"
#include "src/server/mailbox/sync_state.h"
#include "src/server/mailbox/tree.h"
#include "src/server/observe/log.h"
#include "tests/unit/failing_malloc.h"

/* ---- what the parts need of the server ---- */
static unsigned posted;

struct worker *worker_self(void)
{
    return NULL;
}

void worker_post(struct worker *w, struct task *t)
{
    (void)w, (void)t;
    posted++;
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

/* ---- Maildir ---- */
static char base[64];
static struct config config = {
    .mailbox = {.type = "maildir", .path = base, .sent = {{"Sent"}, 1}, .trash = {{"Trash"}, 1}}};
static struct folder_list list;

static int make_base(void **unused)
{
    /* A parent that is missing, two levels that show alike, a name in modified UTF-7. */
    static const char *const folders[] = {"", "/.Sent", "/.Work.2024.May", "/.A&IhU-B", "/.A&AC8-B",
                                          "/.Entw&APw-rfe"};
    (void)unused;
    strcpy(base, "/tmp/test_alloc.XXXXXX");
    if (!mkdtemp(base))
        return -1;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", base, folders[i]);
        mkdir(path, 0700);
        strcat(path, "/cur");
        if (mkdir(path, 0700) != 0)
            return -1;
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static int remove_base(void **unused)
{
    (void)unused;
    return nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool list_run(void)
{
    enum mailbox_result r = maildir_list(&config, "ann", &list);
    assert_true(r == MAILBOX_OK || r == MAILBOX_UNREACHABLE); /* never "there is none" */
    return r == MAILBOX_OK;
}

static void list_nothing(void)
{
    assert_int_equal(list.count, 0);
    assert_null(list.at);
}

static void list_whole(void)
{
    static const char *const names[] = {"INBOX", "A&AC8-B", "A\u2215B", "Entw\u00fcrfe", "Sent",
                                        "Work", "Work/2024", "Work/2024/May"};
    assert_int_equal(list.count, sizeof names / sizeof *names);
    for (size_t i = 0; i < list.count; i++)
        assert_string_equal(list.at[i].name, names[i]);
    assert_int_equal(list.at[4].type, FOLDER_SENT);
    assert_int_equal(list.at[5].type, FOLDER_GENERIC);
    assert_string_equal(list.at[7].display, "May");
}

static void list_end(void)
{
    folder_list_free(&list);
}

static struct look looked;

static bool look_run(void)
{
    looked = (struct look){0};
    return maildir_look(base, &looked);
}

static void look_nothing(void)
{
    assert_int_equal(looked.sum, 0);
    assert_int_equal(looked.stamp, 0);
}

static void nothing_to_check(void)
{
}

static void a_maildir_is_listed(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"maildir_list", NULL, list_run, list_nothing, list_whole, list_end});
    failing_malloc_sweep(
        &(struct sweep){"maildir_look", NULL, look_run, look_nothing, nothing_to_check, NULL});
}

/* ---- ServerIds ---- */
#define IDS "{\"next\":9,\"folders\":[[1,0,0,\"INBOX\"],[7,5,5,\"Old\"],[8,6,6,\"Gone\"]]}"
#define IDS_THEN "{\"next\":10,\"folders\":[[1,0,0,\"INBOX\"],[7,5,5,\"New\"],[9,0,0,\"More\"]]}"
static char texts[][8] = {"INBOX", "New", "More"};
static struct folder folders[] = {
    {.name = texts[0], .display = texts[0], .type = FOLDER_INBOX, .parent = SIZE_MAX},
    {.name = texts[1], .display = texts[1], .identity = {5, 5}, .type = FOLDER_MAIL,
     .parent = SIZE_MAX},
    {.name = texts[2], .display = texts[2], .type = FOLDER_MAIL, .parent = 1},
};
static const struct folder_list mail = {folders, 3};
static struct folder_ids ids;
static uint32_t numbers[3];
static bool changed;
static char *written;

static bool ids_run_read(void)
{
    return folder_ids_read(IDS, &ids);
}

static void ids_begin(void)
{
    assert_true(ids_run_read());
}

static bool ids_run_assign(void)
{
    return folder_ids_assign(&ids, &mail, numbers, &changed);
}

static bool ids_run_write(void)
{
    written = folder_ids_write(&ids);
    return written;
}

static void ids_are(const char *want)
{
    char *text = folder_ids_write(&ids);
    assert_non_null(text);
    assert_string_equal(text, want);
    free(text);
}

static void ids_as_before(void)
{
    ids_are(IDS);
}

static void ids_assigned(void)
{
    ids_are(IDS_THEN);
    assert_true(changed);
    assert_int_equal(numbers[1], 7);
    assert_int_equal(numbers[2], 9);
}

static void ids_written(void)
{
    assert_string_equal(written, IDS);
    free(written);
}

static void ids_end(void)
{
    folder_ids_free(&ids);
}

static void server_ids_are_kept(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"folder_ids_read", NULL, ids_run_read, NULL, ids_as_before, ids_end});
    failing_malloc_sweep(&(struct sweep){"folder_ids_assign", ids_begin, ids_run_assign,
                                         ids_as_before, ids_assigned, ids_end});
    failing_malloc_sweep(&(struct sweep){"folder_ids_write", ids_begin, ids_run_write,
                                         ids_as_before, ids_written, ids_end});
}

/* ---- the tree ---- */
#define TREE "[[1,0,2,\"INBOX\"],[7,0,12,\"New\"],[9,7,12,\"More\"]]"
#define TREE_BEFORE "[[1,0,2,\"INBOX\"],[7,0,12,\"Old\"],[8,7,12,\"Gone\"]]"
static struct tree tree;

static bool tree_run_make(void)
{
    static const uint32_t told[] = {1, 7, 9};
    return tree_make(&mail, told, false, &tree);
}

static void tree_begin(void)
{
    assert_true(tree_run_make());
}

static bool tree_run_write(void)
{
    written = tree_write(&tree);
    return written;
}

static void tree_whole(void)
{
    char *text = tree_write(&tree);
    assert_non_null(text);
    assert_string_equal(text, TREE);
    free(text);
}

static void tree_written(void)
{
    assert_string_equal(written, TREE);
    free(written);
}

static void tree_end(void)
{
    tree_free(&tree);
}

static struct sync_state known;
static const struct folder_state_record kept = {"ann", "DEV1", 5, 4, TREE, TREE_BEFORE, ""};

static bool state_run(void)
{
    return sync_state_read(&kept, &known);
}

static void state_whole(void)
{
    assert_int_equal(known.key, 5);
    assert_int_equal(known.previous_key, 4);
    assert_int_equal(known.tree.count, 3);
    assert_string_equal(known.previous.at[2].name, "Gone");
}

static void state_end(void)
{
    sync_state_free(&known);
}

static void answer_begin(void)
{
    tree_begin();
    assert_true(state_run());
}

static uint8_t *answer;
static size_t answer_len, answer_changes;

static bool answer_run(void)
{
    answer = foldersync_write(6, &known.previous, &tree, &answer_len, &answer_changes);
    return answer;
}

static void answer_whole(void)
{
    assert_int_equal(answer_changes, 3); /* Old is New, Gone is gone, More came */
    assert_true(answer_len > 40);
    free(answer);
}

static void answer_end(void)
{
    tree_end();
    state_end();
}

static void a_tree_is_told_and_kept(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"tree_make", NULL, tree_run_make, NULL, tree_whole, tree_end});
    failing_malloc_sweep(&(struct sweep){"tree_write", tree_begin, tree_run_write, tree_whole,
                                         tree_written, tree_end});
    failing_malloc_sweep(
        &(struct sweep){"sync_state_read", NULL, state_run, NULL, state_whole, state_end});
    failing_malloc_sweep(&(struct sweep){"foldersync_write", answer_begin, answer_run, NULL,
                                         answer_whole, answer_end});
}

/* ---- Ping ---- */
#define PING "{\"heartbeat\":300,\"folders\":[7,9]}"
static struct ping_params params;

static bool params_run_read(void)
{
    return ping_params_read(PING, &params);
}

static void params_begin(void)
{
    assert_true(params_run_read());
}

static bool params_run_write(void)
{
    written = ping_params_write(&params);
    return written;
}

static void params_whole(void)
{
    assert_int_equal(params.heartbeat, 300);
    assert_int_equal(params.folder_count, 2);
    assert_int_equal(params.folders[1], 9);
}

static void params_written(void)
{
    assert_string_equal(written, PING);
    free(written);
}

static void params_end(void)
{
    ping_params_free(&params);
}

static struct seats *all_seats;
static struct seat sitting[2];

static bool seats_run_create(void)
{
    all_seats = seats_create();
    return all_seats;
}

static bool seats_run_sit(void)
{
    return seats_sit(all_seats, &sitting[1], "ann", "DEV1");
}

static void seats_begin(void)
{
    posted = 0;
    memset(sitting, 0, sizeof sitting);
    assert_true(seats_run_create());
    assert_true(seats_sit(all_seats, &sitting[0], "ann", "OTHER"));
}

static void nobody_sits(void)
{
    assert_true(seats_rise(all_seats, &sitting[1]));
    assert_int_equal(posted, 0);
}

/* A memo that is not kept is told again; one that is there stays. */
static bool memos_run_remember(void)
{
    static const struct memo memos[] = {{7, {1, 2}}, {9, {3, 4}}};
    struct look look;
    memos_remember(all_seats, &sitting[0], memos, 2, 10);
    return memos_recall(all_seats, "ann", "OTHER", 9, &look) && look.sum == 4;
}

static void nothing_remembered(void)
{
    struct look look;
    assert_false(memos_recall(all_seats, "ann", "OTHER", 7, &look));
}

static void seats_work(void)
{
    assert_true(seats_rise(all_seats, &sitting[0]));
    assert_true(seats_rise(all_seats, &sitting[1]));
    assert_true(seats_run_sit());
    assert_true(seats_rise(all_seats, &sitting[1]));
}

static void seats_end(void)
{
    seats_destroy(all_seats);
}

static void a_ping_takes_its_place(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"ping_params_read", NULL, params_run_read, NULL, params_whole, params_end});
    failing_malloc_sweep(&(struct sweep){"ping_params_write", params_begin, params_run_write,
                                         params_whole, params_written, params_end});
    failing_malloc_sweep(
        &(struct sweep){"seats_create", NULL, seats_run_create, NULL, seats_work, seats_end});
    failing_malloc_sweep(&(struct sweep){"seats_sit", seats_begin, seats_run_sit, nobody_sits,
                                         seats_work, seats_end});
    failing_malloc_sweep(&(struct sweep){"memos_remember", seats_begin, memos_run_remember,
                                         nothing_remembered, seats_work, seats_end});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_maildir_is_listed, make_base, remove_base),
        cmocka_unit_test(server_ids_are_kept),
        cmocka_unit_test(a_tree_is_told_and_kept),
        cmocka_unit_test(a_ping_takes_its_place),
    };
    json_set_alloc_funcs(malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
