#include "src/cli/password.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void catch_signal(int number)
{
    caught = number;
}

/* First line without its end. Byte by byte: what follows belongs to somebody else. */
static enum cli_exit read_line(int fd, const char *from, char out[PASSWORD_MAX])
{
    size_t n = 0;
    for (;;) {
        char c;
        ssize_t got = read(fd, &c, 1);
        if (got < 0 && errno == EINTR && !caught) continue;
        if (got < 0) return cli_fail(CLI_FAILED, "%s: %s", from, strerror(errno));
        if (got == 0 || c == '\n') break;
        if (n + 1 == PASSWORD_MAX)
            return cli_fail(CLI_FAILED, "%s: a password has at most %d bytes", from,
                            PASSWORD_MAX - 1);
        out[n++] = c;
    }
    if (n > 0 && out[n - 1] == '\r') n--;
    out[n] = '\0';
    return n ? CLI_DONE : cli_fail(CLI_FAILED, "%s: no password there", from);
}

/* The terminal gets its echo back whatever happens: signals wait until then. */
static enum cli_exit ask(const char *prompt, char out[PASSWORD_MAX])
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    enum { SIGNALS = sizeof signals / sizeof *signals };
    struct sigaction old[SIGNALS], act = {.sa_handler = catch_signal};
    struct termios was, quiet;
    if (tcgetattr(STDIN_FILENO, &was) != 0)
        return cli_fail(CLI_FAILED, "terminal: %s", strerror(errno));
    caught = 0;
    for (int i = 0; i < SIGNALS; i++) sigaction(signals[i], &act, &old[i]);
    quiet = was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    quiet.c_lflag |= ECHONL;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    fputs(prompt, stderr);
    enum cli_exit code = read_line(STDIN_FILENO, "terminal", out);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
    for (int i = 0; i < SIGNALS; i++) sigaction(signals[i], &old[i], NULL);
    if (caught) raise(caught);
    return code;
}

static enum cli_exit ask_twice(char out[PASSWORD_MAX])
{
    char again[PASSWORD_MAX];
    enum cli_exit code = ask("Password: ", out);
    if (code == CLI_DONE) code = ask("Once more: ", again);
    if (code == CLI_DONE && strcmp(out, again) != 0)
        code = cli_fail(CLI_FAILED, "the two passwords differ");
    explicit_bzero(again, sizeof again);
    return code;
}

enum cli_exit password_read(const char *file, bool twice, char out[PASSWORD_MAX])
{
    if (file == NULL && isatty(STDIN_FILENO))
        return twice ? ask_twice(out) : ask("Password: ", out);
    if (file == NULL) return read_line(STDIN_FILENO, "standard input", out);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cli_fail(CLI_FAILED, "%s: %s", file, strerror(errno));
    enum cli_exit code = read_line(fd, file, out);
    close(fd);
    return code;
}
