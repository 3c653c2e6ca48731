/* The words and digits that rows hold for small numbers and hashes, in either store. */
#ifndef PROVOSTD_STORE_WORDS_H
#define PROVOSTD_STORE_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include <provost/provision.h>

enum store_words {
    WORDS_STATE, WORDS_OUTCOME, WORDS_PERSONAL, WORDS_WIPE, WORDS_WIPE_STATE, WORDS_SHUT, WORDS_KINDS
};
/* NULL: there is no such number. */
const char *store_word(enum store_words which, unsigned number);
/* The number whose word it is. false: nobody's. */
bool store_word_number(enum store_words which, const char *word, uint8_t *out);

#define HASH_TEXT_LEN (2 * PV_HASH_LEN)
void hash_text(const uint8_t hash[PV_HASH_LEN], char out[HASH_TEXT_LEN + 1]);
/* false: it is no hash of that length in small hexadecimal digits. */
bool hash_of_text(const char *text, uint8_t out[PV_HASH_LEN]);

#endif
