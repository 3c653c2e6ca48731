/* SIGHUP: the configuration is read again, with all files that it names. First everything that may be
 * wrong is made beside what is in force; then all of it takes its place. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/server/admin/admin.h"
#include "src/server/auth/auth.h"
#include "src/server/gate/gate.h"
#include "src/server/mailbox/mailbox.h"
#include "src/server/observe/audit_mover.h"
#include "src/server/observe/notify_store.h"
#include "src/server/observe/when.h"
#include "src/server/parts.h"
#include "src/server/upstream/ping.h"
#include "src/server/upstream/upstream.h"

#define GROUPS_WAIT_MS 2000 /* for changes of administrators that are under way */
#define GROUPS_LOOK_MS 5

/* What is ready to take its place. */
struct prepared {
    struct config *fresh;        /* as it was read */
    const struct config *config; /* that, or the one in force if the file says the same */
    struct config_text changed, waiting;
    struct http_terms *terms;
    struct auth_change *auth;
};

void reload_init(struct server *s)
{
    pthread_mutex_init(&s->reading.lock, NULL);
    s->reading.at = (int64_t)time(NULL);
}

void reload_finish(struct server *s)
{
    pthread_mutex_destroy(&s->reading.lock);
}

/* ---- before anything changes ---- */

static bool prepare_terms(struct server *s, struct prepared *p, char *error, size_t cap)
{
    struct http_listen listens[LISTENS_MAX];
    const char *proxies[CONFIG_LIST_MAX + 1];
    (void)make_listens(s, p->config, proxies, listens);
    return (p->terms = http_terms_make(s->http, listens, error, cap)) != NULL;
}

static bool prepare(struct server *s, struct prepared *p, char *error, size_t cap)
{
    p->fresh = config_reload(s->config, &p->waiting, error, cap);
    if (!p->fresh) return false;
    config_changes(s->config, p->fresh, &p->changed);
    p->config = p->changed.len > 0 ? p->fresh : s->config;
    return (!s->upstreams || upstreams_check(p->config, error, cap)) &&
           prepare_terms(s, p, error, cap) &&
           (p->auth = auth_change_make(s->auth, p->config, config_differs, error, cap));
}

static void give_up(struct prepared *p)
{
    auth_change_drop(p->auth);
    http_terms_free(p->terms);
    config_drop(p->fresh);
}

/* Each mistake has a line of its own, with file and line. */
static void tell_refused(char *error)
{
    char *rest = error;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        LOG(LOG_ERROR, 0, "reload-refused", KV_TEXT("why", line));
}

/* ---- the change ---- */

/* Connections that rest are of use only as long as nothing of this is another. */
static bool speaks_otherwise(const struct config *a, const struct config *b)
{
    static const char *const keys[] = {"upstream.ca_file", "upstream.certificate", "upstream.key",
                                       "upstream.connections", "upstream.connect_timeout"};
    bool differs = false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        differs = differs || config_differs(a, b, keys[i]);
    return differs;
}

static bool tell_parts(struct server *s, const struct config *before)
{
    const struct config *c = s->config;
    bool ok = gate_reconfigure(s->gate, before);
    ok = mailbox_reconfigure(s->mailbox) && ok;
    if (s->upstreams && speaks_otherwise(before, c)) ok = upstreams_reconfigure(s->upstreams) && ok;
    pings_reconfigure(s->pings, before, c);
    audit_mover_limit(s->audit, c->audit.rotate_size, c->audit.keep);
    if (config_differs(before, c, "notify.")) ok = notify_reconfigure(s->notify, c) && ok;
    return ok;
}

static void wait_for_groups(struct server *s)
{
    for (unsigned ms = 0; ms < GROUPS_WAIT_MS && !gate_has_groups(s->gate); ms += GROUPS_LOOK_MS)
        nanosleep(&(struct timespec){.tv_nsec = GROUPS_LOOK_MS * 1000000L}, NULL);
}

void reload_look_after(struct server *s)
{
    auth_reap(s->auth);
    if (!gate_has_groups(s->gate)) gate_regroup(s->gate, http_worker(s->http, 0));
}

static void put_in_force(struct server *s, struct prepared *p)
{
    const struct config *before = s->config;
    pthread_mutex_lock(&s->reading.lock);
    if (p->changed.len > 0) {
        config_put_in_force(p->fresh);
        s->config = p->fresh;
    } else {
        config_confirm(before, p->fresh);
    }
    s->reading.at = (int64_t)time(NULL);
    s->reading.waiting = p->waiting;
    s->reading.refused = false;
    pthread_mutex_unlock(&s->reading.lock);
    log_set_level(level_of(s->config->log_level));
    if (s->config != before && !tell_parts(s, before))
        LOG(LOG_ERROR, 0, "reload-incomplete", KV_TEXT("why", "out of memory"));
    http_terms_use(s->http, p->terms);
    auth_change_use(s->auth, p->auth);
    reload_look_after(s);
    wait_for_groups(s);
    LOG(LOG_INFO, 0, "reloaded", KV_TEXT("changed", p->changed.text));
    if (p->waiting.len > 0) LOG(LOG_WARN, 0, "restart-needed", KV_TEXT("keys", p->waiting.text));
}

void reload(struct server *s)
{
    struct prepared p = {0};
    char error[ERROR_MAX] = "";
    if (prepare(s, &p, error, sizeof error)) {
        put_in_force(s, &p);
    } else {
        give_up(&p);
        tell_refused(error);
        pthread_mutex_lock(&s->reading.lock);
        s->reading.refused = true;
        pthread_mutex_unlock(&s->reading.lock);
    }
    if (!auth_reload(s->auth, error, sizeof error))
        LOG(LOG_ERROR, 0, "reload-users", KV_TEXT("why", error));
}

/* ---- status ---- */

/* The keys, one by one. NULL: no memory. */
static json_t *names_json(const struct config_text *t)
{
    json_t *list = json_array();
    for (const char *at = t->text; list && *at;) {
        size_t len = strcspn(at, ",");
        if (json_array_append_new(list, json_stringn(at, len)) != 0) {
            json_decref(list);
            return NULL;
        }
        at += len + strspn(at + len, ", ");
    }
    return list;
}

bool reload_status(struct server *s, json_t *status)
{
    char at[WHEN_TEXT] = "";
    pthread_mutex_lock(&s->reading.lock);
    (void)when_text(s->reading.at, at);
    json_t *list = names_json(&s->reading.waiting);
    json_t *all = json_pack("{s:s, s:s, s:b, s:b, s:o}", "file", s->config->file, "loaded_at", at,
                            "changed_on_disk", config_is_outdated(s->config), "refused",
                            s->reading.refused, "restart_needed_for", list);
    pthread_mutex_unlock(&s->reading.lock);
    return all && json_object_set_new(status, "configuration", all) == 0;
}
