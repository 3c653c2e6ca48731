#include "src/server/mailbox/memos.h"

#include <stdlib.h>
#include <string.h>

struct memos {
    size_t count;
    struct memo at[];
};

static const struct memo *find(const struct memo *memos, size_t count, uint32_t folder)
{
    for (size_t i = 0; i < count; i++)
        if (memos[i].folder == folder) return &memos[i];
    return NULL;
}

struct recall {
    uint32_t folder;
    bool found;
    struct look *out;
};

static void recall(void *ctx, void **memory)
{
    struct recall *r = ctx;
    const struct memos *kept = *memory;
    const struct memo *m = kept ? find(kept->at, kept->count, r->folder) : NULL;
    r->found = m != NULL;
    if (m) *r->out = m->look;
}

bool memos_recall(struct seats *s, const char *user, const char *device_id, uint32_t folder,
                  struct look *out)
{
    struct recall r = {.folder = folder, .out = out};
    return seats_visit(s, user, device_id, recall, &r) && r.found;
}

struct remember {
    const struct memo *memos;
    size_t count, most;
};

static void remember(void *ctx, void **memory)
{
    const struct remember *r = ctx;
    const struct memos *old = *memory;
    size_t old_count = old ? old->count : 0, n = 0;
    for (size_t i = 0; i < old_count; i++)
        if (!find(r->memos, r->count, old->at[i].folder)) n++;
    size_t others = r->count >= r->most ? 0 : n < r->most - r->count ? n : r->most - r->count;
    struct memos *new_ = malloc(sizeof *new_ + (r->count + others) * sizeof *new_->at);
    if (!new_) return;
    if (r->count) memcpy(new_->at, r->memos, r->count * sizeof *new_->at);
    new_->count = r->count;
    for (size_t i = 0; i < old_count && new_->count < r->count + others; i++)
        if (!find(r->memos, r->count, old->at[i].folder)) new_->at[new_->count++] = old->at[i];
    free(*memory);
    *memory = new_;
}

void memos_remember(struct seats *s, const struct seat *seat, const struct memo *memos,
                    size_t count, size_t most)
{
    struct remember r = {memos, count, most};
    seats_visit_own(s, seat, remember, &r);
}
