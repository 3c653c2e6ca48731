/* A filter for scripts that hold the codec against another one: `to-wbxml` or `to-xml`. */
#include <stdio.h>
#include <string.h>

#include <provost/wbxml.h>

enum { SPACE = 1 << 20 };

static uint8_t in[SPACE], out[SPACE];

int main(int argc, char **argv)
{
    struct pv_arena arena;
    struct pv_wbxml_writer w;
    const struct pv_node *root;
    enum pv_err err;
    size_t at = 0, out_len;

    if (argc != 2 || pv_arena_create(&arena, 8 * SPACE)) return 2;
    size_t len = fread(in, 1, sizeof in, stdin);
    if (strcmp(argv[1], "to-wbxml") == 0) {
        err = pv_xml_read(&arena, (const char *)in, len, NULL, &root, &at);
        if (!err) {
            pv_wbxml_begin(&w, out, sizeof out);
            pv_wbxml_node(&w, root);
            err = pv_wbxml_finish(&w, &out_len);
        }
    } else {
        err = pv_wbxml_decode(&arena, in, len, NULL, &root, &at);
        if (!err) err = pv_xml_write(root, 0, (char *)out, sizeof out, &out_len);
    }
    pv_arena_destroy(&arena);
    if (err || at != len) {
        fprintf(stderr, "%s at %zu of %zu\n", pv_err_text(err), at, len);
        return 1;
    }
    return fwrite(out, 1, out_len, stdout) == out_len ? 0 : 2;
}
