/* The WAP provisioning document of version 2.5 (MS-ASPROV 2.2.2.24.2): a small XML text. */
#include <string.h>

#include "src/lib/base/bytes.h"
#include "src/lib/base/text.h"
#include "src/lib/policy/settings.h"

enum { WAP_BYTES_MAX = 16384, WAP_DEPTH_MAX = 16, WAP_MINUTES_MAX = 9999 };

#define LASSD "HKLM\\Comm\\Security\\Policy\\LASSD"
#define LOCK_KEY LASSD "\\AE\\{50C13377-C66D-400C-889E-C316FC4AB374}"
#define PASSWORD_KEY LASSD "\\LAP\\lap_pw"

/* The parameters that we write or read, and those that others write and nobody needs. */
/* clang-format off */
#define PARMS(X) X(PASSWORD, "4131") X(LOCK_TYPE, "AEFrequencyType") \
    X(LOCK_MINUTES, "AEFrequencyValue") X(ATTEMPTS, "DeviceWipeThreshold") \
    X(LENGTH, "MinimumPasswordLength") X(COMPLEXITY, "PasswordComplexity") \
    X(DESKTOP_UNLOCK, "4133") X(CODEWORD, "CodewordFrequency")
/* clang-format on */
#define PARM_ENUM(id, name) PARM_##id,
enum parm { PARMS(PARM_ENUM) PARM_COUNT };
#undef PARM_ENUM
#define PARM_NAME(id, name) name,
static const char *const parm_names[] = {PARMS(PARM_NAME)};
#undef PARM_NAME

int64_t pv__wap_minutes(int64_t seconds)
{
    return seconds <= 60 ? 1 : (seconds + 59) / 60;
}

int64_t pv__wap_seconds(int64_t minutes)
{
    int64_t longest = pv__settings[PV_SET_MaxInactivityTimeDeviceLock].no_limit - 1;

    return minutes * 60 < longest ? minutes * 60 : longest;
}

/* ---- writing ------------------------------------------------------------------------------- */

static void open_key(struct pv__out *o, const char *type)
{
    pv__out_text(o, "<characteristic type=\"");
    pv__out_text(o, type);
    pv__out_text(o, "\">");
}

static void close_key(struct pv__out *o)
{
    pv__out_text(o, "</characteristic>");
}

static void parm(struct pv__out *o, enum parm p, int64_t value)
{
    pv__out_text(o, "<parm name=\"");
    pv__out_text(o, parm_names[p]);
    pv__out_text(o, "\" value=\"");
    pv__out_i64(o, value);
    pv__out_text(o, "\"/>");
}

static void write_registry(const struct pv_policy *policy, struct pv__out *o)
{
    int64_t lock = pv_policy_value(policy, PV_SET_MaxInactivityTimeDeviceLock);
    int64_t attempts = pv_policy_value(policy, PV_SET_MaxDevicePasswordFailedAttempts);
    int64_t length = pv_policy_value(policy, PV_SET_MinDevicePasswordLength);

    open_key(o, "Registry");
    open_key(o, LOCK_KEY); /* the type first: clients read in order */
    parm(o, PARM_LOCK_TYPE, lock != PV_NO_LIMIT);
    if (lock != PV_NO_LIMIT) parm(o, PARM_LOCK_MINUTES, pv__wap_minutes(lock));
    close_key(o);
    if (attempts != PV_NO_LIMIT) {
        open_key(o, LASSD);
        parm(o, PARM_ATTEMPTS, attempts);
        close_key(o);
    }
    if (length > 1) {
        open_key(o, PASSWORD_KEY);
        parm(o, PARM_LENGTH, length);
        close_key(o);
    }
    open_key(o, PASSWORD_KEY); /* 0 is the strict one, 2 leaves the choice */
    parm(o, PARM_COMPLEXITY,
         pv_policy_value(policy, PV_SET_AlphanumericDevicePasswordRequired) ? 0 : 2);
    close_key(o);
    close_key(o);
}

enum pv_err pv_policy_wap(const struct pv_policy *policy, char *buf, size_t cap, size_t *len_out)
{
    bool password = pv_policy_value(policy, PV_SET_DevicePasswordEnabled) != 0;
    struct pv__out o;

    pv__out_init(&o, buf, cap);
    pv__out_text(&o, "<wap-provisioningdoc>");
    open_key(&o, "SecurityPolicy");
    parm(&o, PARM_PASSWORD, !password);
    close_key(&o);
    if (password) write_registry(policy, &o);
    pv__out_text(&o, "</wap-provisioningdoc>");
    return pv__out_end(&o, len_out);
}

/* ---- reading: start tags, end tags and quoted attributes; no DTD, no entities needed --------- */

struct span {
    const char *p;
    size_t len;
};
struct scan {
    const char *text;
    size_t len, at;
};
struct tag {
    struct span name, parm, value;
    bool end, empty;
};

static bool looking_at(const struct scan *s, const char *text)
{
    size_t len = strlen(text);

    return s->len - s->at >= len && !memcmp(s->text + s->at, text, len);
}

/* Go behind the next place where the text stands; false if there is none. */
static bool skip_behind(struct scan *s, const char *text)
{
    for (; s->at < s->len; s->at++)
        if (looking_at(s, text)) {
            s->at += strlen(text);
            return true;
        }
    return false;
}

static void skip_blanks(struct scan *s)
{
    while (s->at < s->len && memchr(" \t\r\n", s->text[s->at], 4)) s->at++;
}

static struct span take_name(struct scan *s)
{
    size_t from = s->at;

    while (s->at < s->len && !memchr(" \t\r\n/>=<\"'", s->text[s->at], 10)) s->at++;
    return (struct span){s->text + from, s->at - from};
}

static bool take_attribute(struct scan *s, struct span *name, struct span *value)
{
    const char *end;
    char quote;

    *name = take_name(s);
    skip_blanks(s);
    if (name->len == 0 || !looking_at(s, "=")) return false;
    s->at++;
    skip_blanks(s);
    if (!looking_at(s, "\"") && !looking_at(s, "'")) return false;
    quote = s->text[s->at++];
    end = memchr(s->text + s->at, quote, s->len - s->at);
    if (!end) return false;
    *value = (struct span){s->text + s->at, (size_t)(end - s->text) - s->at};
    s->at += value->len + 1;
    return true;
}

static bool is(struct span a, const char *text)
{
    return pv__equal_nocase(a.p, a.len, text, strlen(text));
}

/* Next tag; comments and processing instructions are passed over. */
static bool next_tag(struct scan *s, struct tag *tag)
{
    *tag = (struct tag){0};
    for (;;) {
        if (!skip_behind(s, "<")) return false;
        if (looking_at(s, "!--")) {
            if (!skip_behind(s, "-->")) return false;
        } else if (looking_at(s, "?")) {
            if (!skip_behind(s, "?>")) return false;
        } else {
            break;
        }
    }
    tag->end = looking_at(s, "/");
    s->at += tag->end;
    tag->name = take_name(s);
    if (tag->name.len == 0 || tag->name.p[0] == '!') return false; /* no DTD */
    for (;;) {
        struct span name, value;
        skip_blanks(s);
        if (looking_at(s, ">")) break;
        if (looking_at(s, "/>")) {
            tag->empty = true;
            break;
        }
        if (!take_attribute(s, &name, &value)) return false;
        if (is(name, "name"))
            tag->parm = value;
        else if (is(name, "value"))
            tag->value = value;
    }
    s->at += tag->empty ? 2 : 1;
    return true;
}

struct parms {
    bool has[PARM_COUNT];
    struct span text[PARM_COUNT];
};

static void take_parm(struct pv__reading *r, const struct tag *tag, struct parms *parms)
{
    for (unsigned i = 0; i < PARM_COUNT; i++)
        if (is(tag->parm, parm_names[i])) {
            parms->has[i] = true;
            parms->text[i] = tag->value;
            pv__trim(&parms->text[i].p, &parms->text[i].len);
            return;
        }
    pv__odd(r, "parm", tag->parm.p ? tag->parm.p : "", tag->parm.len, " is no setting, not read");
}

static bool parm_number(struct pv__reading *r, const struct parms *parms, enum parm p,
                        int64_t least, int64_t most, int64_t *out)
{
    struct span text = parms->text[p];

    if (!parms->has[p]) return false;
    if (pv__parse_i64(text.p, text.len, least, most, out)) return true;
    pv__odd(r, parm_names[p], text.p, text.len, " is out of range, not read");
    return false;
}

static void put(struct pv__reading *r, enum pv_setting s, int64_t value)
{
    r->policy->value[s] = value;
    r->policy->set |= UINT64_C(1) << s;
}

/* Several of these numbers mean the opposite of what they mean from 12.0 on. */
static void apply(struct pv__reading *r, const struct parms *p)
{
    int64_t n;

    if (!parm_number(r, p, PARM_PASSWORD, INT32_MIN, INT32_MAX, &n)) return;
    put(r, PV_SET_DevicePasswordEnabled, n == 0);
    if (n != 0) return; /* clients do not look at the rest */
    if (parm_number(r, p, PARM_LOCK_TYPE, 0, 1, &n) && n == 1 &&
        parm_number(r, p, PARM_LOCK_MINUTES, 1, WAP_MINUTES_MAX, &n))
        put(r, PV_SET_MaxInactivityTimeDeviceLock, pv__wap_seconds(n));
    if (parm_number(r, p, PARM_ATTEMPTS, -1, INT32_MAX, &n) && n != -1)
        pv__read_number(r, PV_SET_MaxDevicePasswordFailedAttempts, p->text[PARM_ATTEMPTS].p,
                        p->text[PARM_ATTEMPTS].len);
    if (p->has[PARM_LENGTH])
        pv__read_number(r, PV_SET_MinDevicePasswordLength, p->text[PARM_LENGTH].p,
                        p->text[PARM_LENGTH].len);
    if (parm_number(r, p, PARM_COMPLEXITY, 0, 2, &n))
        put(r, PV_SET_AlphanumericDevicePasswordRequired, n == 0);
}

enum pv_err pv__wap_read(struct pv__reading *r, const char *text, size_t len)
{
    struct scan s = {.text = text, .len = len};
    struct parms parms = {0};
    struct tag tag;
    size_t depth;

    if (len > WAP_BYTES_MAX) return PV_E_TOOBIG;
    if (!next_tag(&s, &tag) || tag.end || !is(tag.name, "wap-provisioningdoc"))
        return PV_E_MALFORMED;
    depth = !tag.empty;
    while (depth) {
        if (!next_tag(&s, &tag)) return PV_E_MALFORMED;
        if (tag.end) {
            depth--;
        } else {
            if (is(tag.name, "parm")) take_parm(r, &tag, &parms);
            if (!tag.empty && ++depth > WAP_DEPTH_MAX) return PV_E_TOOBIG;
        }
    }
    apply(r, &parms);
    return PV_OK;
}
