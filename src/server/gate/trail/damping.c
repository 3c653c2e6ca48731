#include "src/server/gate/trail/damping.h"

static const struct {
    unsigned half_life;
    float slow;
    unsigned what;
    const char *text;
} kinds[DAMPING_KIND_COUNT] = {
#define DAMPING_ROW(id, half_life, slow, what, text) {half_life, slow, what, text},
    DAMPING_KINDS(DAMPING_ROW)
#undef DAMPING_ROW
};

#define COLD_AFTER 64 /* half-lives */

/* 2 to the power of -x, x from 0 to 1: e to the power of -x ln 2, four terms of it. */
static float half_to(float x)
{
    float y = x * 0.693147f;
    return 1 - y * (1 - y / 2 * (1 - y / 3 * (1 - y / 4)));
}

float heat_now(struct heat *h, unsigned half_life, int64_t now)
{
    if (h->at > now) h->at = (uint32_t)now;
    int64_t passed = now - h->at;
    if (passed == 0 || h->heat == 0) return h->heat;
    if (passed / half_life >= COLD_AFTER) return 0;
    float heat = h->heat * half_to((float)(passed % half_life) / (float)half_life);
    for (int64_t n = passed / half_life; n > 0; n--) heat /= 2;
    return heat;
}

void heat_add(struct heat *h, unsigned half_life, int64_t now, float amount)
{
    float heat = heat_now(h, half_life, now) + amount;
    h->heat = heat > 0 ? heat : 0;
    h->at = (uint32_t)now;
}

/* Doubled with each further time; both bounded. */
static unsigned retry_after(float heat, float slow)
{
    unsigned wait = DAMPING_RETRY_LEAST;
    for (float over = heat - slow; over >= 1 && wait < DAMPING_RETRY_MOST; over--) wait *= 2;
    return wait < DAMPING_RETRY_MOST ? wait : DAMPING_RETRY_MOST;
}

/* What lies further ahead than anything is slowed for is from before the clock was set back. */
static void slow_until(uint32_t *at, int64_t until)
{
    if (until > *at || *at - until > DAMPING_RETRY_MOST) *at = (uint32_t)until;
}

void damping_count(struct damping *d, enum damping_kind kind, int64_t now)
{
    heat_add(&d->heat[kind], kinds[kind].half_life, now, 1);
    float heat = d->heat[kind].heat;
    if (heat < kinds[kind].slow) return;
    int64_t until = now + retry_after(heat, kinds[kind].slow);
    if (kinds[kind].what & DAMPING_COMMANDS) slow_until(&d->commands_until, until);
    if (kinds[kind].what & DAMPING_PROVISIONS) slow_until(&d->provisions_until, until);
}

/* What led to it is over; only that it happens again and again is not. */
void damping_confirmed(struct damping *d, bool again, int64_t now)
{
    d->heat[DAMPING_REFUSALS] = d->heat[DAMPING_OFFERS] = d->heat[DAMPING_DECLINES] =
        (struct heat){0};
    d->commands_until = d->provisions_until = 0;
    if (again) damping_count(d, DAMPING_HANDSHAKES, now);
}

void damping_policy(struct damping *d, uint64_t revision)
{
    if (d->revision == (uint32_t)revision) return;
    *d = (struct damping){.pressed = d->pressed, .revision = (uint32_t)revision};
}

/* A clock that was set back must not shut anybody out: nothing is slowed for longer than this. */
static unsigned left(uint32_t until, int64_t now)
{
    int64_t seconds = until - now;
    return seconds > 0 && seconds <= DAMPING_RETRY_MOST ? (unsigned)seconds : 0;
}

unsigned damping_wait(struct damping *d, enum damping_what what, int64_t now)
{
    unsigned wait = left(what == DAMPING_COMMANDS ? d->commands_until : d->provisions_until, now);
    if (wait) heat_add(&d->pressed, DAMPING_PRESSED_HALF_LIFE, now, 1);
    return wait;
}

bool damping_is_loop(struct damping *d, int64_t now)
{
    return heat_now(&d->pressed, DAMPING_PRESSED_HALF_LIFE, now) >= DAMPING_PRESSED_MOST;
}

unsigned damping_slowed(struct damping *d, int64_t now, enum damping_kind *kind_out)
{
    unsigned slowed = (left(d->commands_until, now) ? DAMPING_COMMANDS : 0u) |
                      (left(d->provisions_until, now) ? DAMPING_PROVISIONS : 0u);
    float most = -1;
    for (enum damping_kind k = 0; k < DAMPING_KIND_COUNT; k++) {
        float part = heat_now(&d->heat[k], kinds[k].half_life, now) / kinds[k].slow;
        if (part <= most) continue;
        most = part;
        *kind_out = k;
    }
    return slowed;
}

bool damping_is_warm(struct damping *d, int64_t now)
{
    if (damping_slowed(d, now, &(enum damping_kind){0})) return true;
    for (int i = 0; i < DAMPING_KIND_COUNT; i++)
        if (heat_now(&d->heat[i], kinds[i].half_life, now) >= DAMPING_WARM) return true;
    return heat_now(&d->pressed, DAMPING_PRESSED_HALF_LIFE, now) >= DAMPING_WARM;
}

const char *damping_text(enum damping_kind kind)
{
    return kinds[kind].text;
}

unsigned damping_new_id_wait(struct heat *new_ids, int64_t now)
{
    float heat = heat_now(new_ids, DAMPING_NEW_IDS_HALF_LIFE, now);
    return heat < DAMPING_NEW_IDS_SLOW ? 0 : DAMPING_RETRY_MOST;
}

bool damping_may_note(struct heat *notes, unsigned devices, int64_t now)
{
    float most = DAMPING_NOTES_MOST + (float)devices * DAMPING_NOTES_A_DEVICE;
    if (heat_now(notes, DAMPING_NOTES_HALF_LIFE, now) >= most) return false;
    heat_add(notes, DAMPING_NOTES_HALF_LIFE, now, 1);
    return true;
}

/* Each line puts off by a second the time at which all of them would be forgotten. Further ahead than
 * that only a clock that was set back leaves it. */
bool damping_may_log(uint32_t *lines, int64_t now)
{
    int64_t ahead = *lines - now;
    if (ahead == DAMPING_LINES_MOST) return false;
    if (ahead < 0 || ahead > DAMPING_LINES_MOST) ahead = 0;
    *lines = (uint32_t)(now + ahead + 1);
    return true;
}
