/* What must hold of every policy that was read, whatever the bytes were. */
#ifndef TESTS_FUZZ_POLICY_LAWS_H
#define TESTS_FUZZ_POLICY_LAWS_H

#include <string.h>

#include <provost/policy.h>

#include "tests/fuzz/fuzz.h"

enum { POLICY_SPACE = 1 << 20, POLICY_BYTES = 1 << 18, ODDITIES = 4 };

/* What is read can be written for every version, and reads the same. */
static inline void check_written(const struct pv_policy *policy, enum pv_version v,
                                 struct pv_arena *arena)
{
    static uint8_t buf[POLICY_BYTES];
    uint8_t hash[PV_HASH_LEN], again_hash[PV_HASH_LEN];
    struct pv_wbxml_writer w;
    const struct pv_node *data;
    struct pv_policy again;
    size_t len, odd;

    pv_wbxml_begin(&w, buf, sizeof buf);
    pv_wbxml_start(&w, PV_Provision_Data);
    pv_policy_write(policy, v, &w);
    pv_wbxml_end(&w);
    LAW(pv_wbxml_finish(&w, &len) == PV_OK);
    LAW(pv_wbxml_decode(arena, buf, len, NULL, &data, NULL) == PV_OK);
    LAW(pv_policy_read(data, arena, &again, NULL, 0, &odd) == PV_OK);
    LAW(odd == 0);
    LAW(pv_policy_compare(policy, &again, v, NULL) == PV_SAME);
    LAW(pv_policy_hash(policy, v, arena, hash) == PV_OK);
    LAW(pv_policy_hash(&again, v, arena, again_hash) == PV_OK);
    LAW(!memcmp(hash, again_hash, sizeof hash));
}

/* Every number can be told as text, and the text means the same. */
static inline void check_told(const struct pv_policy *policy, struct pv_arena *arena)
{
    for (unsigned i = 0; i < PV_SETTING_COUNT; i++) {
        enum pv_setting s = (enum pv_setting)i;
        struct pv_policy again = {0};
        char text[32], message[200];

        if (pv_setting_info(s)->kind == PV_SETTING_LIST) continue;
        LAW(pv_policy_text(policy, s, text, sizeof text) == PV_OK);
        LAW(pv_policy_set(&again, arena, pv_setting_info(s)->name, text, message,
                          sizeof message) == PV_OK);
        LAW(pv_policy_value(&again, s) == pv_policy_value(policy, s));
    }
}

/* What an upstream demands beside what we do: the same from either side, valid, and no looser than ours. */
static inline void check_merged(const struct pv_policy *policy, struct pv_arena *arena)
{
    static const char *const own[][2] = {{"DevicePasswordEnabled", "1"},
                                         {"MinDevicePasswordLength", "6"},
                                         {"MaxInactivityTimeDeviceLock", "900"},
                                         {"AllowCamera", "0"},
                                         {"UnapprovedInROMApplicationList", "a,b"},
                                         {"ApprovedApplicationList", "c,d"}};
    struct pv_policy ours = {0}, both, turned, again;

    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        LAW(pv_policy_set(&ours, arena, own[i][0], own[i][1], NULL, 0) == PV_OK);
    enum pv_err err = pv_policy_stricter(&ours, policy, arena, &both);
    LAW(err == PV_OK || err == PV_E_RANGE || err == PV_E_TOOBIG);
    LAW(pv_policy_stricter(policy, &ours, arena, &turned) == err);
    if (err) return;
    LAW(pv_policy_check(&both, NULL, 0) == PV_OK);
    LAW(pv_policy_compare(&both, &turned, PV_V16_1, NULL) == PV_SAME);
    LAW(pv_policy_compare(&ours, &both, PV_V16_1, NULL) <= PV_STRICTER);
    LAW(pv_policy_stricter(&both, policy, arena, &again) == PV_OK);
    LAW(pv_policy_compare(&both, &again, PV_V16_1, NULL) == PV_SAME);
}

static inline void check_read(const struct pv_node *data)
{
    static struct pv_arena arena, scratch;
    struct pv_policy_oddity oddities[ODDITIES];
    struct pv_policy policy;
    size_t odd = 0;
    enum pv_err err;

    if (!arena.base && pv_arena_create(&arena, POLICY_SPACE)) abort();
    if (!scratch.base && pv_arena_create(&scratch, POLICY_SPACE)) abort();
    pv_arena_reset(&arena);
    err = pv_policy_read(data, &arena, &policy, oddities, ODDITIES, &odd);
    LAW(err == PV_OK || err == PV_E_MALFORMED || err == PV_E_TOOBIG);
    if (err) return;
    for (size_t i = 0; i < odd && i < ODDITIES; i++)
        LAW(memchr(oddities[i].text, 0, sizeof oddities[i].text));
    for (enum pv_version v = PV_V2_5; v < PV_VERSION_COUNT; v++) {
        pv_arena_reset(&scratch);
        check_written(&policy, v, &scratch);
    }
    check_told(&policy, &scratch);
    pv_arena_reset(&scratch);
    check_merged(&policy, &scratch);
}

#endif
