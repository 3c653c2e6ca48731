#include "src/cli/policy_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/cli/policy_json.h"
#include "src/json_text.h"
#include "src/lib/base/text.h"

static const char *text_in(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* ---- writing ---- */

/* As it is in every file system: no separator, no dot in front, nothing a shell or another system
 * reads in its own way. "assignments" would be the other file. */
char *policy_file_name(const char *policy)
{
    static const char hex[] = "0123456789ABCDEF";
    char *name = malloc(3 * strlen(policy) + sizeof ".json"), *to = name;
    if (name == NULL) return NULL;
    for (const char *p = policy; *p; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = pv__is_alnum(c) || c >= 0x80 || strchr("-_ ", c) || (c == '.' && p > policy);
        if (p == policy && strcmp(policy, "assignments") == 0) plain = false;
        if (plain) {
            *to++ = *p;
            continue;
        }
        *to++ = '%';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    memcpy(to, ".json", sizeof ".json");
    return name;
}

static char *with_line_end(json_t *json)
{
    char *text = json ? text_of_json(json, JSON_INDENT(2)) : NULL, *longer;
    size_t len = text ? strlen(text) : 0;
    json_decref(json);
    longer = text ? realloc(text, len + 2) : NULL;
    if (longer == NULL) {
        free(text);
        return NULL;
    }
    memcpy(longer + len, "\n", 2);
    return longer;
}

char *policy_file_text(const json_t *policy)
{
    json_t *settings = settings_sorted(json_object_get(policy, "settings"));
    const char *name = text_in(policy, "name");
    return with_line_end(json_pack("{s:s,s:s?,s:o}", "name", name ? name : "", "parent",
                                   text_in(policy, "parent"), "settings", settings));
}

static const char *const scopes[] = {"default", "group", "user", "device"};
enum { SCOPES = sizeof scopes / sizeof *scopes };

static int scope_number(const json_t *assignment)
{
    const char *scope = text_in(assignment, "scope");
    int i = 0;
    while (i < SCOPES && (!scope || strcmp(scopes[i], scope) != 0)) i++;
    return i;
}

static int compare_texts(const json_t *a, const json_t *b, const char *member)
{
    const char *x = text_in(a, member), *y = text_in(b, member);
    return strcmp(x ? x : "", y ? y : "");
}

static int by_scope(const void *a, const void *b)
{
    const json_t *x = *(const json_t *const *)a, *y = *(const json_t *const *)b;
    int difference = scope_number(x) - scope_number(y);
    if (!difference) difference = compare_texts(x, y, "group");
    if (!difference) difference = compare_texts(x, y, "user");
    return difference ? difference : compare_texts(x, y, "device_id");
}

/* Only what the file has, always in the same order. */
static json_t *plain_assignment(const json_t *from)
{
    static const char *const members[] = {"scope", "group", "user", "device_id", "policy"};
    json_t *one = json_object();
    for (size_t i = 0; one && i < sizeof members / sizeof *members; i++) {
        json_t *value = json_object_get(from, members[i]);
        if (json_is_string(value) && json_object_set(one, members[i], value) != 0) {
            json_decref(one);
            one = NULL;
        }
    }
    return one;
}

char *assignments_text(const json_t *assignments)
{
    size_t count = json_array_size(assignments);
    const json_t **sorted = calloc(count + 1, sizeof *sorted);
    json_t *all = json_array();
    for (size_t i = 0; sorted && i < count; i++) sorted[i] = json_array_get(assignments, i);
    if (sorted) qsort(sorted, count, sizeof *sorted, by_scope);
    bool good = sorted && all;
    for (size_t i = 0; good && i < count; i++)
        good = json_array_append_new(all, plain_assignment(sorted[i])) == 0;
    free(sorted);
    if (good) return with_line_end(all);
    json_decref(all);
    return NULL;
}

/* ---- reading ---- */

/* Where a text stands in quotes, for messages: ":3", "" when it is not found so. */
static const char *line_of(const char *text, const char *member, char out[24])
{
    char *quoted = NULL;
    const char *at = asprintf(&quoted, "\"%s\"", member) > 0 ? strstr(text, quoted) : NULL;
    int line = 1;
    for (const char *p = text; at && p < at; p++) line += *p == '\n';
    out[0] = '\0';
    if (at) snprintf(out, 24, ":%d", line);
    free(quoted);
    return out;
}

static json_t *parse(const char *file, const char *text, size_t len, char *message)
{
    json_error_t at;
    errno = 0; /* which malloc sets: jansson may go on without what found no room */
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &at);
    if (errno == ENOMEM) {
        json_decref(json);
        snprintf(message, FILE_MESSAGE_MAX, "%.255s: no memory", file);
        return NULL;
    }
    if (json == NULL)
        snprintf(message, FILE_MESSAGE_MAX, "%.255s:%d:%d: %.160s", file, at.line, at.column,
                 at.text);
    return json;
}

/* @return false: message */
static bool check_members(const char *file, const char *text, const json_t *object,
                          const char *const *known, char *message)
{
    const char *name;
    json_t *value;
    char line[24];
    json_object_foreach((json_t *)object, name, value)
    {
        const char *const *k = known;
        while (*k && strcmp(*k, name) != 0) k++;
        if (*k) continue;
        snprintf(message, FILE_MESSAGE_MAX, "%.255s%s: \"%.64s\" is nothing that may stand here",
                 file, line_of(text, name, line), name);
        return false;
    }
    return true;
}

/* NULL: good. */
static const char *policy_fault(const json_t *policy, const char *file)
{
    const json_t *parent = json_object_get(policy, "parent");
    const char *name = text_in(policy, "name");
    if (!name || !*name) return "\"name\" is wanted, a text";
    if (parent && !json_is_null(parent) && (!json_is_string(parent) || !*json_string_value(parent)))
        return "\"parent\" is a policy's name, or null";
    if (!json_is_object(json_object_get(policy, "settings")))
        return "\"settings\" is wanted, an object";
    char *right = policy_file_name(name);
    bool same = right && strcmp(right, file) == 0;
    free(right);
    return same ? NULL : "the file's name is not that of the policy in it";
}

static bool check_settings(const char *file, const char *text, const json_t *policy, char *message)
{
    struct pv_arena arena;
    struct pv_policy unused;
    char why[SETTINGS_MESSAGE_MAX] = "no memory", line[24], name[64];
    if (pv_arena_create(&arena, SETTINGS_ARENA) != PV_OK) {
        snprintf(message, FILE_MESSAGE_MAX, "no memory");
        return false;
    }
    enum pv_err err = settings_read(json_object_get(policy, "settings"), &arena, &unused, why);
    pv_arena_destroy(&arena);
    if (err == PV_OK) return true;
    /* The sentence begins with the setting, or ends with it in quotes. */
    const char *begin = err == PV_E_UNKNOWN ? strchr(why, '"') : NULL;
    begin = begin ? begin + 1 : why;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(begin, "\":"), begin);
    snprintf(message, FILE_MESSAGE_MAX, "%.128s%s: %s", file, line_of(text, name, line), why);
    return false;
}

json_t *policy_file_read(const char *file, const char *text, size_t len,
                         char message[FILE_MESSAGE_MAX])
{
    static const char *const members[] = {"name", "parent", "settings", NULL};
    json_t *policy = parse(file, text, len, message);
    if (policy == NULL) return NULL;
    const char *fault = json_is_object(policy) ? NULL : "an object is wanted";
    bool good = !fault && check_members(file, text, policy, members, message);
    if (good) fault = policy_fault(policy, file);
    if (fault) snprintf(message, FILE_MESSAGE_MAX, "%.255s: %s", file, fault);
    if (good && !fault && check_settings(file, text, policy, message)) return policy;
    json_decref(policy);
    return NULL;
}

/* NULL: good. */
static const char *assignment_fault(const json_t *one)
{
    static const bool needs[SCOPES + 1][3] = {{0, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 1, 1}};
    static const char *const names[] = {"group", "user", "device_id"};
    int scope = scope_number(one);
    if (scope == SCOPES) return "\"scope\" is default, group, user or device";
    for (size_t i = 0; i < 3; i++) {
        const json_t *value = json_object_get(one, names[i]);
        if ((value != NULL) != needs[scope][i] || (value && !json_is_string(value)))
            return "group goes with \"group\", user with \"user\", device with \"user\" and "
                   "\"device_id\", all of them texts";
    }
    const char *policy = text_in(one, "policy");
    return policy && *policy ? NULL : "\"policy\" is wanted, a policy's name";
}

json_t *assignments_read(const char *file, const char *text, size_t len,
                         char message[FILE_MESSAGE_MAX])
{
    static const char *const members[] = {"scope", "group", "user", "device_id", "policy", NULL};
    json_t *all = parse(file, text, len, message), *one;
    size_t i, j;
    if (all == NULL) return NULL;
    bool good = true;
    const char *fault = json_is_array(all) ? NULL : "a list is wanted";
    json_array_foreach(all, i, one)
    {
        fault = json_is_object(one) ? assignment_fault(one) : "an object is wanted";
        good = check_members(file, text, one, members, message);
        for (j = 0; !fault && j < i; j++) {
            const json_t *other = json_array_get(all, j);
            if (by_scope(&one, &other) == 0) fault = "said twice";
        }
        if (fault || !good) break;
    }
    if (good && !fault) return all;
    if (good && json_is_array(all))
        snprintf(message, FILE_MESSAGE_MAX, "%.255s: entry %zu: %s", file, i + 1, fault);
    else if (good)
        snprintf(message, FILE_MESSAGE_MAX, "%.255s: %s", file, fault);
    json_decref(all);
    return NULL;
}

/* ---- files ---- */

static bool read_all(int fd, char *to, size_t len)
{
    for (size_t n = 0; n < len;) {
        ssize_t got = read(fd, to + n, len - n);
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) errno = EIO; /* it has become shorter */
        if (got <= 0) return false;
        n += (size_t)got;
    }
    return true;
}

char *file_read(int dir_fd, const char *name, const char *shown, size_t most, size_t *len_out)
{
    struct stat st;
    char *text = NULL;
    /* A FIFO must not hold us up. */
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0)
        cli_fail(CLI_FAILED, "%s: %s", shown, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        cli_fail(CLI_FAILED, "%s: no regular file", shown);
    else if ((uintmax_t)st.st_size > most)
        cli_fail(CLI_FAILED, "%s: more than %zu KiB", shown, most / 1024);
    else if ((text = malloc((size_t)st.st_size + 1)) == NULL)
        cli_fail(CLI_FAILED, "no memory");
    else if (!read_all(fd, text, (size_t)st.st_size)) {
        cli_fail(CLI_FAILED, "%s: %s", shown, strerror(errno));
        free(text);
        text = NULL;
    }
    if (text) text[ *len_out = (size_t)st.st_size] = '\0';
    if (fd >= 0) close(fd);
    return text;
}

static bool write_all(int fd, const char *text)
{
    for (size_t n = 0, len = strlen(text); n < len;) {
        ssize_t put = write(fd, text + n, len - n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return false;
        n += (size_t)put;
    }
    return true;
}

static bool has_content(int dir_fd, const char *name, const char *text)
{
    struct stat st;
    size_t len = strlen(text);
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    char *is = malloc(len + 1);
    bool same = is && fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
                (uintmax_t)st.st_size == len && read_all(fd, is, len) && memcmp(is, text, len) == 0;
    free(is);
    if (fd >= 0) close(fd);
    return same;
}

enum cli_exit file_write(int dir_fd, const char *name, const char *shown, const char *text)
{
    char temporary[40];
    uint64_t random = 0;
    if (has_content(dir_fd, name, text)) return CLI_DONE;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return cli_fail(CLI_FAILED, "%s: no random number", shown);
    snprintf(temporary, sizeof temporary, ".provost-%016llx", (unsigned long long)random);
    int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) return cli_fail(CLI_FAILED, "%s: %s", shown, strerror(errno));
    bool good = write_all(fd, text) && fchmod(fd, 0644) == 0 && fsync(fd) == 0;
    int why = errno;
    if (close(fd) != 0 && good) {
        good = false;
        why = errno;
    }
    if (good && renameat(dir_fd, temporary, dir_fd, name) != 0) {
        good = false;
        why = errno;
    }
    if (good) return CLI_DONE;
    unlinkat(dir_fd, temporary, 0);
    return cli_fail(CLI_FAILED, "%s: %s", shown, strerror(why));
}
