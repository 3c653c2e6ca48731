/* The table of the server's machine, its words, and its printing. */
#include "src/lib/provision/server.h"

#include "src/lib/base/text.h"

#define NEED(id) (1u << PV__NEED_##id)
/* clang-format off */
#define RULE(next, act, needs) {true, PV_STATE_##next, PV_ACT_##act, (needs)}

#define OPEN (NEED(CARRIED) | NEED(KEY) | NEED(FRESH))
#define ASKING (NEED(TYPE) | NEED(INFO))
#define ACKING (NEED(TYPE) | NEED(OFFER) | NEED(ACCEPTED))

/* The state follows from the facts (pv_server_state): `next` is where a rule leads that acts while
 * the policy stays as it was offered. A device that holds a key keeps its place until another one
 * is confirmed. A row names only needs that its state leaves open: a device whose version cannot
 * carry the policy, for one, stands in `refused`, or in a row above it in rank. */
const struct pv__rule pv__rules[PV_STATE_COUNT][PV_EVENT_COUNT] = {
    [PV_STATE_NEW] = {
        [PV_EV_COMMAND] = RULE(NEW, ALLOW, NEED(KEY)),
        [PV_EV_PING] = RULE(NEW, ALLOW, NEED(PARTNER)),
        [PV_EV_POLL] = RULE(NEW, PLAIN, 0),
        [PV_EV_ASK] = RULE(OFFERED, OFFER, ASKING),
        [PV_EV_ACK] = RULE(PROVISIONED, CONFIRM, ACKING),
        [PV_EV_WIPE_ACK] = RULE(NEW, PLAIN, 0),
        [PV_EV_BAD] = RULE(NEW, PROVISION_STATUS, 0),
    },
    [PV_STATE_OFFERED] = {
        [PV_EV_COMMAND] = RULE(OFFERED, ALLOW, NEED(KEY)),
        [PV_EV_PING] = RULE(OFFERED, ALLOW, NEED(PARTNER)),
        [PV_EV_POLL] = RULE(OFFERED, PLAIN, 0),
        [PV_EV_ASK] = RULE(OFFERED, OFFER, ASKING),
        [PV_EV_ACK] = RULE(PROVISIONED, CONFIRM, ACKING),
        [PV_EV_WIPE_ACK] = RULE(OFFERED, PLAIN, 0),
        [PV_EV_BAD] = RULE(OFFERED, PROVISION_STATUS, 0),
    },
    [PV_STATE_PROVISIONED] = {
        [PV_EV_COMMAND] = RULE(PROVISIONED, ALLOW, NEED(KEY)),
        [PV_EV_PING] = RULE(PROVISIONED, ALLOW, 0),
        [PV_EV_POLL] = RULE(PROVISIONED, PLAIN, 0),
        [PV_EV_ASK] = RULE(PROVISIONED, OFFER, ASKING),
        [PV_EV_ACK] = RULE(PROVISIONED, CONFIRM, ACKING),
        [PV_EV_WIPE_ACK] = RULE(PROVISIONED, PLAIN, 0),
        [PV_EV_BAD] = RULE(PROVISIONED, PROVISION_STATUS, 0),
    },
    [PV_STATE_REFRESH_DUE] = {
        [PV_EV_COMMAND] = RULE(REFRESH_DUE, REFUSE, NEED(KEY)),
        [PV_EV_PING] = RULE(REFRESH_DUE, PING_7, 0),
        [PV_EV_POLL] = RULE(REFRESH_DUE, PLAIN, 0),
        [PV_EV_ASK] = RULE(REFRESH_DUE, OFFER, ASKING),
        [PV_EV_ACK] = RULE(PROVISIONED, CONFIRM, ACKING),
        [PV_EV_WIPE_ACK] = RULE(REFRESH_DUE, PLAIN, 0),
        [PV_EV_BAD] = RULE(REFRESH_DUE, PROVISION_STATUS, 0),
    },
    [PV_STATE_REFUSED] = {
        [PV_EV_COMMAND] = RULE(REFUSED, ALLOW, OPEN),
        [PV_EV_PING] = RULE(REFUSED, ALLOW, NEED(PARTNER) | NEED(FRESH)),
        [PV_EV_POLL] = RULE(REFUSED, PLAIN, 0),
        [PV_EV_ASK] = RULE(REFUSED, OFFER, ASKING | NEED(CARRIED)),
        [PV_EV_ACK] = RULE(PROVISIONED, CONFIRM, ACKING),
        [PV_EV_WIPE_ACK] = RULE(REFUSED, PLAIN, 0),
        [PV_EV_BAD] = RULE(REFUSED, PROVISION_STATUS, 0),
    },
    [PV_STATE_QUARANTINED] = {
        [PV_EV_COMMAND] = RULE(QUARANTINED, INBOX_ONLY, OPEN),
        [PV_EV_PING] = RULE(QUARANTINED, INBOX_ONLY, NEED(PARTNER) | NEED(FRESH)),
        [PV_EV_POLL] = RULE(QUARANTINED, PLAIN, 0),
        [PV_EV_ASK] = RULE(QUARANTINED, OFFER, ASKING | NEED(CARRIED)),
        [PV_EV_ACK] = RULE(QUARANTINED, CONFIRM, ACKING),
        [PV_EV_WIPE_ACK] = RULE(QUARANTINED, PLAIN, 0),
        [PV_EV_BAD] = RULE(QUARANTINED, PROVISION_STATUS, 0),
    },
    [PV_STATE_BLOCKED] = {
        [PV_EV_PING] = RULE(BLOCKED, PING_7, NEED(PARTNER)),
    },
    [PV_STATE_WIPE_PENDING] = {
        [PV_EV_COMMAND] = RULE(WIPE_PENDING, REFUSE, NEED(DIRECTIVE)),
        [PV_EV_PING] = RULE(WIPE_PENDING, PING_7, NEED(PARTNER)),
        [PV_EV_POLL] = RULE(WIPE_PENDING, DIRECTIVE, NEED(DIRECTIVE)),
        [PV_EV_ASK] = RULE(WIPE_PENDING, DIRECTIVE, NEED(DIRECTIVE)),
        [PV_EV_ACK] = RULE(WIPE_PENDING, DIRECTIVE, NEED(DIRECTIVE)),
        [PV_EV_WIPE_ACK] = RULE(WIPED, PLAIN, NEED(DIRECTIVE) | NEED(WIPED)),
        [PV_EV_BAD] = RULE(WIPE_PENDING, DIRECTIVE, NEED(DIRECTIVE)),
    },
    [PV_STATE_WIPED] = {
        /* The answer to its acknowledgement may have got lost. */
        [PV_EV_WIPE_ACK] = RULE(WIPED, PLAIN, 0),
    },
};

const struct pv__stand pv__stands[PV_STATE_COUNT] = {
    [PV_STATE_NEW] = {142, PV_WHY_NOT_PROVISIONED},
    [PV_STATE_OFFERED] = {142, PV_WHY_NOT_PROVISIONED},
    [PV_STATE_PROVISIONED] = {142, PV_WHY_NOT_PROVISIONED},
    [PV_STATE_REFRESH_DUE] = {143, PV_WHY_POLICY_CHANGED},
    [PV_STATE_REFUSED] = {142, PV_WHY_NOT_PROVISIONED},
    [PV_STATE_QUARANTINED] = {142, PV_WHY_NOT_PROVISIONED},
    [PV_STATE_BLOCKED] = {129, PV_WHY_BLOCKED},
    [PV_STATE_WIPE_PENDING] = {140, PV_WHY_WIPE},
    [PV_STATE_WIPED] = {129, PV_WHY_WIPED},
};

#define ORDER(state) {true, PV_STATE_##state, false}
#define AS_FACTS_SAY {true, PV_STATE_COUNT, false}
#define IF_OPEN(state) {true, PV_STATE_##state, true}
/* What an administrator may order of a device that no wipe concerns: cancelling is impossible. */
#define AT_WILL \
    [PV_ORDER_WIPE_ACCOUNT] = ORDER(WIPE_PENDING), [PV_ORDER_WIPE_DEVICE] = ORDER(WIPE_PENDING), \
    [PV_ORDER_ALLOW] = AS_FACTS_SAY, [PV_ORDER_BLOCK] = ORDER(BLOCKED), \
    [PV_ORDER_QUARANTINE] = ORDER(QUARANTINED), [PV_ORDER_CLEAR] = AS_FACTS_SAY

const struct pv__order_rule pv__order_rules[PV_STATE_COUNT][PV_ORDER_COUNT] = {
    [PV_STATE_NEW] = {AT_WILL},
    [PV_STATE_OFFERED] = {AT_WILL},
    [PV_STATE_PROVISIONED] = {AT_WILL},
    [PV_STATE_REFRESH_DUE] = {AT_WILL},
    [PV_STATE_REFUSED] = {AT_WILL},
    [PV_STATE_QUARANTINED] = {AT_WILL},
    [PV_STATE_BLOCKED] = {
        [PV_ORDER_WIPE_ACCOUNT] = ORDER(WIPE_PENDING),
        [PV_ORDER_WIPE_DEVICE] = ORDER(WIPE_PENDING),
        [PV_ORDER_ALLOW] = AS_FACTS_SAY,
        [PV_ORDER_BLOCK] = ORDER(BLOCKED),
        [PV_ORDER_QUARANTINE] = IF_OPEN(QUARANTINED),
        [PV_ORDER_CLEAR] = AS_FACTS_SAY,
    },
    [PV_STATE_WIPE_PENDING] = {
        [PV_ORDER_WIPE_ACCOUNT] = ORDER(WIPE_PENDING),
        [PV_ORDER_WIPE_DEVICE] = ORDER(WIPE_PENDING),
        [PV_ORDER_CANCEL_WIPE] = AS_FACTS_SAY,
        /* Not ALLOW: that would look as if it let in a device whose wipe goes on. */
        [PV_ORDER_BLOCK] = ORDER(WIPE_PENDING),
        [PV_ORDER_QUARANTINE] = ORDER(WIPE_PENDING),
        [PV_ORDER_CLEAR] = ORDER(WIPE_PENDING),
    },
    [PV_STATE_WIPED] = {
        [PV_ORDER_WIPE_ACCOUNT] = ORDER(WIPE_PENDING),
        [PV_ORDER_WIPE_DEVICE] = ORDER(WIPE_PENDING),
        [PV_ORDER_ALLOW] = AS_FACTS_SAY, /* NEW, unless its version is barred */
        [PV_ORDER_BLOCK] = ORDER(WIPED),
        [PV_ORDER_CLEAR] = ORDER(WIPED),
    },
};
/* clang-format on */

/* ---- words ------------------------------------------------------------------------------- */

static const char *const state_texts[PV_STATE_COUNT] = {
#define STATE_TEXT(id, text) text,
    PV_STATES(STATE_TEXT)
#undef STATE_TEXT
};
static const char *const event_texts[PV_EVENT_COUNT] = {
#define EVENT_TEXT(id, text) text,
    PV_EVENTS(EVENT_TEXT)
#undef EVENT_TEXT
};
static const char *const action_texts[PV_ACTION_COUNT] = {
#define ACTION_TEXT(id, text) text,
    PV_ACTIONS(ACTION_TEXT)
#undef ACTION_TEXT
};
static const char *const outcome_texts[PV_OUTCOME_COUNT] = {
#define OUTCOME_TEXT(id, text) text,
    PV_OUTCOMES(OUTCOME_TEXT)
#undef OUTCOME_TEXT
};
static const char *const order_texts[PV_ORDER_COUNT] = {
#define ORDER_TEXT(id, text) text,
    PV_ORDERS(ORDER_TEXT)
#undef ORDER_TEXT
};
static const char *const personal_texts[PV_PERSONAL_COUNT] = {
#define PERSONAL_TEXT(id, text) text,
    PV_PERSONALS(PERSONAL_TEXT)
#undef PERSONAL_TEXT
};
static const char *const wipe_state_texts[PV_WIPE_STATE_COUNT] = {
#define WIPE_STATE_TEXT(id, text) text,
    PV_WIPE_STATES(WIPE_STATE_TEXT)
#undef WIPE_STATE_TEXT
};
static const struct {
    const char *name, *text;
} reasons[PV_REASON_COUNT] = {
#define REASON_ROW(id, text) {#id, text},
    PV_REASONS(REASON_ROW)
#undef REASON_ROW
};
static const struct {
    const char *name, *text, *unmet;
} needs[PV__NEED_COUNT] = {
#define NEED_ROW(id, name, text, unmet) {name, text, unmet},
    PV__NEEDS(NEED_ROW)
#undef NEED_ROW
};

const char *pv_state_text(enum pv_state state)
{
    return (unsigned)state < PV_STATE_COUNT ? state_texts[state] : "?";
}

const char *pv_outcome_text(enum pv_outcome outcome)
{
    return (unsigned)outcome < PV_OUTCOME_COUNT ? outcome_texts[outcome] : "?";
}

const char *pv_order_text(enum pv_order_kind order)
{
    return (unsigned)order < PV_ORDER_COUNT ? order_texts[order] : "?";
}

const char *pv_personal_text(enum pv_personal personal)
{
    return (unsigned)personal < PV_PERSONAL_COUNT ? personal_texts[personal] : "?";
}

const char *pv_wipe_state_text(enum pv_wipe_state state)
{
    return (unsigned)state < PV_WIPE_STATE_COUNT ? wipe_state_texts[state] : "?";
}

const char *pv_reason_name(enum pv_reason reason)
{
    return (unsigned)reason < PV_REASON_COUNT ? reasons[reason].name : "?";
}

const char *pv_reason_text(enum pv_reason reason)
{
    return (unsigned)reason < PV_REASON_COUNT ? reasons[reason].text : "?";
}

/* ---- printing ---------------------------------------------------------------------------- */

/* A row for each state, a column for each text. */
static void put_table(struct pv__out *o, const char *const *texts, unsigned count,
                      void (*put)(struct pv__out *o, enum pv_state state, unsigned column))
{
    pv__out_text(o, "| state |");
    for (unsigned i = 0; i < count; i++) {
        pv__out_text(o, " ");
        pv__out_text(o, texts[i]);
        pv__out_text(o, " |");
    }
    pv__out_text(o, "\n|---|");
    for (unsigned i = 0; i < count; i++) pv__out_text(o, "---|");
    for (unsigned s = 0; s < PV_STATE_COUNT; s++) {
        pv__out_text(o, "\n| ");
        pv__out_text(o, state_texts[s]);
        pv__out_text(o, " |");
        for (unsigned i = 0; i < count; i++) {
            pv__out_text(o, " ");
            put(o, (enum pv_state)s, i);
            pv__out_text(o, " |");
        }
    }
    pv__out_text(o, "\n");
}

static void put_rule(struct pv__out *o, enum pv_state state, unsigned event)
{
    const struct pv__rule *rule = &pv__rules[state][event];
    const char *separator = " if ";
    enum pv_action act = rule->given ? (enum pv_action)rule->act : PV_ACT_REFUSE;

    pv__out_text(o, action_texts[act]);
    if (act == PV_ACT_REFUSE) {
        pv__out_text(o, " ");
        pv__out_i64(o, pv__stands[state].status);
    }
    if (act == PV_ACT_PROVISION_STATUS) pv__out_text(o, " 2"); /* malformed */
    if (rule->given && rule->next != state) {
        pv__out_text(o, " → ");
        pv__out_text(o, state_texts[rule->next]);
    }
    for (unsigned n = 0; n < PV__NEED_COUNT; n++) {
        if (!(rule->needs & 1u << n)) continue;
        pv__out_text(o, separator);
        pv__out_text(o, needs[n].name);
        separator = ", ";
    }
}

enum pv_err pv_server_table(char *buf, size_t cap, size_t *len_out)
{
    struct pv__out o;

    pv__out_init(&o, buf, cap);
    put_table(&o, event_texts, PV_EVENT_COUNT, put_rule);
    pv__out_text(&o, "\n| need | met by | else |\n|---|---|---|\n");
    for (unsigned n = 0; n < PV__NEED_COUNT; n++) {
        pv__out_text(&o, "| ");
        pv__out_text(&o, needs[n].name);
        pv__out_text(&o, " | ");
        pv__out_text(&o, needs[n].text);
        pv__out_text(&o, " | ");
        pv__out_text(&o, needs[n].unmet);
        pv__out_text(&o, " |\n");
    }
    return pv__out_end(&o, len_out);
}

static void put_order(struct pv__out *o, enum pv_state state, unsigned order)
{
    const struct pv__order_rule *rule = &pv__order_rules[state][order];

    if (!rule->given) {
        pv__out_text(o, action_texts[PV_ACT_IMPOSSIBLE]);
        return;
    }
    pv__out_text(o, action_texts[PV_ACT_DONE]);
    if (rule->next != state) {
        pv__out_text(o, " → ");
        pv__out_text(o,
                     rule->next == PV_STATE_COUNT ? "what the facts say" : state_texts[rule->next]);
    }
    if (rule->needs_open) pv__out_text(o, " if no wipe shuts it out");
}

enum pv_err pv_order_table(char *buf, size_t cap, size_t *len_out)
{
    struct pv__out o;

    pv__out_init(&o, buf, cap);
    put_table(&o, order_texts, PV_ORDER_COUNT, put_order);
    return pv__out_end(&o, len_out);
}
