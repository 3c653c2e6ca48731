/* The foundation: errors, arena, numbers, UTF-8, escapes, base64, SHA-256, the reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <provost/arena.h>

#include "src/lib/base/arena.h"
#include "src/lib/base/base64.h"
#include "src/lib/base/bytes.h"
#include "src/lib/base/sha256.h"
#include "src/lib/base/text.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void errors_have_name_text_and_blame(void **state)
{
    (void)state;
    for (enum pv_err e = PV_OK; e < PV_ERR_COUNT; e++) {
        assert_string_not_equal(pv_err_name(e), "?");
        assert_true(strlen(pv_err_text(e)) > 5);
    }
    assert_string_equal(pv_err_name(PV_E_SHORT), "E_SHORT");
    assert_string_equal(pv_err_text(PV_OK), "success");
    assert_int_equal(pv_err_blame(PV_OK), PV_NONE);
    assert_int_equal(pv_err_blame(PV_E_NOMEM), PV_LIMIT);
    assert_string_equal(pv_err_name(PV_ERR_COUNT), "?");
    assert_string_equal(pv_err_name((enum pv_err)-1), "?");
    assert_int_equal(pv_err_blame((enum pv_err)-1), PV_CALLER);
    assert_non_null(pv_err_text((enum pv_err)12345));
}

static void arena_keeps_its_cap(void **state)
{
    struct pv_arena a;

    (void)state;
    assert_int_equal(pv_arena_create(&a, 64), PV_OK);
    unsigned char *first = pv_alloc(&a, 1, 1);
    assert_non_null(first);
    *first = 7;
    unsigned char *second = pv_alloc(&a, 3, 16);
    assert_ptr_equal(second, first + 16);
    assert_int_equal((uintptr_t)second % 16, 0);
    assert_null(pv_alloc(&a, 1, 1));
    pv_arena_reset(&a);
    first = pv_alloc(&a, 64, 1);
    assert_non_null(first);
    assert_int_equal(*first, 0);
    pv_arena_reset(&a);
    assert_null(pv_alloc(&a, 65, 1));
    assert_null(pv_alloc(&a, SIZE_MAX, 2));
    assert_null(pv_alloc(&a, SIZE_MAX / 2 + 1, 2));
    assert_null(pv_alloc(&a, 2, SIZE_MAX));
    assert_null(pv_strndup(&a, "", SIZE_MAX));
    assert_non_null(pv_alloc(&a, 0, 8));
    char *copy = pv_strndup(&a, "abcdef", 3);
    assert_string_equal(copy, "abc");
    pv_arena_reset(&a);
    assert_null(pv_strndup(&a, "0123456789012345678901234567890123456789012345678901234567890123",
                           64));
    pv_arena_destroy(&a);
    pv_arena_destroy(&a);
    pv_arena_destroy(NULL);
}

static void arena_joins_in_place(void **state)
{
    struct pv_arena a;

    (void)state;
    assert_int_equal(pv_arena_create(&a, 48), PV_OK);
    char *piece = pv__arena_join(&a, "ab", 2, "cd", 2);
    assert_memory_equal(piece, "abcd", 4);
    assert_ptr_equal(pv__arena_join(&a, piece, 4, "ef", 2), piece);
    assert_int_equal(a.used, 6);
    assert_null(pv__arena_join(&a, piece, 6, "", SIZE_MAX - 5));
    assert_null(pv__arena_join(&a, piece, 6, "", 43));
    assert_non_null(pv_alloc(&a, 1, 1));
    char *copy = pv__arena_join(&a, piece, 6, "g", 1); /* no longer the newest */
    assert_ptr_equal(copy, a.base + 32);
    assert_memory_equal(copy, "abcdefg", 7);
    assert_null(pv__arena_join(&a, piece, 6, "g", 1));
    pv_arena_destroy(&a);
    assert_null(pv__arena_join(&a, "a", 1, "b", 1));
}

static void arena_without_a_block(void **state)
{
    struct pv_arena a;
    _Alignas(16) unsigned char block[32];

    (void)state;
    assert_int_equal(pv_arena_create(&a, 0), PV_OK);
    assert_null(pv_alloc(&a, 0, 0));
    assert_null(pv_alloc(&a, 1, 1));
    pv_arena_destroy(&a);
    assert_int_equal(pv_arena_create(&a, SIZE_MAX), PV_E_NOMEM);
    assert_null(a.base);
    pv_arena_init(&a, block, sizeof block);
    assert_ptr_equal(pv_alloc(&a, 32, 1), block);
    pv_arena_init(&a, NULL, 32);
    assert_null(pv_alloc(&a, 1, 1));
}

static void numbers_without_sign(void **state)
{
    static const struct {
        const char *text;
        uint64_t most;
        bool zeros, good;
        uint64_t value;
    } cases[] = {
        {"0", 0, false, true, 0},
        {"1", 0, false, false, 0},
        {"4294967295", UINT32_MAX, false, true, UINT32_MAX},
        {"4294967296", UINT32_MAX, false, false, 0},
        {"18446744073709551615", UINT64_MAX, false, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, false, 0},
        {"99999999999999999999", UINT64_MAX, false, false, 0},
        {"5", 4, false, false, 0},
        {"007", 100, true, true, 7},
        {"007", 100, false, false, 0},
        {"0007", 100, true, false, 0},
        {"00", 10, false, false, 0},
        {"", 10, true, false, 0},
        {"+1", 10, true, false, 0},
        {"-1", 10, true, false, 0},
        {" 1", 10, true, false, 0},
        {"1 ", 10, true, false, 0},
        {"1a", 99, true, false, 0},
        {"0x1", 999, true, false, 0},
        {"\xB2", 9, true, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t value = 77;
        print_message("# %s up to %llu\n", cases[i].text, (unsigned long long)cases[i].most);
        bool good = pv__parse_u64(cases[i].text, strlen(cases[i].text), cases[i].most,
                                  cases[i].zeros, &value);
        assert_int_equal(good, cases[i].good);
        assert_true(value == (good ? cases[i].value : 77));
    }
}

static void numbers_with_sign(void **state)
{
    static const struct {
        const char *text;
        int64_t least, most;
        bool good;
        int64_t value;
    } cases[] = {
        {"-1", -1, 16, true, -1},
        {"-2", -1, 16, false, 0},
        {"16", -1, 16, true, 16},
        {"17", -1, 16, false, 0},
        {"0", -1, 16, true, 0},
        {"-0", -1, 16, false, 0},
        {"-", -1, 16, false, 0},
        {"", -1, 16, false, 0},
        {"--1", -9, 9, false, 0},
        {"+1", -9, 9, false, 0},
        {"01", -99, 99, false, 0},
        {"-01", -99, 99, false, 0},
        {"4", 5, 9, false, 0},
        {"5", 5, 9, true, 5},
        {"-1", 0, 9, false, 0},
        {"-5", -9, -5, true, -5},
        {"-4", -9, -5, false, 0},
        {"0", -9, -5, false, 0},
        {"9223372036854775807", INT64_MIN, INT64_MAX, true, INT64_MAX},
        {"9223372036854775808", INT64_MIN, INT64_MAX, false, 0},
        {"-9223372036854775808", INT64_MIN, INT64_MAX, true, INT64_MIN},
        {"-9223372036854775809", INT64_MIN, INT64_MAX, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t value = 77;
        print_message("# %s\n", cases[i].text);
        bool good = pv__parse_i64(cases[i].text, strlen(cases[i].text), cases[i].least,
                                  cases[i].most, &value);
        assert_int_equal(good, cases[i].good);
        assert_true(value == (good ? cases[i].value : 77));
    }
}

static void utf8_is_strict(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        uint32_t code;
    } cases[] = {
        {"", 0, 0},
        {"a", 1, 'a'},
        {"\x7F", 1, 0x7F},
        {"\x80", 0, 0},
        {"\xC1\xBF", 0, 0},
        {"\xC2\x80", 2, 0x80},
        {"\xDF\xBF", 2, 0x7FF},
        {"\xE0\x9F\xBF", 0, 0},
        {"\xE0\xA0\x80", 3, 0x800},
        {"\xED\x9F\xBF", 3, 0xD7FF},
        {"\xED\xA0\x80", 0, 0},
        {"\xED\xBF\xBF", 0, 0},
        {"\xEE\x80\x80", 3, 0xE000},
        {"\xEF\xBF\xBF", 3, 0xFFFF},
        {"\xF0\x8F\xBF\xBF", 0, 0},
        {"\xF0\x90\x80\x80", 4, 0x10000},
        {"\xF4\x8F\xBF\xBF", 4, 0x10FFFF},
        {"\xF4\x90\x80\x80", 0, 0},
        {"\xF8\x88\x80\x80\x80", 0, 0},
        {"\xFF", 0, 0},
        {"\xC3(", 0, 0},
        {"\xE2\x82(", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const uint8_t *text = (const uint8_t *)cases[i].text;
        uint32_t code = 0;
        size_t n = pv__utf8_next(text, strlen(cases[i].text), &code);
        print_message("# row %zu\n", i);
        assert_int_equal(n, cases[i].n);
        if (n) assert_int_equal(code, cases[i].code);
        for (size_t cut = 0; cut < n; cut++) assert_int_equal(pv__utf8_next(text, cut, &code), 0);
    }
    assert_true(pv__utf8_valid((const uint8_t *)"", 0));
    assert_true(pv__utf8_valid((const uint8_t *)"a\xC3\xA9\0z", 5));
    assert_false(pv__utf8_valid((const uint8_t *)"a\xC3", 2));
}

static void letters_are_ascii(void **state)
{
    (void)state;
    assert_true(pv__is_alnum('z') && pv__is_alnum('A') && pv__is_alnum('9'));
    assert_false(pv__is_alnum('@') || pv__is_alnum('[') || pv__is_alnum('`') ||
                 pv__is_alnum('{') || pv__is_alnum(0xE9) || pv__is_alnum('_'));
    assert_int_equal(pv__lower('Z'), 'z');
    assert_int_equal(pv__lower(0xC9), 0xC9);
    assert_true(pv__equal_nocase("Ping", 4, "pINGx", 4));
    assert_false(pv__equal_nocase("Ping", 4, "Pin", 3));
    assert_false(pv__equal_nocase("[", 1, "{", 1));
    assert_true(pv__equal_nocase(NULL, 0, "", 0));
}

static void escapes_are_printable_and_bounded(void **state)
{
    static const struct {
        const char *text;
        size_t len, cap;
        const char *want;
    } cases[] = {
        {"plain", 5, 64, "plain"},
        {"plain", 5, 6, "plain"},
        {"plain", 5, 5, "p..."},
        {"plain", 5, 4, "..."},
        {"plain", 5, 3, ".."},
        {"plain", 5, 1, ""},
        {"", 0, 1, ""},
        {"a\n\0b\xC3\xA9\x7F", 7, 64, "a\\x0a\\x00b\\xc3\\xa9\\x7f"},
        {"\n\n", 2, 9, "\\x0a\\x0a"},
        {"\n\n", 2, 8, "\\x0a..."},
        {"\n\n", 2, 7, "..."},
    };
    char buf[64];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        memset(buf, 'X', sizeof buf);
        pv__escape(cases[i].text, cases[i].len, buf, cases[i].cap);
        print_message("# row %zu: %s\n", i, buf);
        assert_string_equal(buf, cases[i].want);
    }
    buf[0] = 'X';
    pv__escape("a", 1, buf, 0);
    assert_int_equal(buf[0], 'X');
}

static void output_is_sticky(void **state)
{
    char buf[32];
    struct pv__out o;
    size_t len;

    (void)state;
    for (size_t cap = 0; cap <= sizeof buf; cap++) {
        pv__out_init(&o, buf, cap);
        pv__out_text(&o, "n=");
        pv__out_i64(&o, INT64_MIN);
        pv__out_bytes(&o, ";x", 1);
        pv__out_i64(&o, 0);
        enum pv_err err = pv__out_end(&o, &len);
        assert_int_equal(err, cap < 25 ? PV_E_NOMEM : PV_OK);
        if (cap) assert_true(memchr(buf, 0, cap) != NULL);
        if (err) continue;
        assert_int_equal(len, 24);
        assert_string_equal(buf, "n=-9223372036854775808;0");
    }
}

static void base64_both_alphabets(void **state)
{
    static const struct {
        const char *text;
        enum pv_err want;
        const char *data;
    } cases[] = {
        {"", PV_OK, ""},
        {"Zg==", PV_OK, "f"},
        {"Zg", PV_OK, "f"},
        {"Zm8=", PV_OK, "fo"},
        {"Zm8", PV_OK, "fo"},
        {"Zm9v", PV_OK, "foo"},
        {"Zm9vYmFy", PV_OK, "foobar"},
        {"+/+/", PV_OK, "\xFB\xFF\xBF"},
        {"-_-_", PV_OK, "\xFB\xFF\xBF"},
        {"+_-/", PV_OK, "\xFB\xFF\xBF"},
        {"Z", PV_E_MALFORMED, NULL},
        {"Zm9vY", PV_E_MALFORMED, NULL},
        {"Zg=", PV_E_MALFORMED, NULL},
        {"Z===", PV_E_MALFORMED, NULL},
        {"====", PV_E_MALFORMED, NULL},
        {"=", PV_E_MALFORMED, NULL},
        {"Zm9v====", PV_E_MALFORMED, NULL},
        {"Zm9v=", PV_E_MALFORMED, NULL},
        {"Zg==Zg==", PV_E_MALFORMED, NULL},
        {"Zh==", PV_E_MALFORMED, NULL},
        {"Zm9=", PV_E_MALFORMED, NULL},
        {"Zm 9v", PV_E_MALFORMED, NULL},
        {"Zm9v\n", PV_E_MALFORMED, NULL},
        {"Zm9\xFF", PV_E_MALFORMED, NULL},
    };
    uint8_t buf[16];
    size_t len;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *text = cases[i].text;
        print_message("# %s\n", text);
        assert_int_equal(pv__base64_decode(text, strlen(text), buf, sizeof buf, &len),
                         cases[i].want);
        if (cases[i].want) continue;
        assert_int_equal(len, strlen(cases[i].data));
        assert_memory_equal(buf, cases[i].data, len);
        for (size_t cap = 0; cap < strlen(cases[i].data); cap++)
            assert_int_equal(pv__base64_decode(text, strlen(text), buf, cap, &len), PV_E_NOMEM);
    }
}

static void base64_there_and_back(void **state)
{
    uint8_t data[48], back[48];
    char text[80];
    size_t len;

    (void)state;
    for (size_t n = 0; n <= sizeof data; n++) {
        for (size_t i = 0; i < n; i++) data[i] = (uint8_t)(i * 37 + n);
        size_t want = (n + 2) / 3 * 4;
        assert_int_equal(pv__base64_encode(data, n, text, want), PV_E_NOMEM);
        assert_int_equal(pv__base64_encode(data, n, text, want + 1), PV_OK);
        assert_int_equal(strlen(text), want);
        assert_int_equal(pv__base64_decode(text, want, back, sizeof back, &len), PV_OK);
        assert_int_equal(len, n);
        assert_memory_equal(back, data, n);
    }
    assert_int_equal(pv__base64_encode(data, 0, text, 0), PV_E_NOMEM);
}

static void sha256_knows_the_vectors(void **state)
{
    static const struct {
        const char *text;
        size_t repeat;
        const char *hash;
    } cases[] = { /* FIPS 180-4 examples and their lengths around the block borders */
        {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopq"
         "klmnopqrlmnopqrsmnopqrstnopqrstu", 1,
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
        {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
        {"a", 55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
        {"a", 56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
        {"a", 63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"},
        {"a", 64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
        {"a", 65, "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t one = strlen(cases[i].text), len = one * cases[i].repeat;
        uint8_t *data = malloc(len + 1), hash[32];
        char hex[65];
        assert_non_null(data);
        for (size_t k = 0; k < cases[i].repeat; k++) memcpy(data + k * one, cases[i].text, one);
        pv__sha256(data, len, hash);
        for (size_t k = 0; k < 32; k++) snprintf(hex + 2 * k, 3, "%02x", hash[k]);
        free(data);
        assert_string_equal(hex, cases[i].hash);
    }
}

static void reader_never_passes_the_end(void **state)
{
    static const uint8_t in[] = {1, 2, 0, 'a', 'b', 0, 'c'};
    struct pv__reader r = pv__rd_init(in, sizeof in), none = pv__rd_init(NULL, 0);
    const uint8_t *p;
    size_t len;
    uint8_t b;

    (void)state;
    assert_int_equal(pv__rd_u8(&none, &b), PV_E_SHORT);
    assert_int_equal(pv__rd_take(&none, 1, &p), PV_E_SHORT);
    assert_int_equal(pv__rd_text(&none, 9, &p, &len), PV_E_SHORT);
    assert_int_equal(pv__rd_take(&r, 8, &p), PV_E_SHORT);
    assert_int_equal(pv__rd_take(&r, SIZE_MAX, &p), PV_E_SHORT);
    assert_int_equal(pv__rd_at(&r), 0);
    assert_int_equal(pv__rd_u8(&r, &b), PV_OK);
    assert_int_equal(pv__rd_take(&r, 2, &p), PV_OK);
    assert_int_equal(pv__rd_at(&r), 3);
    assert_int_equal(pv__rd_text(&r, 1, &p, &len), PV_E_TOOBIG);
    assert_int_equal(pv__rd_text(&r, 2, &p, &len), PV_OK);
    assert_ptr_equal(p, in + 3);
    assert_int_equal(len, 2);
    assert_int_equal(pv__rd_text(&r, 0, &p, &len), PV_E_TOOBIG);
    assert_int_equal(pv__rd_text(&r, 1, &p, &len), PV_E_SHORT);
    assert_int_equal(pv__rd_text(&r, SIZE_MAX, &p, &len), PV_E_SHORT);
    assert_int_equal(pv__rd_left(&r), 1);
}

static void multi_byte_numbers_fit_32_bits(void **state)
{
    static const struct {
        uint8_t in[6];
        size_t len;
        enum pv_err want;
        uint32_t value;
    } cases[] = {
        {{0x00}, 1, PV_OK, 0},
        {{0x7F}, 1, PV_OK, 127},
        {{0x81, 0x20}, 2, PV_OK, 160},
        {{0x8F, 0xFF, 0xFF, 0xFF, 0x7F}, 5, PV_OK, UINT32_MAX},
        {{0x80, 0x80, 0x80, 0x80, 0x01}, 5, PV_OK, 1},
        {{0x90, 0x80, 0x80, 0x80, 0x00}, 5, PV_E_MALFORMED, 0},
        {{0xFF, 0xFF, 0xFF, 0xFF, 0x7F}, 5, PV_E_MALFORMED, 0},
        {{0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, 6, PV_E_MALFORMED, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv__reader r = pv__rd_init(cases[i].in, cases[i].len);
        uint32_t value = 0;
        print_message("# row %zu\n", i);
        assert_int_equal(pv__rd_mb_u32(&r, &value), cases[i].want);
        assert_int_equal(value, cases[i].value);
        assert_int_equal(pv__rd_at(&r), cases[i].want ? 0 : cases[i].len);
        for (size_t cut = 0; cases[i].want == PV_OK && cut < cases[i].len; cut++) {
            r = pv__rd_init(cases[i].in, cut);
            assert_int_equal(pv__rd_mb_u32(&r, &value), PV_E_SHORT);
            assert_int_equal(pv__rd_at(&r), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_have_name_text_and_blame),
        cmocka_unit_test(arena_keeps_its_cap),
        cmocka_unit_test(arena_joins_in_place),
        cmocka_unit_test(arena_without_a_block),
        cmocka_unit_test(numbers_without_sign),
        cmocka_unit_test(numbers_with_sign),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(letters_are_ascii),
        cmocka_unit_test(escapes_are_printable_and_bounded),
        cmocka_unit_test(output_is_sticky),
        cmocka_unit_test(base64_both_alphabets),
        cmocka_unit_test(base64_there_and_back),
        cmocka_unit_test(sha256_knows_the_vectors),
        cmocka_unit_test(reader_never_passes_the_end),
        cmocka_unit_test(multi_byte_numbers_fit_32_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
