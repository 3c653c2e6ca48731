/* What holds for every importer. */
#ifndef TESTS_IMPORT_LAWS_H
#define TESTS_IMPORT_LAWS_H

#include <string.h>

#include "src/cli/import.h"
#include "src/cli/policy_json.h"
#include "src/json_text.h"
#include "tests/fuzz/fuzz.h"

/* A policy made is one that can be: read again it is the same. */
static void policy_holds(const json_t *made, struct pv_arena *arena)
{
    struct pv_policy policy;
    char message[SETTINGS_MESSAGE_MAX];
    pv_arena_reset(arena);
    LAW(strlen(json_string_value(json_object_get(made, "name"))) <= IMPORT_NAME_MAX);
    LAW(settings_read(json_object_get(made, "settings"), arena, &policy, message) == PV_OK);
    json_t *again = settings_json(&policy);
    LAW(again && json_equal(again, json_object_get(made, "settings")));
    json_decref(again);
}

static void import_holds(bool (*import)(struct import *, const char *, size_t, const char *),
                         const uint8_t *data, size_t size)
{
    static struct pv_arena arena;
    struct import m;
    const json_t *item;
    size_t i, len, skipped = 0;
    char *text = import_utf8(data, size, &len);
    LAW(arena.base || pv_arena_create(&arena, SETTINGS_ARENA) == PV_OK);
    LAW(text);
    bool read = import(&m, text, len, "p-");
    LAW(!m.no_memory);
    LAW(read == (m.error[0] == '\0'));
    LAW(read == (json_array_size(m.policies) > 0));
    json_array_foreach(m.policies, i, item) policy_holds(item, &arena);
    json_array_foreach(m.notes, i, item) skipped += json_is_true(json_object_get(item, "skipped"));
    LAW(m.notes_lost || skipped == m.skipped);
    import_finish(&m);
    free(text);
}

#endif
