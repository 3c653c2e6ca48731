#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/server/auth/helper/way.h"

#define SERVICE_MAX 64

static char service[SERVICE_MAX];

static bool begin(const struct way_settings *s, char why[WAY_WHY_MAX])
{
    static const char *const dirs[] = {"/etc/pam.d", "/usr/lib/pam.d", "/usr/share/pam.d"};
    char path[SERVICE_MAX + 32];
    snprintf(service, sizeof service, "%s", s->service);
    /* Without a file of its own it would be judged by the service "other", which refuses everybody. */
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf(path, sizeof path, "%s/%s", dirs[i], service);
        if (access(path, R_OK) == 0) return true;
    }
    snprintf(why, WAY_WHY_MAX, "/etc/pam.d/%s is missing or cannot be read", service);
    return false;
}

/* ---- what modules ask ---- */

static void free_replies(struct pam_response *replies, int count)
{
    for (int i = 0; i < count; i++) {
        if (!replies[i].resp) continue;
        explicit_bzero(replies[i].resp, strlen(replies[i].resp));
        free(replies[i].resp);
    }
    free(replies);
}

static int converse(int count, const struct pam_message **asked, struct pam_response **out,
                    void *ctx)
{
    const struct way_question *q = ctx;
    if (count <= 0 || count > PAM_MAX_NUM_MSG) return PAM_CONV_ERR;
    struct pam_response *replies = calloc((size_t)count, sizeof *replies);
    if (!replies) return PAM_BUF_ERR;
    for (int i = 0; i < count; i++) {
        int style = asked[i]->msg_style;
        const char *text = style == PAM_PROMPT_ECHO_OFF  ? q->password
                           : style == PAM_PROMPT_ECHO_ON ? q->user
                                                         : NULL;
        if (text && !(replies[i].resp = strdup(text))) {
            free_replies(replies, count);
            return PAM_BUF_ERR;
        }
    }
    *out = replies;
    return PAM_SUCCESS;
}

/* Who fails is slowed down by the server; here it would only keep others waiting. */
static void no_delay(int result, unsigned usec, void *ctx)
{
    (void)result, (void)usec, (void)ctx;
}

/* ---- verdicts ---- */

/* What says something of the user, not of the system. */
static bool is_refusal(int result)
{
    switch (result) {
    case PAM_AUTH_ERR:
    case PAM_USER_UNKNOWN:
    case PAM_MAXTRIES:
    case PAM_PERM_DENIED:
    case PAM_ACCT_EXPIRED:
    case PAM_NEW_AUTHTOK_REQD:
    case PAM_CRED_EXPIRED:
    case PAM_CRED_UNAVAIL:
    case PAM_CRED_INSUFFICIENT:
    case PAM_AUTHTOK_EXPIRED: return true;
    default: return false;
    }
}

static int run(pam_handle_t *h, const struct way_question *q, struct way_answer *a)
{
    const void *name = NULL;
    int result = pam_set_item(h, PAM_RHOST, q->peer);
    if (result == PAM_SUCCESS) result = pam_set_item(h, PAM_TTY, "provost");
    if (result == PAM_SUCCESS) result = pam_set_item(h, PAM_FAIL_DELAY, (const void *)no_delay);
    if (result == PAM_SUCCESS) result = pam_authenticate(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    if (result == PAM_SUCCESS) result = pam_acct_mgmt(h, PAM_SILENT);
    if (result == PAM_SUCCESS) result = pam_get_item(h, PAM_USER, &name);
    if (result != PAM_SUCCESS) return result;
    /* A module may have put the name that it knows the user by in place of what was typed. */
    int len = snprintf(a->user, sizeof a->user, "%s", name ? (const char *)name : "");
    return len > 0 && (size_t)len < sizeof a->user ? PAM_SUCCESS : PAM_SERVICE_ERR;
}

static void ask(const struct way_question *q, struct way_answer *a)
{
    pam_handle_t *h = NULL;
    const struct pam_conv conversation = {converse, (void *)q};
    int result = pam_start(service, q->user, &conversation, &h);
    if (result == PAM_SUCCESS) result = run(h, q, a);
    a->verdict = result == PAM_SUCCESS ? WAY_OK : is_refusal(result) ? WAY_BAD : WAY_FAILED;
    if (result != PAM_SUCCESS) snprintf(a->why, sizeof a->why, "PAM: %s", pam_strerror(h, result));
    if (h) pam_end(h, result);
}

static void end(void)
{
}

const struct way way_pam = {"pam", begin, ask, end};
