/* One line when a trouble begins and one when it is over, however many notice it. */
#include "src/server/observe/log.h"
#include "src/server/store/sqlite.h"

#define AGAIN_MS 60000 /* a trouble that lasts is told so often */

void sqlite_trouble_init(struct sqlite_trouble *t, const char *doing)
{
    *t = (struct sqlite_trouble){.doing = doing, .quiet_ms = SQLITE_STORE_QUIET_MS};
    pthread_mutex_init(&t->mutex, NULL);
}

void sqlite_trouble_finish(struct sqlite_trouble *t)
{
    pthread_mutex_destroy(&t->mutex);
}

void sqlite_trouble_failed(struct sqlite_trouble *t, int rc, const char *why)
{
    uint64_t now = heart_now_ms();
    pthread_mutex_lock(&t->mutex);
    uint64_t failed = ++t->failed;
    bool tell = !t->told || now - t->told_ms >= AGAIN_MS;
    t->failed_ms = now;
    t->told = true;
    if (tell) {
        t->told_ms = now;
        t->failed = 0;
    }
    pthread_mutex_unlock(&t->mutex);
    if (tell)
        LOG(LOG_ERROR, 0, "store-failed", KV_TEXT("doing", t->doing), KV_INT("code", rc),
            KV_TEXT("error", why), KV_UINT("failures", failed));
}

/* Not at the first success: on a full disk, say, some still succeed. */
void sqlite_trouble_over(struct sqlite_trouble *t)
{
    if (!t->told) return;
    pthread_mutex_lock(&t->mutex);
    bool over = t->told && heart_now_ms() - t->failed_ms >= t->quiet_ms;
    uint64_t failed = t->failed;
    if (over) {
        t->told = false;
        t->failed = 0;
    }
    pthread_mutex_unlock(&t->mutex);
    if (over)
        LOG(LOG_WARN, 0, "store-back", KV_TEXT("doing", t->doing), KV_UINT("failures", failed));
}
