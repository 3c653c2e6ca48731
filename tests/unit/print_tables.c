/* Prints a table of the library as the documentation shows it: server, orders or client. */
#include <stdio.h>
#include <string.h>

#include <provost/provision.h>

int main(int argc, char **argv)
{
    static char table[1 << 16];
    size_t len;
    enum pv_err err = PV_E_USAGE;

    if (argc == 2 && strcmp(argv[1], "server") == 0)
        err = pv_server_table(table, sizeof table, &len);
    if (argc == 2 && strcmp(argv[1], "orders") == 0)
        err = pv_order_table(table, sizeof table, &len);
    if (argc == 2 && strcmp(argv[1], "client") == 0)
        err = pv_client_table(table, sizeof table, &len);
    if (err) {
        fprintf(stderr, "usage: print_tables server | orders | client (%s)\n", pv_err_text(err));
        return 2;
    }
    return fputs(table, stdout) < 0;
}
