/* A PKCS#11 module that is SoftHSM in disguise: token flags, session limit and login behave as
 * the environment says, and logins are counted. For tests and benches only.
 *
 * SHIM_SET, SHIM_CLEAR   token flags, hexadecimal
 * SHIM_SESSIONS          most sessions
 * SHIM_NO_LOCK           C_Initialize refuses to lock
 * SHIM_PIN               the PIN that "the PIN pad" gives when C_Login comes without one
 * SHIM_AUTO              log in at the first C_OpenSession
 * SHIM_CONTEXT_PIN       the PIN that the token sees at a login for one use of a key
 * SHIM_LATENCY           milliseconds that each signature takes, whatever SoftHSM needs
 * SHIM_SIGNS             file that gets a letter for each signature that was made
 * SHIM_LOGINS            file that gets a letter for each C_Login: p with PIN, n without, in
 *                        capitals for one use of a key
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef unsigned long ulong;
typedef struct { unsigned char major, minor; } version;
typedef struct { version version; void *function[67]; } function_list;
typedef struct { char texts[96]; ulong flags, max_sessions, rest[8]; char more[20]; } token_info;

enum { INITIALIZE = 0, GET_FUNCTION_LIST = 3, GET_TOKEN_INFO = 6, OPEN_SESSION = 12, LOGIN = 18, SIGN = 43 };

static function_list real, list;
static ulong open_sessions;

static ulong number(const char *name, int base) {
    const char *value = getenv(name);
    return value ? strtoul(value, NULL, base) : 0;
}

static ulong initialize(void *arguments) {
    ulong (*next)(void *) = real.function[INITIALIZE];
    ulong flags = arguments ? ((ulong *)arguments)[4] : 0;
    if (getenv("SHIM_NO_LOCK") && (flags & 2)) return 0x0a; /* CKR_CANT_LOCK */
    return next(arguments);
}

static ulong get_token_info(ulong slot, token_info *info) {
    ulong (*next)(ulong, token_info *) = real.function[GET_TOKEN_INFO];
    ulong result = next(slot, info);
    if (result == 0) {
        info->flags = (info->flags | number("SHIM_SET", 16)) & ~number("SHIM_CLEAR", 16);
        if (getenv("SHIM_SESSIONS")) info->max_sessions = number("SHIM_SESSIONS", 10);
    }
    return result;
}

static ulong real_login(ulong session, ulong user, const char *pin, ulong length) {
    ulong (*next)(ulong, ulong, const char *, ulong) = real.function[LOGIN];
    return next(session, user, pin, length);
}

static ulong login(ulong session, ulong user, const char *pin, ulong length) {
    const char *path = getenv("SHIM_LOGINS");
    FILE *log = path ? fopen(path, "a") : NULL;
    int once = user == 2; /* CKU_CONTEXT_SPECIFIC */
    if (log) {
        fputc((pin ? 'p' : 'n') - (once ? 32 : 0), log);
        fclose(log);
    }
    if (once && getenv("SHIM_CONTEXT_PIN")) {
        pin = getenv("SHIM_CONTEXT_PIN");
        length = strlen(pin);
    }
    if (!pin) {
        pin = getenv("SHIM_PIN");
        length = strlen(pin);
    }
    return real_login(session, user, pin, length);
}

static ulong open_session(ulong slot, ulong flags, void *a, void *b, ulong *session) {
    ulong (*next)(ulong, ulong, void *, void *, ulong *) = real.function[OPEN_SESSION];
    ulong result = next(slot, flags, a, b, session);
    if (result == 0 && open_sessions++ == 0 && getenv("SHIM_AUTO"))
        real_login(*session, 1, getenv("SHIM_PIN"), strlen(getenv("SHIM_PIN")));
    return result;
}

static ulong sign(ulong session, void *data, ulong length, void *signature, ulong *size) {
    ulong (*next)(ulong, void *, ulong, void *, ulong *) = real.function[SIGN];
    ulong latency = number("SHIM_LATENCY", 10), result;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += latency / 1000;
    end.tv_nsec += latency % 1000 * 1000000;
    if (end.tv_nsec >= 1000000000) end.tv_sec++, end.tv_nsec -= 1000000000;
    result = next(session, data, length, signature, size);
    /* Without a place for the signature, its size is asked for. */
    if (latency && signature)
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) != 0) {}
    FILE *log = signature && getenv("SHIM_SIGNS") ? fopen(getenv("SHIM_SIGNS"), "a") : NULL;
    if (log) { fputc('s', log); fclose(log); }
    return result;
}

ulong C_GetFunctionList(function_list **out) {
    void *library = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    ulong (*get)(function_list **) = library ? dlsym(library, "C_GetFunctionList") : NULL;
    function_list *found;
    if (!get || get(&found) != 0) return 6; /* CKR_FUNCTION_FAILED */
    real = list = *found;
    list.function[INITIALIZE] = initialize;
    list.function[GET_FUNCTION_LIST] = C_GetFunctionList;
    list.function[GET_TOKEN_INFO] = get_token_info;
    list.function[OPEN_SESSION] = open_session;
    list.function[LOGIN] = login;
    list.function[SIGN] = sign;
    *out = &list;
    return 0;
}
