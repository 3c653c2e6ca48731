#include "src/server/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

static int prepare(posix_spawnattr_t *attributes, posix_spawn_file_actions_t *actions, int input)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                      POSIX_SPAWN_SETSIGDEF);
    if (!rc) rc = posix_spawnattr_setpgroup(attributes, 0);
    if (!rc) rc = posix_spawnattr_setsigmask(attributes, &none);
    if (!rc) rc = posix_spawnattr_setsigdefault(attributes, &all);
    if (!rc) rc = posix_spawn_file_actions_adddup2(actions, input, STDIN_FILENO);
    for (int fd = STDOUT_FILENO; !rc && fd <= STDERR_FILENO; fd++)
        rc = posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_WRONLY, 0);
    if (!rc) rc = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
    return rc;
}

int child_start(const char *program, int input, pid_t *pid_out)
{
    char *const argv[] = {(char *)program, NULL};
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    int rc = posix_spawnattr_init(&attributes);
    if (rc) return rc;
    rc = posix_spawn_file_actions_init(&actions);
    if (!rc) {
        rc = prepare(&attributes, &actions, input);
        if (!rc) rc = posix_spawn(pid_out, program, &actions, &attributes, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    posix_spawnattr_destroy(&attributes);
    return rc;
}
