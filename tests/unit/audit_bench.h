/* Audit logs in a directory of a test's own. */
#ifndef TEST_AUDIT_BENCH_H
#define TEST_AUDIT_BENCH_H

#include "src/server/observe/audit.h"

#define BIG ((size_t)1 << 30) /* a file that is never full */
#define TWO_LINES 500         /* one into which two lines fit, and not a third */

extern char dir[64], error[512];

/* Before and after each test. */
int make_dir(void **state);
int remove_dir(void **state);

/* Good until the next call. */
const char *path_of(const char *name);
struct text { char *bytes; size_t len; }; /* bytes to be freed */
struct text read_file(const char *name);
void write_file(const char *name, const char *bytes, size_t len);

struct audit_files *open_files(size_t rotate_size, unsigned keep);
/* One more line; false: it could not be added. */
bool add(struct audit_files *f);
/* So many more, and the disk has them. The last of them. */
struct audit_head add_lines(struct audit_files *f, unsigned count);
/* A log of so many lines, closed. */
struct audit_head make_log(unsigned count, size_t rotate_size);

struct audit_report verify(const struct audit_head *known);
void assert_good(const struct audit_report *r, uint64_t first, uint64_t last);

#endif
