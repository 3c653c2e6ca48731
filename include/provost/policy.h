/** @file policy.h  The settings of MS-ASPROV: values, ranges, encodings, comparison.
 *
 * The rows come from data/policy.tsv. No function keeps hidden state: each is safe from any thread
 * that shares neither the policy nor the arena. */
#ifndef PROVOST_POLICY_H
#define PROVOST_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/arena.h>
#include <provost/eas.h>
#include <provost/error.h>
#include <provost/settings.h> /* enum pv_setting: in wire order, then the treatments */
#include <provost/wbxml.h>

#ifdef __cplusplus
extern "C" {
#endif

enum pv_setting_kind {
    PV_SETTING_BOOL, PV_SETTING_UINT, PV_SETTING_INT, PV_SETTING_ENUM, PV_SETTING_LIST,
    PV_SETTING_DURATION, /**< seconds; text also 12h, 30d */
    PV_SETTING_DATE      /**< seconds since 1970; text 2027-01-31 or 2027-01-31T12:00:00Z */
};
/** Which direction is stricter. NONE: a difference is neither. */
enum pv_stricter {
    PV_STRICTER_NONE, PV_STRICTER_HIGHER, PV_STRICTER_LOWER,
    PV_STRICTER_LISTED,  /**< more entries forbid more (UnapprovedInROMApplicationList) */
    PV_STRICTER_UNLISTED /**< fewer entries allow less, no list allows all
                              (ApprovedApplicationList) */
};

struct pv_setting_info {
    const char *name;          /**< as in MS-ASPROV */
    const char *meaning;       /**< one sentence */
    const char *unit;          /**< "" if none */
    const char *allowed;       /**< "1..16", for messages */
    enum pv_setting_kind kind;
    enum pv_stricter stricter;
    int64_t min, max;
    uint32_t enum_mask;        /**< ENUM: bit n set when n is allowed */
    int64_t unset;             /**< what an unset value means; PV_NO_LIMIT for "no limit" */
    int64_t no_limit;          /**< a set value that means no limit; if it is above min, all
                                    higher ones do too. PV_NO_LIMIT: there is none */
    bool empty_when_unset;     /**< on the wire an unset value is an empty tag, else its meaning
                                    is written */
    bool password;             /**< counts only while DevicePasswordEnabled is 1 */
    enum pv_version first;     /**< first version that carries it */
    bool wap;                  /**< 2.5 can carry it in the WAP document */
    uint16_t tag, item_tag;    /**< 0 for a treatment; item_tag for lists */
    bool treatment;            /**< AllowNonProvisionable and its date, AllowPartial,
                                    AllowExternalManagement, RefreshInterval: never on the wire */
};
#define PV_NO_LIMIT INT64_MAX

/** NULL for a number that is no setting. */
PV_API const struct pv_setting_info *pv_setting_info(enum pv_setting setting);
/** By exact name. @return false if no setting has it. */
PV_API bool pv_setting_find(const char *name, enum pv_setting *setting_out);

/** Sorted by bytes, each entry once: the functions below make it so, and order is no change. */
struct pv_list {
    const char *const *items; /* in the arena of the policy */
    size_t count;
};

/** A policy's values. Zeroed = nothing set, which restricts nothing. Strings live in the arena
 *  given to the function that set them. */
struct pv_policy {
    uint64_t set; /**< bit per enum pv_setting */
    int64_t value[PV_SETTING_COUNT];
    struct pv_list unapproved, approved;
};
#define PV_LIST_MAX 256        /**< entries of one list */
#define PV_LIST_ITEM_MAX 256   /**< bytes of one entry */

/** What a setting amounts to: its value (PV_NO_LIMIT if it means that), or what unset means.
 *  0/1 for BOOL; for a LIST the number of entries. 0 for a number that is no setting. */
PV_API int64_t pv_policy_value(const struct pv_policy *policy, enum pv_setting setting);

/** Set one setting from text. "" unsets. Lists are comma separated. DURATION takes seconds, or 90s,
 *  15m, 12h, 30d, or "never"; DATE a day of UTC, or RFC 3339 with Z.
 *  @param arena   holds the entries of lists; may be NULL for other settings.
 *  @param message on error one sentence that names setting, value (escaped) and allowed range;
 *                 always terminated; may be NULL with message_cap 0.
 *  @return PV_OK, E_UNKNOWN, E_RANGE, E_MALFORMED (no number, no date), E_TOOBIG, E_NOMEM, E_USAGE
 *          (a list without an arena); the policy is unchanged on error. */
PV_API PV_MUST_CHECK enum pv_err
pv_policy_set(struct pv_policy *policy, struct pv_arena *arena, const char *name,
              const char *value, char *message, size_t message_cap);
/** Value as text ("" when unset), such as pv_policy_set takes. @return PV_OK, E_NOMEM, E_USAGE. */
PV_API PV_MUST_CHECK enum pv_err
pv_policy_text(const struct pv_policy *policy, enum pv_setting setting, char *buf, size_t cap);
/** Deep copy into an arena. @return PV_OK or E_NOMEM. */
PV_API PV_MUST_CHECK enum pv_err
pv_policy_copy(const struct pv_policy *from, struct pv_arena *arena, struct pv_policy *to_out);
/** Rules between settings (beyond single ranges), such as that "no program may run" cannot be
 *  expressed. @return PV_OK, or E_RANGE with message. */
PV_API PV_MUST_CHECK enum pv_err
pv_policy_check(const struct pv_policy *policy, char *message, size_t message_cap);
/** One sentence for an administrator about a policy that is allowed but hardly meant so; NULL if
 *  there is none. Static storage. */
PV_API const char *pv_policy_hint(const struct pv_policy *policy);

/** The stricter of each setting of two policies: what keeps the result keeps both. Higher or lower
 *  numbers by the table; unapproved programs of either, approved programs of both (entries are the
 *  same when their bytes are). What is unset demands nothing, and what is unset in both stays so.
 *  * Password settings of a policy without DevicePasswordEnabled have no effect; they count for
 *    nothing beside one that has it.
 *  * MaxInactivityTimeDeviceLock=0, which many devices read as none, gives way to any limit.
 *  * Where the table knows no direction (PasswordRecoveryEnabled and two algorithms), values that
 *    differ give way to what unset means, which is the safest of each.
 *  Treatments are no part of it and are unset in the result.
 *  @param arena  holds the lists of the result; nothing of a or b is borrowed.
 *  @param out    set on PV_OK; may be a or b.
 *  @return PV_OK; E_RANGE (no program would be approved by both, which cannot be said); E_TOOBIG
 *          (more list entries than a policy may have); E_NOMEM. */
PV_API PV_MUST_CHECK enum pv_err
pv_policy_stricter(const struct pv_policy *a, const struct pv_policy *b, struct pv_arena *arena,
                   struct pv_policy *out);

/** Write the content of Data for a version at the writer's place: EASProvisionDoc with the complete
 *  element set of that version in schema order (12.0 and later), or the WAP XML as text (2.5).
 *  Never fails by itself: w is sticky. */
PV_API void pv_policy_write(const struct pv_policy *policy, enum pv_version version,
                            struct pv_wbxml_writer *w);
/** The WAP provisioning document of 2.5, terminated.
 *  @param len_out set on PV_OK; may be NULL. @return PV_OK, E_NOMEM. */
PV_API PV_MUST_CHECK enum pv_err
pv_policy_wap(const struct pv_policy *policy, char *buf, size_t cap, size_t *len_out);
/** PolicyType text of a version; static storage. */
PV_API const char *pv_policy_type(enum pv_version version);

#define PV_HASH_LEN 16
/** Hash of what a device of that version sees: SHA-256 over the canonical encoding, first 16 bytes.
 *  Two policies that look the same to the device hash the same; treatments do not count.
 *  @param scratch given back as it was; 4 KiB and what the lists take are enough.
 *  @return PV_OK, or E_NOMEM when the scratch arena is too small. */
PV_API PV_MUST_CHECK enum pv_err
pv_policy_hash(const struct pv_policy *policy, enum pv_version version, struct pv_arena *scratch,
               uint8_t hash_out[PV_HASH_LEN]);

/** Something odd in a policy read from the wire; reading goes on. */
struct pv_policy_oddity {
    char text[120];
};
/** Read Data of a Provision answer: EASProvisionDoc below it, or WAP XML text. Unknown elements and
 *  values out of range are skipped and told as oddities (up to oddity_cap; *oddity_count_out counts
 *  all and may be NULL).
 *  @param policy_out set on PV_OK. Its strings live in the arena.
 *  @return PV_OK, E_MALFORMED (neither form), E_TOOBIG (a list, the WAP document), E_NOMEM. */
PV_API PV_MUST_CHECK enum pv_err
pv_policy_read(const struct pv_node *data, struct pv_arena *arena, struct pv_policy *policy_out,
               struct pv_policy_oddity *oddities, size_t oddity_cap, size_t *oddity_count_out);

enum pv_change { PV_SAME, PV_STRICTER, PV_LOOSER, PV_DIFFERENT };
/** Compare what a device sees: per setting into change_out (may be NULL), and as a whole: SAME,
 *  STRICTER (none looser), LOOSER (none stricter), DIFFERENT. Only settings that the version
 *  carries count. */
PV_API enum pv_change
pv_policy_compare(const struct pv_policy *old, const struct pv_policy *new_,
                  enum pv_version version, enum pv_change change_out[PV_SETTING_COUNT]);
/** Is the setting part of what a device of that version is sent of this policy? Treatments never
 *  are. */
PV_API bool pv_policy_carries(const struct pv_policy *policy, enum pv_setting setting,
                              enum pv_version version);
/** Settings that demand more than unset ones and that the version cannot carry. @return their
 *  number; the first cap of them in out (may be NULL with cap 0). */
PV_API size_t
pv_policy_uncarried(const struct pv_policy *policy, enum pv_version version,
                    enum pv_setting *out, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
