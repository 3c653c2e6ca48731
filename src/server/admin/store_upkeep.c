/* Backup of the store, and how far such work has come. */
#include <pthread.h>
#include <time.h>

#include "src/json_text.h"
#include "src/server/admin/internal.h"
#include "src/server/admin/store_jobs.h"
#include "src/server/gate/note.h"
#include "src/server/observe/log.h"

/* ---- the line in the audit log ---- */
struct noted {
    struct store_write write;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool done;
};

static void line_written(struct store_write *w)
{
    struct noted *n = CONTAINER_OF(w, struct noted, write);
    pthread_mutex_lock(&n->mutex);
    n->done = true;
    pthread_cond_signal(&n->wake);
    pthread_mutex_unlock(&n->mutex);
}

/* On a thread that may block. false: it is not on the disk. */
static bool write_line(struct store *s, const char *line)
{
    struct noted n = {.write.done = line_written,
                      .mutex = PTHREAD_MUTEX_INITIALIZER,
                      .wake = PTHREAD_COND_INITIALIZER};
    const struct store_change c = {.kind = STORE_ADD_AUDIT, .u.log.json = line};
    if (!line || !store_submit(s, &c, 1, &n.write)) return false;
    pthread_mutex_lock(&n.mutex);
    while (!n.done) pthread_cond_wait(&n.wake, &n.mutex);
    pthread_mutex_unlock(&n.mutex);
    return n.write.durable;
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
