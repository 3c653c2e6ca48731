#include "src/server/store/trouble.h"

#include <stdio.h>
#include <string.h>

#include "src/server/observe/heart.h"
#include "src/server/observe/log.h"

#define AGAIN_MS 60000
#define OTHER_MS 5000 /* for another reason, sooner */

static const char *const words[] = {
    [TROUBLE_WRITE] = "write", [TROUBLE_READ] = "read", [TROUBLE_HEAR] = "hear"};

void trouble_init(struct trouble *t, const char *store)
{
    *t = (struct trouble){.store = store, .quiet_ms = TROUBLE_QUIET_MS};
    pthread_mutex_init(&t->mutex, NULL);
}

void trouble_finish(struct trouble *t)
{
    pthread_mutex_destroy(&t->mutex);
}

void trouble_failed(struct trouble *t, enum trouble_doing doing, const char *code, const char *why)
{
    uint64_t now = heart_now_ms();
    pthread_mutex_lock(&t->mutex);
    uint64_t failed = ++t->failed;
    bool tell = !t->failing || now - t->told_ms >= AGAIN_MS ||
                (now - t->told_ms >= OTHER_MS && strcmp(t->why, why) != 0);
    t->failed_ms = now;
    t->failing |= 1u << doing;
    if (tell) {
        t->told_ms = now;
        t->failed = 0;
        snprintf(t->why, sizeof t->why, "%s", why);
    }
    pthread_mutex_unlock(&t->mutex);
    if (tell)
        LOG(LOG_ERROR, 0, "store-failed", KV_TEXT("store", t->store),
            KV_TEXT("doing", words[doing]), KV_TEXT("code", code), KV_TEXT("error", why),
            KV_UINT("failures", failed));
}

/* Not at the first success: on a full disk, say, some still succeed. */
void trouble_over(struct trouble *t, enum trouble_doing doing)
{
    if (!t->failing) return;
    pthread_mutex_lock(&t->mutex);
    bool over = t->failing && heart_now_ms() - t->failed_ms >= t->quiet_ms;
    if (over) t->failing &= ~(1u << doing);
    over = over && !t->failing;
    uint64_t failed = t->failed;
    if (over) t->failed = 0;
    pthread_mutex_unlock(&t->mutex);
    if (over)
        LOG(LOG_WARN, 0, "store-back", KV_TEXT("store", t->store), KV_UINT("failures", failed));
}

void trouble_damaged(struct trouble *t, const char *user, const char *why)
{
    uint64_t now = heart_now_ms();
    pthread_mutex_lock(&t->mutex);
    bool tell = now >= t->damaged_again_ms || strcmp(t->damaged, user) != 0;
    if (tell) {
        snprintf(t->damaged, sizeof t->damaged, "%s", user);
        t->damaged_again_ms = now + AGAIN_MS;
    }
    pthread_mutex_unlock(&t->mutex);
    if (tell) LOG(LOG_ERROR, 0, "store-damaged", KV_TEXT("user", user), KV_TEXT("error", why));
}
