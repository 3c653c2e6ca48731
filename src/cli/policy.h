/* provost policy: what its commands share. */
#ifndef PROVOST_CLI_POLICY_H
#define PROVOST_CLI_POLICY_H

#include <jansson.h>

#include "src/cli/cli.h"
#include "src/cli/text.h"

/* Words from `first` on, each SETTING=VALUE, as {"SETTING": "VALUE"}. NULL: told, *code_out. */
json_t *policy_words(struct cli *cli, int first, enum cli_exit *code_out);
/* A number given by a person: digits only, at most `most`. false: told. */
bool policy_number(const char *what, const char *text, long long most, long long *out);

/* Send a change and say what came of it; --dry-run goes along. body is taken over (NULL: none).
 * done: the sentence's beginning, "Policy sales is removed"; same: what is said when nothing was to
 * be changed. */
enum cli_exit policy_change(struct cli *cli, const char *method, char *path, json_t *body,
                            const char *same, const char *done, ...)
    __attribute__((format(printf, 6, 7)));
/* "3 devices would be asked again" and a table of them, from the answer of a change or a diff. */
enum cli_exit policy_tell_devices(const json_t *answer, const char *would);
/* Whom an assignment concerns: "everybody", "group sales", "user ann", "device D1 of ann"; to be
 * freed. NULL: no memory. */
char *policy_scope_text(const json_t *assignment);
/* A value of a setting as JSON into a table: number, text, list. */
void policy_value_cell(struct table *t, const json_t *value);

/* ---- files and importers: what is wanted, made so ---- */

struct policy_wish {
    json_t *policies;    /* [{"name", "parent"?, "settings"}], each checked */
    json_t *assignments; /* as of GET /v1/assignments; NULL: left alone */
    bool prune;          /* what is not wanted goes */
    json_t *notes;       /* for the JSON document; NULL: none */
};
/* Compare with the server, tell, ask on a terminal, and do it unless --dry-run. Borrows. */
enum cli_exit policy_make_so(struct cli *cli, const struct policy_wish *wish);

/* [GET /v1/policies/{name}, ...] and GET /v1/assignments; owned by the caller whatever it returns. */
enum cli_exit policy_read_server(struct cli *cli, json_t **policies_out, json_t **assignments_out);

#endif
