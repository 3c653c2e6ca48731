/* Users: names and passwords are in the users file (on the pool), their flags in the store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/admin/internal.h"
#include "src/server/observe/log.h"

static struct auth *auth_of(struct admin_call *c)
{
    return gate_auth(c->admin->gate);
}

static struct admin_call *call_of_user(struct user_set *s)
{
    return CONTAINER_OF(s, struct admin_call, user);
}

static json_t *user_json(const char *name, struct user_flags flags)
{
    return json_pack("{s:o,s:b,s:b}", "name", admin_text(name), "enabled", (int)flags.enabled,
                     "device_wipe", (int)flags.device_wipe);
}

/* false: answered. */
static bool edit_worked(struct admin_call *c)
{
    switch (c->edit) {
    case AUTH_EDIT_OK: return true;
    case AUTH_EDIT_EXISTS:
        admin_error(c, 409, "user_exists", "There is a user of that name already.");
        return false;
    case AUTH_EDIT_UNKNOWN:
        admin_error(c, 404, "unknown_user", "There is no user of that name.");
        return false;
    case AUTH_EDIT_BAD_NAME:
        admin_error(c, 400, "bad_name", "A user cannot have that name.");
        return false;
    case AUTH_EDIT_BAD_PASSWORD:
        admin_error(c, 400, "bad_password", "That password cannot be used.");
        return false;
    case AUTH_EDIT_NO_FILE:
        admin_error(c, 409, "no_users_file",
                    "There is no users file: auth.method names other ways to log in, and users and "
                    "passwords are kept there. Enabling and disabling works with any name.");
        return false;
    case AUTH_EDIT_FAILED: break;
    }
    admin_error(c, 500, "users_file",
                "The users file cannot be written; the server's log says why.");
    return false;
}

/* ---- list ---- */
#define FLAGS_AT_ONCE 1000 /* users with flags that are read at a time */

struct page {
    struct admin_call *c;
    char **names; /* by name; one more than a page shows that there is more */
    struct user_flags *flags;
    size_t count, most;
    size_t at;                 /* of the flags that are read */
    char after[AUTH_USER_MAX]; /* the last of them */
    unsigned read;
};

static void add_name(void *ctx, const char *name)
{
    struct page *p = ctx;
    p->flags[p->count] = (struct user_flags){true, true};
    if ((p->names[p->count] = strdup(name)))
        p->count++;
    else
        p->c->out_of_memory = true;
}

/* Both lists are by name. */
static void take_flags(void *ctx, const struct user_record *r)
{
    struct page *p = ctx;
    p->read++;
    snprintf(p->after, sizeof p->after, "%s", r->user);
    while (p->at < p->count && strcmp(p->names[p->at], r->user) < 0) p->at++;
    if (p->at < p->count && strcmp(p->names[p->at], r->user) == 0)
        p->flags[p->at] = (struct user_flags){r->enabled, !r->no_device_wipe};
}

/* A change of flags is in the store before it is told. */
static bool read_flags(struct page *p, const char *after)
{
    struct store *store = gate_store(p->c->admin->gate);
    if (p->count == 0) return true;
    do {
        p->read = 0;
        if (!store_read_users(store, after, FLAGS_AT_ONCE, take_flags, p)) return false;
        after = p->after;
    } while (p->read == FLAGS_AT_ONCE && strcmp(after, p->names[p->count - 1]) < 0);
    return true;
}

static void show_names(struct page *p)
{
    struct admin_call *c = p->c;
    size_t shown = p->count < p->most ? p->count : p->most;
    for (size_t i = 0; i < shown; i++)
        if (json_array_append_new(c->list, user_json(p->names[i], p->flags[i])) != 0)
            c->out_of_memory = true;
    if (p->count > shown && !admin_next(c, p->names[shown - 1])) c->out_of_memory = true;
}

static void list_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    const char *after = admin_query(c, "after");
    uint64_t most = ADMIN_PAGE_USUAL;
    (void)admin_query_number(c, "limit", &most); /* it was looked at before */
    struct page p = {.c = c, .most = most};
    p.names = calloc(p.most + 1, sizeof *p.names);
    p.flags = calloc(p.most + 1, sizeof *p.flags);
    c->list = json_array();
    c->out_of_memory = !p.names || !p.flags || !c->list;
    if (!c->out_of_memory) c->edit = auth_user_each(auth_of(c), after, p.most + 1, add_name, &p);
    if (!c->out_of_memory) c->unreachable = !read_flags(&p, after);
    if (!c->out_of_memory) show_names(&p);
    for (size_t i = 0; i < p.count; i++) free(p.names[i]);
    free(p.names);
    free(p.flags);
}

static void list_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->out_of_memory)
        admin_no_memory(c);
    else if (c->unreachable)
        admin_unreachable(c);
    else if (edit_worked(c))
        admin_reply_page(c, json_incref(c->list));
}

void admin_users(struct admin_call *c)
{
    const char *after = admin_query(c, "after");
    uint64_t most = ADMIN_PAGE_USUAL;
    (void)admin_query_number(c, "limit", &most);
    if (most == 0 || most > ADMIN_PAGE_MOST)
        admin_error(c, 400, "bad_query", "limit must be 1 to 10000.");
    else if (after && (!*after || strlen(after) >= AUTH_USER_MAX))
        admin_error(c, 400, "bad_query", "after must be the name of a user.");
    else
        admin_on_pool(c, list_run, list_done);
}

/* ---- add, passwd ---- */

/* Text member of the body into a buffer; false: answered. Control characters could not be typed
 * again. */
static bool take_text(struct admin_call *c, const char *member, char *buf, size_t cap)
{
    const char *text = admin_body_text(c, member);
    size_t len = strlen(text);
    bool good = len > 0 && len < cap;
    for (size_t i = 0; good && i < len; i++)
        good = (unsigned char)text[i] >= 0x20 && text[i] != 0x7f;
    if (good) {
        memcpy(buf, text, len + 1);
        return true;
    }
    char sentence[128];
    snprintf(sentence, sizeof sentence,
             "%s must be a text of 1 to %zu bytes without control "
             "characters.",
             member, cap - 1);
    admin_error(c, 400, "bad_value", sentence);
    return false;
}

static void log_edit(struct admin_call *c, const char *verb)
{
    LOG(LOG_INFO, http_session(c->http), verb, KV_TEXT("user", c->name));
}

/* The users file has been changed; the audit log must know before it is told. */
static void note_failed(struct admin_call *c)
{
    admin_error(c, 503, "store",
                "The users file was changed, but the audit log cannot be written: the store is "
                "out of reach.");
}

static void noted(struct store_write *w)
{
    struct admin_call *c = CONTAINER_OF(w, struct admin_call, noted);
    if (w->durable)
        admin_reply(c, c->created ? 201 : 200, user_json(c->name, c->user.flags));
    else
        note_failed(c);
}

static void note_edit(struct admin_call *c, const char *act)
{
    json_t *after = c->created ? user_json(c->name, c->user.flags) : NULL;
    c->noted.done = noted;
    if (c->unreachable) {
        json_decref(after);
        note_failed(c);
    } else if (!gate_audit(c->admin->gate, admin_actor(c), act,
                           json_pack("{s:o}", "user", admin_text(c->name)), after, &c->noted)) {
        note_failed(c);
    }
}

static void add_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    c->edit = auth_user_add(auth_of(c), c->name, c->password);
    c->unreachable = !gate_user_flags(c->admin->gate, c->name, &c->user.flags);
}

static void add_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (!edit_worked(c)) return;
    log_edit(c, "user-add");
    c->created = true;
    note_edit(c, "user.add");
}

void admin_user_add(struct admin_call *c)
{
    if (take_text(c, "name", c->name, sizeof c->name) &&
        take_text(c, "password", c->password, sizeof c->password))
        admin_on_pool(c, add_run, add_done);
}

static void passwd_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    c->edit = auth_user_passwd(auth_of(c), c->name, c->password);
    c->unreachable = !gate_user_flags(c->admin->gate, c->name, &c->user.flags);
}

static void passwd_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (!edit_worked(c)) return;
    log_edit(c, "user-passwd");
    note_edit(c, "user.passwd");
}

/* From the path to where a new user's name from the body stands. */
static void take_name(struct admin_call *c)
{
    snprintf(c->name, sizeof c->name, "%s", admin_arg(c, "user"));
}

void admin_user_password(struct admin_call *c)
{
    take_name(c);
    if (take_text(c, "password", c->password, sizeof c->password))
        admin_on_pool(c, passwd_run, passwd_done);
}

/* ---- enable, disable, remove: what the gate keeps of a user ---- */

static void set_done(struct user_set *s)
{
    static const char *const verbs[] = {
        [USER_DISABLE] = "user-disable",         [USER_ENABLE] = "user-enable",
        [USER_FORBID_WIPE] = "user-forbid-wipe", [USER_PERMIT_WIPE] = "user-permit-wipe",
        [USER_REMOVE] = "user-remove",
    };
    struct admin_call *c = call_of_user(s);
    if (s->result == GATE_STORE) {
        admin_not_stored(c, &s->write);
        return;
    }
    log_edit(c, verbs[s->act]);
    json_t *json = s->act == USER_REMOVE
                       ? json_pack("{s:o,s:b}", "name", admin_text(s->user), "removed", 1)
                       : user_json(s->user, s->flags);
    if ((s->act == USER_FORBID_WIPE || s->act == USER_REMOVE) &&
        json_object_set_new(json, "wipes_pending", json_integer(s->wipes_pending)) != 0) {
        json_decref(json);
        json = NULL;
    }
    admin_reply(c, 200, json);
}

static void set_flags(struct admin_call *c)
{
    memcpy(c->user.user, c->name, sizeof c->user.user);
    c->user.actor = admin_actor(c);
    c->user.done = set_done;
    gate_set_user(c->admin->gate, &c->user);
}

static void exists_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    char name[AUTH_USER_MAX];
    bool known = auth_user_name(auth_of(c), c->name, name);
    c->edit = known ? AUTH_EDIT_OK : AUTH_EDIT_UNKNOWN;
    if (known) memcpy(c->name, name, sizeof name);
}

static void exists_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (edit_worked(c)) set_flags(c);
}

void admin_user_enable(struct admin_call *c)
{
    take_name(c);
    c->user.act = USER_ENABLE;
    admin_on_pool(c, exists_run, exists_done);
}

void admin_user_disable(struct admin_call *c)
{
    take_name(c);
    c->user.act = USER_DISABLE;
    admin_on_pool(c, exists_run, exists_done);
}

void admin_user_device_wipe(struct admin_call *c)
{
    take_name(c);
    c->user.act = admin_body_flag(c, "allowed") ? USER_PERMIT_WIPE : USER_FORBID_WIPE;
    admin_on_pool(c, exists_run, exists_done);
}

static void has_device(void *ctx, const struct device_view *d)
{
    struct admin_call *c = ctx;
    (void)d;
    c->edit = AUTH_EDIT_OK;
}

/* A user who was taken out of the file by hand may have left devices: those are forgotten too. */
static void remove_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    c->edit = auth_user_remove(auth_of(c), c->name);
    struct device_listing l = {.user = c->name, .most = 1, .each = has_device, .ctx = c};
    if (c->edit == AUTH_EDIT_UNKNOWN) c->unreachable = !gate_list_devices(c->admin->gate, &l);
}

static void remove_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->unreachable)
        admin_unreachable(c);
    else if (edit_worked(c))
        set_flags(c);
}

void admin_user_remove(struct admin_call *c)
{
    take_name(c);
    c->user.act = USER_REMOVE;
    admin_on_pool(c, remove_run, remove_done);
}
