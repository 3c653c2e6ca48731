/* The chain in files of the state directory, for a store of which this is the only process. A line leaves
 * the store only once it is on the disk in its file. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/observe/audit_carrier.h"
#include "src/server/observe/log.h"

/* Where the store's lines stand in the chain: the line of that id has that head. */
struct mark {
    uint64_t id;
    struct audit_head head;
};

struct to_files {
    struct audit_carrier base; /* first: the carrier is the to_files */
    struct audit_files *files;
    char *dir;
    struct mark moved;
    bool placed; /* what was moved before is known */
};

/* ---- what the store remembers ---- */
static bool read_mark(struct store *s, struct mark *out)
{
    struct item_record item;
    void *block = NULL;
    int found = store_read_item(s, "audit", "head", &item, &block);
    *out = (struct mark){0};
    if (found <= 0) return found == 0;
    json_t *json = json_loads(item.json, 0, NULL);
    const char *hash = NULL;
    json_int_t id = 0, seq = 0;
    bool ok = json_unpack(json, "{s:I,s:I,s:s}", "id", &id, "seq", &seq, "hash", &hash) == 0 &&
              strlen(hash) < sizeof out->head.hash;
    if (ok) {
        out->id = (uint64_t)id;
        out->head.seq = (uint64_t)seq;
        memcpy(out->head.hash, hash, strlen(hash) + 1);
    }
    json_decref(json);
    free(block);
    return ok;
}

/* Written behind: until it is there, the lines are moved again and found to be there. */
static void remember(struct to_files *m)
{
    char json[160];
    snprintf(json, sizeof json, "{\"id\":%" PRIu64 ",\"seq\":%" PRIu64 ",\"hash\":\"%s\"}",
             m->moved.id, m->moved.head.seq, m->moved.head.hash);
    const struct store_change changes[] = {
        {.kind = STORE_REMOVE_AUDIT, .u.log.id = m->moved.id},
        {.kind = STORE_PUT_ITEM, .u.item = {"audit", "head", json}},
    };
    (void)store_submit(m->base.store, changes, 2, NULL); /* else the next time */
}

static uint64_t seq_of(const struct to_files *m, uint64_t id)
{
    return m->moved.head.seq + (id - m->moved.id);
}

static bool place_line(struct to_files *m, uint64_t id, const char *json, char *why, size_t cap)
{
    struct audit_head head;
    char *line = NULL;
    bool ok = audit_seal_any(audit_files_head(m->files), id, seq_of(m, id), json, &line, &head, why,
                             cap) &&
              audit_files_append(m->files, &head, line, why, cap);
    if (ok) m->moved = (struct mark){id, head};
    free(line);
    return ok;
}

/* Lines that a process before this one has moved, and the store has not been told: they follow in
 * the chain on what it remembers, and are in the files already. If they are not, the two are not of
 * one piece (one came out of a backup, or was written anew): the chain then goes on behind what the
 * files have. */
static bool skip_moved(struct to_files *m, const struct audit_batch *b, size_t *at, char *why,
                       size_t cap)
{
    const struct audit_head *there = audit_files_head(m->files);
    struct audit_head head = m->moved.head;
    size_t n = 0;
    char *line;
    while (n < b->count && head.seq < there->seq) {
        uint64_t id = b->lines[n].id;
        if (!audit_seal_any(&head, id, seq_of(m, id), b->lines[n].json, &line, &head, why, cap))
            return false;
        free(line);
        n++;
    }
    if (b->full && n == b->count && head.seq < there->seq) {
        *at = n; /* and on with the next ones */
        m->moved = (struct mark){b->lines[n - 1].id, head};
        return true;
    }
    m->placed = true;
    if (head.seq == there->seq && strcmp(head.hash, there->hash) == 0) {
        *at = n;
        m->moved = (struct mark){n ? b->lines[n - 1].id : m->moved.id, head};
        return true;
    }
    LOG(LOG_ERROR, 0, head.seq > there->seq ? "audit-cut" : "audit-other",
        KV_UINT("known", head.seq), KV_UINT("there", there->seq));
    if (head.seq < there->seq || n) m->moved.head = *there;
    return true;
}

static bool files_move(struct audit_carrier *c, bool *left_out, char *why, size_t cap)
{
    struct to_files *m = (struct to_files *)c;
    struct audit_batch *b = audit_batch_read(c->store, m->moved.id, AUDIT_AT_ONCE, why, cap);
    const struct mark before = m->moved;
    bool ok = b != NULL;
    size_t first = 0;
    if (ok && !m->placed) ok = skip_moved(m, b, &first, why, cap);
    for (size_t i = first; ok && i < b->count; i++)
        ok = place_line(m, b->lines[i].id, b->lines[i].json, why, cap);
    char unsynced[200];
    if (b && b->count && !audit_files_sync(m->files, ok ? why : unsynced, ok ? cap : 200)) {
        m->moved = before;
        m->placed = ok = false;
    }
    if (m->moved.id != before.id) remember(m);
    *left_out = b && b->full;
    audit_batch_free(b);
    return ok;
}

static const struct audit_head *files_head(struct audit_carrier *c)
{
    return &((struct to_files *)c)->moved.head;
}

static bool files_read(struct audit_carrier *c, uint64_t after, size_t most,
                       void (*each)(void *ctx, uint64_t seq, const char *line, size_t len),
                       void *ctx, char *error, size_t cap)
{
    return audit_read(((struct to_files *)c)->dir, after, most, each, ctx, error, cap);
}

static bool files_verify(struct audit_carrier *c, const struct audit_head *known,
                         struct audit_report *report_out, char *error, size_t cap)
{
    return audit_verify(((struct to_files *)c)->dir, known, report_out, error, cap);
}

static void files_limit(struct audit_carrier *c, size_t rotate_size, unsigned keep)
{
    audit_files_limit(((struct to_files *)c)->files, rotate_size, keep);
}

static void files_close(struct audit_carrier *c)
{
    struct to_files *m = (struct to_files *)c;
    audit_files_close(m->files);
    free(m->dir);
    free(m);
}

struct audit_carrier *audit_to_files(struct store *s, const char *dir, size_t rotate_size,
                                     unsigned keep, char *error, size_t error_cap)
{
    static const struct audit_carrier_ops ops = {
        .move = files_move,
        .head = files_head,
        .read = files_read,
        .verify = files_verify,
        .limit = files_limit,
        .close = files_close,
    };
    struct to_files *m = calloc(1, sizeof *m);
    if (m) m->base = (struct audit_carrier){&ops, s};
    if (!m || !(m->dir = strdup(dir))) {
        snprintf(error, error_cap, "out of memory");
        free(m);
        return NULL;
    }
    m->files = audit_files_open(dir, rotate_size, keep, error, error_cap);
    if (m->files && read_mark(s, &m->moved)) return &m->base;
    if (m->files) snprintf(error, error_cap, "the store does not tell where the audit log stands");
    files_close(&m->base);
    return NULL;
}
