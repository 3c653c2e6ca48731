/* The gate of gate_fake.h with groups, and short ways to change its policies. */
#ifndef TEST_POLICIES_FAKE_H
#define TEST_POLICIES_FAKE_H

#include "tests/unit/gate_fake.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* A gate with `default` at revision 5; sales are ann, bob, u1, u4, u9; board are ann, carl, u4; the
 * group nobody is empty. */
int policies_begin(void **unused);
int policies_end(void **unused);

/* What the store was told of policies, the number of rows. */
extern size_t row_count;
/* The next gate starts from just that. */
void load_stored(void);

extern struct policy_change last; /* with its results */
enum gate_result run(struct policy_change c);
#define RUN(...) run((struct policy_change){__VA_ARGS__})
/* Lives until the next. */
const struct gate_setting *setting(const char *name, const char *value);
/* With MinDevicePasswordLength. */
void make_policy(const char *name, const char *parent, const char *length);
enum gate_result set(const char *name, const char *what, const char *value);
enum gate_result stage(const char *name, const char *what, const char *value);
enum gate_result roll_to(const char *name, unsigned percent);
/* policy NULL: taken away. */
enum gate_result assign(enum gate_scope scope, const char *group, const char *user,
                        const char *device, const char *policy);

/* What applies, as administrators are told. from and length: of MinDevicePasswordLength. */
struct applies {
    char policy[POLICY_NAME_MAX], from[POLICY_NAME_MAX];
    enum gate_scope by;
    int64_t length;
    uint64_t revision;
    bool in_roll;
    size_t candidates;
};
/* device NULL: of the user. */
struct applies applies_to(const char *user, const char *device);

#endif
