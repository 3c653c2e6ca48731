#include "src/cli/connect_hook.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/cli/cli.h"

extern char **environ;

const char *hook_kind(enum pv_wipe_kind kind)
{
    return kind == PV_WIPE_DEVICE ? "device" : "account";
}

unsigned hook_run(const char *program, enum pv_wipe_kind kind, const char *user,
                  const char *device_id, const char *server)
{
    char *const argv[] = {(char *)program,   (char *)hook_kind(kind), (char *)user,
                          (char *)device_id, (char *)server,          NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status, error;
    fflush(stdout);
    if (posix_spawn_file_actions_init(&actions) != 0) return 0;
    error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    /* The connection is not the hook's. */
    if (error == 0) error = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    if (error == 0) error = posix_spawnp(&pid, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
        cli_fail(CLI_FAILED, "%s: %s", program, strerror(error));
        return 0;
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) return 0;
    return WEXITSTATUS(status) == 0 ? 1 : 2;
}
