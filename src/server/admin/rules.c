/* Access rules and the default access. */
#include "src/server/gate/rules/rules_admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/lib/base/text.h"
#include "src/server/admin/internal.h"
#include "src/server/observe/log.h"

#define SENTENCE_MAX 256
#define HITS_MAX 1000 /* devices that a test names; it counts all */

/* ---- listing ---- */
void admin_rules(struct admin_call *c)
{
    struct rules *rules = gate_rules(c->admin->gate);
    c->list = json_array();
    for (size_t i = 0; i < rules->count; i++)
        if (json_array_append_new(c->list, rule_told(&rules->at[i])) != 0) c->out_of_memory = true;
    rules_release(rules);
    if (c->out_of_memory)
        admin_no_memory(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

void admin_access(struct admin_call *c)
{
    struct rules *rules = gate_rules(c->admin->gate);
    admin_reply(c, 200,
                json_pack("{s:s}", "default", access_text((enum pv_access)rules->otherwise)));
    rules_release(rules);
}

/* ---- from the body ---- */
/* false: answered. */
static bool read_conditions(struct admin_call *c, struct rule *r)
{
    char sentence[SENTENCE_MAX];
    const char *name;
    json_t *value;
    json_object_foreach(admin_body(c, "conditions"), name, value)
    {
        const char *text = json_string_value(value);
        if (!text) snprintf(sentence, sizeof sentence, "The value of a condition is a text.");
        if (!text || !rule_condition(r, name, text, sentence, sizeof sentence)) {
            admin_error(c, 422, "bad_condition", sentence);
            return false;
        }
    }
    if (r->conditions) return true;
    admin_error(c, 422, "bad_condition",
                "A rule needs a condition; what applies to all devices is the default access.");
    return false;
}

static bool read_rule(struct admin_call *c, struct rule *r)
{
    enum pv_access access = PV_ACCESS_OK;
    (void)access_parse(admin_body_text(c, "action"), &access); /* the table allows no other word */
    r->access = (uint8_t)access;
    return read_conditions(c, r);
}

/* ---- changes ---- */
static void ask(struct admin_call *c, unsigned devices)
{
    char sentence[SENTENCE_MAX];
    snprintf(sentence, sizeof sentence,
             "%u device%s let in today would be kept out; confirm says that this is meant.",
             devices, devices == 1 ? " that is" : "s that are");
    admin_reply(
        c, 409,
        json_pack("{s:s,s:s,s:i}", "error", sentence, "code", "confirm", "devices", (int)devices));
}

static json_t *result_json(const struct rules_set *s)
{
    json_t *json = s->change == RULES_DEFAULT
                       ? json_pack("{s:s}", "default", access_text(s->otherwise))
                       : rule_told(&s->rule);
    json_t *more = json_pack("{s:b,s:b,s:i}", "changed", (int)(s->result == RULES_DONE), "dry_run",
                             (int)s->dry_run, "devices", (int)s->devices);
    bool ok = json && more && json_object_update(json, more) == 0;
    json_decref(more);
    if (ok) return json;
    json_decref(json);
    return NULL;
}

static void set_done(struct rules_set *s)
{
    struct admin_call *c = s->of;
    bool made = s->change == RULES_ADD && !s->dry_run;
    switch (s->result) {
    case RULES_DONE:
        if (!s->dry_run)
            LOG(LOG_INFO, http_session(c->http), "rules-changed", KV_TEXT("by", s->actor),
                KV_TEXT("act", s->change == RULES_ADD      ? "rule.add"
                               : s->change == RULES_REMOVE ? "rule.remove"
                                                           : "access.default"),
                KV_UINT("rule", s->rule.id), KV_UINT("devices", s->devices));
        admin_reply(c, made ? 201 : 200, result_json(s));
        return;
    case RULES_UNCHANGED: admin_reply(c, 200, result_json(s)); return;
    case RULES_UNKNOWN:
        admin_error(c, 404, "unknown_rule", "There is no rule of that number.");
        return;
    case RULES_FULL:
        admin_error(c, 422, "too_many_rules", "There are 1000 rules already; remove some first.");
        return;
    case RULES_ASK: ask(c, s->devices); return;
    case RULES_CONFLICT: admin_error(c, 409, "conflict", LISTS_CONFLICT); return;
    case RULES_STORE: break;
    }
    admin_not_stored(c, &s->write);
}

/* NULL: no memory, answered. Freed with the call. */
static struct rules_set *set_make(struct admin_call *c, enum rules_change change)
{
    c->rules = calloc(1, sizeof *c->rules);
    if (!c->rules) {
        admin_no_memory(c);
        return NULL;
    }
    c->rules->change = change;
    c->rules->actor = admin_actor(c);
    c->rules->of = c;
    c->rules->done = set_done;
    return c->rules;
}

static void set_start(struct admin_call *c)
{
    http_wait(c->http, NULL);
    gate_set_rules(c->admin->gate, c->rules);
}

void admin_rule_add(struct admin_call *c)
{
    struct rules_set *s = set_make(c, RULES_ADD);
    const char *note = admin_body_text(c, "note");
    if (!s || !read_rule(c, &s->rule)) return;
    if (note && strlen(note) >= RULE_NOTE_MAX) {
        admin_error(c, 422, "bad_note", "A note has at most 255 bytes.");
        return;
    }
    snprintf(s->rule.note, sizeof s->rule.note, "%s", note ? note : "");
    snprintf(s->rule.by, sizeof s->rule.by, "%s", s->actor);
    s->confirm = admin_body_flag(c, "confirm");
    s->dry_run = admin_body_flag(c, "dry_run");
    set_start(c);
}

void admin_rule_remove(struct admin_call *c)
{
    struct rules_set *s = set_make(c, RULES_REMOVE);
    const char *text = admin_arg(c, "id");
    uint64_t id;
    if (!s) return;
    /* 0 is the number of none. */
    s->rule.id = pv__parse_u64(text, strlen(text), UINT32_MAX, false, &id) ? (uint32_t)id : 0;
    (void)admin_query_flag(c, "confirm", &s->confirm);
    (void)admin_query_flag(c, "dry_run", &s->dry_run);
    set_start(c);
}

void admin_access_set(struct admin_call *c)
{
    struct rules_set *s = set_make(c, RULES_DEFAULT);
    if (!s) return;
    (void)access_parse(admin_body_text(c, "default"), &s->otherwise);
    s->confirm = admin_body_flag(c, "confirm");
    s->keep_known = admin_body_flag(c, "keep_known");
    s->dry_run = admin_body_flag(c, "dry_run");
    set_start(c);
}

/* ---- what a rule would do ---- */
struct test {
    json_t *devices; /* the first, by user and id */
    unsigned matching, changing, shut_out;
    bool out_of_memory;
};

static json_t *hit_json(const struct rule_hit *h)
{
    return json_pack("{s:o,s:o,s:o,s:s,s:b,s:s,s:s,s:s,s:s,s:b}", "user", admin_text(h->user),
                     "device_id", admin_text(h->device_id), "device_type",
                     admin_text(h->device_type), "protocol_version", pv_version_text(h->version),
                     "in", (int)h->in, "access", access_text(h->now), "access_by", h->now_by,
                     "would_be", access_text(h->then), "would_be_by", h->then_by, "changes",
                     (int)(h->now != h->then));
}

static void test_one(void *ctx, const struct rule_hit *h)
{
    struct test *t = ctx;
    t->matching++;
    t->changing += h->now != h->then;
    t->shut_out += h->in && h->now == PV_ACCESS_OK && h->then != PV_ACCESS_OK;
    if (json_array_size(t->devices) < HITS_MAX &&
        json_array_append_new(t->devices, hit_json(h)) != 0)
        t->out_of_memory = true;
}

static void test_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    struct test t = {.devices = json_array()};
    c->unreachable = !gate_test_rule(c->admin->gate, &c->rules->rule, test_one, &t);
    c->out_of_memory = t.out_of_memory || !t.devices;
    c->list = json_pack("{s:i,s:i,s:i,s:o}", "matching", (int)t.matching, "changing",
                        (int)t.changing, "shut_out", (int)t.shut_out, "devices", t.devices);
}

static void test_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->out_of_memory || (!c->list && !c->unreachable))
        admin_no_memory(c);
    else if (c->unreachable)
        admin_unreachable(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

void admin_rule_test(struct admin_call *c)
{
    struct rules_set *s = set_make(c, RULES_ADD);
    if (s && read_rule(c, &s->rule)) admin_on_walks(c, test_run, test_done);
}
