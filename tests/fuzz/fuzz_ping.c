/* A Ping that a phone sends and that is said again to an upstream, and what an upstream may answer. */
#include <stdlib.h>
#include <string.h>

#include "src/server/upstream/ping_wish.h"
#include "tests/fuzz/fuzz.h"

#define SPACE (4 << 20)

/* What is said again asks for the same. */
static void said_again(const struct ping_wish *w, const struct ping_limits *limits,
                       struct pv_arena *arena)
{
    const struct pv_node *root;
    struct ping_wish *again;
    uint32_t limit;
    size_t len, at, room = ping_wish_room(w);
    uint8_t *buf = malloc(room);
    if (!buf) return;
    LAW(ping_wish_write(w, 77, buf, room, &len) == PV_OK);
    pv_arena_reset(arena);
    LAW(pv_wbxml_decode(arena, buf, len, NULL, &root, &at) == PV_OK && at == len);
    LAW(ping_wish_read(root, limits, NULL, &again, &limit) == 0);
    LAW(again->heartbeat == 77 && again->folder_count == w->folder_count);
    LAW(again->size == w->size && memcmp(again->folders, w->folders, w->size) == 0);
    free(again);
    free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char space[SPACE] __attribute__((aligned(16)));
    static const struct ping_limits limits = {60, 3540, 100};
    static const struct ping_wish last = {
        .heartbeat = 600, .folder_count = 1, .size = 3, .folders = "X\0"};
    struct pv_arena arena;
    const struct pv_node *root;
    struct ping_said said;
    struct ping_wish *wish;
    uint32_t limit;
    if (ping_said_read(data, size, &said)) LAW(said.status > 0);
    pv_arena_init(&arena, space, sizeof space);
    if (pv_wbxml_decode(&arena, data, size, &pv_wbxml_limits_small, &root, NULL) != PV_OK) return 0;
    unsigned status = ping_wish_read(root, &limits, &last, &wish, &limit);
    LAW(status <= PING_SERVER_ERROR && status != PING_NO_CHANGES && status != PING_CHANGES);
    if (status) return 0;
    LAW(wish->heartbeat >= 60 && wish->heartbeat <= 3540);
    LAW(wish->folder_count >= 1 && wish->folder_count <= 100);
    LAW(wish->size <= PING_FOLDERS_SIZE_MAX && !wish->folders[wish->size - 1]);
    said_again(wish, &limits, &arena);
    free(wish);
    return 0;
}
