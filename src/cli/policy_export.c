/* provost policy export, apply: policies as files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/cli/policy.h"
#include "src/cli/policy_files.h"
#include "src/json_text.h"

static bool ends_in_json(const char *name)
{
    size_t len = strlen(name);
    return name[0] != '.' && len > 5 && strcmp(name + len - 5, ".json") == 0;
}

/* Names of the JSON files in a folder, sorted, as {"name": true}. NULL: told. */
static json_t *json_files(int dir_fd, const char *shown)
{
    json_t *names = json_object(), *sorted = json_object();
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    bool good = dir && names && sorted;
    if (!good) cli_fail(CLI_FAILED, "%s: %s", shown, strerror(dir ? ENOMEM : errno));
    if (!dir && fd >= 0) close(fd);
    for (const struct dirent *entry; good && (entry = readdir(dir)) != NULL;)
        if (ends_in_json(entry->d_name) &&
            json_object_set_new(names, entry->d_name, json_true()) != 0) {
            good = false; /* policy_file_name makes no such names */
            cli_fail(CLI_FAILED, "%s: a file's name is no UTF-8 text", shown);
        }
    if (dir) closedir(dir);
    char *text = NULL;
    if (good) {
        /* jansson sorts when it writes. */
        text = text_of_json(names, JSON_SORT_KEYS | JSON_COMPACT);
        json_decref(sorted);
        sorted = text ? json_loads(text, 0, NULL) : NULL;
        if (sorted == NULL) cli_fail(CLI_FAILED, "no memory");
        free(text);
    }
    json_decref(names);
    if (good) return sorted;
    json_decref(sorted);
    return NULL;
}

static char *path_of(const char *dir, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) >= 0) return path;
    cli_fail(CLI_FAILED, "no memory");
    return NULL;
}

/* ---- export ---- */

struct export
{
    const char *dir;
    int fd;
    json_t *before, *written; /* names of files */
};

/* text is taken over; NULL: no memory. */
static enum cli_exit write_one(struct export *x, const char *name, char *text)
{
    char *shown = name ? path_of(x->dir, name) : NULL;
    enum cli_exit code = CLI_FAILED;
    if (shown && text)
        code = file_write(x->fd, name, shown, text);
    else
        cli_fail(CLI_FAILED, "no memory");
    if (code == CLI_DONE && json_array_append_new(x->written, json_string(name)) != 0)
        code = cli_fail(CLI_FAILED, "no memory");
    if (code == CLI_DONE) json_object_del(x->before, name);
    free(shown);
    free(text);
    return code;
}

static enum cli_exit write_all_files(struct export *x, const json_t *policies,
                                     const json_t *assignments)
{
    const json_t *policy;
    size_t i;
    enum cli_exit code = CLI_DONE;
    json_array_foreach(policies, i, policy)
    {
        const char *is = json_string_value(json_object_get(policy, "name"));
        char *name = policy_file_name(is ? is : "");
        if (code == CLI_DONE) code = write_one(x, name, policy_file_text(policy));
        free(name);
    }
    if (code == CLI_DONE) code = write_one(x, ASSIGNMENTS_FILE, assignments_text(assignments));
    return code;
}

static enum cli_exit tell_export(struct cli *cli, const struct export *x)
{
    const char *name;
    json_t *unused;
    json_object_foreach(x->before, name, unused)
        cli_fail(CLI_DONE, "warning: %s/%s: the server has no such policy", x->dir, name);
    if (cli->json)
        return json_print(x->written) == 0 ? CLI_DONE
                                           : cli_fail(CLI_FAILED, "the answer cannot be printed");
    printf("%zu policies and the assignments are in ", json_array_size(x->written) - 1);
    text_print(stdout, x->dir);
    puts(".");
    return CLI_DONE;
}

enum cli_exit policy_export(struct cli *cli)
{
    struct export x = {.dir = cli->words[0], .fd = -1, .written = json_array()};
    json_t *policies = NULL, *assignments = NULL;
    enum cli_exit code = policy_read_server(cli, &policies, &assignments);
    if (code == CLI_DONE && mkdir(x.dir, 0755) != 0 && errno != EEXIST)
        code = cli_fail(CLI_FAILED, "%s: %s", x.dir, strerror(errno));
    if (code == CLI_DONE && (x.fd = open(x.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        code = cli_fail(CLI_FAILED, "%s: %s", x.dir, strerror(errno));
    if (code == CLI_DONE && (x.before = json_files(x.fd, x.dir)) == NULL) code = CLI_FAILED;
    if (code == CLI_DONE) code = write_all_files(&x, policies, assignments);
    if (code == CLI_DONE && fsync(x.fd) != 0)
        code = cli_fail(CLI_FAILED, "%s: %s", x.dir, strerror(errno));
    if (code == CLI_DONE) code = tell_export(cli, &x);
    if (x.fd >= 0) close(x.fd);
    json_decref(x.before);
    json_decref(x.written);
    json_decref(policies);
    json_decref(assignments);
    return code;
}

/* ---- apply ---- */

/* One file into the wish. */
static enum cli_exit read_one(int fd, const char *dir, const char *name, struct policy_wish *wish)
{
    char message[FILE_MESSAGE_MAX] = "", *shown = path_of(dir, name), *text;
    size_t len = 0;
    enum cli_exit code = CLI_FAILED;
    if (shown == NULL) return CLI_FAILED;
    text = file_read(fd, name, shown, POLICY_FILE_MAX, &len);
    free(shown);
    if (text == NULL) return CLI_FAILED;
    if (strcmp(name, ASSIGNMENTS_FILE) == 0) {
        wish->assignments = assignments_read(name, text, len, message);
        if (wish->assignments) code = CLI_DONE;
    } else {
        json_t *policy = policy_file_read(name, text, len, message);
        if (policy)
            code = json_array_append_new(wish->policies, policy) == 0
                       ? CLI_DONE
                       : cli_fail(CLI_FAILED, "no memory");
    }
    if (message[0]) cli_fail(CLI_FAILED, "%s/%s", dir, message);
    free(text);
    return code;
}

enum cli_exit policy_apply(struct cli *cli)
{
    struct policy_wish wish = {.policies = json_array(), .prune = cli_has(cli, CLI_OPT_PRUNE)};
    const char *dir = cli->words[0], *name;
    json_t *files = NULL, *unused;
    enum cli_exit code = CLI_DONE, worst = CLI_DONE;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) code = cli_fail(CLI_FAILED, "%s: %s", dir, strerror(errno));
    if (code == CLI_DONE && (files = json_files(fd, dir)) == NULL) code = CLI_FAILED;
    /* Every fault is told at once, and none changes anything. */
    json_object_foreach(files, name, unused)
    {
        enum cli_exit one = read_one(fd, dir, name, &wish);
        if (one != CLI_DONE) worst = one;
    }
    if (code == CLI_DONE) code = worst;
    if (code == CLI_DONE && json_array_size(wish.policies) == 0)
        code = cli_fail(CLI_FAILED, "%s: no policy in it", dir);
    if (code == CLI_DONE) code = policy_make_so(cli, &wish);
    if (fd >= 0) close(fd);
    json_decref(files);
    json_decref(wish.policies);
    json_decref(wish.assignments);
    return code;
}
