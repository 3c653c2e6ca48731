/* What a device can do, and the honest answer to a policy. */
#include <string.h>

#include <provost/provision.h>

#include "src/lib/base/bytes.h"
#include "src/lib/base/text.h"
#include "src/lib/policy/settings.h"

struct span {
    const char *p;
    size_t len;
};

static bool is(struct span a, const char *text)
{
    return a.len == strlen(text) && !memcmp(a.p, text, a.len);
}

/* "line 3: NAME: "VALUE" is neither yes nor no" */
static enum pv_err refuse(enum pv_err err, size_t line, struct span what, const char *why,
                          char *message, size_t cap)
{
    char shown[80];
    struct pv__out o;

    pv__escape(what.p, what.len, shown, sizeof shown);
    pv__out_init(&o, message, cap);
    pv__out_text(&o, "line ");
    pv__out_i64(&o, (int64_t)line);
    pv__out_text(&o, ": \"");
    pv__out_text(&o, shown);
    pv__out_text(&o, "\" ");
    pv__out_text(&o, why);
    (void)!pv__out_end(&o, NULL);
    return err;
}

static bool yes_or_no(struct span value, bool *out)
{
    *out = is(value, "yes");
    return *out || is(value, "no");
}

static bool find(struct span name, enum pv_setting *out)
{
    char text[64];

    if (name.len >= sizeof text || memchr(name.p, 0, name.len)) return false;
    memcpy(text, name.p, name.len);
    text[name.len] = '\0';
    return pv_setting_find(text, out) && !pv__settings[*out].treatment;
}

static enum pv_err read_setting(struct pv_profile *p, enum pv_setting s, struct span value)
{
    uint64_t bit = UINT64_C(1) << s;
    int64_t most;
    bool can;

    p->unsupported &= ~bit;
    p->limited &= ~bit;
    if (yes_or_no(value, &can)) {
        p->unsupported |= can ? 0 : bit;
        return PV_OK;
    }
    if (pv__settings[s].kind == PV_SETTING_LIST) return PV_E_MALFORMED;
    PV_TRY(pv__setting_parse(&pv__settings[s], value.p, value.len, &most));
    p->limited |= bit;
    p->most[s] = pv__setting_meaning(&pv__settings[s], most);
    return PV_OK;
}

static enum pv_err read_line(struct pv_profile *p, struct span text, size_t line, char *message,
                             size_t cap)
{
    const char *equals = text.len ? memchr(text.p, '=', text.len) : NULL;
    struct span name = text, value = {NULL, 0};
    enum pv_setting s;
    enum pv_err err;

    if (!equals) return refuse(PV_E_MALFORMED, line, text, "is no line NAME = VALUE", message, cap);
    name.len = (size_t)(equals - text.p);
    value = (struct span){equals + 1, text.len - name.len - 1};
    pv__trim(&name.p, &name.len);
    pv__trim(&value.p, &value.len);
    if (is(name, "ExternallyManaged") || is(name, "Nothing")) {
        bool *flag = is(name, "Nothing") ? &p->nothing : &p->externally_managed;
        if (yes_or_no(value, flag)) return PV_OK;
        return refuse(PV_E_MALFORMED, line, value, "is neither yes nor no", message, cap);
    }
    if (!find(name, &s))
        return refuse(PV_E_UNKNOWN, line, name, "is no setting of a device", message, cap);
    err = read_setting(p, s, value);
    if (err == PV_E_RANGE) return refuse(err, line, text, "has a value out of range", message, cap);
    if (err) return refuse(err, line, text, "has neither yes, no nor a number", message, cap);
    return PV_OK;
}

enum pv_err pv_profile_read(const char *text, size_t len, struct pv_profile *out, char *message,
                            size_t message_cap)
{
    struct pv_profile profile = {0};
    size_t line = 0, at = 0;

    if (message_cap) message[0] = '\0';
    while (at < len) {
        const char *newline = memchr(text + at, '\n', len - at);
        size_t whole = newline ? (size_t)(newline - text) - at : len - at;
        const char *comment = whole ? memchr(text + at, '#', whole) : NULL;
        struct span rest = {text + at, comment ? (size_t)(comment - text) - at : whole};

        line++;
        at += whole + 1;
        pv__trim(&rest.p, &rest.len);
        if (rest.len) PV_TRY(read_line(&profile, rest, line, message, message_cap));
    }
    *out = profile;
    return PV_OK;
}

static bool keeps(const struct pv_profile *profile, const struct pv_policy *policy,
                  enum pv_setting s)
{
    int64_t asked = pv_policy_value(policy, s);

    if (profile->unsupported >> s & 1) return false;
    if (!(profile->limited >> s & 1)) return true;
    switch (pv__settings[s].stricter) {
    case PV_STRICTER_HIGHER: return asked <= profile->most[s];
    case PV_STRICTER_LOWER: return asked >= profile->most[s];
    default: return asked == profile->most[s];
    }
}

//= MS-ASPROV 2.2.2.54.1: 1 all, 2 a part and at least the password, 3 nothing, 4 managed elsewhere
unsigned pv_profile_judge(const struct pv_profile *profile, const struct pv_policy *policy,
                          enum pv_kept kept_out[PV_SETTING_COUNT])
{
    size_t kept = 0, broken = 0;
    bool password_broken = false;

    for (unsigned i = 0; i < PV_SETTING_COUNT; i++) {
        enum pv_setting s = (enum pv_setting)i;
        enum pv_kept one = PV_NOT_DEMANDED;

        if (pv__policy_demands(policy, s))
            one = !profile->nothing && keeps(profile, policy, s) ? PV_KEPT : PV_NOT_KEPT;
        kept += one == PV_KEPT;
        broken += one == PV_NOT_KEPT;
        password_broken |= one == PV_NOT_KEPT && pv__settings[s].password;
        if (kept_out) kept_out[s] = one;
    }
    if (profile->externally_managed) return 4;
    if (profile->nothing) return 3;
    if (!broken) return 1;
    return password_broken || !kept ? 3 : 2;
}
