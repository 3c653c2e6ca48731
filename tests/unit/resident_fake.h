/* Users who come into memory and leave it. */
#ifndef TEST_RESIDENT_FAKE_H
#define TEST_RESIDENT_FAKE_H

#include "tests/unit/gate_fake.h"

#define ROOM 1000 /* partnerships_in_memory */

int resident_begin(void **unused);
int resident_end(void **unused);

extern char key[65]; /* of whoever has made a handshake last */
/* A FolderSync of a user, who need not be in memory. */
struct http_exchange *sync_with(struct http_exchange *x, const char *user, const char *with);
unsigned answer_of(const struct http_exchange *x);
unsigned sync_now(const char *user, const char *with);

/* What the table has. */
size_t owners(void);
size_t weight(void);
bool is_in_memory(const char *user);

/* A device as the store has it. Zeroed: there is none. */
extern struct device_record stored;
void read_stored(const char *user, const char *device_id);

/* A Ping that waits, and how often it was woken. */
extern unsigned woken;
void wait_with_ping(const char *user);
void wait_on(struct call *c);
void end_ping(void);

#endif
