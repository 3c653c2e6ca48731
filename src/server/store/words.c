#include "src/server/store/words.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char *state_word(unsigned n)
{
    return pv_state_text((enum pv_state)n);
}

static const char *outcome_word(unsigned n)
{
    return pv_outcome_text((enum pv_outcome)n);
}

static const char *personal_word(unsigned n)
{
    return pv_personal_text((enum pv_personal)n);
}

static const char *wipe_state_word(unsigned n)
{
    return pv_wipe_state_text((enum pv_wipe_state)n);
}

static const char *wipe_word(unsigned n)
{
    static const char *const words[] = {
        [PV_WIPE_NONE] = "none", [PV_WIPE_ACCOUNT] = "account", [PV_WIPE_DEVICE] = "device"};
    return words[n];
}

static const char *shut_word(unsigned n)
{
    static const char *const words[] = {
        [PV_SHUT_NOT] = "not", [PV_SHUT_WIPED] = "wiped", [PV_SHUT_EXPIRED] = "expired"};
    return words[n];
}

static const struct {
    const char *(*word)(unsigned);
    unsigned count;
} words[WORDS_KINDS] = {
    [WORDS_STATE] = {state_word, PV_STATE_COUNT},
    [WORDS_OUTCOME] = {outcome_word, PV_OUTCOME_COUNT},
    [WORDS_PERSONAL] = {personal_word, PV_PERSONAL_COUNT},
    [WORDS_WIPE] = {wipe_word, PV_WIPE_DEVICE + 1},
    [WORDS_WIPE_STATE] = {wipe_state_word, PV_WIPE_STATE_COUNT},
    [WORDS_SHUT] = {shut_word, PV_SHUT_EXPIRED + 1},
};

const char *store_word(enum store_words which, unsigned number)
{
    return number < words[which].count ? words[which].word(number) : NULL;
}

bool store_word_number(enum store_words which, const char *word, uint8_t *out)
{
    for (unsigned i = 0; i < words[which].count; i++) {
        if (strcmp(words[which].word(i), word) != 0) continue;
        *out = (uint8_t)i;
        return true;
    }
    return false;
}

void hash_text(const uint8_t hash[PV_HASH_LEN], char out[HASH_TEXT_LEN + 1])
{
    for (size_t i = 0; i < PV_HASH_LEN; i++) snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hash_of_text(const char *text, uint8_t out[PV_HASH_LEN])
{
    if (strlen(text) != HASH_TEXT_LEN) return false;
    for (size_t i = 0; i < PV_HASH_LEN; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
