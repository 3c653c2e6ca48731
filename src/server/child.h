/* Programs that the server starts. Any thread. */
#ifndef PROVOSTD_CHILD_H
#define PROVOSTD_CHILD_H

#include <sys/types.h>

/* Start a program with that descriptor as its standard input. Nothing of the server's is left to it but
 * the environment: output and errors go nowhere, every other descriptor is closed, signals are as at first.
 * It is in a group of its own: what is typed at the server's terminal is not for it, and it can be ended with
 * what it starts. @return 0, or errno. */
int child_start(const char *program, int input, pid_t *pid_out);

#endif
