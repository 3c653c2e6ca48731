/* Exchange's mobile device mailbox policies, as ConvertTo-Json writes them. Its values come in
 * several forms: a remote session gives texts ("Unlimited", "00:15:00", "10 MB (10,485,760 bytes)"),
 * a local one objects ({"IsUnlimited": ..., "Value": ...}, {"Ticks": ...}) and enums as numbers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/import.h"
#include "src/cli/import_values.h"
#include "src/cli/policy_json.h"

enum kind {
    YES_NO,    /* true, false */
    NUMBER,    /* or Unlimited */
    SIZE,      /* bytes, or Unlimited */
    SECONDS,   /* a time span, or Unlimited */
    DAYS,      /* a time span of whole days, or Unlimited */
    CHOICE,    /* a word of `words`, whose place is its number; or that number */
    TEXTS,     /* a list */
    HASHES,    /* a list of HASH:NAME, or of {"AppHash": ...} */
    NO_MATTER, /* of the directory, or of PowerShell: says nothing about devices */
    NOTHING    /* has no counterpart */
};

static const char *const bluetooth[] = {"Disable", "HandsfreeOnly", "Allow", NULL};
static const char *const age[] = {"All",      "OneDay",      "ThreeDays", "OneWeek", "TwoWeeks",
                                  "OneMonth", "ThreeMonths", "SixMonths", NULL};
static const char *const digest[] = {"SHA1", "MD5", NULL};
static const char *const cipher[] = {"TripleDES", "DES", "RC2128bit", "RC264bit", "RC240bit", NULL};
static const char *const negotiation[] = {"BlockNegotiation", "OnlyStrongAlgorithmNegotiation",
                                          "AllowAnyAlgorithmNegotiation", NULL};

/* Names since Exchange 2013, then those of 2007 and 2010 that stand beside them. */
#define PROPERTIES(X)                                                                         \
    X("PasswordEnabled", YES_NO, DevicePasswordEnabled, NULL)                                 \
    X("AlphanumericPasswordRequired", YES_NO, AlphanumericDevicePasswordRequired, NULL)       \
    X("PasswordRecoveryEnabled", YES_NO, PasswordRecoveryEnabled, NULL)                       \
    X("RequireStorageCardEncryption", YES_NO, RequireStorageCardEncryption, NULL)             \
    X("AttachmentsEnabled", YES_NO, AttachmentsEnabled, NULL)                                 \
    X("MinPasswordLength", NUMBER, MinDevicePasswordLength, NULL)                             \
    X("MaxInactivityTimeLock", SECONDS, MaxInactivityTimeDeviceLock, NULL)                    \
    X("MaxPasswordFailedAttempts", NUMBER, MaxDevicePasswordFailedAttempts, NULL)             \
    X("MaxAttachmentSize", SIZE, MaxAttachmentSize, NULL)                                     \
    X("AllowSimplePassword", YES_NO, AllowSimpleDevicePassword, NULL)                         \
    X("PasswordExpiration", DAYS, DevicePasswordExpiration, NULL)                             \
    X("PasswordHistory", NUMBER, DevicePasswordHistory, NULL)                                 \
    X("AllowStorageCard", YES_NO, AllowStorageCard, NULL)                                     \
    X("AllowCamera", YES_NO, AllowCamera, NULL)                                               \
    X("RequireDeviceEncryption", YES_NO, RequireDeviceEncryption, NULL)                       \
    X("AllowUnsignedApplications", YES_NO, AllowUnsignedApplications, NULL)                   \
    X("AllowUnsignedInstallationPackages", YES_NO, AllowUnsignedInstallationPackages, NULL)   \
    X("MinPasswordComplexCharacters", NUMBER, MinDevicePasswordComplexCharacters, NULL)       \
    X("AllowWiFi", YES_NO, AllowWiFi, NULL)                                                   \
    X("AllowTextMessaging", YES_NO, AllowTextMessaging, NULL)                                 \
    X("AllowPOPIMAPEmail", YES_NO, AllowPOPIMAPEmail, NULL)                                   \
    X("AllowBluetooth", CHOICE, AllowBluetooth, bluetooth)                                    \
    X("AllowIrDA", YES_NO, AllowIrDA, NULL)                                                   \
    X("RequireManualSyncWhenRoaming", YES_NO, RequireManualSyncWhenRoaming, NULL)             \
    X("AllowDesktopSync", YES_NO, AllowDesktopSync, NULL)                                     \
    X("MaxCalendarAgeFilter", CHOICE, MaxCalendarAgeFilter, age)                              \
    X("AllowHTMLEmail", YES_NO, AllowHTMLEmail, NULL)                                         \
    X("MaxEmailAgeFilter", CHOICE, MaxEmailAgeFilter, age)                                    \
    X("MaxEmailBodyTruncationSize", SIZE, MaxEmailBodyTruncationSize, NULL)                   \
    X("MaxEmailHTMLBodyTruncationSize", SIZE, MaxEmailHTMLBodyTruncationSize, NULL)           \
    X("RequireSignedSMIMEMessages", YES_NO, RequireSignedSMIMEMessages, NULL)                 \
    X("RequireEncryptedSMIMEMessages", YES_NO, RequireEncryptedSMIMEMessages, NULL)           \
    X("RequireSignedSMIMEAlgorithm", CHOICE, RequireSignedSMIMEAlgorithm, digest)             \
    X("RequireEncryptionSMIMEAlgorithm", CHOICE, RequireEncryptionSMIMEAlgorithm, cipher)     \
    X("AllowSMIMEEncryptionAlgorithmNegotiation", CHOICE,                                     \
      AllowSMIMEEncryptionAlgorithmNegotiation, negotiation)                                  \
    X("AllowSMIMESoftCerts", YES_NO, AllowSMIMESoftCerts, NULL)                               \
    X("AllowBrowser", YES_NO, AllowBrowser, NULL)                                             \
    X("AllowConsumerEmail", YES_NO, AllowConsumerEmail, NULL)                                 \
    X("AllowRemoteDesktop", YES_NO, AllowRemoteDesktop, NULL)                                 \
    X("AllowInternetSharing", YES_NO, AllowInternetSharing, NULL)                             \
    X("UnapprovedInROMApplicationList", TEXTS, UnapprovedInROMApplicationList, NULL)          \
    X("ApprovedApplicationList", HASHES, ApprovedApplicationList, NULL)                       \
    X("AllowNonProvisionableDevices", YES_NO, AllowNonProvisionable, NULL)                    \
    X("AllowExternalDeviceManagement", YES_NO, AllowExternalManagement, NULL)                 \
    X("DevicePolicyRefreshInterval", SECONDS, RefreshInterval, NULL)                          \
    X("DevicePasswordEnabled", YES_NO, DevicePasswordEnabled, NULL)                           \
    X("AlphanumericDevicePasswordRequired", YES_NO, AlphanumericDevicePasswordRequired, NULL) \
    X("DeviceEncryptionEnabled", YES_NO, RequireStorageCardEncryption, NULL)                  \
    X("MinDevicePasswordLength", NUMBER, MinDevicePasswordLength, NULL)                       \
    X("MaxInactivityTimeDeviceLock", SECONDS, MaxInactivityTimeDeviceLock, NULL)              \
    X("MaxDevicePasswordFailedAttempts", NUMBER, MaxDevicePasswordFailedAttempts, NULL)       \
    X("AllowSimpleDevicePassword", YES_NO, AllowSimpleDevicePassword, NULL)                   \
    X("DevicePasswordExpiration", DAYS, DevicePasswordExpiration, NULL)                       \
    X("DevicePasswordHistory", NUMBER, DevicePasswordHistory, NULL)                           \
    X("MinDevicePasswordComplexCharacters", NUMBER, MinDevicePasswordComplexCharacters, NULL)

static const struct property {
    const char *name;
    enum kind kind;
    enum pv_setting setting;
    const char *const *words;
} properties[] = {
#define PROPERTY(name, kind, setting, words) {name, kind, PV_SET_##setting, words},
    PROPERTIES(PROPERTY)
#undef PROPERTY
};
enum { PROPERTY_COUNT = sizeof properties / sizeof *properties };

static const struct {
    const char *name;
    enum kind kind;
} others[] = {
    {"AllowApplePushNotifications", NOTHING},
    {"AllowGooglePushNotifications", NOTHING},
    {"AllowMicrosoftPushNotifications", NOTHING},
    {"AllowMobileOTAUpdate", NOTHING},
    {"MobileOTAUpdateMode", NOTHING},
    {"IrmEnabled", NOTHING},
    {"UNCAccessEnabled", NOTHING},
    {"WSSAccessEnabled", NOTHING},
    {"Name", NO_MATTER},
    {"IsDefault", NO_MATTER},
    {"IsDefaultPolicy", NO_MATTER},
    {"AdminDisplayName", NO_MATTER},
    {"DistinguishedName", NO_MATTER},
    {"ExchangeObjectId", NO_MATTER},
    {"ExchangeVersion", NO_MATTER},
    {"Guid", NO_MATTER},
    {"Id", NO_MATTER},
    {"Identity", NO_MATTER},
    {"IsValid", NO_MATTER},
    {"ObjectCategory", NO_MATTER},
    {"ObjectClass", NO_MATTER},
    {"ObjectState", NO_MATTER},
    {"OrganizationId", NO_MATTER},
    {"OrganizationalUnitRoot", NO_MATTER},
    {"OriginatingServer", NO_MATTER},
    {"PSComputerName", NO_MATTER},
    {"PSShowComputerName", NO_MATTER},
    {"PSSourceJobInstanceId", NO_MATTER},
    {"RunspaceId", NO_MATTER},
    {"WhenChanged", NO_MATTER},
    {"WhenChangedUTC", NO_MATTER},
    {"WhenCreated", NO_MATTER},
    {"WhenCreatedUTC", NO_MATTER},
};

static const char no_such[] = "a value of another kind is wanted";

/* The hash of HASH:NAME or {"AppHash": HASH}, any other text as it is. NULL: no memory, or no text */
static json_t *entry_of(const struct property *p, json_t *item, bool *no_text_out)
{
    if (p->kind == HASHES && json_is_object(item)) item = json_object_get(item, "AppHash");
    const char *text = json_string_value(item);
    const char *colon = text && p->kind == HASHES ? strchr(text, ':') : NULL;
    *no_text_out = text == NULL;
    if (text == NULL) return NULL;
    return colon ? json_stringn(text, (size_t)(colon - text)) : json_incref(item);
}

/* A list as pv_policy_set takes it, to be freed. NULL: told, or no memory. */
static char *list_text(struct import *m, const struct property *p, json_t *value)
{
    json_t *texts = json_array(), *item;
    bool wrong = false, good = texts != NULL;
    char *text = NULL;
    size_t i;
    if (json_is_object(value)) value = json_object_get(value, "value");
    if (json_is_string(value) && good)
        good = json_array_append_new(texts, entry_of(p, value, &wrong)) == 0;
    else if (!json_is_array(value))
        wrong = true;
    for (i = 0; good && !wrong && (item = json_array_get(value, i)) != NULL; i++)
        good = json_array_append_new(texts, entry_of(p, item, &wrong)) == 0;
    if (good && !wrong) {
        text = setting_text(texts);
        wrong = text == NULL && errno != ENOMEM;
    }
    if (wrong)
        import_note(m, 0, true, "%s: a list of texts without commas is wanted", p->name);
    else if (text == NULL)
        m->no_memory = true;
    json_decref(texts);
    return text;
}

/* "" stands for unlimited. @return NULL, or why not */
static const char *number_text(const struct property *p, const json_t *value, char out[32])
{
    int64_t n = 0;
    bool unlimited = false;
    const char *why = NULL;
    switch (p->kind) {
    case YES_NO: why = value_yes_no(value, &n) ? NULL : no_such; break;
    case CHOICE: why = value_choice(value, p->words, &n) ? NULL : "no value that is known"; break;
    case SIZE: why = value_size(value, &n, &unlimited) ? NULL : "no size"; break;
    case NUMBER: why = value_number(value, &n, &unlimited) ? NULL : "no number"; break;
    default: why = value_seconds(value, &n, &unlimited) ? NULL : "no time span"; break;
    }
    if (!why && !unlimited && p->kind == DAYS && n % 86400 != 0) why = "no whole number of days";
    if (p->kind == DAYS) n /= 86400;
    out[0] = '\0';
    if (!why && !unlimited) snprintf(out, 32, "%lld", (long long)n);
    return why;
}

/* Two names for one setting: that of the table's beginning counts. */
static bool settled(struct import *m, const struct property *p, const char *text, uint64_t *seen)
{
    char before[64];
    bool again = *seen >> p->setting & 1;
    *seen |= UINT64_C(1) << p->setting;
    if (again && (pv_policy_text(&m->policy, p->setting, before, sizeof before) != PV_OK ||
                  strcmp(before, text) != 0))
        import_note(m, 0, false,
                    "%s: says otherwise than the newer name of that setting, which "
                    "counts",
                    p->name);
    return again;
}

static void take_property(struct import *m, const struct property *p, json_t *value, uint64_t *seen)
{
    char number[32] = "", *list = NULL;
    const char *text = number, *why = NULL;
    if (json_is_null(value))
        text = "";
    else if (p->kind == TEXTS || p->kind == HASHES)
        text = list = list_text(m, p, value);
    else
        why = number_text(p, value, number);
    if (why)
        import_note(m, 0, true, "%s: %s", p->name, why);
    else if (text && !settled(m, p, text, seen) && import_set(m, 0, p->name, p->setting, text) &&
             p->setting == PV_SET_AllowNonProvisionable)
        /* Exchange lets in whoever keeps a part, too. */
        (void)import_set(m, 0, p->name, PV_SET_AllowPartial, text);
    free(list);
}

static void tell_other(struct import *m, const char *name)
{
    for (int i = 0; i < PROPERTY_COUNT; i++)
        if (strcmp(properties[i].name, name) == 0) return;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strcmp(others[i].name, name) != 0) continue;
        if (others[i].kind == NOTHING) import_note(m, 0, false, "%s: has no counterpart", name);
        return;
    }
    import_note(m, 0, true, "%.64s: no property that is known", name);
}

static void take_policy(struct import *m, json_t *from, size_t index, const char *prefix)
{
    const char *name = json_string_value(json_object_get(from, "Name")), *property;
    uint64_t seen = 0;
    int64_t yes = 0;
    json_t *value;
    m->name[0] = '\0';
    if (name == NULL) {
        import_note(m, 0, true, "entry %zu: no object with a Name", index + 1);
        return;
    }
    if (!import_begin_policy(m, 0, prefix, name)) return;
    for (int i = 0; i < PROPERTY_COUNT; i++) {
        value = json_object_get(from, properties[i].name);
        if (value) take_property(m, &properties[i], value, &seen);
    }
    json_object_foreach(from, property, value) tell_other(m, property);
    value = json_object_get(from, "IsDefault");
    if (value == NULL) value = json_object_get(from, "IsDefaultPolicy");
    import_end_policy(m, NULL, value && value_yes_no(value, &yes) && yes);
}

bool import_exchange(struct import *m, const char *text, size_t len, const char *prefix)
{
    json_error_t at;
    json_t *item;
    size_t i;
    if (!import_begin(m)) return false;
    errno = 0; /* which malloc sets: jansson may go on without what found no room */
    json_t *all = json_loadb(text, len, JSON_REJECT_DUPLICATES, &at);
    if (errno == ENOMEM)
        m->no_memory = true;
    else if (all == NULL)
        snprintf(m->error, sizeof m->error, "line %d, column %d: %.160s", at.line, at.column,
                 at.text);
    if (json_is_object(all) && !m->no_memory) take_policy(m, all, 0, prefix);
    json_array_foreach(all, i, item) if (!m->no_memory) take_policy(m, item, i, prefix);
    json_decref(all);
    if (!m->no_memory && !m->error[0] && json_array_size(m->policies) == 0)
        snprintf(m->error, sizeof m->error, "no policy in it");
    return !m->no_memory && m->error[0] == '\0';
}
