/* Policies of other servers, made ours: text in, policies and remarks out, no I/O. */
#ifndef PROVOST_CLI_IMPORT_H
#define PROVOST_CLI_IMPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include <provost/policy.h>

#define IMPORT_FILE_MAX ((size_t)4 * 1024 * 1024)
#define IMPORT_POLICIES_MAX 1000
#define IMPORT_NAME_MAX 63   /* bytes of a policy's name */
#define IMPORT_NOTES_MAX 500 /* kept; more are counted only */
#define IMPORT_TEXT_MAX 400

/* What came of a file. */
struct import {
    /* [{"name", "parent" (of Z-Push, if any), "settings": {...}, "is_default": true (if so)}]:
     * parents first, each accepted by pv_policy_set and pv_policy_check */
    json_t *policies;
    /* [{"line" (if known), "policy" (if in one), "skipped": bool, "says"}] */
    json_t *notes;
    size_t notes_lost; /* beyond IMPORT_NOTES_MAX */
    size_t skipped;    /* what the file says and the policies do not */
    bool no_memory;
    char error[IMPORT_TEXT_MAX]; /* why nothing at all could be read; "" */

    /* Of the policy under way. */
    struct pv_arena arena;
    struct pv_policy policy;
    char name[IMPORT_NAME_MAX + 1];
};

/* Z-Push's policies.ini. prefix stands in front of every name; may be "". @return false: nothing
 * could be read, see error and no_memory. In any case import_finish. */
bool import_zpush(struct import *m, const char *text, size_t len, const char *prefix);
/* What Get-MobileDeviceMailboxPolicy or Get-ActiveSyncMailboxPolicy tell, through ConvertTo-Json:
 * one object or an array. */
bool import_exchange(struct import *m, const char *text, size_t len, const char *prefix);
void import_finish(struct import *m);

/* PowerShell writes UTF-16 with a mark in front: the same as UTF-8, without mark, to be freed. A
 * NUL follows. NULL: no memory. Half characters become U+FFFD. */
char *import_utf8(const void *data, size_t len, size_t *len_out);

/* ---- for the readers ---- */

/* Zeroed and ready. false: no memory. */
bool import_begin(struct import *m);
/* Something to tell; line 0: unknown. skipped: it is lost. */
void import_note(struct import *m, unsigned line, bool skipped, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* false: the name cannot be one, told. */
bool import_begin_policy(struct import *m, unsigned line, const char *prefix, const char *name);
/* what: name of the setting over there. value as pv_policy_set takes it. A refusal is told.
 * @return taken */
bool import_set(struct import *m, unsigned line, const char *what, enum pv_setting setting,
                const char *value);
/* Rules between settings; what breaks them is dropped and told. parent may be NULL. */
void import_end_policy(struct import *m, const char *parent, bool is_default);

#endif
