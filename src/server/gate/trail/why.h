/* Why a device does not get in: the cause in one plain sentence, and what to do. Pure: a view of the
 * device and its trail in, texts out. */
#ifndef PROVOSTD_GATE_WHY_H
#define PROVOSTD_GATE_WHY_H

#include "src/server/gate/gate.h"
#include "src/server/gate/trail/keeper.h"

/* id, name for programs, the sentence, what to do. {placeholders} stand for what is known of the
 * device: see why.c. In the order in which they are looked for; docs/why.md has the list. */
#define WHY_CAUSES(X)                                                                              \
    X(USER_DISABLED, "user-disabled",                                                              \
      "The user {user} is disabled, so no device of this user gets in.",                           \
      "To let the user in: provost user enable {user}")                                            \
    X(WIPE_PENDING, "wipe-pending",                                                                \
      "A remote wipe of the {wipe_kind} was ordered by {wipe_by} (request {wipe_id}), and the "    \
      "device has not confirmed it yet.",                                                          \
      "Wait until it connects, or take the order back: provost device cancel-wipe {user} "         \
      "{device}")                                                                                  \
    X(WIPE_WAITS, "wipe-waits",                                                                    \
      "A remote wipe of the account was ordered by {wipe_by} (request {wipe_id}), and protocol "   \
      "version {version} of the device does not know such a wipe: it is only kept out.",           \
      "Wipe the whole device, or take the order back: provost device cancel-wipe {user} {device}") \
    X(WIPE_FAILED, "wipe-failed",                                                                  \
      "The device says that the remote wipe ordered by {wipe_by} (request {wipe_id}) has failed, " \
      "and is told again each time.",                                                              \
      "Look after the device, or take the order back: provost device cancel-wipe {user} {device}") \
    X(WIPED, "wiped",                                                                              \
      "The device has confirmed its remote wipe (request {wipe_id}) and stays out until it is "    \
      "allowed again.",                                                                            \
      "To let it in as a new device: provost device allow {user} {device}")                        \
    X(WIPE_EXPIRED, "wipe-expired",                                                                \
      "The device did not confirm its remote wipe (request {wipe_id}) in time and stays out "      \
      "until it is allowed again.",                                                                \
      "To let it in as a new device: provost device allow {user} {device}")                        \
    X(BLOCKED_LOOP, "loop-blocked",                                                                \
      "The device asked again and again without waiting when it was told to, and is shut out "     \
      "until {loop_until}.",                                                                       \
      "Find out what the phone wants; removing the account on it and adding it again often "       \
      "helps. To let it in at once: provost device allow {user} {device}")                         \
    X(BLOCKED_PERSONAL, "blocked-personal", "An administrator has blocked this device.",           \
      "To let it in: provost device allow {user} {device}")                                        \
    X(BLOCKED_DEVICES, "blocked-devices-per-user",                                                 \
      "The user {user} has as many devices as a user may have.",                                   \
      "Remove one that is no longer used (provost device list --user {user}), or allow this "      \
      "one: provost device allow {user} {device}")                                                 \
    X(BLOCKED_VERSION, "blocked-version",                                                          \
      "The device speaks protocol version {version}, which the configuration does not let in.",    \
      "Update the phone, or change protocol_version_min and protocol_version_max.")                \
    X(BLOCKED_RULE, "blocked-rule", "The device is blocked by {access_by}.",                       \
      "To let only this device in: provost device allow {user} {device}")                          \
    X(QUARANTINED, "quarantined",                                                                  \
      "The device is in quarantine, decided by {access_by}: it sees a message and nothing else.",  \
      "To let it in: provost device allow {user} {device}")                                        \
    X(SLOWED, "slowed", "The device loops ({slowed_by}) and is told to come back later.",          \
      "Removing the account on the phone and adding it again often helps; the steps show what it " \
      "repeats. To let it try at once: provost device allow {user} {device}")                      \
    X(NEVER_SEEN, "never-seen", "The device has never asked for anything.",                        \
      "Check the address of the server, the user's name and the DeviceId on the phone.")           \
    X(IN_ORDER, "in-order", "The device is in order: it holds its key for policy {policy}.",       \
      "Nothing needs to be done here; if mail is missing all the same, look at the mail server.")  \
    X(IN_WITHOUT_KEY, "non-provisionable",                                                         \
      "The device was let in without a key, because policy {policy} allows devices that cannot "   \
      "be provisioned.",                                                                           \
      "If it must keep the policy: provost policy set {policy} AllowNonProvisionable=0")           \
    X(SHARED_ID, "shared-id",                                                                      \
      "Two programs or phones take turns under this DeviceId, and each makes the key of the "      \
      "other void.",                                                                               \
      "Remove the account on one of them and set it up anew, so that it gets an id of its own.")   \
    X(PARTIAL_REFUSED, "partial-refused",                                                          \
      "The device says that it keeps policy {policy} only in part, which that policy does not "    \
      "allow.",                                                                                    \
      "Ask for less, or let such devices in: provost policy set {policy} AllowPartial=1")          \
    X(NOT_APPLIED_REFUSED, "not-applied-refused",                                                  \
      "The device says that it keeps nothing of policy {policy}.",                                 \
      "Use another phone, or let such devices in: provost policy set {policy} "                    \
      "AllowNonProvisionable=1")                                                                   \
    X(EXTERNAL_REFUSED, "external-refused",                                                        \
      "The device says that somebody else manages it, which policy {policy} does not allow.",      \
      "To let such devices in: provost policy set {policy} AllowExternalManagement=1")             \
    X(UNCARRIED, "uncarried",                                                                      \
      "Policy {policy} demands what protocol version {version} cannot carry: {uncarried}.",        \
      "Update the phone, unset those settings, or let such devices in: provost policy set "        \
      "{policy} AllowPartial=1")                                                                   \
    X(POLICY_CHANGED, "policy-changed",                                                            \
      "Policy {policy} has changed since the device confirmed it, and the device has not asked "   \
      "for it again.",                                                                             \
      "Wait for its next synchronisation; if it does not come by itself, open the mail program "   \
      "on the phone.")                                                                             \
    X(REFRESH_DUE, "refresh-due",                                                                  \
      "The device must confirm policy {policy} anew, because its RefreshInterval is over.",        \
      "Wait for its next synchronisation; if it does not come by itself, open the mail program "   \
      "on the phone.")                                                                             \
    X(UNKNOWN_OFFER, "unknown-offer",                                                              \
      "The device acknowledges with a temporary key that was not given to it, or not lately.",     \
      "Remove the account on the phone and add it again.")                                         \
    X(OFFER_EXPIRED, "offer-expired",                                                              \
      "The device acknowledged the policy more than a day after it was given it.",                 \
      "Open the mail program on the phone once more, and answer what it asks.")                    \
    X(OFFER_KEY, "offer-key",                                                                      \
      "The device uses the temporary key as if it were its final one: it has not understood the "  \
      "answer to its acknowledgement.",                                                            \
      "Update the mail program, or remove the account and add it again.")                          \
    X(WRONG_KEY, "wrong-key", "The device sends a policy key that is not its own.",                \
      "Remove the account on the phone and add it again.")                                         \
    X(UNKNOWN_TYPE, "unknown-type",                                                                \
      "The device asks for a kind of policy that does not fit protocol version {version}.",        \
      "Update the mail program; this one does not speak the protocol as it is specified.")         \
    X(NO_DEVICE_INFO, "no-device-information",                                                     \
      "The device does not say what it is, which require_device_information demands.",             \
      "Use another mail program, or set require_device_information = false.")                      \
    X(BAD_REQUEST, "bad-request", "The device sends a Provision request that makes no sense.",     \
      "Update the mail program; the server's log says what is wrong with the request.")            \
    X(OFFERED, "offered",                                                                          \
      "The device was given policy {policy} and has not acknowledged it; perhaps it waits for "    \
      "its owner to choose a PIN.",                                                                \
      "Open the mail program on the phone and answer what it asks.")                               \
    X(NO_KEY, "no-key",                                                                            \
      "The device sends no policy key and does not ask for a policy: it may not know how to be "   \
      "provisioned.",                                                                              \
      "Use another mail program, or let such devices in: provost policy set {policy} "             \
      "AllowNonProvisionable=1")                                                                   \
    X(KEY_ZERO, "key-zero",                                                                        \
      "The device has no policy key and was told so, but has not asked for the policy yet.",       \
      "Open the mail program on the phone; if that does not help, remove the account and add it "  \
      "again.")                                                                                    \
    X(NOT_PROVISIONED, "not-provisioned", "The device has not confirmed a policy yet.",            \
      "Open the mail program on the phone.")
#define WHY_CAUSE_ENUM(id, name, sentence, advice) WHY_##id,
enum why_cause { WHY_CAUSES(WHY_CAUSE_ENUM) WHY_CAUSE_COUNT };
#undef WHY_CAUSE_ENUM

#define WHY_TEXT_MAX 1024 /* bytes, terminator included; what is longer is cut */
struct why {
    enum why_cause cause;
    char sentence[WHY_TEXT_MAX], advice[WHY_TEXT_MAX];
};
/* "wrong-key"; static storage. */
const char *why_cause_name(enum why_cause cause);
/* The cause, and its texts. */
void why_explain(const struct device_view *d, const struct trail_copy *t, struct why *out);

#endif
