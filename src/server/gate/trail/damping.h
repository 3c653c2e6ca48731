/* Loops are slowed down: what a device does in vain heats a counter, which cools by itself. The clock
 * is an argument; nothing here knows a device. docs/why.md has the reasons for the figures. */
#ifndef PROVOSTD_GATE_DAMPING_H
#define PROVOSTD_GATE_DAMPING_H

#include <stdbool.h>
#include <stdint.h>

/* What is slowed. An acknowledgement of an open offer is neither: it ends a loop. */
enum damping_what { DAMPING_COMMANDS = 1, DAMPING_PROVISIONS = 2 };

/* id, half-life in seconds, slowed from, what is slowed, what a person is told */
#define DAMPING_KINDS(X)                                                                        \
    X(HANDSHAKES, 300, 8, DAMPING_COMMANDS | DAMPING_PROVISIONS,                                \
      "handshake after handshake, although the policy is the same")                             \
    X(REFUSALS, 60, 30, DAMPING_COMMANDS, "refusal after refusal without a handshake")          \
    X(OFFERS, 300, 12, DAMPING_PROVISIONS, "Provision after Provision without acknowledgement") \
    X(DECLINES, 300, 8, DAMPING_COMMANDS | DAMPING_PROVISIONS,                                  \
      "Provision after Provision that is not accepted")
#define DAMPING_KIND_ENUM(id, half_life, slow, what, text) DAMPING_##id,
enum damping_kind { DAMPING_KINDS(DAMPING_KIND_ENUM) DAMPING_KIND_COUNT };
#undef DAMPING_KIND_ENUM

#define DAMPING_RETRY_LEAST 5 /* seconds: the first Retry-After; each further one is twice that */
#define DAMPING_RETRY_MOST 300
/* Who does not wait for Retry-After is blocked: so many requests that came too early, at that
 * half-life. One a second never amounts to it. */
#define DAMPING_PRESSED_HALF_LIFE 60
#define DAMPING_PRESSED_MOST 300
#define DAMPING_BLOCK_S 1800 /* blocked for so long */
/* What is in vain and happens to any device, such as an account check, is colder than that. */
#define DAMPING_WARM 3
/* New DeviceIds of a user whose handshake is unfinished, at that half-life; from then on a further
 * one must wait. A phone shows one id; a desk that sets up phones finishes their handshakes. */
#define DAMPING_NEW_IDS_HALF_LIFE 3600
#define DAMPING_NEW_IDS_SLOW 20

/* What a user's devices do may cause so many lines of the audit log at once, and so many more for each
 * of them, at that half-life: who changes his face with every request must not fill it. */
#define DAMPING_NOTES_HALF_LIFE 3600
#define DAMPING_NOTES_MOST 200
#define DAMPING_NOTES_A_DEVICE 20

/* Lines of one device in the log: so many at once, then one a second. */
#define DAMPING_LINES_MOST 60

/* A counter that cools. Zeroed: cold. */
struct heat {
    float heat;
    uint32_t at; /* of that value */
};
/* A clock that went back has let no time pass; from then on it cools by the new time. */
float heat_now(struct heat *h, unsigned half_life, int64_t now);
void heat_add(struct heat *h, unsigned half_life, int64_t now, float amount);

/* Of one device. Zeroed: cold. */
struct damping {
    struct heat heat[DAMPING_KIND_COUNT], pressed;
    uint32_t commands_until, provisions_until; /* slowed until then */
    uint32_t revision;                         /* of the policy that all of it was for */
};

/* Something was in vain. */
void damping_count(struct damping *d, enum damping_kind kind, int64_t now);
/* A handshake was finished: again is what it is for the same document as before. */
void damping_confirmed(struct damping *d, bool again, int64_t now);
/* Another policy than before is another matter. */
void damping_policy(struct damping *d, uint64_t revision);
/* A request comes: how many seconds it must wait, 0: it may pass. Who must wait presses. */
unsigned damping_wait(struct damping *d, enum damping_what what, int64_t now);
/* So much pressing that it ends. */
bool damping_is_loop(struct damping *d, int64_t now);
/* What is slowed just now, bits of enum damping_what, and by what most of all. */
unsigned damping_slowed(struct damping *d, int64_t now, enum damping_kind *kind_out);
/* Is there so much in vain of late that it must not be forgotten? */
bool damping_is_warm(struct damping *d, int64_t now);
/* For a person; static storage. */
const char *damping_text(enum damping_kind kind);

/* A further new DeviceId of a user: how many seconds it must wait. */
unsigned damping_new_id_wait(struct heat *new_ids, int64_t now);
/* A further line of the audit log that one of a user's devices causes: may it be written now? Counts
 * it then. */
bool damping_may_note(struct heat *notes, unsigned devices, int64_t now);
/* A further line of the log about one device: may it be written now? Counts it then. lines: zeroed
 * for none yet. */
bool damping_may_log(uint32_t *lines, int64_t now);

#endif
