/* Backup of the store, and how far such work has come. */
#include <time.h>

#include "src/json_text.h"
#include "src/server/admin/internal.h"
#include "src/server/admin/store_jobs.h"
#include "src/server/gate/lists.h"
#include "src/server/gate/note.h"
#include "src/server/observe/log.h"

/* ---- the line in the audit log ---- */
/* On a thread that may block. false: it is not on the disk. */
static bool write_line(struct store *s, const char *line)
{
    const struct store_change c = {.kind = STORE_ADD_AUDIT, .u.log.json = line};
    struct store_write w;
    return line && store_submit_wait(s, &c, 1, &w);
}

/* object and after are taken over. The act is done: a line that cannot be stored is told of in the
 * log. */
static void note(struct store *s, const struct store_job *j, const char *act, json_t *object,
                 json_t *after)
{
    char *line = note_act(j->actor, act, time(NULL), object, NULL, after);
    if (!write_line(s, line)) LOG(LOG_ERROR, 0, "store-job-unnoted", KV_TEXT("act", act));
    free(line);
}

/* ---- beginning and watching ---- */
static void begin(struct admin_call *c, const struct store_job *j)
{
    uint64_t id = 0;
    switch (store_jobs_begin(c->admin->store_jobs, j, &id)) {
    case STORE_BEGUN:
        admin_reply(c, 202, json_pack("{s:I,s:s}", "id", (json_int_t)id, "act", j->act));
        return;
    case STORE_BUSY:
        admin_error(c, 409, "store_busy",
                    "Work on the store is under way; there is one piece at a time.");
        return;
    case STORE_NO_MEMORY: admin_no_memory(c); return;
    }
}

void admin_store_job(struct admin_call *c)
{
    admin_reply(c, 200, store_jobs_show(c->admin->store_jobs));
}

/* ---- backup ---- */
static enum store_outcome backup_run(struct store *s, const struct store_job *j,
                                     const struct store_work *w, json_t **result_out)
{
    struct store_backup b = {.path = j->file, .replace = j->flag};
    enum store_outcome out = store_backup(s, &b, w);
    if (out != STORE_DONE) return out;
    *result_out = json_pack("{s:o,s:I,s:I}", "file", admin_text(j->file), "bytes",
                            (json_int_t)b.bytes, "devices", (json_int_t)b.devices);
    note(s, j, "store.backup", json_pack("{s:o}", "file", admin_text(j->file)),
         json_pack("{s:I,s:I}", "bytes", (json_int_t)b.bytes, "devices", (json_int_t)b.devices));
    return out;
}

void admin_store_backup(struct admin_call *c)
{
    begin(c, &(struct store_job){.act = "backup",
                                 .actor = admin_actor(c),
                                 .file = admin_body_text(c, "file"),
                                 .flag = admin_body_flag(c, "replace"),
                                 .run = backup_run});
}

/* ---- check ---- */
struct finding_list {
    json_t *list;
    bool out_of_memory;
};

static void take_finding(void *ctx, bool bad, const char *where, const char *why)
{
    struct finding_list *f = ctx;
    json_t *one =
        json_pack("{s:o,s:o,s:b}", "where", admin_text(where), "why", admin_text(why), "bad", bad);
    if (json_array_append_new(f->list, one) != 0) f->out_of_memory = true;
}

/* The head that the store remembers must be in the chain. */
static void check_audit(struct admin *a, struct store_check *k)
{
    struct audit_report r;
    char error[256], where[NAME_MAX + 32];
    if (!audit_mover_flush(a->audit))
        check_found(k, true, "audit", "lines cannot be moved into the chain at present");
    if (!audit_mover_verify(a->audit, &r, error, sizeof error)) {
        check_found(k, true, "audit", error);
    } else if (r.fault != AUDIT_FAULT_NONE) {
        snprintf(where, sizeof where, "audit %s:%llu", r.file, (unsigned long long)r.line);
        check_found(k, true, where, r.why);
    }
}

static enum store_outcome check_run(struct store *s, const struct store_job *j,
                                    const struct store_work *w, json_t **result_out)
{
    struct finding_list f = {.list = json_array()};
    struct store_check k = {.found = take_finding, .ctx = &f};
    enum store_outcome out = f.list ? store_check(s, &k, w) : STORE_FAILED;
    if (out == STORE_DONE) {
        const struct admin *a = j->ctx;
        char error[256];
        if (!gate_lists_fit(a->gate, s, error, sizeof error)) check_found(&k, true, "lists", error);
        w->step(w->ctx, "verifying the audit log", 0, 0);
        check_audit(j->ctx, &k);
    }
    if (out == STORE_DONE && !f.out_of_memory)
        *result_out =
            json_pack("{s:b,s:I,s:I,s:O}", "good", k.findings == 0, "rows", (json_int_t)k.rows,
                      "count", (json_int_t)k.findings, "findings", f.list);
    json_decref(f.list);
    return out;
}

void admin_store_check(struct admin_call *c)
{
    begin(c, &(struct store_job){
                 .act = "check", .actor = admin_actor(c), .ctx = c->admin, .run = check_run});
}

/* ---- restore ---- */
struct restore_ctx {
    const struct store_job *j;
    json_t *list;
    bool out_of_memory;
};

static void take_kept(void *ctx, const char *user, const char *device_id, const char *why)
{
    struct restore_ctx *x = ctx;
    json_t *one = json_pack("{s:o,s:o,s:s}", "user", admin_text(user), "device_id",
                            admin_text(device_id), "why", why);
    if (json_array_append_new(x->list, one) != 0) x->out_of_memory = true;
}

static json_t *counts(const struct store_restore *r)
{
    return json_pack("{s:I,s:I,s:I,s:o,s:I,s:I,s:I,s:I,s:I}", "devices", (json_int_t)r->devices,
                     "policies", (json_int_t)r->policies, "rules", (json_int_t)r->rules,
                     "last_seen", admin_time(r->last_seen), "kept", (json_int_t)r->kept, "blocked",
                     (json_int_t)r->blocked, "held_users", (json_int_t)r->held_users, "gone",
                     (json_int_t)r->gone, "other_keys", (json_int_t)r->other_keys);
}

static bool lists_fit(void *ctx, struct store *file, char *error, size_t error_cap)
{
    const struct restore_ctx *x = ctx;
    const struct admin *a = x->j->ctx;
    return gate_lists_fit(a->gate, file, error, error_cap);
}

static char *restore_line(void *ctx, const struct store_restore *r)
{
    struct restore_ctx *x = ctx;
    if (x->out_of_memory) return NULL;
    return note_act(x->j->actor, "store.restore", time(NULL),
                    json_pack("{s:o}", "file", admin_text(x->j->file)), NULL, counts(r));
}

static enum store_outcome restore_run(struct store *s, const struct store_job *j,
                                      const struct store_work *w, json_t **result_out)
{
    struct restore_ctx x = {.j = j, .list = json_array()};
    struct store_restore r = {.path = j->file,
                              .dry_run = j->flag,
                              .fits = lists_fit,
                              .line = restore_line,
                              .tell = take_kept,
                              .ctx = &x};
    enum store_outcome out = x.list ? store_restore(s, &r, w) : STORE_FAILED;
    if (out == STORE_DONE && !x.out_of_memory) {
        *result_out = counts(&r);
        if (json_object_set(*result_out, "not_as_in_the_file", x.list) != 0) {
            json_decref(*result_out);
            *result_out = NULL;
        }
    }
    json_decref(x.list);
    return out;
}

void admin_store_restore(struct admin_call *c)
{
    begin(c, &(struct store_job){.act = "restore",
                                 .actor = admin_actor(c),
                                 .file = admin_body_text(c, "file"),
                                 .flag = admin_body_flag(c, "dry_run"),
                                 .ctx = c->admin,
                                 .run = restore_run});
}
