/* The values of a policy: setting them from text and giving them back. */
#include <string.h>

#include "src/lib/base/bytes.h"
#include "src/lib/base/text.h"
#include "src/lib/policy/settings.h"

/* Both lists together: a Provision answer must stay well below what a client takes (64 KiB). */
#define LISTS_BYTES_MAX 32768

const struct pv_setting_info *pv_setting_info(enum pv_setting setting)
{
    return (unsigned)setting < PV_SETTING_COUNT ? &pv__settings[setting] : NULL;
}

bool pv_setting_find(const char *name, enum pv_setting *setting_out)
{
    for (unsigned i = 0; i < PV_SETTING_COUNT; i++)
        if (!strcmp(pv__settings[i].name, name)) {
            *setting_out = (enum pv_setting)i;
            return true;
        }
    return false;
}

int64_t pv__setting_meaning(const struct pv_setting_info *info, int64_t value)
{
    if (value == info->no_limit || (info->no_limit > info->min && value >= info->no_limit))
        return PV_NO_LIMIT;
    return value;
}

int64_t pv_policy_value(const struct pv_policy *policy, enum pv_setting setting)
{
    const struct pv_setting_info *info = pv_setting_info(setting);

    if (!info) return 0;
    if (!pv__is_set(policy, setting)) return info->unset;
    if (info->kind == PV_SETTING_LIST) return (int64_t)pv__list(policy, setting)->count;
    return pv__setting_meaning(info, policy->value[setting]);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void pv__trim(const char **text, size_t *len)
{
    while (*len && is_blank(**text)) ++*text, --*len;
    while (*len && is_blank((*text)[*len - 1])) --*len;
}

/* 90, 90s, 15m, 12h, 30d, never: as seconds. */
static enum pv_err parse_duration(const struct pv_setting_info *info, const char *text, size_t len,
                                  int64_t *out)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    int64_t factor = 1, number;

    if (len == 5 && !memcmp(text, "never", 5)) {
        *out = 0;
        return PV_OK;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (len > 1 && text[len - 1] == units[i].unit) {
            factor = units[i].seconds;
            len--;
            break;
        }
    for (size_t i = 0; i < len; i++)
        if (!pv__is_digit((unsigned char)text[i])) return PV_E_MALFORMED;
    if (!pv__parse_i64(text, len, 0, info->max / factor, &number)) return PV_E_RANGE;
    *out = number * factor;
    return PV_OK;
}

static enum pv_err parse_date(const struct pv_setting_info *info, const char *text, size_t len,
                              int64_t *out)
{
    int64_t value;

    PV_TRY(pv__date_parse(text, len, &value));
    if (value < info->min || value > info->max) return PV_E_RANGE;
    *out = value;
    return PV_OK;
}

enum pv_err pv__setting_parse(const struct pv_setting_info *info, const char *text, size_t len,
                              int64_t *out)
{
    size_t sign = len > 1 && text[0] == '-';
    int64_t value;

    if (len == 0) return PV_E_MALFORMED;
    if (info->kind == PV_SETTING_DURATION) return parse_duration(info, text, len, out);
    if (info->kind == PV_SETTING_DATE) return parse_date(info, text, len, out);
    for (size_t i = sign; i < len; i++)
        if (!pv__is_digit((unsigned char)text[i])) return PV_E_MALFORMED;
    if (!pv__parse_i64(text, len, info->min, info->max, &value)) return PV_E_RANGE;
    if (info->kind == PV_SETTING_ENUM && !(info->enum_mask >> value & 1)) return PV_E_RANGE;
    *out = value;
    return PV_OK;
}

enum pv_err pv__list_begin(struct pv__list_maker *m, struct pv_arena *arena, size_t entries)
{
    *m = (struct pv__list_maker){.arena = arena, .cap = entries};
    if (entries > PV_LIST_MAX) return PV_E_TOOBIG;
    m->items = PV_NEW(arena, const char *, entries);
    return m->items ? PV_OK : PV_E_NOMEM;
}

enum pv_err pv__list_add(struct pv__list_maker *m, const char *text, size_t len)
{
    const char *item;

    pv__trim(&text, &len);
    if (len == 0 || !pv__utf8_valid((const uint8_t *)text, len)) return PV_E_MALFORMED;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F) return PV_E_MALFORMED;
    if (len > PV_LIST_ITEM_MAX || m->count == m->cap) return PV_E_TOOBIG;
    item = pv_strndup(m->arena, text, len);
    if (!item) return PV_E_NOMEM;
    m->items[m->count++] = item;
    return PV_OK;
}

/* A list has PV_LIST_MAX entries at most, and qsort may take memory of its own. */
static void sort(const char **items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const char *item = items[i];
        size_t at = i;

        for (; at > 0 && strcmp(items[at - 1], item) > 0; at--) items[at] = items[at - 1];
        items[at] = item;
    }
}

struct pv_list pv__list_end(struct pv__list_maker *m)
{
    size_t kept = 0;

    sort(m->items, m->count);
    for (size_t i = 0; i < m->count; i++)
        if (i == 0 || strcmp(m->items[kept - 1], m->items[i])) m->items[kept++] = m->items[i];
    return (struct pv_list){.items = m->items, .count = kept};
}

static enum pv_err parse_list(struct pv_arena *arena, const char *value, struct pv_list *out)
{
    struct pv__list_maker m;
    size_t entries = 1;

    for (const char *p = value; *p; p++) entries += *p == ',';
    PV_TRY(pv__list_begin(&m, arena, entries));
    for (;;) {
        size_t len = strcspn(value, ",");
        PV_TRY(pv__list_add(&m, value, len));
        if (!value[len]) break;
        value += len + 1;
    }
    *out = pv__list_end(&m);
    return PV_OK;
}

_Static_assert(PV_LIST_MAX == 256 && PV_LIST_ITEM_MAX == 256, "the sentence below names both");

static const char *why_not(enum pv_err err, const struct pv_setting_info *info)
{
    switch (err) {
    case PV_E_RANGE: return "is out of range";
    case PV_E_TOOBIG: return "holds more than 256 entries, or one of more than 256 bytes";
    case PV_E_NOMEM: return "does not fit into memory";
    default: break;
    }
    switch (info->kind) {
    case PV_SETTING_LIST: return "holds an entry that is empty or no plain text";
    case PV_SETTING_DATE: return "is no date";
    default: return "is no number";
    }
}

/* One sentence: what was wrong with that value of that setting. A cut one is still a message. */
static enum pv_err refuse_value(enum pv_err err, const struct pv_setting_info *info,
                                const char *value, char *message, size_t cap)
{
    char shown[48];
    struct pv__out o;

    pv__escape(value, strlen(value), shown, sizeof shown);
    pv__out_init(&o, message, cap);
    pv__out_text(&o, info->name);
    pv__out_text(&o, ": \"");
    pv__out_text(&o, shown);
    pv__out_text(&o, "\" ");
    pv__out_text(&o, why_not(err, info));
    pv__out_text(&o, "; allowed: ");
    pv__out_text(&o, info->allowed);
    if (info->unit[0] && info->kind != PV_SETTING_DURATION) {
        pv__out_text(&o, " ");
        pv__out_text(&o, info->unit);
    }
    pv__out_text(&o, ", or empty");
    (void)!pv__out_end(&o, NULL);
    return err;
}

static enum pv_err refuse_name(const char *name, char *message, size_t cap)
{
    char shown[48];
    struct pv__out o;

    pv__escape(name, strlen(name), shown, sizeof shown);
    pv__out_init(&o, message, cap);
    pv__out_text(&o, "no setting is named \"");
    pv__out_text(&o, shown);
    pv__out_text(&o, "\"");
    (void)!pv__out_end(&o, NULL);
    return PV_E_UNKNOWN;
}

enum pv_err pv_policy_set(struct pv_policy *policy, struct pv_arena *arena, const char *name,
                          const char *value, char *message, size_t message_cap)
{
    const struct pv_setting_info *info;
    struct pv_list list = {0};
    enum pv_setting setting;
    int64_t number = 0;
    enum pv_err err = PV_OK;

    if (message_cap) message[0] = '\0';
    if (!pv_setting_find(name, &setting)) return refuse_name(name, message, message_cap);
    info = &pv__settings[setting];
    if (info->kind == PV_SETTING_LIST) {
        if (value[0] && !arena) return PV_E_USAGE;
        if (value[0]) err = parse_list(arena, value, &list);
    } else if (value[0]) {
        err = pv__setting_parse(info, value, strlen(value), &number);
    }
    if (err) return refuse_value(err, info, value, message, message_cap);
    if (info->kind == PV_SETTING_LIST) pv__list_put(policy, setting, list);
    policy->value[setting] = number;
    policy->set &= ~(UINT64_C(1) << setting);
    policy->set |= (uint64_t)(value[0] != '\0') << setting;
    return PV_OK;
}

static void duration_text(struct pv__out *o, int64_t seconds)
{
    int64_t unit = seconds % 86400 == 0  ? 86400
                   : seconds % 3600 == 0 ? 3600
                   : seconds % 60 == 0   ? 60
                                         : 1;

    if (seconds == 0) {
        pv__out_text(o, "never");
        return;
    }
    pv__out_i64(o, seconds / unit);
    pv__out_text(o, unit == 86400 ? "d" : unit == 3600 ? "h" : unit == 60 ? "m" : "s");
}

enum pv_err pv_policy_text(const struct pv_policy *policy, enum pv_setting setting, char *buf,
                           size_t cap)
{
    const struct pv_setting_info *info = pv_setting_info(setting);
    struct pv__out o;

    if (!info) return PV_E_USAGE;
    pv__out_init(&o, buf, cap);
    if (!pv__is_set(policy, setting)) return pv__out_end(&o, NULL);
    if (info->kind == PV_SETTING_LIST) {
        const struct pv_list *list = pv__list(policy, setting);
        for (size_t i = 0; i < list->count; i++) {
            if (i) pv__out_text(&o, ",");
            pv__out_text(&o, list->items[i]);
        }
    } else if (info->kind == PV_SETTING_DURATION) {
        duration_text(&o, policy->value[setting]);
    } else if (info->kind == PV_SETTING_DATE) {
        pv__date_text(&o, policy->value[setting]);
    } else {
        pv__out_i64(&o, policy->value[setting]);
    }
    return pv__out_end(&o, NULL);
}

static enum pv_err copy_list(const struct pv_list *from, struct pv_arena *arena,
                             struct pv_list *out)
{
    const char **items;

    *out = (struct pv_list){0};
    if (from->count == 0) return PV_OK;
    items = PV_NEW(arena, const char *, from->count);
    if (!items) return PV_E_NOMEM;
    for (size_t i = 0; i < from->count; i++) {
        items[i] = pv_strndup(arena, from->items[i], strlen(from->items[i]));
        if (!items[i]) return PV_E_NOMEM;
    }
    *out = (struct pv_list){.items = items, .count = from->count};
    return PV_OK;
}

enum pv_err pv_policy_copy(const struct pv_policy *from, struct pv_arena *arena,
                           struct pv_policy *to_out)
{
    struct pv_policy copy = *from;

    PV_TRY(copy_list(&from->unapproved, arena, &copy.unapproved));
    PV_TRY(copy_list(&from->approved, arena, &copy.approved));
    *to_out = copy;
    return PV_OK;
}

static size_t list_bytes(const struct pv_list *list)
{
    size_t sum = 0;

    for (size_t i = 0; i < list->count; i++) sum += strlen(list->items[i]);
    return sum;
}

enum pv_err pv_policy_check(const struct pv_policy *policy, char *message, size_t message_cap)
{
    const char *why = NULL;
    struct pv__out o;

    if (pv__is_set(policy, PV_SET_ApprovedApplicationList) && !policy->approved.count)
        why = "ApprovedApplicationList: that no program may run cannot be expressed, since devices"
              " read an empty list as no list";
    else if (list_bytes(&policy->approved) + list_bytes(&policy->unapproved) > LISTS_BYTES_MAX)
        why = "UnapprovedInROMApplicationList, ApprovedApplicationList: together more than 32768"
              " bytes";
    pv__out_init(&o, message, message_cap);
    pv__out_text(&o, why ? why : "");
    (void)!pv__out_end(&o, NULL);
    return why ? PV_E_RANGE : PV_OK;
}

const char *pv_policy_hint(const struct pv_policy *policy)
{
    if (!pv_policy_value(policy, PV_SET_DevicePasswordEnabled))
        for (unsigned i = 0; i < PV_SETTING_COUNT; i++)
            if (pv__settings[i].password &&
                pv_policy_value(policy, (enum pv_setting)i) != pv__settings[i].unset)
                return "the password settings have no effect while DevicePasswordEnabled is not 1";
    if (pv_policy_value(policy, PV_SET_MaxInactivityTimeDeviceLock) == 0)
        return "many devices read MaxInactivityTimeDeviceLock=0 as no lock at all";
    if (pv_policy_value(policy, PV_SET_AllowNonProvisionableUntil) &&
        !pv_policy_value(policy, PV_SET_AllowNonProvisionable))
        return "AllowNonProvisionableUntil has no effect while AllowNonProvisionable is not 1";
    return NULL;
}
