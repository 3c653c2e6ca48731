#include "src/cli/connect_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/cli/text.h"
#include "src/json_text.h"
#include "src/lib/base/sha256.h"
#include "src/lib/base/text.h"

enum { POLICY_ARENA = 512 * 1024, HASH_HEX = 32, FORMAT = 1 };

static const char *const wipe_names[] = {"none", "account", "device"};

/* ---- content ---- */

/* NULL: no memory. */
static json_t *policy_json(const struct pv_policy *policy)
{
    size_t cap = PV_LIST_MAX * (PV_LIST_ITEM_MAX + 1);
    json_t *all = json_object();
    char *text = malloc(cap);
    bool good = all && text;
    for (int s = 0; good && s < PV_SETTING_COUNT; s++)
        if (policy->set >> s & 1)
            good = pv_policy_text(policy, (enum pv_setting)s, text, cap) == PV_OK &&
                   json_object_set_new(all, pv_setting_info((enum pv_setting)s)->name,
                                       text_json(text)) == 0;
    free(text);
    if (good) return all;
    json_decref(all);
    return NULL;
}

char *keys_text(const struct keys *k)
{
    char key[16];
    snprintf(key, sizeof key, "%u", (unsigned)k->key);
    json_t *json = json_pack("{s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i}", "format", FORMAT, "server",
                             k->server, "user", k->user, "device_id", k->device_id, "key", key,
                             "version", k->version, "location", k->location, "wipe",
                             wipe_names[k->wipe], "wipe_result", (int)k->wipe_result);
    bool good = !k->has_policy || !json_object_set_new(json, "policy", policy_json(&k->policy));
    char *text = good ? text_of_json(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    return text;
}

static bool copy_text(const json_t *json, const char *name, char *to, size_t cap)
{
    const char *text = json_string_value(json_object_get(json, name));
    if (text == NULL || strlen(text) >= cap) return false;
    memcpy(to, text, strlen(text) + 1);
    return true;
}

static bool copy_number(const json_t *json, const char *name, unsigned most, unsigned *to)
{
    const json_t *v = json_object_get(json, name);
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 0 || n > most) return false;
    *to = (unsigned)n;
    return true;
}

static bool same_text(const json_t *json, const char *name, const char *want)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text && strcmp(text, want) == 0;
}

/* A setting that a later version knows and this one does not is left out. */
static void parse_policy(struct keys *k, json_t *settings)
{
    const char *name;
    json_t *value;
    char message[256];
    json_object_foreach(settings, name,
                        value) if (json_is_string(value) &&
                                   pv_policy_set(&k->policy, &k->arena, name,
                                                 json_string_value(value), message,
                                                 sizeof message) == PV_E_NOMEM) return;
    k->has_policy = true;
}

static bool parse_fields(struct keys *k, const json_t *json)
{
    char key[16], wipe[16];
    uint64_t number;
    if (!same_text(json, "server", k->server) || !same_text(json, "user", k->user) ||
        !same_text(json, "device_id", k->device_id) || !copy_text(json, "key", key, sizeof key) ||
        !pv__parse_u64(key, strlen(key), UINT32_MAX, false, &number) ||
        !copy_text(json, "version", k->version, sizeof k->version) ||
        !copy_text(json, "location", k->location, sizeof k->location) ||
        !copy_number(json, "wipe_result", 2, &k->wipe_result) ||
        !copy_text(json, "wipe", wipe, sizeof wipe))
        return false;
    k->key = (uint32_t)number;
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(wipe, wipe_names[i]) == 0) {
            k->wipe = (enum pv_wipe_kind)i;
            return true;
        }
    return false;
}

/* Everything that a run may change. */
static void clear(struct keys *k)
{
    k->key = 0;
    k->version[0] = k->location[0] = '\0';
    k->wipe_result = 0;
    k->has_policy = false;
    k->policy = (struct pv_policy){0};
    k->wipe = PV_WIPE_NONE;
    pv_arena_reset(&k->arena);
}

bool keys_parse(struct keys *k, const char *text, size_t len)
{
    unsigned format = 0;
    json_t *json;
    bool memory = json_of_text(text, len, JSON_REJECT_DUPLICATES, &json);
    clear(k);
    errno = memory ? 0 : ENOMEM;
    bool good =
        copy_number(json, "format", FORMAT, &format) && format == FORMAT && parse_fields(k, json);
    json_t *settings = json_object_get(json, "policy");
    if (good && json_is_object(settings)) parse_policy(k, settings);
    if (!good) clear(k);
    json_decref(json);
    return good;
}

/* ---- files ---- */

/* 1 read, 0 not there, -1 told. *text_out is freed by the caller. */
static int read_file(const char *path, char **text_out, size_t *len_out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return 0;
    if (fd < 0 || fstat(fd, &st) != 0) {
        cli_fail(CLI_FAILED, "%s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        return -1;
    }
    size_t len = 0, size = st.st_size > KEYS_FILE_MAX ? KEYS_FILE_MAX : (size_t)st.st_size;
    char *text = malloc(size + 1);
    ssize_t got = text ? 1 : -1;
    while (got > 0 && len < size) {
        got = read(fd, text + len, size - len);
        if (got > 0) len += (size_t)got;
    }
    close(fd);
    if (got < 0) {
        cli_fail(CLI_FAILED, "%s: %s", path, text ? strerror(errno) : "no memory");
        free(text);
        return -1;
    }
    *text_out = text;
    *len_out = len;
    return 1;
}

/* The directory's entry is on the disk too when it returns. */
static bool sync_directory(const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    return ok;
}

static bool write_all(int fd, const char *text, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, text + done, len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static enum cli_exit make_directories(char *path)
{
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p != '\0') continue;
        char was = *p;
        *p = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return cli_fail(CLI_FAILED, "%s: %s", path, strerror(errno));
        *p = was;
        if (was == '\0') return CLI_DONE;
    }
}

static enum cli_exit write_file(const char *path, const char *text)
{
    char temporary[PATH_MAX];
    int n = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    int fd = n > 0 && (size_t)n < sizeof temporary ? mkostemp(temporary, O_CLOEXEC) : -1;
    bool ok =
        fd >= 0 && write_all(fd, text, strlen(text)) && write_all(fd, "\n", 1) && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0 && close(fd) != 0 && ok) {
        ok = false;
        why = errno;
    }
    if (ok && (rename(temporary, path) != 0 || !sync_directory(path))) {
        ok = false;
        why = errno;
    }
    if (!ok && fd >= 0) unlink(temporary);
    return ok ? CLI_DONE : cli_fail(CLI_FAILED, "%s: %s", path, strerror(why));
}

static enum cli_exit choose_directory(const char *dir, char *out, size_t cap)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = dir                        ? snprintf(out, cap, "%s", dir)
            : state && state[0] == '/' ? snprintf(out, cap, "%s/provost", state)
            : home && home[0] == '/'   ? snprintf(out, cap, "%s/.local/state/provost", home)
                                       : 0;
    if (n <= 0 || (size_t)n >= cap)
        return cli_fail(CLI_FAILED, "no directory to keep keys in (--state-dir DIR)");
    return make_directories(out);
}

/* Name of a file that belongs to these texts. */
static void file_name(const char *dir, const char *prefix, const struct keys *k, bool device,
                      char *out, size_t cap)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * KEYS_TEXT_MAX + PV_DEVICE_ID_MAX + 4], hex[HASH_HEX + 1];
    uint8_t hash[32];
    int n =
        snprintf(text, sizeof text, "%s\n%s\n%s", k->server, k->user, device ? k->device_id : "");
    pv__sha256((const uint8_t *)text, (size_t)n, hash);
    for (int i = 0; i < HASH_HEX; i++) hex[i] = digits[hash[i / 2] >> (i % 2 ? 0 : 4) & 15];
    hex[HASH_HEX] = '\0';
    snprintf(out, cap, "%s/%s-%s.json", dir, prefix, hex);
}

/* *found_out: it is in device_id. A damaged file is as good as none. */
static enum cli_exit read_device(struct keys *k, const char *path, bool *found_out)
{
    char *text = NULL;
    size_t len = 0;
    json_t *json = NULL;
    int there = read_file(path, &text, &len);
    if (there < 0) return CLI_FAILED;
    bool memory = !there || json_of_text(text, len, 0, &json);
    bool good =
        copy_text(json, "device_id", k->device_id, sizeof k->device_id) && k->device_id[0] != '\0';
    for (const char *p = k->device_id; good && *p; p++) good = pv__is_alnum((unsigned char)*p);
    json_decref(json);
    free(text);
    *found_out = good;
    return memory ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

/* The device that this server and user get when none is named. */
static enum cli_exit find_or_make_device(struct keys *k, const char *dir)
{
    char path[PATH_MAX];
    uint8_t random[PV_DEVICE_ID_MAX / 2];
    bool found = false;
    file_name(dir, "device", k, false, path, sizeof path);
    enum cli_exit code = read_device(k, path, &found);
    if (code != CLI_DONE || found) return code;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return cli_fail(CLI_FAILED, "no random bytes: %s", strerror(errno));
    for (size_t i = 0; i < sizeof random; i++) snprintf(k->device_id + 2 * i, 3, "%02X", random[i]);
    json_t *json =
        json_pack("{s:s,s:s,s:s}", "server", k->server, "user", k->user, "device_id", k->device_id);
    char *text = text_of_json(json, JSON_INDENT(2));
    code = text ? write_file(path, text) : cli_fail(CLI_FAILED, "no memory");
    json_decref(json);
    free(text);
    return code;
}

/* Of two first runs at once the second one waits, and finds what the first one has made. */
static enum cli_exit default_device(struct keys *k, const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        enum cli_exit code = cli_fail(CLI_FAILED, "%s: %s", dir, strerror(errno));
        if (fd >= 0) close(fd);
        return code;
    }
    enum cli_exit code = find_or_make_device(k, dir);
    close(fd);
    return code;
}

static enum cli_exit load(struct keys *k)
{
    char *text = NULL;
    size_t len = 0;
    int there = read_file(k->path, &text, &len);
    if (there < 0) return CLI_FAILED;
    bool good = !there || keys_parse(k, text, len);
    int why = errno;
    free(text);
    if (good) return CLI_DONE;
    if (why == ENOMEM) return cli_fail(CLI_FAILED, "no memory");
    return cli_fail(CLI_DONE, "%s is damaged; beginning without a policy key", k->path);
}

enum cli_exit keys_open(struct keys *k, const char *dir, const char *server, const char *user,
                        const char *device_id)
{
    char where[PATH_MAX - 64], path[PATH_MAX]; /* room for the name behind the directory */
    *k = (struct keys){0};
    if (strlen(server) >= sizeof k->server || strlen(user) >= sizeof k->user)
        return cli_fail(CLI_USAGE, "the URL or the user's name is too long");
    memcpy(k->server, server, strlen(server) + 1);
    memcpy(k->user, user, strlen(user) + 1);
    if (pv_arena_create(&k->arena, POLICY_ARENA) != PV_OK) return cli_fail(CLI_FAILED, "no memory");
    enum cli_exit code = choose_directory(dir, where, sizeof where);
    if (code == CLI_DONE && device_id)
        snprintf(k->device_id, sizeof k->device_id, "%s", device_id);
    else if (code == CLI_DONE)
        code = default_device(k, where);
    if (code != CLI_DONE) return code;
    file_name(where, "key", k, true, path, sizeof path);
    k->path = strdup(path);
    return k->path ? load(k) : cli_fail(CLI_FAILED, "no memory");
}

enum cli_exit keys_save(struct keys *k)
{
    char *text = keys_text(k), dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(k->path, '/') - k->path), k->path);
    enum cli_exit code = text ? make_directories(dir) : cli_fail(CLI_FAILED, "no memory");
    if (code == CLI_DONE) code = write_file(k->path, text);
    if (text) explicit_bzero(text, strlen(text));
    free(text);
    return code;
}

enum cli_exit keys_set_policy(struct keys *k, const struct pv_policy *policy)
{
    pv_arena_reset(&k->arena);
    k->has_policy = pv_policy_copy(policy, &k->arena, &k->policy) == PV_OK;
    return k->has_policy ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

enum cli_exit keys_forget(struct keys *k)
{
    clear(k);
    return keys_save(k);
}

void keys_close(struct keys *k)
{
    pv_arena_destroy(&k->arena);
    free(k->path);
    *k = (struct keys){0};
}
