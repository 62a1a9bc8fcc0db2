/* A PKCS#11 module that is SoftHSM with the habits of other modules: those that do less than the
 * standard, and devices that go away. For tests only.
 *
 * HABITS             words, separated by commas:
 *   no-length          C_Sign without a buffer is CKR_ARGUMENTS_BAD
 *   length-ends        C_Sign without a buffer ends the operation
 *   no-info            C_GetMechanismInfo gives HABIT_CODE
 *   null-info          C_GetMechanismInfo is not there
 *   empty-info         C_GetMechanismInfo answers without any flag
 *   no-pss, no-raw     C_SignInit refuses CKM_RSA_PKCS_PSS, CKM_RSA_X_509
 *   salt               PSS is salted with HABIT_SALT bytes, whatever is asked for
 *   no-certificates    the search for certificates gives HABIT_CODE
 *   certificates-end   the search for certificates begins, and then gives HABIT_CODE
 *   no-type-search     no search by CKA_CERTIFICATE_TYPE
 *   nul-token          texts of the token are padded with NUL bytes
 *   nul-label          labels of objects end in a NUL byte
 *   blank-label        labels of objects end in two blanks
 *   no-label-search    no search by CKA_LABEL
 *   point-bits         CKA_EC_POINT is wrapped in a BIT STRING
 *   point-bare         CKA_EC_POINT is not wrapped
 *   point-short        CKA_EC_POINT lacks its last byte
 *   point-hidden       CKA_EC_POINT can't be read: HABIT_CODE
 *   no-modulus         CKA_MODULUS can't be read: HABIT_CODE
 *   no-type            CKA_KEY_TYPE of private keys can't be read
 *   der                ECDSA signatures are in DER
 *   login-each-use     keys want a login for each use and don't say so
 *   keeps-operation    a refused C_Sign does not end what C_SignInit began
 *   no-context-login   there is no login for one use of a key
 *   bad-slot           the first slot's token can't be read: HABIT_CODE
 *   no-objects         C_CreateObject gives HABIT_CODE
 *   full               C_GenerateKeyPair gives HABIT_CODE
 *   write-protected    the token can only be read
 *   picky              templates of keys may hold nothing but what every token knows
 *   exportable         keys are made extractable, whatever is asked for
 *   pad                the PIN is entered at the device: C_Login wants none
 *   initialized        C_Initialize says that somebody has done so already
 * HABIT_CODE         return value, hexadecimal
 * HABIT_LOST         numbers of the C_Sign calls, from 1, at which the device goes away with HABIT_CODE
 * HABIT_AWAY         how long it is away, milliseconds
 * HABIT_RESTART      the module must be initialized anew then
 * HABIT_LOG          file that gets a letter for each C_Login: p with PIN, n without, P for one use
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef unsigned long ulong;
typedef struct { unsigned char major, minor; } version;
typedef struct { version version; void *function[67]; } function_list;
typedef struct { ulong type; void *value; ulong length; } attribute;
typedef struct { ulong type; void *parameter; ulong length; } mechanism;

enum {
    INITIALIZE = 0, FINALIZE = 1, GET_FUNCTION_LIST = 3, GET_SLOT_LIST = 4, GET_TOKEN_INFO = 6,
    GET_MECHANISM_INFO = 8, OPEN_SESSION = 12, CLOSE_ALL_SESSIONS = 14, LOGIN = 18, CREATE_OBJECT = 20,
    GET_ATTRIBUTE_VALUE = 24, FIND_OBJECTS_INIT = 26, FIND_OBJECTS = 27, SIGN_INIT = 42, SIGN = 43,
    GENERATE_KEY_PAIR = 59
};
enum {
    ARGUMENTS_BAD = 7, ATTRIBUTE_TYPE_INVALID = 0x12, MECHANISM_INVALID = 0x70,
    OPERATION_NOT_INITIALIZED = 0x91, OPERATION_ACTIVE = 0x90, PIN_INCORRECT = 0xa0,
    BUFFER_TOO_SMALL = 0x150, TOKEN_NOT_PRESENT = 0xe0, USER_NOT_LOGGED_IN = 0x101,
    USER_TYPE_INVALID = 0x103, ALREADY_INITIALIZED = 0x191
};
enum { CLASS = 0, LABEL = 3, CERTIFICATE_TYPE = 0x80, KEY_TYPE = 0x100, MODULUS = 0x120, EC_POINT = 0x181 };
#define NONE (~0ul)
#define NEXT(at, ...) ((ulong (*)(__VA_ARGS__))real.function[at])

static function_list real, list;
static int signs;
static ulong last_slot;
/* Of one operation, which one thread begins and ends while others are at theirs. */
static __thread int certificates, logged_in_for_use, begun;
static __thread ulong current_mechanism;
static struct timespec lost_at;
static int lost;

/* SoftHSM must not close a session that another thread signs with: it frees what that thread uses. */
static pthread_rwlock_t in_use = PTHREAD_RWLOCK_INITIALIZER;

static int has(const char *habit) {
    const char *word = getenv("HABITS");
    size_t length = strlen(habit);
    while (word && *word) {
        if (!strncmp(word, habit, length) && (word[length] == ',' || !word[length])) return 1;
        word = strchr(word, ',');
        if (word) word++;
    }
    return 0;
}

static ulong number(const char *name, int base, ulong otherwise) {
    const char *value = getenv(name);
    return value ? strtoul(value, NULL, base) : otherwise;
}

static ulong code(void) { return number("HABIT_CODE", 16, 6); }

/* Whether the device is away now. */
static int away(void) {
    struct timespec now;
    if (!lost) return 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long gone = (now.tv_sec - lost_at.tv_sec) * 1000 + (now.tv_nsec - lost_at.tv_nsec) / 1000000;
    if (gone >= (long)number("HABIT_AWAY", 10, 0)) lost = 0;
    return lost;
}

static ulong initialize(void *arguments) {
    ulong result = NEXT(INITIALIZE, void *)(arguments);
    return has("initialized") ? ALREADY_INITIALIZED : result;
}

static ulong get_slot_list(unsigned char present, ulong *slots, ulong *count) {
    if (away()) { *count = 0; return 0; }
    return NEXT(GET_SLOT_LIST, unsigned char, ulong *, ulong *)(present, slots, count);
}

static void end_with_nul(char *text, int length) {
    while (length-- && text[length] == ' ') text[length] = 0;
}

static ulong get_token_info(ulong slot, char *info) {
    static ulong first = NONE;
    if (away()) return TOKEN_NOT_PRESENT;
    if (first == NONE) first = slot;
    if (has("bad-slot") && slot == first) return code();
    ulong result = NEXT(GET_TOKEN_INFO, ulong, char *)(slot, info);
    if (!result && has("nul-token")) {
        end_with_nul(info, 32); end_with_nul(info + 32, 32);
        end_with_nul(info + 64, 16); end_with_nul(info + 80, 16);
    }
    if (!result && has("pad")) *(ulong *)(info + 96) |= 0x100;
    if (!result && has("write-protected")) *(ulong *)(info + 96) |= 2;
    return result;
}

static ulong get_mechanism_info(ulong slot, ulong type, ulong *info) {
    if (has("no-info")) return code();
    ulong result = NEXT(GET_MECHANISM_INFO, ulong, ulong, ulong *)(slot, type, info);
    if (!result && has("empty-info")) info[2] = 0;
    return result;
}

static ulong open_session(ulong slot, ulong flags, void *a, void *b, ulong *session) {
    if (away()) return TOKEN_NOT_PRESENT;
    if (has("write-protected") && (flags & 2)) return 0xe2; /* CKR_TOKEN_WRITE_PROTECTED */
    last_slot = slot;
    return NEXT(OPEN_SESSION, ulong, ulong, void *, void *, ulong *)(slot, flags, a, b, session);
}

static ulong login(ulong session, ulong user, const char *pin, ulong length) {
    FILE *log = getenv("HABIT_LOG") ? fopen(getenv("HABIT_LOG"), "a") : NULL;
    if (log) { fputc(user == 2 ? 'P' : pin ? 'p' : 'n', log); fclose(log); }
    if (user == 2 && has("no-context-login")) return USER_TYPE_INVALID;
    if (user == 2 && has("login-each-use")) {
        const char *right = getenv("HABIT_PIN");
        if (!begun) return OPERATION_NOT_INITIALIZED;
        if (!right || length != strlen(right) || memcmp(pin, right, length)) return PIN_INCORRECT;
        logged_in_for_use = 1;
        return 0;
    }
    if (has("pad")) {
        if (pin) return number("HABIT_CODE", 16, PIN_INCORRECT);
        pin = getenv("HABIT_PIN");
        length = strlen(pin);
    }
    return NEXT(LOGIN, ulong, ulong, const char *, ulong)(session, user, pin, length);
}

/* The point as SoftHSM has it, unwrapped; its length. */
static ulong bare_point(ulong session, ulong object, unsigned char *point) {
    unsigned char whole[256];
    attribute one = {EC_POINT, whole, sizeof whole};
    if (NEXT(GET_ATTRIBUTE_VALUE, ulong, ulong, attribute *, ulong)(session, object, &one, 1)) return 0;
    ulong header = whole[1] == 0x81 ? 3 : 2;
    memcpy(point, whole + header, one.length - header);
    return one.length - header;
}

static ulong wrapped_point(ulong session, ulong object, unsigned char *out) {
    unsigned char point[256];
    ulong length = bare_point(session, object, point), at = 0;
    if (!length) return 0;
    if (has("point-short")) length--;
    if (has("point-bits")) {
        out[at++] = 3;
        if (length + 1 > 127) out[at++] = 0x81;
        out[at++] = length + 1;
        out[at++] = 0;
    }
    memcpy(out + at, point, length);
    return at + length;
}

static ulong get_attribute_value(ulong session, ulong object, attribute *asked, ulong count) {
    ulong room[32], result;
    for (ulong i = 0; i < count; i++) {
        room[i] = asked[i].length;
        if ((asked[i].type == EC_POINT && has("point-hidden")) || (asked[i].type == MODULUS && has("no-modulus"))) {
            ulong wanted = code();
            if (wanted != 0x11 && wanted != ATTRIBUTE_TYPE_INVALID) return wanted;
        }
    }
    result = NEXT(GET_ATTRIBUTE_VALUE, ulong, ulong, attribute *, ulong)(session, object, asked, count);
    for (ulong i = 0; i < count; i++) {
        attribute *it = &asked[i];
        int hidden = (it->type == EC_POINT && has("point-hidden")) || (it->type == MODULUS && has("no-modulus"))
            || (it->type == KEY_TYPE && has("no-type"));
        if (hidden) { it->length = NONE; result = it->type == KEY_TYPE ? ATTRIBUTE_TYPE_INVALID : code(); }
        else if (it->type == EC_POINT && (has("point-bits") || has("point-bare") || has("point-short"))) {
            unsigned char point[300];
            ulong length = wrapped_point(session, object, point);
            if (!length) continue;
            if (it->value && room[i] < length) { it->length = NONE; result = BUFFER_TOO_SMALL; continue; }
            if (it->value) memcpy(it->value, point, length);
            it->length = length;
            if (result == BUFFER_TOO_SMALL) result = 0;
        } else if (it->type == LABEL && it->length != NONE) {
            int more = has("nul-label") ? 1 : has("blank-label") ? 2 : 0;
            for (int n = 0; n < more; n++, it->length++)
                if (it->value && it->length < room[i]) ((char *)it->value)[it->length] = more == 1 ? 0 : ' ';
        }
    }
    return result;
}

static ulong find_objects_init(ulong session, attribute *asked, ulong count) {
    certificates = 0;
    for (ulong i = 0; i < count; i++) {
        if (asked[i].type == CLASS && *(ulong *)asked[i].value == 1) certificates = 1;
        if (asked[i].type == CERTIFICATE_TYPE && has("no-type-search")) return ATTRIBUTE_TYPE_INVALID;
        if (asked[i].type == LABEL && has("no-label-search")) return ATTRIBUTE_TYPE_INVALID;
        if (asked[i].type == LABEL && (has("nul-label") || has("blank-label"))) {
            /* Stored labels have the padding: a label without it matches nothing. */
            char *label = asked[i].value, last = asked[i].length ? label[asked[i].length - 1] : 'x';
            if (last && last != ' ') {
                attribute none = {LABEL, "no such label", 13};
                return NEXT(FIND_OBJECTS_INIT, ulong, attribute *, ulong)(session, &none, 1);
            }
        }
    }
    if (certificates && has("no-certificates")) return code();
    return NEXT(FIND_OBJECTS_INIT, ulong, attribute *, ulong)(session, asked, count);
}

static ulong find_objects(ulong session, ulong *objects, ulong most, ulong *found) {
    if (certificates && has("certificates-end")) return code();
    return NEXT(FIND_OBJECTS, ulong, ulong *, ulong, ulong *)(session, objects, most, found);
}

static ulong sign_init(ulong session, mechanism *how, ulong key) {
    mechanism other = *how;
    ulong pss[3];
    if (how->type == 0x0d && has("no-pss")) return MECHANISM_INVALID;
    if (how->type == 3 && has("no-raw")) return MECHANISM_INVALID;
    if (begun && has("keeps-operation")) return OPERATION_ACTIVE;
    current_mechanism = how->type;
    if (how->type == 0x0d && has("salt")) {
        memcpy(pss, how->parameter, sizeof pss);
        pss[2] = number("HABIT_SALT", 10, 0);
        other.parameter = pss;
    }
    pthread_rwlock_rdlock(&in_use);
    ulong result = NEXT(SIGN_INIT, ulong, mechanism *, ulong)(session, &other, key);
    pthread_rwlock_unlock(&in_use);
    begun = result == 0;
    logged_in_for_use = 0;
    return result;
}

static int integer(unsigned char *to, const unsigned char *from, int length) {
    while (length > 1 && !*from) from++, length--;
    int pad = *from >> 7;
    to[0] = 2; to[1] = length + pad; to[2] = 0;
    memcpy(to + 2 + pad, from, length);
    return length + pad + 2;
}

/* Whether this C_Sign is one at which the device goes. */
static int goes(void) {
    const char *numbers = getenv("HABIT_LOST");
    int sign = __atomic_add_fetch(&signs, 1, __ATOMIC_SEQ_CST);
    while (numbers && *numbers) {
        if (atoi(numbers) == sign) return 1;
        numbers = strchr(numbers, ',');
        if (numbers) numbers++;
    }
    return 0;
}

static ulong sign(ulong session, void *data, ulong length, unsigned char *out, ulong *room) {
    if (out && goes()) {
        lost = 1;
        clock_gettime(CLOCK_MONOTONIC, &lost_at);
        pthread_rwlock_wrlock(&in_use);
        NEXT(CLOSE_ALL_SESSIONS, ulong)(last_slot);
        if (getenv("HABIT_RESTART")) NEXT(FINALIZE, void *)(NULL);
        pthread_rwlock_unlock(&in_use);
        return code();
    }
    if (has("login-each-use") && !logged_in_for_use) {
        if (!has("keeps-operation")) {
            unsigned char waste[1024];
            ulong size = sizeof waste;
            pthread_rwlock_rdlock(&in_use);
            NEXT(SIGN, ulong, void *, ulong, unsigned char *, ulong *)(session, data, length, waste, &size);
            pthread_rwlock_unlock(&in_use);
            begun = 0;
        }
        return USER_NOT_LOGGED_IN;
    }
    if (!out && has("no-length")) return ARGUMENTS_BAD;
    static int asked;
    if (has("length-ends")) {
        if (!out) asked = 1;
        else if (asked) { asked = 0; return OPERATION_NOT_INITIALIZED; }
    }
    pthread_rwlock_rdlock(&in_use);
    ulong result = NEXT(SIGN, ulong, void *, ulong, unsigned char *, ulong *)(session, data, length, out, room);
    pthread_rwlock_unlock(&in_use);
    if (out) { begun = 0; logged_in_for_use = 0; }
    if (!result && out && has("der") && current_mechanism == 0x1041) {
        unsigned char raw[132], der[160];
        int half = *room / 2, at = 3;
        memcpy(raw, out, *room);
        at += integer(der + at, raw, half);
        at += integer(der + at, raw + half, half);
        int start = at - 3 > 127 ? 0 : 1;
        der[start] = 0x30;
        if (!start) der[1] = 0x81;
        der[2] = at - 3;
        memcpy(out, der + start, at - start);
        *room = at - start;
    }
    return result;
}

static ulong create_object(ulong session, attribute *asked, ulong count, ulong *object) {
    if (has("no-objects")) return code();
    return NEXT(CREATE_OBJECT, ulong, attribute *, ulong, ulong *)(session, asked, count, object);
}

static ulong generate_key_pair(ulong session, mechanism *how, attribute *public, ulong publics,
                               attribute *private, ulong privates, ulong *first, ulong *second) {
    if (has("full")) return code();
    for (ulong i = 0; i < privates; i++) {
        if (has("picky") && private[i].type == 0x10c) return 0xd1; /* CKA_DERIVE: CKR_TEMPLATE_INCONSISTENT */
        if (has("exportable") && private[i].type == 0x162) *(unsigned char *)private[i].value = 1;
    }
    return NEXT(GENERATE_KEY_PAIR, ulong, mechanism *, attribute *, ulong, attribute *, ulong, ulong *, ulong *)(
        session, how, public, publics, private, privates, first, second);
}

ulong C_GetFunctionList(function_list **out) {
    void *library = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    ulong (*get)(function_list **) = library ? dlsym(library, "C_GetFunctionList") : NULL;
    function_list *found;
    if (!get || get(&found) != 0) return 6; /* CKR_FUNCTION_FAILED */
    real = list = *found;
    list.function[INITIALIZE] = initialize;
    list.function[GET_FUNCTION_LIST] = C_GetFunctionList;
    list.function[GET_SLOT_LIST] = get_slot_list;
    list.function[GET_TOKEN_INFO] = get_token_info;
    list.function[GET_MECHANISM_INFO] = has("null-info") ? NULL : get_mechanism_info;
    list.function[OPEN_SESSION] = open_session;
    list.function[LOGIN] = login;
    list.function[GET_ATTRIBUTE_VALUE] = get_attribute_value;
    list.function[FIND_OBJECTS_INIT] = find_objects_init;
    list.function[FIND_OBJECTS] = find_objects;
    list.function[SIGN_INIT] = sign_init;
    list.function[SIGN] = sign;
    list.function[CREATE_OBJECT] = create_object;
    list.function[GENERATE_KEY_PAIR] = generate_key_pair;
    *out = &list;
    return 0;
}
