/* The chain in a store that several servers share. Sealing lines and moving the head are one transaction,
 * which fails if another server has moved the head meanwhile: so any of them may do it at any time, and
 * there is but one chain. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/observe/audit_carrier.h"
#include "src/server/observe/audit_check.h"
#include "src/server/observe/log.h"

#define SEALED_AT_ONCE 256
#define PAGE 1000
#define CONFLICTS_MAX 100 /* in a row, before others are left to it for now */
#define WHERE "the database"

/* The head as the store has it, item audit/head. */
struct head {
    struct audit_head head;
    uint64_t first; /* line that is kept; 0: none was dropped yet, so 1 */
    uint64_t bytes; /* of the part that grows */
    json_t *
        ends; /* last seq of each full part that is kept, oldest first; only where some are dropped */
    char *json; /* as it was read; "" if there is none */
};

struct to_store {
    struct audit_carrier base; /* first: the carrier is the to_store */
    size_t rotate_size;
    unsigned keep;
    struct audit_head known;
};

static void head_free(struct head *h)
{
    json_decref(h->ends);
    free(h->json);
    *h = (struct head){0};
}

static bool head_parse(struct head *h)
{
    json_t *json;
    const char *hash = NULL;
    json_int_t seq = 0, first = 0, bytes = 0;
    if (!json_of_text(h->json, strlen(h->json), 0, &json)) return false;
    bool ok = json_unpack(json, "{s:I,s:s,s:I,s:I,s:O}", "seq", &seq, "hash", &hash, "first",
                          &first, "bytes", &bytes, "ends", &h->ends) == 0 &&
              strlen(hash) == AUDIT_HASH_CAP - 1 && seq > 0 && first >= 0 && bytes >= 0 &&
              json_is_array(h->ends);
    if (ok) {
        h->head.seq = (uint64_t)seq;
        memcpy(h->head.hash, hash, AUDIT_HASH_CAP);
        h->first = (uint64_t)first;
        h->bytes = (uint64_t)bytes;
    }
    json_decref(json);
    return ok;
}

/* To be freed with head_free. false: why tells. */
static bool head_read(struct store *s, struct head *out, char *why, size_t cap)
{
    struct item_record item;
    void *block = NULL;
    *out = (struct head){0};
    int found = store_read_item(s, "audit", "head", &item, &block);
    if (found >= 0) out->json = strdup(found ? item.json : "");
    free(block);
    bool ok = out->json && (found ? head_parse(out) : (out->ends = json_array()) != NULL);
    if (!ok) {
        snprintf(why, cap, "%s",
                 found < 0 ? "the store cannot be read"
                           : "the store does not tell where the audit log stands");
        head_free(out);
    }
    return ok;
}

/* ---- one transaction ---- */
enum sealed { SEALED, CONFLICT, FAILED };

static enum sealed submit(struct store *s, const struct store_change *changes, size_t count)
{
    struct store_write w;
    if (store_submit_wait(s, changes, count, &w)) return SEALED;
    return w.conflict ? CONFLICT : FAILED;
}

struct sealing {
    struct store_change changes[SEALED_AT_ONCE + 2];
    size_t count;
    char *lines[SEALED_AT_ONCE];
    size_t line_count;
};

/* A part that is full ends, and the oldest that are too many go. false: no memory. */
static bool count_line(const struct to_store *t, struct head *h, size_t len)
{
    if (h->bytes && h->bytes + len >= t->rotate_size) {
        h->bytes = 0;
        if (t->keep && json_array_append_new(h->ends, json_integer((json_int_t)h->head.seq)) != 0)
            return false;
    }
    h->bytes += len + 1;
    return true;
}

static bool add_line(const struct to_store *t, struct sealing *s, struct head *h, uint64_t id,
                     const char *json, char *why, size_t cap)
{
    char *line;
    struct audit_head next;
    uint64_t seq = h->head.seq + 1;
    if (!audit_seal_any(&h->head, id, seq, json, &line, &next, why, cap)) return false;
    bool ok = count_line(t, h, strlen(line));
    h->head = next;
    s->lines[s->line_count++] = line;
    s->changes[s->count++] = (struct store_change){.kind = STORE_SEAL_AUDIT,
                                                   .u.log = {.id = id, .json = line, .seq = seq}};
    return ok;
}

/* Retention: without `keep` the ends of parts are not kept. */
static void drop_old(const struct to_store *t, struct sealing *s, struct head *h)
{
    uint64_t last = 0;
    while (json_array_size(h->ends) > t->keep) {
        last = (uint64_t)json_integer_value(json_array_get(h->ends, 0));
        json_array_remove(h->ends, 0);
    }
    if (!last) return;
    h->first = last + 1;
    s->changes[s->count++] = (struct store_change){.kind = STORE_REMOVE_CHAIN, .u.log.id = last};
}

static char *head_text(const struct head *h)
{
    json_t *json =
        json_pack("{s:I,s:s,s:I,s:I,s:O}", "seq", (json_int_t)h->head.seq, "hash", h->head.hash,
                  "first", (json_int_t)h->first, "bytes", (json_int_t)h->bytes, "ends", h->ends);
    char *text = text_of_json(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

static enum sealed seal_batch(const struct to_store *t, const struct audit_batch *b, struct head *h,
                              char *why, size_t cap)
{
    struct sealing *s = calloc(1, sizeof *s);
    snprintf(why, cap, "out of memory");
    bool ok = s != NULL;
    for (size_t i = 0; ok && i < b->count; i++)
        ok = add_line(t, s, h, b->lines[i].id, b->lines[i].json, why, cap);
    if (ok) drop_old(t, s, h);
    char *text = ok ? head_text(h) : NULL;
    enum sealed result = FAILED;
    if (text) {
        s->changes[s->count++] = (struct store_change){.kind = STORE_PUT_ITEM,
                                                       .u.item = {"audit", "head", text, h->json}};
        result = submit(t->base.store, s->changes, s->count);
        if (result == FAILED) snprintf(why, cap, "the store cannot be written");
    }
    free(text);
    for (size_t i = 0; s && i < s->line_count; i++) free(s->lines[i]);
    free(s);
    return result;
}

/* Some lines, however often another server is faster. */
static bool chain_move(struct audit_carrier *c, bool *left_out, char *why, size_t cap)
{
    struct to_store *t = (struct to_store *)c;
    enum sealed result = CONFLICT;
    *left_out = false;
    for (unsigned i = 0; i < CONFLICTS_MAX && result == CONFLICT; i++) {
        struct head h;
        if (!head_read(c->store, &h, why, cap)) return false;
        t->known = h.head;
        struct audit_batch *b = audit_batch_read(c->store, 0, SEALED_AT_ONCE, why, cap);
        result = !b ? FAILED : b->count ? seal_batch(t, b, &h, why, cap) : SEALED;
        if (result == SEALED) {
            t->known = h.head;
            *left_out = b->full;
        }
        audit_batch_free(b);
        head_free(&h);
    }
    return result != FAILED;
}

static const struct audit_head *chain_head(struct audit_carrier *c)
{
    return &((struct to_store *)c)->known;
}

/* ---- looking at it ---- */
struct reading {
    void (*each)(void *ctx, uint64_t seq, const char *line, size_t len);
    void *ctx;
};

static void pass_on(void *ctx, const struct log_record *r)
{
    const struct reading *reading = ctx;
    reading->each(reading->ctx, r->id, r->json, strlen(r->json));
}

static bool chain_read(struct audit_carrier *c, uint64_t after, size_t most,
                       void (*each)(void *ctx, uint64_t seq, const char *line, size_t len),
                       void *ctx, char *error, size_t cap)
{
    struct reading r = {each, ctx};
    bool ok = store_read_log(c->store, STORE_LOG_CHAIN, after, (unsigned)most, pass_on, &r);
    if (!ok) snprintf(error, cap, "the store cannot be read");
    return ok;
}

struct verifying {
    struct audit_check check;
    uint64_t first; /* line that is due first */
    unsigned page;  /* lines of this page that were looked at */
    uint64_t
        gap; /* line that the page begins with instead of the one that is due; 0: it does not */
};

static void verify_line(void *ctx, const struct log_record *r)
{
    struct verifying *v = ctx;
    struct audit_report *report = v->check.report;
    uint64_t due = report->head.seq ? report->head.seq + 1 : v->first;
    if (v->gap || report->fault != AUDIT_FAULT_NONE) return;
    if (v->page++ == 0 && r->id > due) {
        v->gap = r->id;
        return;
    }
    v->check.at.line++;
    v->check.at.span.first = v->first;
    if (audit_line_seq(r->json, strlen(r->json)) != r->id)
        audit_blame(report, AUDIT_FAULT_NOT_SEALED, &v->check.at, r->id);
    else
        audit_check_line(&v->check, &v->check.at, r->json, strlen(r->json));
}

/* A gap is no fault if what is missing was dropped while it was looked at. false: out of reach. */
static bool look_again(struct to_store *t, struct verifying *v, char *error, size_t cap)
{
    struct head h;
    struct audit_report *r = v->check.report;
    uint64_t due = r->head.seq ? r->head.seq + 1 : v->first;
    if (!head_read(t->base.store, &h, error, cap)) return false;
    bool dropped = h.first > due;
    if (dropped) {
        *r = (struct audit_report){0};
        v->check.at.line = 0;
        v->first = h.first;
    } else {
        v->check.at.line++;
        audit_blame_missing(r, AUDIT_FAULT_MISSING, &v->check.at, v->gap, due, v->gap - 1);
    }
    head_free(&h);
    return true;
}

static bool chain_verify(struct audit_carrier *c, const struct audit_head *known,
                         struct audit_report *report_out, char *error, size_t cap)
{
    (void)known; /* another server may have gone on: the store knows better */
    struct to_store *t = (struct to_store *)c;
    struct head h;
    *report_out = (struct audit_report){0};
    if (!head_read(c->store, &h, error, cap)) return false;
    struct verifying v = {.check = {.report = report_out, .known = h.head.seq ? &h.head : NULL},
                          .first = h.first ? h.first : 1};
    snprintf(v.check.at.file, sizeof v.check.at.file, WHERE);
    bool ok = true;
    do {
        v.page = 0;
        v.gap = 0;
        uint64_t after = report_out->head.seq ? report_out->head.seq : v.first - 1;
        ok = store_read_log(c->store, STORE_LOG_CHAIN, after, PAGE, verify_line, &v);
        if (!ok) snprintf(error, cap, "the store cannot be read");
        if (ok && v.gap) ok = look_again(t, &v, error, cap);
    } while (ok && (v.page == PAGE || v.gap) && report_out->fault == AUDIT_FAULT_NONE);
    if (ok) audit_check_end(&v.check);
    head_free(&h);
    return ok;
}

static void chain_close(struct audit_carrier *c)
{
    free(c);
}

static void chain_limit(struct audit_carrier *c, size_t rotate_size, unsigned keep)
{
    struct to_store *t = (struct to_store *)c;
    t->rotate_size = rotate_size;
    t->keep = keep;
}

struct audit_carrier *audit_to_store(struct store *s, size_t rotate_size, unsigned keep)
{
    static const struct audit_carrier_ops ops = {
        .move = chain_move,
        .head = chain_head,
        .read = chain_read,
        .verify = chain_verify,
        .limit = chain_limit,
        .close = chain_close,
    };
    struct to_store *t = calloc(1, sizeof *t);
    if (t) *t = (struct to_store){.base = {&ops, s}, .rotate_size = rotate_size, .keep = keep};
    return t ? &t->base : NULL;
}
