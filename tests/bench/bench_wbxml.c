/* Decoding the worked examples into trees, ours beside libwbxml's, in turns in one process. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <wbxml/wbxml.h>

#include <provost/wbxml.h>

/* Exported by libwbxml 0.11 but in none of the headers that it installs. */
WBXMLError wbxml_tree_from_wbxml(WB_UTINY *wbxml, WB_ULONG len, WBXMLLanguage lang,
                                 WBXMLCharsetMIBEnum charset, void **tree);
void wbxml_tree_destroy(void *tree);

enum { FILES_MAX = 32, SIZE = 4096, ROUNDS = 7, TURNS = 4000 };
static const double GOAL = 5;

static struct { uint8_t bytes[SIZE]; size_t len; } files[FILES_MAX];
static size_t file_count, byte_count;
static struct pv_arena arena;

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int ours(uint8_t *bytes, size_t len)
{
    const struct pv_node *root;

    pv_arena_reset(&arena);
    return pv_wbxml_decode(&arena, bytes, len, NULL, &root, NULL) != PV_OK;
}

static int theirs(uint8_t *bytes, size_t len)
{
    void *tree = NULL;
    WBXMLError err = wbxml_tree_from_wbxml(bytes, (WB_ULONG)len, WBXML_LANG_ACTIVESYNC,
                                           WBXML_CHARSET_UTF_8, &tree);

    if (tree) wbxml_tree_destroy(tree);
    return err != WBXML_OK || !tree;
}

/* Documents a second. */
static double measure(int (*decode)(uint8_t *bytes, size_t len))
{
    double start = seconds();

    for (int i = 0; i < TURNS; i++)
        for (size_t k = 0; k < file_count; k++)
            if (decode(files[k].bytes, files[k].len)) exit(1);
    return TURNS * (double)file_count / (seconds() - start);
}

static void read_examples(void)
{
    DIR *dir = opendir(EXAMPLES_DIR);
    char path[1024];

    if (!dir) return;
    for (struct dirent *e = readdir(dir); e && file_count < FILES_MAX; e = readdir(dir)) {
        const char *ending = strrchr(e->d_name, '.');
        if (!ending || strcmp(ending, ".wbxml")) continue;
        snprintf(path, sizeof path, EXAMPLES_DIR "/%s", e->d_name);
        FILE *f = fopen(path, "rb");
        if (!f) continue;
        files[file_count].len = fread(files[file_count].bytes, 1, SIZE, f);
        fclose(f);
        /* Tokens that libwbxml does not know would not be a fair race. */
        if (theirs(files[file_count].bytes, files[file_count].len)) continue;
        byte_count += files[file_count++].len;
    }
    closedir(dir);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(void)
{
    double mine[ROUNDS], peer[ROUNDS], ratio[ROUNDS];

    if (pv_arena_create(&arena, 1 << 20)) return 1;
    read_examples();
    if (file_count == 0) return 1;
    for (int i = 0; i < ROUNDS; i++) {
        mine[i] = measure(ours);
        peer[i] = measure(theirs);
        ratio[i] = mine[i] / peer[i];
    }
    qsort(mine, ROUNDS, sizeof *mine, by_value);
    qsort(peer, ROUNDS, sizeof *peer, by_value);
    qsort(ratio, ROUNDS, sizeof *ratio, by_value);
    printf("WBXML to a tree, %zu documents of %zu bytes on average, median of %d\n", file_count,
           byte_count / file_count, ROUNDS);
    printf("  libprovost  %10.0f documents/s\n  libwbxml    %10.0f documents/s\n",
           mine[ROUNDS / 2], peer[ROUNDS / 2]);
    printf("  ratio       %10.1f            (goal: at least %.0f)%s\n", ratio[ROUNDS / 2], GOAL,
           ratio[ROUNDS / 2] < GOAL ? "  MISSED" : "");
    pv_arena_destroy(&arena);
    return 0;
}
