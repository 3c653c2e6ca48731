#include "src/server/observe/audit_mover.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/observe/log.h"

#define AT_ONCE 1024  /* lines that are read, and confirmed by the disk, together */
#define GATHER_MS 100 /* so long lines wait for others: in the store they are safe */
#define AGAIN_S 2     /* after a failure */

/* Where the store's lines stand in the chain: the line of that id has that head. */
struct mark {
    uint64_t id;
    struct audit_head head;
};

struct audit_mover {
    struct store *store;
    struct audit_files *files;
    char *dir;
    struct mark moved; /* of the thread, once it runs */
    bool placed;       /* what was moved before is known */
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake, done;
    struct audit_head known; /* the last line that is on the disk */
    bool more;               /* the store may have lines */
    bool hurry;              /* somebody waits for them */
    bool stopping, failing;
    uint64_t turns; /* that have ended with nothing left, or with a failure */
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
static void remember(struct audit_mover *m)
{
    char json[160];
    snprintf(json, sizeof json, "{\"id\":%" PRIu64 ",\"seq\":%" PRIu64 ",\"hash\":\"%s\"}",
             m->moved.id, m->moved.head.seq, m->moved.head.hash);
    const struct store_change changes[] = {
        {.kind = STORE_REMOVE_AUDIT, .u.log.id = m->moved.id},
        {.kind = STORE_PUT_ITEM, .u.item = {"audit", "head", json}},
    };
    (void)store_submit(m->store, changes, 2, NULL); /* else the next time */
}

/* ---- one turn ---- */
struct batch {
    struct {
        uint64_t id;
        char *json;
    } lines[AT_ONCE];
    size_t count;
    bool out_of_memory;
};

static void take_line(void *ctx, const struct log_record *r)
{
    struct batch *b = ctx;
    char *json = strdup(r->json);
    b->out_of_memory |= !json;
    if (json && !b->out_of_memory) {
        b->lines[b->count].id = r->id;
        b->lines[b->count++].json = json;
    } else {
        free(json);
    }
}

static uint64_t seq_of(const struct audit_mover *m, uint64_t id)
{
    return m->moved.head.seq + (id - m->moved.id);
}

/* A line that cannot be sealed is our bug. One that says so takes its place, always the same one, so
 * that the chain has no gap and all others go on. */
static bool seal(const struct audit_head *prev, uint64_t id, uint64_t seq, const char *json,
                 char **line_out, struct audit_head *head_out, char *why, size_t cap)
{
    char instead[128];
    enum audit_sealing rc = audit_seal(prev, seq, json, line_out, head_out);
    if (rc == AUDIT_UNFIT || rc == AUDIT_TOO_LONG) {
        LOG(LOG_ERROR, 0, "audit-line-unfit", KV_UINT("id", id));
        snprintf(instead, sizeof instead,
                 "{\"actor\":\"server\",\"act\":\"audit.unfit\",\"bytes\":%zu}", strlen(json));
        rc = audit_seal(prev, seq, instead, line_out, head_out);
    }
    if (rc != AUDIT_SEALED) snprintf(why, cap, "out of memory");
    return rc == AUDIT_SEALED;
}

static bool place_line(struct audit_mover *m, uint64_t id, const char *json, char *why, size_t cap)
{
    struct audit_head head;
    char *line = NULL;
    bool ok = seal(audit_files_head(m->files), id, seq_of(m, id), json, &line, &head, why, cap) &&
              audit_files_append(m->files, &head, line, why, cap);
    if (ok) m->moved = (struct mark){id, head};
    free(line);
    return ok;
}

/* Lines that a process before this one has moved, and the store has not been told: they follow in
 * the chain on what it remembers, and are in the files already. If they are not, the two are not of
 * one piece (one came out of a backup, or was written anew): the chain then goes on behind what the
 * files have. */
static bool skip_moved(struct audit_mover *m, const struct batch *b, size_t *at, char *why,
                       size_t cap)
{
    const struct audit_head *there = audit_files_head(m->files);
    struct audit_head head = m->moved.head;
    size_t n = 0;
    char *line;
    while (n < b->count && head.seq < there->seq) {
        uint64_t id = b->lines[n].id;
        if (!seal(&head, id, seq_of(m, id), b->lines[n].json, &line, &head, why, cap)) return false;
        free(line);
        n++;
    }
    if (n == AT_ONCE && head.seq < there->seq) {
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

/* false: nothing more can be moved for now. *left_out: there may be more. */
static bool move_some(struct audit_mover *m, bool *left_out, char *why, size_t cap)
{
    struct batch *b = calloc(1, sizeof *b);
    const struct mark before = m->moved;
    bool ok = b && store_read_log(m->store, STORE_LOG_AUDIT, m->moved.id, AT_ONCE, take_line, b);
    if (!ok) snprintf(why, cap, "the store cannot be read");
    if (ok && b->out_of_memory) {
        snprintf(why, cap, "out of memory");
        ok = false;
    }
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
    *left_out = b && b->count == AT_ONCE;
    for (size_t i = 0; b && i < b->count; i++) free(b->lines[i].json);
    free(b);
    return ok;
}

static void turn(struct audit_mover *m)
{
    char why[200] = "";
    bool left = true, ok = true;
    while (ok && left) ok = move_some(m, &left, why, sizeof why);
    pthread_mutex_lock(&m->mutex);
    m->known = m->moved.head;
    if (!ok && !m->failing) LOG(LOG_ERROR, 0, "audit-failed", KV_TEXT("why", why));
    if (ok && m->failing) LOG(LOG_WARN, 0, "audit-back");
    m->failing = !ok;
    m->turns++;
    pthread_cond_broadcast(&m->done);
    pthread_mutex_unlock(&m->mutex);
}

static struct timespec ms_from_now(unsigned ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

/* Something to do, or the time to try it again. false: the end. */
static bool wait_for_work(struct audit_mover *m)
{
    pthread_mutex_lock(&m->mutex);
    const struct timespec again = ms_from_now(AGAIN_S * 1000);
    while (!m->more && !m->stopping) {
        if (!m->failing)
            pthread_cond_wait(&m->wake, &m->mutex);
        else if (pthread_cond_timedwait(&m->wake, &m->mutex, &again) == ETIMEDOUT)
            break;
    }
    const struct timespec gathered = ms_from_now(GATHER_MS);
    while (m->more && !m->hurry && !m->stopping &&
           pthread_cond_timedwait(&m->wake, &m->mutex, &gathered) != ETIMEDOUT)
        continue;
    bool go_on = m->more || !m->stopping;
    m->more = m->hurry = false;
    pthread_mutex_unlock(&m->mutex);
    return go_on;
}

static void *mover_main(void *arg)
{
    struct audit_mover *m = arg;
    while (wait_for_work(m)) turn(m);
    return NULL;
}

static void lines_came(void *ctx)
{
    struct audit_mover *m = ctx;
    pthread_mutex_lock(&m->mutex);
    m->more = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->mutex);
}

/* ---- outside ---- */
const char *audit_mover_dir(const struct audit_mover *m)
{
    return m->dir;
}

void audit_mover_known(struct audit_mover *m, struct audit_head *head_out)
{
    pthread_mutex_lock(&m->mutex);
    *head_out = m->known;
    pthread_mutex_unlock(&m->mutex);
}

bool audit_mover_flush(struct audit_mover *m)
{
    pthread_mutex_lock(&m->mutex);
    /* A turn that is under way may have read the store already. */
    uint64_t until = m->turns + 2;
    while (m->turns < until) {
        m->more = m->hurry = true;
        pthread_cond_signal(&m->wake);
        pthread_cond_wait(&m->done, &m->mutex);
    }
    bool ok = !m->failing;
    pthread_mutex_unlock(&m->mutex);
    return ok;
}

static bool open_all(struct audit_mover *m, const char *dir, size_t rotate_size, unsigned keep,
                     char *error, size_t error_cap)
{
    m->dir = strdup(dir);
    m->files = m->dir ? audit_files_open(dir, rotate_size, keep, error, error_cap) : NULL;
    if (!m->dir) snprintf(error, error_cap, "out of memory");
    if (!m->files) return false;
    if (!read_mark(m->store, &m->moved)) {
        snprintf(error, error_cap, "the store does not tell where the audit log stands");
        return false;
    }
    m->known = m->moved.head;
    return true;
}

void audit_mover_destroy(struct audit_mover *m)
{
    if (!m) return;
    audit_files_close(m->files);
    pthread_cond_destroy(&m->done);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->mutex);
    free(m->dir);
    free(m);
}

struct audit_mover *audit_mover_start(struct store *s, const char *dir, size_t rotate_size,
                                      unsigned keep, char *error, size_t error_cap)
{
    struct audit_mover *m = calloc(1, sizeof *m);
    if (!m) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&m->mutex, NULL);
    pthread_cond_init(&m->wake, &attr);
    pthread_cond_init(&m->done, NULL);
    pthread_condattr_destroy(&attr);
    m->store = s;
    m->more = true; /* what the last process left */
    if (!open_all(m, dir, rotate_size, keep, error, error_cap)) {
        audit_mover_destroy(m);
        return NULL;
    }
    int rc = pthread_create(&m->thread, NULL, mover_main, m);
    if (rc) {
        snprintf(error, error_cap, "the audit log's thread cannot be started: %s", strerror(rc));
        audit_mover_destroy(m);
        return NULL;
    }
    if (store_listen(s, lines_came, m)) return m;
    snprintf(error, error_cap, "too many listen to the store");
    audit_mover_stop(m);
    audit_mover_destroy(m);
    return NULL;
}

void audit_mover_stop(struct audit_mover *m)
{
    if (!m) return;
    (void)audit_mover_flush(m);
    pthread_mutex_lock(&m->mutex);
    m->stopping = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->mutex);
    pthread_join(m->thread, NULL);
}
