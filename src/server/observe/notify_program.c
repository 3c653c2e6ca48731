#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/server/child.h"
#include "src/server/observe/notify_target.h"

#define KILLED_WAIT_MS 500 /* for the end of what was killed: it may hang in the kernel */

extern char **environ;

/* Its standard input: a file in memory, so that a program which does not read holds up nothing. */
static int input_of(const char *body)
{
    size_t len = strlen(body);
    int fd = memfd_create("event", MFD_CLOEXEC);
    if (fd < 0) return -1;
    for (ssize_t n; len > 0; body += n, len -= (size_t)n) {
        n = write(fd, body, len);
        if (n <= 0) {
            close(fd);
            return -1;
        }
    }
    if (lseek(fd, 0, SEEK_SET) == 0) return fd;
    close(fd);
    return -1;
}

bool notify_program_start(struct notify_program *p, const char *body, int64_t now,
                          struct notify_why *why)
{
    int input = input_of(body), rc = input < 0 ? errno : child_start(p->path, input, &p->pid);
    if (input >= 0) close(input);
    if (rc) {
        p->pid = 0;
        snprintf(why->text, sizeof why->text, "%s: %s", p->path, strerror(rc));
        return false;
    }
    p->pid_fd = pidfd_open(p->pid, 0);
    p->deadline = now + p->timeout_ms;
    p->late = false;
    return true;
}

/* With all that it has started, wherever it has put itself. */
static void kill_all(const struct notify_program *p)
{
    kill(-p->pid, SIGKILL);
    kill(p->pid, SIGKILL);
}

static void forget(struct notify_program *p)
{
    if (p->pid_fd >= 0) close(p->pid_fd);
    p->pid_fd = -1;
    p->pid = 0;
}

enum notify_state notify_program_look(struct notify_program *p, int64_t now, struct notify_why *why)
{
    int status;
    pid_t ended = waitpid(p->pid, &status, WNOHANG);
    if (ended == 0) {
        if (now >= p->deadline && !p->late) {
            p->late = true;
            kill_all(p);
        }
        return NOTIFY_RUNNING;
    }
    if (ended < 0)
        snprintf(why->text, sizeof why->text, "its end is not known: %s", strerror(errno));
    else if (p->late)
        snprintf(why->text, sizeof why->text, "it took more than %u ms", p->timeout_ms);
    else if (WIFSIGNALED(status))
        snprintf(why->text, sizeof why->text, "it was ended by signal %d", WTERMSIG(status));
    else
        snprintf(why->text, sizeof why->text, "exit code %d", WEXITSTATUS(status));
    bool good = ended > 0 && !p->late && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    forget(p);
    return good ? NOTIFY_TAKEN : NOTIFY_REFUSED;
}

void notify_program_abort(struct notify_program *p)
{
    if (p->pid == 0) return;
    kill_all(p);
    struct pollfd ended = {.fd = p->pid_fd, .events = POLLIN};
    if (p->pid_fd >= 0) poll(&ended, 1, KILLED_WAIT_MS);
    waitpid(p->pid, NULL, WNOHANG); /* else init does it when we have gone */
    forget(p);
}
