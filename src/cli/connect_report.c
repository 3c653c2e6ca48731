/* Telling a person, or a program, what happens. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/connect.h"
#include "src/cli/settings.h"
#include "src/cli/text.h"

enum { KEPT_IN_DOCUMENT = 10000, XML_MAX = 4 * 1024 * 1024 }; /* a watch may last for weeks */

static const char *const headings[] = {"", "Phase 1: a command without a policy key",
                                       "Phase 2: the policy", "Phase 3: the acknowledgement",
                                       "Phase 4: the command with the policy key"};

bool report_begin(struct report *r, bool json, bool trace)
{
    *r = (struct report){.json = json, .trace = trace};
    bool good = true;
    if (json) {
        r->doc = json_object();
        r->phases = json_array();
        r->events = json_array();
        good = r->doc && r->phases && r->events;
    }
    if (good && trace) r->stream = open_memstream(&r->trace_text, &r->trace_len);
    if (good && (!trace || r->stream)) return true;
    json_decref(r->doc);
    json_decref(r->phases);
    json_decref(r->events);
    return false;
}

/* Both take value over. What cannot be told is remembered until the end. */
static void set(struct report *r, json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value) != 0) r->no_memory = true;
}

static void append(struct report *r, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0) r->no_memory = true;
}

static void put(struct report *r, const char *name, json_t *value)
{
    set(r, r->doc, name, value);
}

static void keep(struct report *r, json_t *array, json_t *value)
{
    if (json_array_size(array) >= KEPT_IN_DOCUMENT)
        json_decref(value);
    else
        append(r, array, value);
}

void report_session(struct report *r, const struct eas *e)
{
    char url[2 * URL_MAX];
    snprintf(url, sizeof url, "%s%s", e->url.origin, e->url.path);
    if (r->json) {
        put(r, "url", text_json(url));
        put(r, "user", text_json(e->user));
        put(r, "device_id", text_json(e->device_id));
        put(r, "device_type", text_json(e->device_type));
        put(r, "protocol_version", json_null());
        put(r, "insecure", json_boolean(e->insecure));
        return;
    }
    text_print(stdout, url);
    printf("\nuser ");
    text_print(stdout, e->user);
    printf(", device %s (%s)\n", e->device_id, e->device_type);
}

static json_t *key_json(struct pv_sent_key key)
{
    char mask[12];
    if (key.kind == PV_KEY_ABSENT) return json_null();
    pv_key_mask(key, mask);
    return json_string(mask);
}

static void print_key(const char *before, struct pv_sent_key key)
{
    char mask[12];
    pv_key_mask(key, mask);
    printf("%s%s", before, mask);
}

const char *report_ack_text(unsigned status)
{
    static const char *const texts[] = {"", "all applied", "applied in part", "nothing applied",
                                        "managed by another party"};
    return texts[status <= 4 ? status : 0];
}

void report_request(struct report *r, const struct exchange *x)
{
    if (r->json) return; /* told together with the answer */
    if (r->phase != x->phase + 1 && headings[x->phase][0])
        printf("\n%s\n", headings[x->phase]);
    else if (r->phase != x->phase + 1)
        putchar('\n');
    r->phase = x->phase + 1;
    printf("  > %s", x->command);
    if (x->does[0]) printf(", %s", x->does);
    if (x->ack_status) printf(" %u (%s)", x->ack_status, report_ack_text(x->ack_status));
    if (x->heartbeat) printf(", waits up to %u s", x->heartbeat);
    if (x->key.kind != PV_KEY_ABSENT) print_key(", key ", x->key);
    putchar('\n');
}

static json_t *answer_json(struct report *r, const struct exchange *x)
{
    const struct pv_provision_answer *p = x->provision;
    if (x->http == 0) return json_null();
    json_t *a = json_pack("{s:i,s:o,s:o}", "http", (int)x->http, "status",
                          x->status ? json_integer(x->status) : json_null(), "status_name",
                          x->status_name[0] ? json_string(x->status_name) : json_null());
    if (a == NULL) return NULL;
    if (p) {
        struct pv_sent_key key = pv_key_parse(p->key, strlen(p->key));
        set(r, a, "policy_status", p->policy_status ? json_integer(p->policy_status) : json_null());
        set(r, a, "key", key_json(key));
        set(r, a, "wipe",
            p->wipe == PV_WIPE_NONE     ? json_null()
            : p->wipe == PV_WIPE_DEVICE ? json_string("device")
                                        : json_string("account"));
    }
    if (x->problem) set(r, a, "problem", json_string(x->problem));
    return a;
}

static void answer_into_document(struct report *r, const struct exchange *x)
{
    json_t *one = json_pack(
        "{s:o,s:s,s:{s:s,s:o,s:o},s:o}", "phase", x->phase ? json_integer(x->phase) : json_null(),
        "name", x->name, "request", "command", x->command, "key", key_json(x->key), "ack_status",
        x->ack_status ? json_integer(x->ack_status) : json_null(), "answer", answer_json(r, x));
    if (one && r->stream) set(r, one, "trace", json_stringn(r->trace_text, r->trace_len));
    keep(r, r->phases, one);
}

static void print_answer(const struct exchange *x)
{
    const struct pv_provision_answer *p = x->provision;
    if (x->http == 0) {
        puts("  < no answer");
        return;
    }
    printf("  < HTTP %u", x->http);
    if (x->status)
        printf(", Status %u%s%s", x->status, x->status_name[0] ? " " : "", x->status_name);
    if (p && p->has_policy && p->policy_status) printf(", policy Status %u", p->policy_status);
    if (p && p->key[0])
        print_key(x->final ? ", final key " : ", temporary key ",
                  pv_key_parse(p->key, strlen(p->key)));
    if (p && p->wipe != PV_WIPE_NONE)
        printf(", %s", p->wipe == PV_WIPE_DEVICE ? "RemoteWipe" : "AccountOnlyRemoteWipe");
    if (x->problem) printf(" (%s)", x->problem);
    putchar('\n');
}

/* Line by line, so that each stands clear of the rest; the text is clean except for its line ends.
 */
static void print_trace(const char *text, size_t len)
{
    for (const char *end = text + len; text < end;) {
        const char *feed = memchr(text, '\n', (size_t)(end - text));
        const char *stop = feed ? feed : end;
        printf("    | %.*s\n", (int)(stop - text), text);
        text = stop + 1;
    }
}

void report_answer(struct report *r, const struct exchange *x)
{
    if (r->stream) fflush(r->stream); /* trace_text and trace_len are right now */
    if (r->json) {
        answer_into_document(r, x);
    } else {
        if (r->stream) print_trace(r->trace_text, r->trace_len);
        print_answer(x);
    }
    if (r->stream) rewind(r->stream);
}

/* Opaque data between from and until, in place. */
static void mask_opaque(char *from, const char *until)
{
    static const char opaque[] = " opaque=\"";
    for (char *p = from; (p = strstr(p, opaque)) != NULL && p < until;)
        for (p += sizeof opaque - 1; *p != '"'; p++) *p = 'x';
}

/* Every PolicyKey but its first two characters, in place; all of one that is opaque. */
static void mask_keys(char *xml)
{
    static const char begin[] = "<PolicyKey", end[] = "</PolicyKey>";
    for (char *p = xml; (p = strstr(p, begin)) != NULL;) {
        char *open = p + strcspn(p, ">"), *close = open[-1] == '/' ? open : strstr(open, end);
        bool markup = false;
        unsigned n = 0;
        mask_opaque(p, close);
        for (p = open + 1; p < close; p++) {
            markup = *p == '<' || (markup && *p != '>');
            if (!markup && !strchr("> \n", *p) && n++ >= 2) *p = 'x';
        }
        p = close;
    }
}

void report_wbxml(struct report *r, char sign, const struct pv_node *root)
{
    size_t len;
    if (r->stream == NULL) return;
    char *xml = root ? malloc(XML_MAX) : NULL;
    if (root == NULL)
        fprintf(r->stream, "%c (no body)\n", sign);
    else if (xml == NULL || pv_xml_write(root, 2, xml, XML_MAX, &len) != PV_OK)
        fprintf(r->stream, "%c (a body too large to show)\n", sign);
    else {
        mask_keys(xml);
        for (char *line = xml; *line;) {
            size_t n = strcspn(line, "\n");
            fprintf(r->stream, "%c ", sign);
            text_print_len(r->stream, line, n);
            fputc('\n', r->stream);
            line += n + (line[n] == '\n');
        }
    }
    free(xml);
}

void report_versions(struct report *r, const struct eas_answer *a)
{
    if (r->json) {
        put(r, "server_versions", text_json(a->versions));
        put(r, "server_commands", text_json(a->commands));
        return;
    }
    printf("    The server speaks ");
    text_print(stdout, a->versions);
    printf(".\n");
}

void report_version(struct report *r, enum pv_version version)
{
    if (r->json)
        put(r, "protocol_version", json_string(pv_version_text(version)));
    else
        printf("    Version %s is used.\n", pv_version_text(version));
}

void report_note(struct report *r, const char *sentence)
{
    if (r->json) {
        keep(r, r->events, json_pack("{s:s,s:o}", "kind", "note", "text", text_json(sentence)));
        return;
    }
    printf("    ");
    text_print(stdout, sentence);
    putchar('\n');
}

void report_event(struct report *r, const char *kind, const char *sentence, json_t *extra)
{
    if (!r->json) {
        report_note(r, sentence);
        json_decref(extra);
        return;
    }
    json_t *one = json_pack("{s:s,s:o}", "kind", kind, "text", text_json(sentence));
    if (one && extra && json_object_update(one, extra) != 0) r->no_memory = true;
    json_decref(extra);
    keep(r, r->events, one);
}

/* ---- policy ---- */

static const char *const change_names[] = {[PV_SAME] = "same",
                                           [PV_STRICTER] = "stricter",
                                           [PV_LOOSER] = "looser",
                                           [PV_DIFFERENT] = "different"};

/* Owned; NULL: no memory. */
static char *value_text(const struct pv_policy *policy, enum pv_setting s)
{
    enum { CAP = PV_LIST_MAX * (PV_LIST_ITEM_MAX + 1) };
    char *text = malloc(CAP);
    if (text && pv_policy_text(policy, s, text, CAP) != PV_OK) text[0] = '\0';
    return text;
}

static json_t *list_json(struct report *r, const struct pv_list *list)
{
    json_t *all = json_array();
    for (size_t i = 0; i < list->count; i++) append(r, all, text_json(list->items[i]));
    return all;
}

static json_t *setting_json(struct report *r, const struct pv_policy *policy, enum pv_setting s)
{
    if (!(policy->set >> s & 1)) return json_null();
    if (s == PV_SET_UnapprovedInROMApplicationList) return list_json(r, &policy->unapproved);
    if (s == PV_SET_ApprovedApplicationList) return list_json(r, &policy->approved);
    return json_integer(policy->value[s]);
}

static json_t *changes_json(struct report *r, const struct report_policy *p,
                            const enum pv_change *change)
{
    json_t *all = json_array();
    for (int s = 0; s < PV_SETTING_COUNT; s++)
        if (change[s] != PV_SAME)
            append(r, all,
                   json_pack("{s:s,s:s,s:o,s:o}", "name", pv_setting_info((enum pv_setting)s)->name,
                             "change", change_names[change[s]], "old",
                             setting_json(r, p->old, (enum pv_setting)s), "new",
                             setting_json(r, p->policy, (enum pv_setting)s)));
    return all;
}

static json_t *policy_json(struct report *r, const struct report_policy *p)
{
    static const char *const kept_names[] = {
        [PV_NOT_DEMANDED] = "not-demanded", [PV_KEPT] = "kept", [PV_NOT_KEPT] = "not-kept"};
    json_t *settings = json_object(), *device = json_object(), *oddities = json_array();
    for (int s = 0; s < PV_SETTING_COUNT; s++) {
        const char *name = pv_setting_info((enum pv_setting)s)->name;
        if (p->policy->set >> s & 1)
            set(r, settings, name, setting_json(r, p->policy, (enum pv_setting)s));
        if (p->kept[s] != PV_NOT_DEMANDED)
            set(r, device, name, json_string(kept_names[p->kept[s]]));
    }
    for (size_t i = 0; i < p->oddity_count; i++)
        append(r, oddities, text_json(p->oddities[i].text));
    return json_pack("{s:s,s:o,s:o,s:i,s:o}", "type", pv_policy_type(p->version), "settings",
                     settings, "device", device, "ack_status", (int)p->judgement, "oddities",
                     oddities);
}

static void document_policy(struct report *r, const struct report_policy *p)
{
    enum pv_change change[PV_SETTING_COUNT];
    json_t *json = policy_json(r, p);
    if (p->old && json) {
        enum pv_change whole = pv_policy_compare(p->old, p->policy, p->version, change);
        set(r, json, "change",
            json_pack("{s:s,s:o}", "whole", change_names[whole], "settings",
                      changes_json(r, p, change)));
    }
    put(r, "policy", json);
}

static void print_demands(struct report *r, const struct report_policy *p)
{
    static const char *const titles[] = {"SETTING", "DEMANDED", "UNSET MEANS", "THIS DEVICE"};
    struct table t;
    unsigned demanded = 0;
    table_begin(&t, 4, titles);
    for (int s = 0; s < PV_SETTING_COUNT; s++) {
        char unset[SETTING_TEXT_MAX];
        if (p->kept[s] == PV_NOT_DEMANDED) continue;
        char *value = value_text(p->policy, (enum pv_setting)s);
        if (value == NULL) r->no_memory = true;
        setting_unset_text((enum pv_setting)s, unset);
        table_cell(&t, pv_setting_info((enum pv_setting)s)->name);
        table_cell(&t, value);
        table_cell(&t, unset);
        table_cell(&t, p->kept[s] == PV_KEPT ? "keeps it" : "cannot keep it");
        free(value);
        demanded++;
    }
    if (demanded == 0) {
        for (size_t i = 0; i < t.count; i++) free(t.cells[i]);
        free(t.cells);
        printf("    The policy demands nothing.\n");
    } else if (table_end(&t, stdout, 4) != 0) {
        r->no_memory = true;
    }
}

static void print_changes(struct report *r, const struct report_policy *p)
{
    enum pv_change change[PV_SETTING_COUNT];
    enum pv_change whole = pv_policy_compare(p->old, p->policy, p->version, change);
    if (whole == PV_SAME) {
        printf("    The same policy as before.\n");
        return;
    }
    printf("    Compared with the policy confirmed before, this one is %s:\n", change_names[whole]);
    for (int s = 0; s < PV_SETTING_COUNT; s++) {
        if (change[s] == PV_SAME) continue;
        char *was = value_text(p->old, (enum pv_setting)s);
        char *is = value_text(p->policy, (enum pv_setting)s);
        if (was == NULL || is == NULL) r->no_memory = true;
        printf("      %s: ", pv_setting_info((enum pv_setting)s)->name);
        text_print(stdout, was && was[0] ? was : "unset");
        printf(" -> ");
        text_print(stdout, is && is[0] ? is : "unset");
        printf(" (%s)\n", change_names[change[s]]);
        free(was);
        free(is);
    }
}

void report_policy(struct report *r, const struct report_policy *p)
{
    if (r->json) {
        document_policy(r, p);
        return;
    }
    print_demands(r, p);
    for (size_t i = 0; i < p->oddity_count; i++) {
        printf("    odd: ");
        text_print(stdout, p->oddities[i].text);
        putchar('\n');
    }
    if (p->old) print_changes(r, p);
}

/* ---- folders ---- */

static void print_folder(void *ctx, const struct folder *f, unsigned depth)
{
    (void)ctx;
    printf("%*s", (int)(2 + 2 * (depth < 32 ? depth : 32)), "");
    text_print(stdout, f->name);
    printf("  (%s)\n", folder_type_name(f->type));
}

void report_folders(struct report *r, const struct folders *f)
{
    if (r->json) {
        put(r, "folders", folders_json(f));
        return;
    }
    printf("\nFolders: %zu\n", f->count);
    if (!folders_walk(f, print_folder, NULL)) r->no_memory = true;
}

void report_folder_change(struct report *r, char sign, const struct folder *f)
{
    if (!r->json) {
        printf("    %c ", sign);
        text_print(stdout, f->name);
        printf("  (%s)\n", folder_type_name(f->type));
        return;
    }
    keep(r, r->events,
         json_pack("{s:s,s:s,s:o,s:o}", "kind",
                   sign == '+'   ? "folder-added"
                   : sign == '-' ? "folder-deleted"
                                 : "folder-updated",
                   "text", folder_type_name(f->type), "name", text_json(f->name), "id",
                   text_json(f->id)));
}

static enum cli_exit document_end(struct report *r, enum cli_exit code, const char *sentence)
{
    put(r, "phases", r->phases);
    put(r, "events", r->events);
    put(r, "message", text_json(sentence));
    if (!json_object_get(r->doc, "policy")) put(r, "policy", json_null());
    if (!json_object_get(r->doc, "folders")) put(r, "folders", json_array());
    if (r->no_memory && code == CLI_DONE) code = CLI_FAILED;
    put(r, "outcome", json_string(cli_exit_name(code)));
    put(r, "exit_code", json_integer(code));
    if (json_print(r->doc) != 0) code = cli_fail(CLI_FAILED, "the document cannot be printed");
    json_decref(r->doc);
    return code;
}

enum cli_exit report_end(struct report *r, enum cli_exit code, const char *sentence)
{
    bool done = code == CLI_DONE;
    if (r->json) code = document_end(r, code, sentence);
    if (!done)
        cli_fail(code, "%s", sentence);
    else if (r->no_memory)
        code = cli_fail(CLI_FAILED, "no memory to tell everything");
    else if (!r->json)
        printf("\n%s\n", sentence);
    if (r->stream) fclose(r->stream);
    free(r->trace_text);
    return code;
}
