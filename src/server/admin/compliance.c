/* How devices stand to policies, by what they have said themselves. */
#include <stdlib.h>
#include <string.h>

#include "src/server/admin/internal.h"

/* Of one policy and one revision that was acknowledged; 0: none was. */
struct row {
    char *policy;
    uint64_t revision;
    unsigned devices, refresh_due;
    unsigned outcomes[PV_OUTCOME_COUNT]; /* NONE: never provisioned */
};

struct summary {
    struct row *rows;
    size_t count, last; /* last: where the one before was counted */
    bool out_of_memory;
};

static bool is_of(const struct row *r, const struct device_standing *d)
{
    return r->revision == d->outcome_revision && strcmp(r->policy, d->policy) == 0;
}

/* NULL: no memory. */
static struct row *row_of(struct summary *s, const struct device_standing *d)
{
    if (s->last < s->count && is_of(&s->rows[s->last], d)) return &s->rows[s->last];
    for (s->last = 0; s->last < s->count; s->last++)
        if (is_of(&s->rows[s->last], d)) return &s->rows[s->last];
    struct row *rows = realloc(s->rows, (s->count + 1) * sizeof *rows);
    if (!rows) return NULL;
    s->rows = rows;
    rows[s->count] = (struct row){.policy = strdup(d->policy), .revision = d->outcome_revision};
    return rows[s->count].policy ? &rows[s->count++] : NULL;
}

static void count_one(void *ctx, const struct device_standing *d)
{
    struct summary *s = ctx;
    struct row *r = row_of(s, d);
    if (!r) {
        s->out_of_memory = true;
        return;
    }
    r->devices++;
    r->refresh_due += d->refresh_due;
    r->outcomes[d->outcome]++;
}

static int by_policy(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int order = strcmp(x->policy, y->policy);
    return order ? order : (x->revision > y->revision) - (x->revision < y->revision);
}

static json_t *row_json(const struct row *r)
{
    json_t *all = json_pack("{s:o,s:I,s:I,s:I}", "policy", admin_text(r->policy), "revision",
                            (json_int_t)r->revision, "devices", (json_int_t)r->devices,
                            "refresh_due", (json_int_t)r->refresh_due);
    static const char *const names[PV_OUTCOME_COUNT] = {
        [PV_OUTCOME_NONE] = "never_provisioned",
        [PV_OUTCOME_COMPLIANT] = "compliant",
        [PV_OUTCOME_PARTIAL] = "partial",
        [PV_OUTCOME_NOT_APPLIED] = "not_applied",
        [PV_OUTCOME_EXTERNAL] = "external",
        [PV_OUTCOME_REFUSED] = "refused",
        [PV_OUTCOME_NON_PROVISIONABLE] = "non_provisionable",
    };
    for (size_t i = 0; all && i < PV_OUTCOME_COUNT; i++)
        if (json_object_set_new(all, names[i], json_integer(r->outcomes[i])) != 0) {
            json_decref(all);
            all = NULL;
        }
    return all;
}

static void compliance_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    struct summary s = {0};
    c->unreachable = !gate_each_standing(c->admin->gate, count_one, &s);
    bool ok = !s.out_of_memory;
    if (s.count) qsort(s.rows, s.count, sizeof *s.rows, by_policy);
    c->list = json_array();
    for (size_t i = 0; i < s.count; i++) {
        ok = ok && json_array_append_new(c->list, row_json(&s.rows[i])) == 0;
        free(s.rows[i].policy);
    }
    free(s.rows);
    c->out_of_memory = !ok || !c->list;
}

static void compliance_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->out_of_memory)
        admin_no_memory(c);
    else if (c->unreachable)
        admin_unreachable(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

void admin_compliance(struct admin_call *c)
{
    admin_on_walks(c, compliance_run, compliance_done);
}
