/* libFuzzer target: any bytes as a batch of signatures, which every backend must judge alike by every method.
 *
 * The bytes are a program that writes the batch, so that good signatures, points of small order and near misses are
 * common: see write_item. Where the verdict is known from how an item was made, it must be that one; and what libsodium
 * accepts, whose rule is stricter, must be accepted. `./dev fuzz-ed25519` builds and runs this. */
#include "engine.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ITEMS 40
#define MAX_MESSAGE 520
#define KEYS 16
#define SMALL 14  /* encodings of points of small order */
#define TORSION 8 /* those points */

typedef enum { BAD, GOOD, UNKNOWN } expectation;

typedef struct {
    uint8_t key[32], signature[64], message[MAX_MESSAGE];
    size_t size;
    expectation expected;
} item;

typedef struct {
    const uint8_t *data;
    size_t size;
} input;

static const char *const SMALL_HEX[SMALL] = {
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    /* and the other encodings of the first four */
    "0100000000000000000000000000000000000000000000000000000000000080",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
};

static uint8_t small[SMALL][32], scalars[KEYS][32], points[KEYS][TORSION][32]; /* [scalar]B + torsion */
static uint8_t secret_keys[KEYS][64], public_keys[KEYS][32];

static void require(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "ed25519 fuzzer: %s\n", what);
        abort();
    }
}

/* The random coefficients of combinations, the same in every run of one input. Threads draw the same ones. */
static _Thread_local uint64_t drawn;

static const char *generator_name(void) {
    return "fuzzer";
}

static void generator_bytes(void *const out, const size_t size) {
    uint8_t seed[randombytes_SEEDBYTES] = {0};
    drawn++;
    memcpy(seed, &drawn, sizeof drawn);
    randombytes_buf_deterministic(out, size, seed);
}

static uint32_t generator_word(void) {
    uint32_t word;
    generator_bytes(&word, sizeof word);
    return word;
}

static randombytes_implementation generator = {
    .implementation_name = generator_name,
    .random = generator_word,
    .buf = generator_bytes,
};

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count;
    (void)arguments;
    require(randombytes_set_implementation(&generator) == 0, "libsodium keeps its own random numbers");
    require(engine_prepare() == 0, "libsodium does not start");
    fprintf(stderr, "ed25519 fuzzer: backends");
    for (size_t i = 0; engine_backend_name(i) != NULL; i++) {
        fprintf(stderr, " %s", engine_backend_name(i));
    }
    fprintf(stderr, "\n");
    for (int i = 0; i < SMALL; i++) {
        require(sodium_hex2bin(small[i], 32, SMALL_HEX[i], 64, NULL, NULL, NULL) == 0, "a point of small order is not 32 bytes");
    }
    for (int i = 0; i < KEYS; i++) {
        uint8_t seed[64] = {(uint8_t)(i + 1)}, point[32];
        crypto_sign_seed_keypair(public_keys[i], secret_keys[i], seed);
        crypto_hash_sha512(seed, seed, 1);
        crypto_core_ed25519_scalar_reduce(scalars[i], seed);
        require(crypto_scalarmult_ed25519_base_noclamp(point, scalars[i]) == 0, "libsodium does not multiply");
        for (int j = 0; j < TORSION; j++) {
            require(crypto_core_ed25519_add(points[i][j], point, small[j]) == 0, "libsodium does not add");
        }
    }
    return 0;
}

/* 0 when there is none left. */
static uint8_t next(input *in) {
    if (in->size == 0) {
        return 0;
    }
    in->size--;
    return *in->data++;
}

static void next_bytes(uint8_t *out, size_t size, input *in) {
    for (size_t i = 0; i < size; i++) {
        out[i] = next(in);
    }
}

/* Lengths around the blocks of SHA-512, or any. */
static void write_message(item *out, input *in) {
    uint8_t kind = next(in);
    out->size = kind < 64 ? kind : kind < 192 ? (size_t)(48 + 128 * (kind % 4) + kind / 4 % 16 - 8) : 2 * (size_t)kind;
    next_bytes(out->message, out->size < 3 ? out->size : 3, in);
    for (size_t i = 3; i < out->size; i++) {
        out->message[i] = (uint8_t)(out->message[i - 3] * 5 + i);
    }
}

/* s = r + k a, for the key and the R that are there. */
static void finish_signature(item *out, const uint8_t a[32], const uint8_t r[32]) {
    crypto_hash_sha512_state state;
    uint8_t digest[64], k[32];
    crypto_hash_sha512_init(&state);
    crypto_hash_sha512_update(&state, out->signature, 32);
    crypto_hash_sha512_update(&state, out->key, 32);
    crypto_hash_sha512_update(&state, out->message, out->size);
    crypto_hash_sha512_final(&state, digest);
    crypto_core_ed25519_scalar_reduce(k, digest);
    crypto_core_ed25519_scalar_mul(k, k, a);
    crypto_core_ed25519_scalar_add(out->signature + 32, k, r);
    out->expected = GOOD;
}

/* s + a step of either sign, modulo L or, with `beyond`, s + L. */
static void move_s(item *out, int step, int beyond) {
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                      0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
    uint8_t by[32] = {0};
    if (beyond) {
        sodium_add(out->signature + 32, order, 32);
    } else {
        by[0] = (uint8_t)abs(step);
        (step < 0 ? crypto_core_ed25519_scalar_sub : crypto_core_ed25519_scalar_add)(out->signature + 32,
                                                                                    out->signature + 32, by);
    }
    /* Of a signature that is good, s is the only one. */
    out->expected = (beyond || step != 0) && out->expected == GOOD ? BAD : out->expected == GOOD ? GOOD : UNKNOWN;
}

/* Any bytes, a good signature of some kind, or one of the items before it with a change. */
static void write_item(item *out, item *items, size_t written, input *in) {
    static const uint8_t zero[32] = {0};
    uint8_t kind = next(in) % 16, which = next(in), how = next(in);
    const uint8_t *a = scalars[which % KEYS], *r = scalars[how % KEYS];
    memset(out, 0, sizeof *out);
    if (kind >= 8 && kind < 15 && written > 0) {
        item *other = &items[which % written];
        *out = *other;
        switch (kind) {
        case 8: /* as it is, or another key, or another R */
            if (how >= 128) {
                memcpy(how % 2 ? out->key : out->signature, small[how / 2 % SMALL], 32);
                out->expected = UNKNOWN;
            }
            return;
        case 9: /* one bit of the key or the signature */
            (how % 3 ? out->signature : out->key)[how % 3 ? how % 64 : how % 32] ^= (uint8_t)(1 << next(in) % 8);
            out->expected = UNKNOWN;
            return;
        case 10: /* errors that cancel each other, when the other is moved too */
            move_s(out, (int8_t)how, 0);
            if (how % 4 == 0) {
                move_s(other, -(int8_t)how, 0);
            }
            return;
        case 11: /* s that is too large */
            move_s(out, 0, 1);
            return;
        case 12: /* signatures exchanged */
            memcpy(out->signature, items[how % written].signature, 64);
            memcpy(items[how % written].signature, other->signature, 64);
            out->expected = items[how % written].expected = UNKNOWN;
            return;
        case 13: /* the message longer or shorter */
            out->size = how % 2 && out->size > 0 ? out->size - 1 : out->size < MAX_MESSAGE ? out->size + 1 : out->size;
            out->expected = UNKNOWN;
            return;
        default: /* y around p, both signs */
            memset(how % 2 ? out->key : out->signature, 0xff, 32);
            (how % 2 ? out->key : out->signature)[0] = next(in);
            (how % 2 ? out->key : out->signature)[31] = how & 2 ? 0xff : 0x7f;
            out->expected = UNKNOWN;
            return;
        }
    }
    if (kind == 0) { /* anything */
        out->expected = UNKNOWN;
        next_bytes(out->key, 32, in);
        next_bytes(out->signature, 64, in);
        write_message(out, in);
        return;
    }
    write_message(out, in);
    memcpy(out->key, points[which % KEYS][0], 32);
    memcpy(out->signature, points[how % KEYS][0], 32);
    switch (kind) {
    case 1: /* libsodium's */
    case 2:
        memcpy(out->key, public_keys[which % KEYS], 32);
        crypto_sign_detached(out->signature, NULL, out->message, out->size, secret_keys[which % KEYS]);
        out->expected = GOOD;
        return;
    case 3: /* with points of small order added to A and R */
    case 4:
        memcpy(out->key, points[which % KEYS][which / KEYS % TORSION], 32);
        memcpy(out->signature, points[how % KEYS][how / KEYS % TORSION], 32);
        break;
    case 5: /* A of small order */
        memcpy(out->key, small[which % SMALL], 32);
        a = zero;
        break;
    case 6: /* R of small order */
        memcpy(out->signature, small[how % SMALL], 32);
        r = zero;
        break;
    case 7: /* both */
        memcpy(out->key, small[which % SMALL], 32);
        memcpy(out->signature, small[how % SMALL], 32);
        a = r = zero;
        break;
    default:
        break;
    }
    finish_signature(out, a, r);
}

static void describe(const item *it) {
    char hex[2 * MAX_MESSAGE + 1];
    fprintf(stderr, "key       %s\n", sodium_bin2hex(hex, sizeof hex, it->key, 32));
    fprintf(stderr, "signature %s\n", sodium_bin2hex(hex, sizeof hex, it->signature, 64));
    fprintf(stderr, "message   %s\n", sodium_bin2hex(hex, sizeof hex, it->message, it->size));
}

static void disagree(const item *items, const engine_batch *batch, size_t number, const char *with, const char *backend,
                     int verdict) {
    static const char *const methods[] = {"auto", "lanes", "straus", "pippenger"};
    fprintf(stderr, "\ned25519 fuzzer: item %zu of %zu: %s says %s by %s%s with %u threads, %s does not\n", number,
            batch->count, backend, verdict ? "good" : "bad", methods[batch->method], batch->expanded ? ", expanded," : "",
            batch->threads, with);
    describe(&items[number]);
    abort();
}

/* Each key once, in the order of their first items. The number of keys. */
static size_t number_keys(uint8_t *keys, uint32_t *indices, const item *items, size_t count) {
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        size_t j = 0;
        while (j < found && memcmp(keys + 32 * j, items[i].key, 32) != 0) {
            j++;
        }
        if (j == found) {
            memcpy(keys + 32 * found++, items[i].key, 32);
        }
        indices[i] = (uint32_t)j;
    }
    return found;
}

/* In memory of its own size, so that a sanitizer sees a read beyond it. */
static void *copy_of(const void *data, size_t size) {
    void *copy = malloc(size > 0 ? size : 1);
    require(copy != NULL, "no memory");
    memcpy(copy, data, size);
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static item items[MAX_ITEMS];
    input in = {data, size};
    uint8_t options = next(&in), keys[32 * MAX_ITEMS], signatures[64 * MAX_ITEMS], first[MAX_ITEMS];
    uint32_t indices[MAX_ITEMS];
    tc_span spans[MAX_ITEMS];
    size_t count = 0;
    while (in.size > 0 && count < MAX_ITEMS) {
        write_item(&items[count], items, count, &in);
        count++;
    }
    if (count == 0) {
        return 0;
    }
    engine_batch batch = {.count = count, .expanded = options & 1, .threads = options & 4 ? 1 + options / 8 % 4 : 1};
    if (options & 2) {
        batch.key_count = number_keys(keys, indices, items, count);
        batch.key_indices = indices;
    } else {
        batch.key_count = count;
    }
    for (size_t i = 0; i < count; i++) {
        if (!(options & 2)) {
            memcpy(keys + 32 * i, items[i].key, 32);
        }
        memcpy(signatures + 64 * i, items[i].signature, 64);
        spans[i].data = copy_of(items[i].message, items[i].size);
        spans[i].size = items[i].size;
    }
    batch.keys = copy_of(keys, 32 * batch.key_count);
    batch.signatures = copy_of(signatures, 64 * count);
    batch.messages = spans;
    for (size_t backend = 0; engine_backend_name(backend) != NULL; backend++) {
        for (int method = TC_AUTO; method <= TC_PIPPENGER; method++) {
            uint8_t *verdicts = copy_of(signatures, count);
            tc_counts counts;
            batch.method = (tc_method)method;
            drawn = 0;
            require(engine_verify(verdicts, &counts, backend, &batch) == 0, "no memory");
            if (backend == 0 && method == TC_AUTO) {
                memcpy(first, verdicts, count);
            }
            for (size_t i = 0; i < count; i++) {
                const char *name = engine_backend_name(backend);
                if (verdicts[i] != first[i]) {
                    disagree(items, &batch, i, "the portable backend", name, verdicts[i]);
                }
                if (items[i].expected != UNKNOWN && verdicts[i] != (items[i].expected == GOOD)) {
                    disagree(items, &batch, i, "who made it", name, verdicts[i]);
                }
            }
            free(verdicts);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (!first[i] && crypto_sign_verify_detached(items[i].signature, items[i].message, items[i].size, items[i].key) == 0) {
            disagree(items, &batch, i, "libsodium", "every backend", 0);
        }
        free((void *)(uintptr_t)spans[i].data);
    }
    free((void *)(uintptr_t)batch.keys);
    free((void *)(uintptr_t)batch.signatures);
    return 0;
}
