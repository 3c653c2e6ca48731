/* A Provision request, or answer, of a peer: one byte for the version, then WBXML. */
#include <string.h>

#include <provost/provision.h>

#include "src/lib/base/text.h"
#include "tests/fuzz/fuzz.h"

#define SPACE (1 << 20)

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* What was read can be said again, and means the same. */
static void law_of_device_info(struct pv_arena *arena, const struct pv_device_info *info)
{
    static uint8_t buf[1 << 16];
    struct pv_wbxml_writer w;
    struct pv_device_info again;
    const struct pv_node *root;
    size_t len;
    bool any = false;

#define VALUE_LAW(Name, name)                                                              \
    any = any || info->name;                                                               \
    if (info->name) LAW(pv__utf8_valid((const uint8_t *)info->name, strlen(info->name)));
    PV_DEVICE_FIELDS(VALUE_LAW)
    pv_wbxml_begin(&w, buf, sizeof buf);
    pv_device_info_write(info, PV_V16_1, &w);
    LAW(pv_wbxml_finish(&w, &len) == PV_OK);
    LAW(pv_wbxml_decode(arena, buf, len, NULL, &root, NULL) == PV_OK);
    LAW(pv_device_info_read(root, arena, &again) == PV_OK);
    if (!any) return; /* an empty Set says something else: delete everything */
#define SAME_LAW(Name, name) LAW(same_text(again.name, info->name));
    PV_DEVICE_FIELDS(SAME_LAW)
}

static void law_of_asks(const struct pv_ask *ask, enum pv_version version)
{
    LAW(ask->policy_type && ask->why);
    LAW((ask->kind == PV_ASK_BAD) == (*ask->why != '\0'));
    LAW(!ask->type_fits || strcmp(ask->policy_type, pv_policy_type(version)) == 0);
    if (ask->kind == PV_ASK_ACK) LAW(ask->status >= 1 && ask->status <= 4);
    if (ask->kind == PV_ASK_WIPE_ACK)
        LAW(ask->status >= 1 && ask->status <= 2 && ask->wipe != PV_WIPE_NONE);
    if (ask->kind == PV_ASK_POLICY) LAW(ask->key.kind == PV_KEY_ABSENT);
}

static void law_of_answers(struct pv_arena *arena, struct pv_provision_answer *answer)
{
    static uint8_t buf[1 << 16];
    struct pv_provision_answer again;
    const struct pv_node *root;
    size_t len;

    LAW(strlen(answer->key) <= 64);
    if (!answer->has_policy) LAW(!answer->data && !*answer->key && !*answer->policy_type);
    enum pv_err err = pv_provision_answer_write(answer, PV_V16_1, buf, sizeof buf, &len);
    LAW(err == PV_OK);
    LAW(pv_wbxml_decode(arena, buf, len, NULL, &root, NULL) == PV_OK);
    LAW(pv_provision_answer_read(root, arena, &again) == PV_OK);
    LAW(again.status == answer->status && again.wipe == answer->wipe);
    LAW(again.device_info_status == answer->device_info_status);
    LAW(again.has_policy == answer->has_policy && again.policy_status == answer->policy_status);
    LAW(strcmp(again.key, answer->key) == 0 && same_text(again.policy_type, answer->policy_type));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_arena arena;
    const struct pv_node *root;
    struct pv_ask ask;
    struct pv_provision_answer answer;

    if (size == 0 || size > 16384) return 0;
    if (!arena.base && pv_arena_create(&arena, SPACE)) abort();
    pv_arena_reset(&arena);
    enum pv_version version = (enum pv_version)(data[0] % PV_VERSION_COUNT);
    if (pv_wbxml_decode(&arena, data + 1, size - 1, &pv_wbxml_limits_small, &root, NULL)) return 0;
    LAW(pv_ask_read(root, version, &arena, &ask) == PV_OK);
    law_of_asks(&ask, version);
    if (ask.has_device_info) law_of_device_info(&arena, &ask.device_info);
    if (pv_provision_answer_read(root, &arena, &answer) == PV_OK) law_of_answers(&arena, &answer);
    return 0;
}
