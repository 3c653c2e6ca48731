/* Runs a fuzz target without libFuzzer: CORPUS_DIR RUNS. Each file of the corpus as it is, then
 * RUNS mutations of them, the same ones every time. */
#include <dirent.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

enum { FILES_MAX = 1024, SIZE_MAX_FILE = 1 << 16, STEPS_MAX = 6 };

struct seed { uint8_t *data; size_t len; };

static struct seed seeds[FILES_MAX];
static size_t seed_count;
static uint64_t random_state = 0x9E3779B97F4A7C15;

/* xorshift64: repeatable on every machine */
static size_t pick(size_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return below ? (size_t)(random_state % below) : 0;
}

/* In a block of exactly its size, so that a sanitizer sees a read past the end. */
static void run(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);

    if (!copy) abort();
    if (len) memcpy(copy, data, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static int read_seed(const char *dir, const char *name)
{
    char path[4096];
    struct stat st;
    FILE *f;

    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) return -1;
    if (stat(path, &st) || !S_ISREG(st.st_mode)) return 0;
    if (st.st_size > SIZE_MAX_FILE || seed_count == FILES_MAX) return -1;
    f = fopen(path, "rb");
    if (!f) return -1;
    struct seed *s = &seeds[seed_count++];
    s->len = (size_t)st.st_size;
    s->data = malloc(s->len + 1);
    bool good = s->data && fread(s->data, 1, s->len, f) == s->len;
    fclose(f);
    return good ? 0 : -1;
}

static int read_corpus(const char *dir)
{
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort), err = 0;

    if (n < 0) return -1;
    for (int i = 0; i < n; i++) {
        if (!err) err = read_seed(dir, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return err || seed_count == 0 ? -1 : 0;
}

static void open_gap(uint8_t *buf, size_t *len, size_t at, size_t n)
{
    memmove(buf + at + n, buf + at, *len - at);
    *len += n;
}

static void cut_out(uint8_t *buf, size_t *len, size_t at, size_t n)
{
    memmove(buf + at, buf + at + n, *len - at - n);
    *len -= n;
}

static void mutate(uint8_t *buf, size_t *len)
{
    static const uint8_t odd[] = {0, 1, 3, 0x40, 0x7F, 0x80, 0xC3, 0xFF, '"', '\n', '<', '='};
    size_t at = pick(*len), n;

    switch (pick(*len ? 7 : 1)) {
    case 0: /* insert noise */
        n = 1 + pick(8);
        if (*len + n > SIZE_MAX_FILE) return;
        open_gap(buf, len, at, n);
        for (size_t i = 0; i < n; i++) buf[at + i] = (uint8_t)pick(256);
        break;
    case 1: buf[at] ^= (uint8_t)(1u << pick(8)); break;
    case 2: buf[at] = odd[pick(sizeof odd)]; break;
    case 3: buf[at] = (uint8_t)(buf[at] + (pick(2) ? 1 : -1)); break;
    case 4: cut_out(buf, len, at, 1 + pick(*len - at)); break;
    case 5: /* say a piece twice */
        n = 1 + pick(*len - at);
        if (*len + n > SIZE_MAX_FILE) return;
        open_gap(buf, len, at, n);
        break;
    case 6: { /* a piece of another seed */
        const struct seed *s = &seeds[pick(seed_count)];
        size_t from = pick(s->len);
        n = s->len ? 1 + pick(s->len - from) : 0;
        if (*len + n > SIZE_MAX_FILE) return;
        open_gap(buf, len, at, n);
        if (n) memcpy(buf + at, s->data + from, n);
        break;
    }
    }
}

int main(int argc, char **argv)
{
    static uint8_t buf[SIZE_MAX_FILE];

    if (argc != 3 || read_corpus(argv[1])) {
        fprintf(stderr, "usage: %s CORPUS_DIR RUNS (corpus readable, not empty)\n", argv[0]);
        return 2;
    }
    size_t runs = strtoul(argv[2], NULL, 10);
    run(buf, 0);
    for (size_t i = 0; i < seed_count; i++) run(seeds[i].data, seeds[i].len);
    for (size_t i = 0; i < runs; i++) {
        const struct seed *s = &seeds[pick(seed_count)];
        size_t len = s->len;
        memcpy(buf, s->data, len);
        for (size_t steps = 1 + pick(STEPS_MAX); steps; steps--) mutate(buf, &len);
        run(buf, len);
    }
    printf("%zu seeds, %zu mutations\n", seed_count, runs);
    for (size_t i = 0; i < seed_count; i++) free(seeds[i].data);
    return 0;
}
