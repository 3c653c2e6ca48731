/* Routes of the administration: which one a call wants, and whether what comes with it is right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/admin/internal.h"
#include "tests/unit/failing_malloc.h"

#define HANDLER(name)               \
    void name(struct admin_call *c) \
    {                               \
        (void)c;                    \
    }
ADMIN_HANDLERS(HANDLER)

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ---- the real table ---- */

static void routes(void **state)
{
    static const struct {
        const char *method, *target, *arg, *allow;
        void (*serve)(struct admin_call *);
    } cases[] = {
        {"GET", "/v1/status", NULL, NULL, admin_status},
        {"GET", "/v1/status?x=1", NULL, NULL, admin_status},
        {"GET", "/v1/users", NULL, NULL, admin_users},
        {"POST", "/v1/users", NULL, NULL, admin_user_add},
        {"DELETE", "/v1/users/ann", "ann", NULL, admin_user_remove},
        {"DELETE", "/v1/users/ann%40example.org", "ann@example.org", NULL, admin_user_remove},
        {"DELETE", "/v1/users/%61%2f%2E.", "a/..", NULL, admin_user_remove},
        {"DELETE", "/v1/users/a+b", "a+b", NULL, admin_user_remove},
        {"PUT", "/v1/users/a/password", "a", NULL, admin_user_password},
        {"POST", "/v1/users/a/enable", "a", NULL, admin_user_enable},
        {"POST", "/v1/users/enable/enable", "enable", NULL, admin_user_enable},
        {"PATCH", "/v1/policies/default", "default", NULL, admin_policy_set},
        {"PATCH", "/v1/users", NULL, "GET, POST", NULL},
        {"get", "/v1/users", NULL, "GET, POST", NULL},
        {"", "/v1/users", NULL, "GET, POST", NULL},
        {"GET", "/v1", NULL, "", NULL},
        {"GET", "/v1/users/", NULL, "", NULL},
        {"GET", "/v1/user", NULL, "", NULL},
        {"GET", "/v1/userss", NULL, "", NULL},
        {"GET", "/v1/%75sers", NULL, "", NULL},
        {"GET", "//v1/users", NULL, "", NULL},
        {"GET", "http://h/v1/users", NULL, "", NULL},
        {"GET", "/v1/status/", NULL, "", NULL},
        {"DELETE", "/v1/users/a/b", NULL, "", NULL},
        {"DELETE", "/v1/users/a%00b", NULL, "", NULL},
        {"DELETE", "/v1/users/a%4", NULL, "", NULL},
        {"DELETE", "/v1/users/a%zz", NULL, "", NULL},
        {"PUT", "/v1/users//password", NULL, "", NULL},
        {"GET", "", NULL, "", NULL},
        {"GET", "?", NULL, "", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct admin_target t = {0};
        char allow[ADMIN_ALLOW_MAX];
        print_message("# %s %s\n", cases[i].method, cases[i].target);
        enum admin_find found = admin_target_find(cases[i].method, cases[i].target, &t, allow);
        if (cases[i].serve) {
            assert_int_equal(found, ADMIN_FOUND);
            assert_ptr_equal(t.route->serve, cases[i].serve);
            if (cases[i].arg) assert_string_equal(t.arg[0], cases[i].arg);
        } else {
            assert_int_equal(found, cases[i].allow[0] ? ADMIN_NO_METHOD : ADMIN_NO_PATH);
            assert_string_equal(allow, cases[i].allow);
        }
        admin_target_finish(&t);
    }
}

static void names_that_are_too_long_have_no_route(void **state)
{
    char target[ADMIN_NAME_MAX + 32], allow[ADMIN_ALLOW_MAX];
    (void)state;
    for (size_t len = 1; len < ADMIN_NAME_MAX + 8; len++) {
        struct admin_target t = {0};
        memset(target, 'a', sizeof target);
        memcpy(target, "/v1/users/", 10);
        target[10 + len] = '\0';
        assert_int_equal(admin_target_find("DELETE", target, &t, allow) == ADMIN_FOUND,
                         len < ADMIN_NAME_MAX);
        admin_target_finish(&t);
    }
}

/* Whatever the table holds: each row is found by a path that it makes, and by no other method. */
static void every_row_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < admin_route_count; i++) {
        const struct admin_route *r = &admin_routes[i];
        char target[256], allow[ADMIN_ALLOW_MAX];
        size_t n = 0;
        for (const char *p = r->path; *p; p++) {
            target[n++] = *p == '{' ? 'x' : *p;
            if (*p == '{') p = strchr(p, '}');
        }
        target[n] = '\0';
        struct admin_target t = {0};
        print_message("# %s %s\n", r->method, r->path);
        assert_int_equal(admin_target_find(r->method, target, &t, allow), ADMIN_FOUND);
        assert_ptr_equal(t.route, r);
        admin_target_finish(&t);
        assert_int_equal(admin_target_find("NOTHING", target, &t, allow), ADMIN_NO_METHOD);
        assert_non_null(strstr(allow, r->method));
        admin_target_finish(&t);
    }
}

/* ---- what comes with a call: a row of our own ---- */

static const struct admin_field query_rows[] = {{"text", ADMIN_TEXT, NULL, false, false},
                                                {"count", ADMIN_NUMBER, NULL, false, false},
                                                {"flag", ADMIN_FLAG, NULL, false, false},
                                                {"word", ADMIN_WORD, "one|two-b", false, false}};
static const struct admin_field needed_row[] = {{"need", ADMIN_TEXT, NULL, false, true}};

static void queries(void **state)
{
    static const struct {
        const char *query, *says; /* says NULL: taken */
        const char *want[4];
        bool needed;
    } cases[] = {
        {"", NULL, {0}},
        {"text=a", NULL, {"a"}},
        {"text=", NULL, {""}},
        {"text=a%20b+c%2Bd%26e=f", NULL, {"a b c+d&e=f"}},
        {"text=%C3%A4&count=12&flag=true&word=two-b", NULL, {"\xc3\xa4", "12", "true", "two-b"}},
        {"word=one&", NULL, {NULL, NULL, NULL, "one"}},
        {"count=9223372036854775807", NULL, {NULL, "9223372036854775807"}},
        {"need=x", NULL, {"x"}, true},
        {"", "need is missing", {0}, true},
        {"count=9223372036854775808", "count must be a whole number", {0}},
        {"count=-1", "count must be a whole number", {0}},
        {"count=01", "count must be a whole number", {0}},
        {"count=", "count must be a whole number", {0}},
        {"count=1x", "count must be a whole number", {0}},
        {"flag=1", "flag must be true or false", {0}},
        {"flag=TRUE", "flag must be true or false", {0}},
        {"word=two", "word must be one of one|two-b", {0}},
        {"word=", "word must be one of one|two-b", {0}},
        {"word=one|two-b", "word must be one of one|two-b", {0}},
        {"text", "text must be a text", {0}},
        {"text=a&text=a", "text is there twice", {0}},
        {"text=%", "text is not well encoded", {0}},
        {"text=%2", "text is not well encoded", {0}},
        {"text=%2&flag=true", "text is not well encoded", {0}},
        {"text=%00", "text is not well encoded", {0}},
        {"text=%0a", "text is not well encoded", {0}},
        {"text=%7f", "text is not well encoded", {0}},
        {"text=%ff", "text is not well encoded", {0}},
        {"other=1", "no query parameter \"other\"", {0}},
        {"Text=1", "no query parameter \"Text\"", {0}},
        {"tex%74=1", "no query parameter \"tex%74\"", {0}},
        {"=1", "no query parameter \"\"", {0}},
        {"&text=a", "no query parameter \"\"", {0}},
        {"\x01\xff=1", "no query parameter \"\\x01\\xff\"", {0}},
        {"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn=1",
         "nnnnnnnnnnn...\"", {0}},
    };
    const struct admin_route plain = {.query = query_rows, .query_count = COUNT(query_rows)};
    const struct admin_route strict = {.query = needed_row, .query_count = 1};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char allow[ADMIN_ALLOW_MAX], sentence[ADMIN_SENTENCE_MAX] = "", target[256];
        struct admin_target t = {0};
        print_message("# %s\n", cases[i].query);
        snprintf(target, sizeof target, "/v1/status?%s", cases[i].query);
        assert_int_equal(admin_target_find("GET", target, &t, allow), ADMIN_FOUND);
        t.route = cases[i].needed ? &strict : &plain;
        assert_int_equal(admin_target_query(&t, sentence), cases[i].says == NULL);
        if (cases[i].says && !strstr(sentence, cases[i].says))
            fail_msg("\"%s\" is not in \"%s\"", cases[i].says, sentence);
        for (size_t k = 0; !cases[i].says && k < COUNT(cases[i].want); k++) {
            assert_int_equal(t.query[k] != NULL, cases[i].want[k] != NULL);
            if (t.query[k]) assert_string_equal(t.query[k], cases[i].want[k]);
        }
        admin_target_finish(&t);
    }
}

static void bodies(void **state)
{
    static const struct admin_field rows[] = {{"text", ADMIN_TEXT, NULL, false, false},
                                              {"count", ADMIN_NUMBER, NULL, false, false},
                                              {"flag", ADMIN_FLAG, NULL, false, false},
                                              {"object", ADMIN_OBJECT, NULL, false, false},
                                              {"list", ADMIN_LIST, NULL, false, false},
                                              {"word", ADMIN_WORD, "one|two", false, false},
                                              {"null", ADMIN_TEXT, NULL, true, false}};
    static const struct {
        const char *body, *says;
        bool needed;
    } cases[] = {
        {"{}", NULL},
        {"{'text':'','count':0,'flag':false,'object':{},'list':[],'word':'two','null':null}", NULL},
        {"{'list':['a','b'],'null':'a'}", NULL},
        {"{'need':'x'}", NULL, true},
        {"{}", "The member need is missing", true},
        {"{'text':null}", "text must be a text."},
        {"{'text':1}", "text must be a text."},
        {"{'count':-1}", "count must be a whole number"},
        {"{'count':1.5}", "count must be a whole number"},
        {"{'count':'1'}", "count must be a whole number"},
        {"{'flag':0}", "flag must be true or false"},
        {"{'object':[]}", "object must be an object"},
        {"{'list':{}}", "list must be a list of texts"},
        {"{'list':['a',1]}", "list must be a list of texts"},
        {"{'word':'three'}", "word must be one of one|two"},
        {"{'word':1}", "word must be one of one|two"},
        {"{'null':1}", "null must be a text, or null"},
        {"{'other':1}", "no member \"other\""},
        {"{'':1}", "no member \"\""},
        {"{'\\n\xc3\xa4':1}", "no member \"\\x0a\\xc3\\xa4\""},
    };
    const struct admin_route plain = {.body = rows, .body_count = COUNT(rows)};
    const struct admin_route strict = {.body = needed_row, .body_count = 1};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char sentence[ADMIN_SENTENCE_MAX] = "", text[256];
        snprintf(text, sizeof text, "%s", cases[i].body);
        for (char *p = text; *p; p++)
            if (*p == '\'') *p = '"';
        print_message("# %s\n", text);
        json_t *body = json_loads(text, 0, NULL);
        assert_non_null(body);
        assert_int_equal(admin_body_check(cases[i].needed ? &strict : &plain, body, sentence),
                         cases[i].says == NULL);
        if (cases[i].says && !strstr(sentence, cases[i].says))
            fail_msg("\"%s\" is not in \"%s\"", cases[i].says, sentence);
        json_decref(body);
    }
}

/* ---- memory ---- */

static struct admin_target swept;

static bool find_run(void)
{
    char allow[ADMIN_ALLOW_MAX], sentence[ADMIN_SENTENCE_MAX];
    enum admin_find found = admin_target_find("DELETE", "/v1/users/a%20b", &swept, allow);
    if (found == ADMIN_FIND_NO_MEMORY) return false;
    assert_int_equal(found, ADMIN_FOUND);
    return admin_target_query(&swept, sentence);
}

static void find_whole(void)
{
    assert_string_equal(swept.arg[0], "a b");
    admin_target_finish(&swept);
}

static void without_memory(void **state)
{
    (void)state;
    failing_malloc_sweep(&(struct sweep){"find", NULL, find_run, NULL, find_whole, NULL});
}

/* ---- asking by name ---- */

static void what_came_is_found_by_name(void **state)
{
    static const struct admin_field body_rows[] = {{"text", ADMIN_TEXT, NULL, true, false},
                                                   {"count", ADMIN_NUMBER, NULL, true, false},
                                                   {"flag", ADMIN_FLAG, NULL, false, false}};
    const struct admin_route route = {.path = "/v1/devices/{user}/{device}/x/{us}",
                                      .query = query_rows,
                                      .query_count = COUNT(query_rows),
                                      .body = body_rows,
                                      .body_count = COUNT(body_rows)};
    struct admin_call c = {.route = &route,
                           .target = {.arg = {"ann", "D1", "y"}, .query = {"t", "12", "false"}}};
    uint64_t n = 7;
    bool flag = true;
    (void)state;
    assert_string_equal(admin_arg(&c, "user"), "ann");
    assert_string_equal(admin_arg(&c, "device"), "D1");
    assert_string_equal(admin_arg(&c, "us"), "y");
    assert_string_equal(admin_query(&c, "text"), "t");
    assert_null(admin_query(&c, "word"));
    assert_true(admin_query_number(&c, "count", &n));
    assert_int_equal(n, 12);
    assert_true(admin_query_flag(&c, "flag", &flag));
    assert_false(flag);
    c.target.query[1] = c.target.query[2] = NULL;
    flag = true;
    assert_false(admin_query_number(&c, "count", &n));
    assert_false(admin_query_flag(&c, "flag", &flag));
    assert_int_equal(n, 12);
    assert_true(flag);

    c.body = json_pack("{s:s,s:i,s:b}", "text", "x", "count", 3, "flag", 1);
    assert_string_equal(admin_body_text(&c, "text"), "x");
    assert_true(admin_body_number(&c, "count", &n));
    assert_int_equal(n, 3);
    assert_true(admin_body_flag(&c, "flag"));
    json_decref(c.body);
    c.body = json_pack("{s:n,s:n}", "text", "count");
    assert_true(json_is_null(admin_body(&c, "text")));
    assert_null(admin_body_text(&c, "text"));
    assert_false(admin_body_number(&c, "count", &n));
    assert_false(admin_body_flag(&c, "flag"));
    assert_null(admin_body(&c, "flag"));
    assert_int_equal(n, 3);
    json_decref(c.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes),
        cmocka_unit_test(names_that_are_too_long_have_no_route),
        cmocka_unit_test(every_row_is_found),
        cmocka_unit_test(queries),
        cmocka_unit_test(bodies),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(what_came_is_found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
