/* Z-Push's policies.ini. A section is a policy; what one leaves out it has from [default], and what
 * [default] leaves out has a value that is built into Z-Push. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/import.h"
#include "src/cli/policy_json.h"
#include "src/lib/base/text.h"

/* Names of Z-Push 2.3 and later; the one that grommunio-sync has instead of devencenabled. */
#define KEYS(X)                                                              \
    X("devpwenabled", DevicePasswordEnabled, NULL)                           \
    X("alphanumpwreq", AlphanumericDevicePasswordRequired, NULL)             \
    X("devencenabled", RequireStorageCardEncryption, NULL)                   \
    X("reqstoragecardenc", RequireStorageCardEncryption, NULL)               \
    X("pwrecoveryenabled", PasswordRecoveryEnabled, NULL)                    \
    X("attenabled", AttachmentsEnabled, NULL)                                \
    X("mindevpwlenngth", MinDevicePasswordLength, "4")                       \
    X("maxinacttimedevlock", MaxInactivityTimeDeviceLock, "900")             \
    X("maxdevpwfailedattempts", MaxDevicePasswordFailedAttempts, "8")        \
    X("maxattsize", MaxAttachmentSize, NULL)                                 \
    X("allowsimpledevpw", AllowSimpleDevicePassword, NULL)                   \
    X("devpwexpiration", DevicePasswordExpiration, NULL)                     \
    X("devpwhistory", DevicePasswordHistory, NULL)                           \
    X("allowstoragecard", AllowStorageCard, NULL)                            \
    X("allowcam", AllowCamera, NULL)                                         \
    X("reqdevenc", RequireDeviceEncryption, NULL)                            \
    X("allowunsignedapps", AllowUnsignedApplications, NULL)                  \
    X("allowunsigninstallpacks", AllowUnsignedInstallationPackages, NULL)    \
    X("mindevcomplexchars", MinDevicePasswordComplexCharacters, "3")         \
    X("allowwifi", AllowWiFi, NULL)                                          \
    X("allowtextmessaging", AllowTextMessaging, NULL)                        \
    X("allowpopimapemail", AllowPOPIMAPEmail, NULL)                          \
    X("allowbluetooth", AllowBluetooth, NULL)                                \
    X("allowirda", AllowIrDA, NULL)                                          \
    X("reqmansyncroam", RequireManualSyncWhenRoaming, NULL)                  \
    X("allowdesktopsync", AllowDesktopSync, NULL)                            \
    X("maxcalagefilter", MaxCalendarAgeFilter, NULL)                         \
    X("allowhtmlemail", AllowHTMLEmail, NULL)                                \
    X("maxemailagefilter", MaxEmailAgeFilter, NULL)                          \
    X("maxemailbodytruncsize", MaxEmailBodyTruncationSize, NULL)             \
    X("maxemailhtmlbodytruncsize", MaxEmailHTMLBodyTruncationSize, NULL)     \
    X("reqsignedsmimemessages", RequireSignedSMIMEMessages, NULL)            \
    X("reqencsmimemessages", RequireEncryptedSMIMEMessages, NULL)            \
    X("reqsignedsmimealgorithm", RequireSignedSMIMEAlgorithm, NULL)          \
    X("reqencsmimealgorithm", RequireEncryptionSMIMEAlgorithm, NULL)         \
    X("allowsmimeencalgneg", AllowSMIMEEncryptionAlgorithmNegotiation, NULL) \
    X("allowsmimesoftcerts", AllowSMIMESoftCerts, NULL)                      \
    X("allowbrowser", AllowBrowser, NULL)                                    \
    X("allowconsumeremail", AllowConsumerEmail, NULL)                        \
    X("allowremotedesk", AllowRemoteDesktop, NULL)                           \
    X("allowinternetsharing", AllowInternetSharing, NULL)                    \
    X("unapprovedinromapplist", UnapprovedInROMApplicationList, NULL)        \
    X("approvedapplist", ApprovedApplicationList, NULL)

static const struct key {
    const char *name;
    enum pv_setting setting;
    const char *built_in; /* NULL: what unset means here, too */
} keys[] = {
#define KEY(name, setting, built_in) {name, PV_SET_##setting, built_in},
    KEYS(KEY)
#undef KEY
};
enum { KEY_COUNT = sizeof keys / sizeof *keys };

/* What a section says of a key. */
struct given {
    unsigned line;
    char *text;     /* owned; NULL: nothing said */
    size_t entries; /* of a list in the form key[] = entry */
};

struct section {
    struct given given[KEY_COUNT];
};

enum place { NOWHERE, IN_POLICY, LEFT_OUT };

struct reader {
    struct import *m;
    const char *prefix;
    bool defaults; /* first pass: [default] only, which may stand anywhere; second: the others */
    bool has_default;
    unsigned line;
    enum place place;
    struct section now, first; /* first: [default] */
};

static void section_clear(struct section *s)
{
    for (int k = 0; k < KEY_COUNT; k++) free(s->given[k].text);
    *s = (struct section){0};
}

/* ---- values ---- */

/* Up to a comment, or what stands between quotes. @return false: the quotes do not close, or
 * something stands behind them */
static bool take_value(const char **text, size_t *len)
{
    const char *p = *text, *end = p + *len;
    if (*len && (*p == '"' || *p == '\'')) {
        const char *close = memchr(p + 1, *p, *len - 1);
        if (close == NULL) return false;
        const char *rest = close + 1;
        while (rest < end && (*rest == ' ' || *rest == '\t')) rest++;
        *text = p + 1;
        *len = (size_t)(close - p - 1);
        return rest == end || *rest == ';';
    }
    const char *comment = memchr(p, ';', *len);
    if (comment) *len = (size_t)(comment - p);
    while (*len && (p[*len - 1] == ' ' || p[*len - 1] == '\t')) --*len;
    return true;
}

/* PHP's words for yes and no. */
static const char *word_value(const char *text)
{
    static const struct {
        const char *word, *means;
    } words[] = {{"true", "1"}, {"on", "1"}, {"yes", "1"}, {"false", "0"},
                 {"off", "0"},  {"no", "0"}, {"none", ""}, {"null", ""}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (pv__equal_nocase(text, strlen(text), words[i].word, strlen(words[i].word)))
            return words[i].means;
    return text;
}

/* One more entry of a list; more than a list may have are of no use. */
static bool add_entry(struct given *g, const char *text)
{
    char *all = NULL;
    if (g->entries++ == 0) {
        free(g->text);
        g->text = strdup(text);
        return g->text != NULL;
    }
    if (g->entries > PV_LIST_MAX + 1) return true;
    if (asprintf(&all, "%s,%s", g->text, text) < 0) return false;
    free(g->text);
    g->text = all;
    return true;
}

static void take_key(struct reader *r, const char *name, bool entry, const char *text)
{
    int k = 0;
    while (k < KEY_COUNT && strcmp(keys[k].name, name) != 0) k++;
    if (k == KEY_COUNT && strcmp(name, "docbrowseenabled") == 0) {
        if (*text) import_note(r->m, r->line, false, "docbrowseenabled: no device knows it");
        return;
    }
    if (k == KEY_COUNT) {
        char shown[48];
        pv__escape(name, strlen(name), shown, sizeof shown);
        import_note(r->m, r->line, true, "\"%s\" is no setting of Z-Push", shown);
        return;
    }
    struct given *g = &r->now.given[k];
    bool list = pv_setting_info(keys[k].setting)->kind == PV_SETTING_LIST;
    if (entry && (!list || strchr(text, ','))) {
        import_note(r->m, r->line, true,
                    list ? "%s: an entry cannot have a comma" : "%s: is no list", name);
        return;
    }
    if (g->text && !(entry && g->entries))
        import_note(r->m, r->line, false, "%s: given in line %u already; this one counts", name,
                    g->line);
    g->line = r->line;
    if (entry) {
        r->m->no_memory |= !add_entry(g, text);
        return;
    }
    free(g->text);
    g->entries = 0;
    g->text = strdup(list ? text : word_value(text));
    r->m->no_memory |= g->text == NULL;
}

/* ---- sections ---- */

/* Z-Push lets an empty value stand against one of [default]; unset would inherit it. */
static bool empties(const struct section *own, const struct section *base)
{
    for (int k = 0; k < KEY_COUNT; k++)
        if (own->given[k].text && own->given[k].text[0] == '\0' &&
            (base->given[k].text ? base->given[k].text[0] != '\0' : keys[k].built_in != NULL))
            return true;
    return false;
}

static void set_all(struct reader *r, const struct section *from, const struct section *unless,
                    bool built_in)
{
    for (int k = 0; k < KEY_COUNT; k++) {
        const struct given *g = &from->given[k];
        if (unless && unless->given[k].text) continue;
        if (g->text)
            (void)import_set(r->m, g->line, keys[k].name, keys[k].setting, g->text);
        else if (built_in && keys[k].built_in &&
                 import_set(r->m, 0, keys[k].name, keys[k].setting, keys[k].built_in) &&
                 r->defaults) /* told once */
            import_note(r->m, 0, false, "%s: not in the file, Z-Push's own value is %s",
                        keys[k].name, keys[k].built_in);
    }
}

/* Any policy but [default]. */
static void end_other(struct reader *r)
{
    char parent[IMPORT_NAME_MAX + 1];
    bool alone = r->has_default && empties(&r->now, &r->first);
    if (alone) {
        import_note(r->m, 0, false,
                    "empties what [default] sets: made without parent, with all values");
        set_all(r, &r->first, &r->now, true);
    }
    set_all(r, &r->now, NULL, false);
    snprintf(parent, sizeof parent, "%sdefault", r->prefix);
    import_end_policy(r->m, r->has_default && !alone ? parent : NULL, false);
}

static void end_section(struct reader *r)
{
    if (r->place == IN_POLICY && r->defaults) {
        set_all(r, &r->now, NULL, true);
        import_end_policy(r->m, NULL, true);
        r->has_default = true;
        r->first = r->now;
        r->now = (struct section){0};
    } else if (r->place == IN_POLICY)
        end_other(r);
    section_clear(&r->now);
    r->place = NOWHERE;
}

static void begin_section(struct reader *r, const char *text, size_t len)
{
    char name[2 * IMPORT_NAME_MAX];
    const char *close = memchr(text, ']', len);
    end_section(r);
    r->place = LEFT_OUT;
    if (close == NULL || memchr(text, '\0', len)) {
        if (!r->defaults) import_note(r->m, r->line, true, "[ without ]: what follows is left out");
        return;
    }
    snprintf(name, sizeof name, "%.*s", (int)(close - text), text);
    bool is_default = strcmp(name, "default") == 0;
    if (is_default && r->has_default && !r->defaults) return;
    if (is_default == r->defaults && import_begin_policy(r->m, r->line, r->prefix, name))
        r->place = IN_POLICY;
}

/* ---- lines ---- */

static void trim(const char **text, size_t *len)
{
    while (*len && (**text == ' ' || **text == '\t')) ++*text, --*len;
    while (*len && strchr(" \t\r", (*text)[*len - 1])) --*len;
}

/* key = value, key[] = entry, key[word] = entry */
static void take_setting(struct reader *r, const char *text, size_t len)
{
    const char *equals = memchr(text, '=', len);
    size_t key_len = equals ? (size_t)(equals - text) : 0;
    const char *value = equals ? equals + 1 : NULL;
    size_t value_len = equals ? len - key_len - 1 : 0;
    char key[64];
    if (equals == NULL || memchr(text, '\0', len) || key_len >= sizeof key) {
        import_note(r->m, r->line, true, "neither key = value, nor [section], nor comment");
        return;
    }
    trim(&text, &key_len);
    trim(&value, &value_len);
    bool entry = key_len && text[key_len - 1] == ']' && memchr(text, '[', key_len);
    if (entry) key_len = (size_t)((const char *)memchr(text, '[', key_len) - text);
    snprintf(key, sizeof key, "%.*s", (int)key_len, text);
    if (!take_value(&value, &value_len)) {
        import_note(r->m, r->line, true, "%s: the quotes do not end with the value", key);
        return;
    }
    char *copy = strndup(value, value_len);
    if (copy == NULL)
        r->m->no_memory = true;
    else
        take_key(r, key, entry, copy);
    free(copy);
}

static void take_line(struct reader *r, const char *text, size_t len)
{
    r->line++;
    trim(&text, &len);
    if (len == 0 || *text == ';' || *text == '#') return;
    if (*text == '[')
        begin_section(r, text + 1, len - 1);
    else if (r->place == IN_POLICY)
        take_setting(r, text, len);
    else if (r->place == NOWHERE && !r->defaults)
        import_note(r->m, r->line, true, "stands in no section");
}

static void read_sections(struct reader *r, bool defaults, const char *text, size_t len)
{
    const char *end = text + len;
    r->defaults = defaults;
    r->line = 0;
    while (text < end && !r->m->no_memory) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        size_t n = nl ? (size_t)(nl - text) : (size_t)(end - text);
        take_line(r, text, n);
        text += n + (nl != NULL);
    }
    end_section(r);
}

bool import_zpush(struct import *m, const char *text, size_t len, const char *prefix)
{
    struct reader r = {.m = m, .prefix = prefix};
    if (!import_begin(m)) return false;
    read_sections(&r, true, text, len);
    read_sections(&r, false, text, len);
    section_clear(&r.first);
    if (!m->no_memory && json_array_size(m->policies) == 0)
        snprintf(m->error, sizeof m->error, "no section that could be a policy");
    else if (!m->no_memory && !r.has_default)
        import_note(m, 0, false, "no section [default]: Z-Push itself would not start with it");
    return !m->no_memory && m->error[0] == '\0';
}
