/* A transaction: all statements on their way at once, then a look at what they found, then COMMIT. Two
 * round trips, three with DeviceInformation, however many submissions there are. */
#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/store/pg_batch.h"

struct sent {
    struct pg_entry *entry; /* NULL: of all */
    enum pg_expect expect;
};
struct transaction {
    struct pg_store *s;
    struct pg_link *l;
    struct pg_entry *entries;
    size_t entry_count;
    struct pg_step *steps;
    size_t step_count;
    struct pg_infos infos;
    struct sent *sent; /* statements whose results are still to come */
    size_t sent_count, sent_cap;
    struct pg_entry *now; /* whose change is sent */
    bool tells;           /* there are changes that other servers must know */
    bool hurry;
    bool dropped, again, locked, refused;
};

static bool no_memory(struct transaction *t)
{
    snprintf(t->l->why, sizeof t->l->why, "out of memory");
    t->refused = true;
    return false;
}

static bool note_sent(void *ctx, enum pg_expect expect)
{
    struct transaction *t = ctx;
    if (t->sent_count == t->sent_cap) {
        size_t cap = t->sent_cap ? 2 * t->sent_cap : 256;
        struct sent *more = reallocarray(t->sent, cap, sizeof *more);
        if (!more) return no_memory(t);
        t->sent = more;
        t->sent_cap = cap;
    }
    t->sent[t->sent_count++] = (struct sent){t->now, expect};
    return true;
}

static bool send_noted(struct transaction *t, enum pg_statement which, const struct pg_args *args)
{
    t->now = NULL;
    return pg_send(t->l, which, args) && note_sent(t, PG_ANY);
}

/* ---- what is to be done ---- */
static bool lay_out(struct transaction *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->entry_count; i++)
        if (!t->entries[i].settled) n += t->entries[i].sub->count;
    if (!(t->steps = calloc(n + 1, sizeof *t->steps))) return no_memory(t);
    for (size_t i = 0; i < t->entry_count; i++) {
        struct pg_entry *e = &t->entries[i];
        for (size_t k = 0; !e->settled && k < e->sub->count; k++) {
            struct pg_step step = pg_step_of(&e->sub->changes[k]);
            step.change = &e->sub->changes[k];
            step.order = t->step_count;
            step.entry = e;
            t->steps[t->step_count++] = step;
        }
    }
    pg_sort(t->steps, t->step_count);
    return pg_infos_collect(&t->infos, t->steps, t->step_count) || no_memory(t);
}

/* ---- what other servers must know: one statement with two arrays ---- */
struct array {
    char *bytes;
    size_t len;
};

static void array_word(struct array *a, uint32_t v)
{
    uint32_t wire = htonl(v);
    memcpy(a->bytes + a->len, &wire, sizeof wire);
    a->len += sizeof wire;
}

static void array_start(struct array *a, uint32_t type, size_t count)
{
    const uint32_t head[] = {1, 0, type, (uint32_t)count, 1}; /* one dimension, from 1 on */
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) array_word(a, head[i]);
}

static void array_add(struct array *a, const void *bytes, size_t len)
{
    array_word(a, (uint32_t)len);
    memcpy(a->bytes + a->len, bytes, len);
    a->len += len;
}

/* Of lists and logs one row says it all. */
static bool same_news(const struct pg_step *x, const struct pg_step *y)
{
    return x->kind == y->kind &&
           (x->kind != PG_OF_USER || (x->a_len == y->a_len && memcmp(x->a, y->a, x->a_len) == 0));
}

#define ARRAY_HEAD 20
#define TYPE_BYTEA 17
#define TYPE_INT8 20

static bool send_news(struct transaction *t)
{
    size_t bytes = 0, n = 0;
    const struct pg_step *last = NULL;
    for (size_t i = 0; i < t->step_count; i++) bytes += t->steps[i].a_len + 4;
    struct array kinds = {malloc(ARRAY_HEAD + 12 * t->step_count), 0},
                 names = {malloc(ARRAY_HEAD + bytes), 0};
    if (!kinds.bytes || !names.bytes) {
        free(kinds.bytes);
        free(names.bytes);
        return no_memory(t);
    }
    kinds.len = names.len = ARRAY_HEAD;
    for (size_t i = 0; i < t->step_count; i++) {
        const struct pg_step *step = &t->steps[i];
        if (!step->told || (last && same_news(last, step))) continue;
        uint64_t kind = htobe64(step->kind);
        array_add(&kinds, &kind, sizeof kind);
        array_add(&names, step->a, step->kind == PG_OF_USER ? step->a_len : 0);
        last = step;
        n++;
    }
    size_t kinds_len = kinds.len, names_len = names.len;
    kinds.len = names.len = 0;
    array_start(&kinds, TYPE_INT8, n);
    array_start(&names, TYPE_BYTEA, n);

    struct pg_args args = {0};
    pg_int(&args, (int64_t)atomic_load(&t->s->node));
    pg_bytes(&args, kinds.bytes, kinds_len);
    pg_bytes(&args, names.bytes, names_len);
    t->tells = n > 0;
    bool ok = !n || send_noted(t, Q_CHANGED, &args);
    free(kinds.bytes);
    free(names.bytes);
    return ok;
}

/* ---- what came of it ---- */
/* Whose fault an error is, by its SQLSTATE: of the values that a submission brought, of others who
 * wanted the same rows at the same time, or of the server. */
static void judge(struct transaction *t, const PGresult *r, struct pg_entry *entry)
{
    static const char *const data[] = {"22", "23", "54", "P0"};
    static const char *const locked[] = {"55P03", "57014"};
    pg_note(t->l, r);
    t->again = t->again || strncmp(t->l->state, "40", 2) == 0;
    for (size_t i = 0; i < sizeof locked / sizeof *locked; i++)
        t->locked = t->locked || strcmp(t->l->state, locked[i]) == 0;
    if (t->again || t->locked) return;
    for (size_t i = 0; entry && i < sizeof data / sizeof *data; i++)
        if (strncmp(t->l->state, data[i], 2) == 0) {
            if (!entry->settled) entry->outcome = OUTCOME_FAILED;
            entry->settled = t->dropped = true;
            return;
        }
    t->refused = true;
}

static void look_at(struct transaction *t, const PGresult *r, const struct sent *sent)
{
    bool some = PQresultStatus(r) == PGRES_TUPLES_OK
                    ? PQntuples(r) > 0
                    : strtoul(PQcmdTuples((PGresult *)r), NULL, 10);
    bool conflict = (sent->expect == PG_ONE && !some) || (sent->expect == PG_NONE && some);
    if (sent->expect == PG_ONE_OR_AGAIN && !some) t->again = true;
    if (!conflict) return;
    if (!sent->entry->settled) sent->entry->outcome = OUTCOME_CONFLICT;
    sent->entry->settled = t->dropped = true;
}

/* Results of all that was sent. false: the connection went. */
static bool look_at_all(struct transaction *t)
{
    for (size_t i = 0; i < t->sent_count; i++) {
        PGresult *r;
        if (!pg_take(t->l, &r)) return false;
        if (pg_good(r))
            look_at(t, r, &t->sent[i]);
        else if (PQresultStatus(r) != PGRES_PIPELINE_ABORTED)
            judge(t, r, t->sent[i].entry);
        PQclear(r);
    }
    t->sent_count = 0;
    return pg_take_sync(t->l);
}

static bool fits(const struct transaction *t)
{
    return !t->dropped && !t->again && !t->locked && !t->refused;
}

/* ---- in order ---- */
static bool begin(struct transaction *t)
{
    struct pg_args hurry = {0};
    pg_text(&hurry, PG_HURRY_MS);
    if (!send_noted(t, Q_BEGIN, NULL) || (t->hurry && !send_noted(t, Q_HURRY, &hurry)))
        return false;
    if (!t->infos.count) return true;
    for (size_t i = 0; i < t->infos.count; i++) {
        struct pg_args args = {0};
        pg_text(&args, t->infos.rows[i].user);
        pg_text(&args, t->infos.rows[i].device_id);
        if (!pg_send(t->l, Q_GET_INFO, &args)) return false;
    }
    PGresult *r;
    if (!pg_sync(t->l)) return false;
    for (; t->sent_count; t->sent_count--) {
        if (!pg_take(t->l, &r)) return false;
        if (PQresultStatus(r) == PGRES_FATAL_ERROR) judge(t, r, NULL);
        PQclear(r);
    }
    for (size_t i = 0; i < t->infos.count; i++) {
        if (!pg_take(t->l, &r)) return false;
        if (PQresultStatus(r) == PGRES_FATAL_ERROR) judge(t, r, NULL);
        if (pg_good(r) && PQntuples(r) > 0 &&
            !pg_infos_set(&t->infos.rows[i], PQgetvalue(r, 0, 0), PQgetvalue(r, 0, 1)))
            no_memory(t);
        PQclear(r);
    }
    return pg_take_sync(t->l);
}

static bool send_changes(struct transaction *t)
{
    struct pg_apply a = {t->l, &t->infos, note_sent, t};
    for (size_t i = 0; i < t->step_count; i++) {
        t->now = t->steps[i].entry;
        if (!pg_apply_change(&a, t->steps[i].change)) return false;
    }
    return send_news(t) && pg_sync(t->l) && look_at_all(t);
}

static enum pg_end roll_back(struct transaction *t)
{
    if (!send_noted(t, Q_ROLLBACK, NULL) || !pg_sync(t->l) || !look_at_all(t)) return PG_END_BROKEN;
    return t->refused   ? PG_END_REFUSED
           : t->dropped ? PG_END_DROPPED
           : t->locked  ? PG_END_LOCKED
                        : PG_END_AGAIN;
}

/* The bell is rung in a transaction of its own behind, which waits for no disk: while a NOTIFY is
 * committed no other can be. Who misses it looks anyway. */
static enum pg_end commit(struct transaction *t)
{
    PGresult *r;
    struct pg_args args = {0};
    pg_text(&args, t->s->channel);
    t->l->warned = false;
    bool sent = pg_send(t->l, Q_COMMIT, NULL) && PQsendFlushRequest(t->l->conn) &&
                (!t->tells || pg_send(t->l, Q_NOTIFY, &args)) && pg_sync(t->l);
    if (!sent || !pg_take(t->l, &r)) return PG_END_LOST;
    bool committed = pg_good(r) && strcmp(PQcmdStatus(r), "COMMIT") == 0;
    if (!pg_good(r)) judge(t, r, NULL);
    PQclear(r);
    t->l->behind = true;
    t->l->rings = t->tells;
    /* It waited in vain for a standby. */
    if (committed && t->l->warned) return PG_END_LOST;
    if (committed) return PG_END_DURABLE;
    return t->again ? PG_END_AGAIN : PG_END_REFUSED;
}

bool pg_transaction_end(struct pg_store *s)
{
    struct pg_link *l = &s->writer;
    PGresult *r;
    if (!l->conn || !l->behind) return l->conn != NULL;
    l->behind = false;
    bool ok = true;
    if (l->rings) {
        ok = pg_take(l, &r);
        if (ok) PQclear(r);
    }
    return ok && pg_take_sync(l);
}

enum pg_end pg_transaction(struct pg_store *s, struct pg_entry *entries, size_t count, bool hurry)
{
    struct transaction t = {
        .s = s, .l = &s->writer, .entries = entries, .entry_count = count, .hurry = hurry};
    enum pg_end end = PG_END_BROKEN;
    if (!pg_transaction_end(s)) return PG_END_BROKEN;
    if (!lay_out(&t))
        end = PG_END_REFUSED;
    else if (begin(&t) && (!fits(&t) || send_changes(&t)))
        end = fits(&t) ? commit(&t) : roll_back(&t);
    else if (t.refused) /* no memory, in the middle of a pipeline */
        pg_disconnect(t.l);
    pg_infos_finish(&t.infos);
    free(t.steps);
    free(t.sent);
    return end;
}
