/** @file error.h  Error codes of libprovost: one table makes enum, name, text and blame.
 *
 * What holds for every function of the library, where nothing else is said:
 * - Threads: there is no hidden state. Any thread may call anything, as long as no other one uses
 *   an object at the same time that the call changes (arena, writer, policy, partnership, client).
 * - Ownership: arguments are borrowed for the call and belong to the caller. What is handed back
 *   lives in the arena that was given, and dies with its reset, or has static storage.
 * - Pointers must not be NULL, enums must have a value of theirs. What a function checks of that
 *   it says (E_USAGE, "NULL for ..."); functions that name a number give "?", NULL or 0 for one
 *   that is none.
 * - Texts that come with a length need no NUL behind them; lengths are bytes, times are seconds.
 * - Outputs (*_out, out) are set on success only; what a buffer holds after an error means
 *   nothing. */
#ifndef PROVOST_ERROR_H
#define PROVOST_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* PV_OK is 0; counts never share a return value with an error. */
#define PV_ERRORS(X)                                                          \
    X(OK, NONE, "success")                                                    \
    X(E_USAGE, CALLER, "the call breaks the function's contract")             \
    X(E_SHORT, PEER, "input ends inside an item")                             \
    X(E_MALFORMED, PEER, "input breaks the encoding rules")                   \
    X(E_UNSUPPORTED, PEER, "input uses a form that is not supported")         \
    X(E_RANGE, PEER, "a value is outside its allowed range")                  \
    X(E_UNKNOWN, PEER, "a name is not known")                                 \
    X(E_TOOBIG, LIMIT, "input exceeds a configured limit")                    \
    X(E_NOMEM, LIMIT, "arena or output buffer exhausted")

/** Who has to mend an error. */
enum pv_blame { PV_NONE, PV_CALLER, PV_PEER, PV_LIMIT };

#define PV_ERROR_ENUM(code, blame, text) PV_##code,
enum pv_err { PV_ERRORS(PV_ERROR_ENUM) PV_ERR_COUNT };
#undef PV_ERROR_ENUM

#if defined(__GNUC__)
#define PV_MUST_CHECK __attribute__((warn_unused_result))
#define PV_API __attribute__((visibility("default")))
#else
#define PV_MUST_CHECK
#define PV_API
#endif

/** Symbolic name, such as "E_SHORT". Static storage; never NULL ("?" for a number that is no
 *  code). */
PV_API const char *pv_err_name(enum pv_err err);
/** One sentence for a person. Static storage; never NULL. */
PV_API const char *pv_err_text(enum pv_err err);
/** Who has to mend it. PV_CALLER for a number that is no code. */
PV_API enum pv_blame pv_err_blame(enum pv_err err);

#ifdef __cplusplus
}
#endif
#endif
