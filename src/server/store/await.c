/* A submission that a thread waits for. */
#include <semaphore.h>

#include "src/server/store/store.h"

struct awaited {
    struct store_write write;
    sem_t done;
};

static void written(struct store_write *w)
{
    sem_post(&CONTAINER_OF(w, struct awaited, write)->done);
}

bool store_submit_wait(struct store *s, const struct store_change *changes, size_t count,
                       struct store_write *out)
{
    struct awaited a = {.write.done = written};
    sem_init(&a.done, 0, 0);
    bool queued = store_submit(s, changes, count, &a.write);
    while (queued && sem_wait(&a.done) != 0) continue;
    sem_destroy(&a.done);
    *out = queued ? a.write : (struct store_write){0};
    return out->durable;
}
