/* Maildir++ on a real disk: paths of users, folders of every kind, what counts as news in a
 * folder. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/mailbox/folders.h"
#include "src/server/mailbox/maildir.h"

static char base[64];
static struct config config = {
    .domain = "example.org",
    .mailbox = {
        .type = "maildir",
        .drafts = {{"Drafts", "Entwürfe"}, 2},
        .trash = {{"Trash", "Deleted Items"}, 2},
        .sent = {{"Sent", "Sent Items"}, 2},
        .outbox = {{"Outbox"}, 1},
        .calendar = {{"Calendar"}, 1},
        .contacts = {{"Contacts"}, 1},
        .tasks = {{"Tasks"}, 1},
        .notes = {{"Notes"}, 1},
        .journal = {{"Journal"}, 1},
    },
};

/* ---- the disk ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static int make_base(void **state)
{
    (void)state;
    strcpy(base, "/tmp/test_maildir.XXXXXX");
    return mkdtemp(base) ? 0 : -1;
}

static int remove_base(void **state)
{
    (void)state;
    return nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void path_of(char buf[PATH_MAX], const char *name)
{
    assert_true(snprintf(buf, PATH_MAX, "%s/%s", base, name) < PATH_MAX);
}

static void make_dir(const char *name)
{
    char path[PATH_MAX];
    path_of(path, name);
    if (mkdir(path, 0700) != 0) assert_int_equal(errno, EEXIST);
}

static void make_folder(const char *name)
{
    char path[PATH_MAX];
    static const char *const parts[] = {"", "/cur", "/new", "/tmp"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", name, parts[i]);
        make_dir(path);
    }
}

static void put_file(const char *name)
{
    char path[PATH_MAX];
    path_of(path, name);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void move(const char *from, const char *to)
{
    char a[PATH_MAX], b[PATH_MAX];
    path_of(a, from);
    path_of(b, to);
    assert_int_equal(rename(a, b), 0);
}

static const struct config *open_mailbox(const char *path)
{
    static char pattern[PATH_MAX];
    path_of(pattern, path);
    config.mailbox.path = pattern;
    return &config;
}

/* ---- where ---- */

static void test_root(void **state)
{
    static const struct { const char *pattern, *user, *domain, *want; } cases[] = {
        {"/m/%u/Maildir", "ann", "", "/m/ann/Maildir"},
        {"/m/%u", "ann@example.org", "", "/m/ann@example.org"},
        {"/m/%d/%n", "ann@example.org", "other.org", "/m/example.org/ann"},
        {"/m/%d/%n", "ann", "other.org", "/m/other.org/ann"},
        {"/m/%d/%n", "ann", "", NULL},
        {"/m/100%%/%u", "ann", "", "/m/100%/ann"},
        {"/m/shared", "ann", "", "/m/shared"},
        {"/m/%u", "", "", NULL},
        {"/m/%u", "..", "", NULL},
        {"/m/%u", ".ann", "", NULL},
        {"/m/%u", "../ann", "", NULL},
        {"/m/%u", "a/b", "", NULL},
        {"/m/%u", "/etc", "", NULL},
        {"/m/%u", "a\nb", "", NULL},
        {"/m/%n/%d", "ann@../../etc", "", NULL},
        {"/m/%n/%d", "ann@..", "", NULL},
        {"/m/%n", "@example.org", "", NULL},
        {"/m/%d", "ann@", "", NULL},
        {"/m/%x", "ann", "", NULL},
        {"/m/%", "ann", "", NULL},
    };
    char buf[64], bad;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s %s\n", cases[i].pattern, cases[i].user);
        bool good = maildir_root(cases[i].pattern, cases[i].user, cases[i].domain, buf, sizeof buf);
        assert_int_equal(good, cases[i].want != NULL);
        if (!good) continue;
        assert_string_equal(buf, cases[i].want);
        for (size_t cap = 0; cap <= strlen(cases[i].want); cap++)
            assert_false(maildir_root(cases[i].pattern, cases[i].user, cases[i].domain, buf, cap));
    }
    assert_true(maildir_pattern_valid("/m/%u/%n/%d/%%", &bad));
    assert_false(maildir_pattern_valid("/m/%u/%h", &bad));
    assert_int_equal(bad, 'h');
}

/* ---- names ---- */

static void test_folder_name(void **state)
{
    static const struct { const char *file, *want; } cases[] = {
        {".Work", "Work"},
        {".Work.2024.Q1", "Work/2024/Q1"},
        {".Entw&APw-rfe", "Entwürfe"},
        {".&BB8EQAQ4BDIENQRC-.&U,BTFw-", "Привет/台北"},
        {".&AGE-", "&AGE-"},                     /* not the one form: as it is */
        {".caf\xc3\xa9", "café"},                /* UTF-8 on the disk */
        {".caf\xe9", "caf\\xe9"},                /* Latin-1 on the disk */
        {".a/b", "a\xe2\x88\x95" "b"},           /* a slash is no level of its own */
        {".a&AAo-b", "a\xef\xbf\xbd" "b"},
        {".INBOX.Child", "INBOX/Child"},
        {".inbox.Child", "INBOX/Child"},
        {".Sub.INBOX", "Sub/INBOX"},
        {".INBOX", NULL},
        {".Inbox", NULL},
        {"cur", NULL},
        {".", NULL},
        {"..", NULL},
        {".a.", NULL},
        {"..a", NULL},
        {".a..b", NULL},
        {".1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23.24.25.26.27.28.29.30.31.32",
         "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/27/28/29/30/31/32"},
        {".1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23.24.25.26.27.28.29.30.31.32"
         ".33", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *name;
        print_message("# %s\n", cases[i].file);
        assert_true(folder_name(cases[i].file, &name));
        if (cases[i].want) assert_string_equal(name, cases[i].want);
        else assert_null(name);
        free(name);
    }
}

/* ---- the list ---- */

static const struct folder *find(const struct folder_list *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->at[i].name, name) == 0) return &l->at[i];
    }
    return NULL;
}

static void check_order(const struct folder_list *l)
{
    assert_string_equal(l->at[0].name, "INBOX");
    for (size_t i = 0; i < l->count; i++) {
        const struct folder *f = &l->at[i];
        const char *slash = strrchr(f->name, '/');
        assert_string_equal(f->display, i == 0 ? "Inbox" : slash ? slash + 1 : f->name);
        if (!slash) {
            assert_true(f->parent == SIZE_MAX);
            continue;
        }
        assert_true(f->parent < i);
        assert_int_equal(strncmp(l->at[f->parent].name, f->name, (size_t)(slash - f->name)), 0);
        for (size_t j = 0; j < i; j++) {
            bool twins = l->at[j].parent == f->parent && !strcmp(l->at[j].display, f->display);
            assert_false(twins);
        }
    }
}

static void test_list(void **state)
{
    static const char *const folders[] = {
        "ann", "ann/.Drafts", "ann/.drafts2", "ann/.Sent Items", "ann/.Deleted Items", "ann/.Trash",
        "ann/.Outbox", "ann/.Calendar", "ann/.Contacts", "ann/.Tasks", "ann/.Notes", "ann/.Journal",
        "ann/.Work", "ann/.Work.Sent", "ann/.Work.2024.Q1", "ann/.Work-old", "ann/.Lost.Child",
        "ann/.a&IhU-b", "ann/.INBOX.Inner",
        "ann/.&BB8EQAQ4BDIENQRC-",
    };
    static const struct { const char *name; enum folder_type type; bool has_path; } want[] = {
        {"INBOX", FOLDER_INBOX, true},
        {"INBOX/Inner", FOLDER_MAIL, true},
        {"Calendar", FOLDER_CALENDAR, true},
        {"Contacts", FOLDER_CONTACTS, true},
        {"Deleted Items", FOLDER_MAIL, true},   /* Trash comes first in the configuration */
        {"Drafts", FOLDER_DRAFTS, true},
        {"Journal", FOLDER_JOURNAL, true},
        {"Linked", FOLDER_MAIL, true},
        {"Lost", FOLDER_GENERIC, false},
        {"Lost/Child", FOLDER_MAIL, true},
        {"Notes", FOLDER_NOTES, true},
        {"OnlyNew", FOLDER_MAIL, true},
        {"Outbox", FOLDER_OUTBOX, true},
        {"Sent Items", FOLDER_SENT, true},      /* there is no Sent at the top */
        {"Tasks", FOLDER_TASKS, true},
        {"Trash", FOLDER_TRASH, true},
        {"Work", FOLDER_MAIL, true},
        {"Work/2024", FOLDER_GENERIC, false},
        {"Work/2024/Q1", FOLDER_MAIL, true},
        {"Work/Sent", FOLDER_MAIL, true},
        {"Work-old", FOLDER_MAIL, true},
        {"a∕b", FOLDER_MAIL, true},
        {"drafts2", FOLDER_MAIL, true},
        {"Привет", FOLDER_MAIL, true},
    };
    char target[PATH_MAX], link[PATH_MAX];
    struct folder_list l;
    const struct config *m = open_mailbox("%u");
    (void)state;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) make_folder(folders[i]);
    make_dir("ann/.OnlyNew");
    make_dir("ann/.OnlyNew/new");
    make_dir("ann/.Empty");        /* no folder: neither cur/ nor new/ */
    make_dir("ann/dovecot.index");
    put_file("ann/.subscriptions");
    put_file("ann/dovecot-uidlist");
    make_folder("elsewhere");
    path_of(target, "elsewhere");
    path_of(link, "ann/.Linked");
    assert_int_equal(symlink(target, link), 0);
    path_of(link, "ann/.Broken");
    assert_int_equal(symlink("nowhere", link), 0);

    assert_int_equal(maildir_list(m, "ann", &l), MAILBOX_OK);
    for (size_t i = 0; i < l.count; i++) print_message("# %s\n", l.at[i].name);
    check_order(&l);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        print_message("# %s\n", want[i].name);
        assert_true(i < l.count);
        assert_string_equal(l.at[i].name, want[i].name);
        assert_int_equal(l.at[i].type, want[i].type);
        assert_int_equal(l.at[i].path != NULL, want[i].has_path);
    }
    assert_int_equal(l.count, sizeof want / sizeof *want);
    assert_int_equal(find(&l, "Linked")->identity[0], 0);
    folder_list_free(&l);
}

static void test_identity(void **state)
{
    struct folder_list before, after;
    const struct config *m = open_mailbox("%u");
    (void)state;
    make_folder("bob");
    make_folder("bob/.Old");
    assert_int_equal(maildir_list(m, "bob", &before), MAILBOX_OK);
    const struct folder *old = find(&before, "Old");
    if (old->identity[0] == 0) { /* a file system without birth times */
        folder_list_free(&before);
            skip();
    }
    move("bob/.Old", "bob/.New");
    make_folder("bob/.Old");
    assert_int_equal(maildir_list(m, "bob", &after), MAILBOX_OK);
    assert_memory_equal(find(&after, "New")->identity, old->identity, sizeof old->identity);
    assert_memory_not_equal(find(&after, "Old")->identity, old->identity, sizeof old->identity);
    folder_list_free(&before);
    folder_list_free(&after);
}

static void test_twins(void **state)
{
    struct folder_list l;
    const struct config *m = open_mailbox("%u");
    (void)state;
    make_folder("eve");
    make_folder("eve/.a&IhU-b");       /* U+2215 itself */
    make_folder("eve/.a\xe2\x88\x95" "b");
    make_folder("eve/.a\xe2\x88\x95" "b (2)");
    make_folder("eve/.a&IhU-b.Child");
    assert_int_equal(maildir_list(m, "eve", &l), MAILBOX_OK);
    check_order(&l);
    assert_int_equal(l.count, 5);
    assert_non_null(find(&l, "a∕b"));
    assert_non_null(find(&l, "a∕b (2)"));
    assert_non_null(find(&l, "a∕b (2) (2)"));
    assert_non_null(find(&l, "a∕b/Child"));
    folder_list_free(&l);
}

static void test_absent(void **state)
{
    struct folder_list l;
    const struct config *m = open_mailbox("%u");
    (void)state;
    assert_int_equal(maildir_list(m, "nobody", &l), MAILBOX_NONE);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.at[0].name, "INBOX");
    assert_non_null(l.at[0].path);
    folder_list_free(&l);
    assert_int_equal(maildir_list(m, "../ann", &l), MAILBOX_UNREACHABLE);
    assert_int_equal(l.count, 0);
    put_file("file");
    assert_int_equal(maildir_list(m, "file", &l), MAILBOX_UNREACHABLE);
}

/* A folder stays one while nobody can look into it. */
static void test_locked(void **state)
{
    static const char *const open_to_all[] = {"", "locked"};
    char path[PATH_MAX];
    struct folder_list l;
    const struct config *m = open_mailbox("%u");
    (void)state;
    make_folder("locked");
    make_folder("locked/.Work");
    for (size_t i = 0; i < 2; i++) {
        path_of(path, open_to_all[i]);
        assert_int_equal(chmod(path, 0755), 0);
    }
    path_of(path, "locked/.Work");
    assert_int_equal(chmod(path, 0), 0);
    if (geteuid() == 0) assert_int_equal(seteuid(65534), 0); /* root could look */
    assert_int_equal(maildir_list(m, "locked", &l), MAILBOX_OK);
    if (getuid() == 0) assert_int_equal(seteuid(0), 0);
    path_of(path, "locked/.Work");
    assert_int_equal(chmod(path, 0700), 0);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.at[1].name, "Work");
    folder_list_free(&l);
}

static void test_limit(void **state)
{
    struct folder_list l;
    char name[64];
    const struct config *m = open_mailbox("%u");
    (void)state;
    make_dir("many");
    for (unsigned i = 1; i <= FOLDER_COUNT_MAX; i++) {
        snprintf(name, sizeof name, "many/.f%05u", i);
        make_dir(name);
        snprintf(name, sizeof name, "many/.f%05u/new", i);
        make_dir(name);
        if (i < FOLDER_COUNT_MAX - 1) continue;
        bool fits = i == FOLDER_COUNT_MAX - 1; /* and the Inbox */
        assert_int_equal(maildir_list(m, "many", &l), fits ? MAILBOX_OK : MAILBOX_UNREACHABLE);
        assert_int_equal(l.count, fits ? FOLDER_COUNT_MAX : 0);
        folder_list_free(&l);
    }
}

/* ---- news ---- */

/* Old enough to be trusted, and another one each time. */
static void settle(const char *folder)
{
    static time_t when = 1000000000;
    char name[128], path[PATH_MAX];
    static const char *const parts[] = {"new", "cur"};
    struct stat st;
    for (size_t i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s/%s", folder, parts[i]);
        path_of(path, name);
        assert_int_equal(stat(path, &st), 0);
        if (st.st_mtime < 1500000000) continue; /* untouched since the last time */
        when++;
        struct timeval at[2] = {{.tv_sec = when}, {.tv_sec = when}};
        assert_int_equal(utimes(path, at), 0);
    }
}

static void test_look(void **state)
{
    static const struct { const char *from, *to; bool news; } steps[] = {
        {NULL, "tmp/1", false},                 /* a delivery under way */
        {"tmp/1", "new/1", true},               /* delivered */
        {"new/1", "cur/1:2,", false},           /* seen by a mail program, nothing else */
        {"cur/1:2,", "cur/1:2,S", true},        /* read */
        {"cur/1:2,S", "cur/1:2,RS", true},      /* answered */
        {NULL, "cur/2:2,S", true},              /* copied here */
        {NULL, "new/.nfs0001", false},
        {"cur/2:2,S", NULL, true},              /* removed */
        {"cur/1:2,RS", "cur/1:2,S", true},
        {"cur/1:2,S", "new/1", true},
        {NULL, NULL, false},
    };
    char name[2][64], path[PATH_MAX];
    struct look look = {0}, again;
    (void)open_mailbox("%u");
    (void)state;
    make_folder("look");
    path_of(path, "look");
    assert_true(maildir_look(path, &look));
    assert_int_equal(look.stamp, 0); /* too young */
    for (int settled = 0; settled < 2; settled++) {
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            snprintf(name[0], sizeof name[0], "look/%s", steps[i].from ? steps[i].from : "");
            snprintf(name[1], sizeof name[1], "look/%s", steps[i].to ? steps[i].to : "");
            print_message("# %s -> %s\n", name[0], name[1]);
            if (steps[i].from && steps[i].to) move(name[0], name[1]);
            else if (steps[i].to) put_file(name[1]);
            else if (steps[i].from) path_of(path, name[0]), assert_int_equal(unlink(path), 0);
            if (settled) settle("look");
            path_of(path, "look");
            again = look;
            assert_true(maildir_look(path, &again));
            assert_int_equal(again.sum != look.sum, steps[i].news);
            assert_int_equal(again.stamp != 0, settled);
            if (!steps[i].from && !steps[i].to && settled)
                assert_int_equal(again.stamp, look.stamp);
            look = again;
        }
        path_of(path, "look/new/1");
        assert_int_equal(unlink(path), 0);
        path_of(path, "look/new/.nfs0001");
        assert_int_equal(unlink(path), 0);
        path_of(path, "look");
        assert_true(maildir_look(path, &look));
    }
    path_of(path, "not/there");
    assert_true(maildir_look(path, &look));
    assert_int_equal(look.sum, 0);
    path_of(path, "file");
    again = (struct look){1, 2};
    assert_false(maildir_look(path, &again));
    assert_int_equal(again.sum, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root),
        cmocka_unit_test(test_folder_name),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_twins),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_locked),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_look),
    };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
