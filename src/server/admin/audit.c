/* The audit log: reading it and looking for damage. */
#include "src/json_text.h"
#include "src/server/admin/internal.h"

#define AUDIT_LINES_MOST 10000 /* of one answer */
#define AUDIT_LINES_USUAL 1000

/* ---- lines ---- */
static void take_line(void *ctx, uint64_t seq, const char *line, size_t len)
{
    struct admin_call *c = ctx;
    json_t *json;
    if (!json_of_text(line, len, 0, &json)) c->out_of_memory = true;
    /* Somebody has damaged it; the verification tells more. */
    if (!json) json = json_pack("{s:I,s:b}", "seq", (json_int_t)seq, "damaged", 1);
    if (json_array_append_new(c->list, json) != 0) c->out_of_memory = true;
}

static void read_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    uint64_t after = 0, last = 0, limit = AUDIT_LINES_USUAL;
    (void)audit_mover_flush(c->admin->audit); /* else what is there is shown */
    audit_mover_known(c->admin->audit, &c->audit.known);
    (void)admin_query_number(c, "after", &after);
    (void)admin_query_number(c, "limit", &limit);
    if (admin_query_number(c, "last", &last) && c->audit.known.seq > last)
        after = c->audit.known.seq - last > after ? c->audit.known.seq - last : after;
    if (limit > AUDIT_LINES_MOST) limit = AUDIT_LINES_MOST;
    c->list = json_array();
    c->audit.failed = !audit_mover_read(c->admin->audit, after, (size_t)limit, take_line, c,
                                        c->audit.error, sizeof c->audit.error);
}

static void read_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->audit.failed)
        admin_error(c, 500, "audit_files", c->audit.error);
    else if (c->out_of_memory)
        admin_no_memory(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

void admin_audit_lines(struct admin_call *c)
{
    admin_on_pool(c, read_run, read_done);
}

/* ---- verification ---- */
static void verify_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    (void)audit_mover_flush(c->admin->audit);
    c->audit.failed = !audit_mover_verify(c->admin->audit, &c->audit.report, c->audit.error,
                                          sizeof c->audit.error);
}

static json_t *fault_json(const struct audit_report *r)
{
    if (r->fault == AUDIT_FAULT_NONE) return json_null();
    return json_pack("{s:o,s:I,s:I,s:s}", "file", admin_text(r->file), "line", (json_int_t)r->line,
                     "seq", (json_int_t)r->seq, "why", r->why);
}

static void verify_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    const struct audit_report *r = &c->audit.report;
    if (c->audit.failed) {
        admin_error(c, 500, "audit_files", c->audit.error);
        return;
    }
    admin_reply(c, 200,
                json_pack("{s:b,s:I,s:I,s:I,s:I,s:{s:I,s:s},s:o}", "good",
                          r->fault == AUDIT_FAULT_NONE, "files", (json_int_t)r->files, "lines",
                          (json_int_t)r->lines, "first_seq", (json_int_t)r->first_seq, "last_seq",
                          (json_int_t)r->last_seq, "head", "seq", (json_int_t)r->head.seq, "hash",
                          r->head.hash, "fault", fault_json(r)));
}

void admin_audit_verify(struct admin_call *c)
{
    admin_on_pool(c, verify_run, verify_done);
}
