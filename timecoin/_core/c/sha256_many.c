#include "sha256_many.h"

#include <stdatomic.h>
#include <string.h>

#include "shortcopy.h"

static int always(void) {
    return 1;
}

static const tc_sha256_backend PORTABLE = {
    .name = "portable", .level = TC_CPU_PORTABLE, .runs_here = always, .single = tc_sha256_compress_portable};

#ifdef __x86_64__

static int has_both(void) {
    return tc_cpu_has_avx512() && tc_cpu_has_sha();
}

static const tc_sha256_backend AVX2 = {.name = "avx2",
                                       .level = TC_CPU_AVX2,
                                       .runs_here = tc_cpu_has_avx2,
                                       .single = tc_sha256_compress_portable,
                                       .lanes = {&tc_sha256_avx2_lanes}};
static const tc_sha256_backend SHA = {.name = "sha",
                                      .level = TC_CPU_AVX2,
                                      .runs_here = tc_cpu_has_sha,
                                      .single = tc_sha256_compress_sha,
                                      .lanes = {&tc_sha256_sha_lanes}};
static const tc_sha256_backend AVX512 = {.name = "avx512",
                                         .level = TC_CPU_ALL,
                                         .runs_here = tc_cpu_has_avx512,
                                         .single = tc_sha256_compress_portable,
                                         .lanes = {&tc_sha256_avx512_lanes, &tc_sha256_avx2_lanes}};
static const tc_sha256_backend AVX512_SHA = {.name = "avx512+sha",
                                             .level = TC_CPU_ALL,
                                             .runs_here = has_both,
                                             .single = tc_sha256_compress_sha,
                                             .lanes = {&tc_sha256_avx512_lanes, &tc_sha256_sha_lanes}};

#endif

/* From the slowest to the quickest, for many messages of one length. */
static const tc_sha256_backend *const BACKENDS[] = {
    &PORTABLE,
#ifdef __x86_64__
    &AVX2, &SHA, &AVX512, &AVX512_SHA,
#endif
};

#define BACKEND_COUNT (sizeof BACKENDS / sizeof BACKENDS[0])

static const tc_sha256_backend *usable[BACKEND_COUNT];
static size_t usable_count;

/* Written at import; and by tests, which may have threads. */
static _Atomic(const tc_sha256_backend *) chosen = &PORTABLE;

void tc_sha256_many_choose(tc_cpu_level most) {
    usable_count = 0;
    for (size_t i = 0; i < BACKEND_COUNT; i++) {
        if (BACKENDS[i]->level <= most && BACKENDS[i]->runs_here()) {
            usable[usable_count++] = BACKENDS[i];
        }
    }
    tc_sha256_use(usable[usable_count - 1]);
}

const tc_sha256_backend *tc_sha256_backend_number(size_t i) {
    return i < usable_count ? usable[i] : NULL;
}

const tc_sha256_backend *tc_sha256_in_use(void) {
    return atomic_load_explicit(&chosen, memory_order_relaxed);
}

void tc_sha256_use(const tc_sha256_backend *backend) {
    atomic_store_explicit(&chosen, backend, memory_order_relaxed);
    tc_sha256_use_compress(backend->single);
}

/* What is to be hashed: after `start`, for each item head_size bytes of `heads`, then a message, which is in `spans` or,
 * without them, the next `size` bytes of `column`. */
typedef struct {
    const tc_sha256_ctx *start;
    const uint8_t *heads;
    size_t head_size;
    const tc_span *spans;
    const uint8_t *column;
    size_t size;
} job;

/* A message is up to three runs of blocks: a first block put together here, where something of a block stands before the
 * message; the whole blocks inside the message, read where they are; the padded end, put together here. All is written
 * when the message is begun: what is loaded in vectors just after it was stored in pieces has to wait. */
typedef struct {
    size_t blocks; /* still to come in this run */
    size_t item;
    const uint8_t *inner_at;
    size_t inner, end_blocks; /* the runs after this one; 0 for one that is not there */
    uint8_t first[TC_SHA256_BLOCK], end[2 * TC_SHA256_BLOCK];
} lane;

#define NO_ITEM SIZE_MAX

static inline tc_span message_of(const job *j, size_t item) {
    if (j->spans != NULL) {
        return j->spans[item];
    }
    return (tc_span){.data = j->column + j->size * item, .size = j->size};
}

static inline void store_be32(uint8_t *p, uint32_t x) {
    p[0] = (uint8_t)(x >> 24);
    p[1] = (uint8_t)(x >> 16);
    p[2] = (uint8_t)(x >> 8);
    p[3] = (uint8_t)x;
}

/* The last bytes of a message, fewer than a block, behind the `used` ones that are in l->end already, and the padding. The
 * bytes in between are 0. */
static inline void put_end(lane *l, size_t used, const uint8_t *from, size_t size, uint64_t total) {
    l->end_blocks = used + size + 1 + 8 > TC_SHA256_BLOCK ? 2 : 1;
    uint8_t *past = l->end + TC_SHA256_BLOCK * l->end_blocks;
    tc_copy_short(l->end + used, from, size);
    l->end[used + size] = 0x80;
    store_be32(past - 8, (uint32_t)(total >> 29));
    store_be32(past - 4, (uint32_t)(total << 3));
}

/* What stands before the message `item`: of start's block and of the heads. */
static inline void put_before(uint8_t *to, const job *j, size_t item) {
    size_t before = (size_t)(j->start->total % TC_SHA256_BLOCK);
    tc_copy_short(to, j->start->block, before);
    if (j->head_size > 0) {
        tc_copy_short(to + before, j->heads + j->head_size * item, j->head_size);
    }
}

/* The next run of the message, for a lane whose run has ended; where it starts, or NULL when that was the last. */
static inline const uint8_t *go_on(lane *l) {
    if (l->inner > 0) {
        l->blocks = l->inner;
        l->inner = 0;
        return l->inner_at;
    }
    if (l->end_blocks > 0) {
        l->blocks = l->end_blocks;
        l->end_blocks = 0;
        return l->end;
    }
    return NULL;
}

/* The first run of a message; where it starts. */
static inline const uint8_t *begin(lane *l, const job *j, size_t item) {
    tc_span message = message_of(j, item);
    uint64_t total = j->start->total + j->head_size + message.size;
    size_t used = (size_t)(j->start->total % TC_SHA256_BLOCK) + j->head_size;
    size_t room = used > 0 ? TC_SHA256_BLOCK - used : 0; /* of the first block */
    l->item = item;
    l->inner = 0;
    /* In parts: of a memset as large as this gcc makes string instructions, which start slowly. */
    memset(l->end, 0, TC_SHA256_BLOCK);
    memset(l->end + TC_SHA256_BLOCK, 0, TC_SHA256_BLOCK);
    if (message.size < room) {
        put_before(l->end, j, item);
        put_end(l, used, message.data, message.size, total);
        return go_on(l);
    }
    size_t left = (message.size - room) % TC_SHA256_BLOCK;
    if (message.size > room) { /* and so its address is one to count from, which NULL is not */
        l->inner_at = message.data + room;
        l->inner = (message.size - room) / TC_SHA256_BLOCK;
        message.data += message.size - left;
    }
    put_end(l, 0, message.data, left, total);
    if (used == 0) {
        return go_on(l);
    }
    put_before(l->first, j, item);
    if (room > 0) {
        tc_copy_short(l->first + used, message_of(j, item).data, room);
    }
    l->blocks = 1;
    return l->first;
}

static inline void put_digest(uint8_t *digest, const uint32_t *state, size_t word_step) {
    for (size_t i = 0; i < 8; i++) {
        store_be32(digest + 4 * i, state[word_step * i]);
    }
}

/* The rest of the message of lane k, whose blocks of the run at hand start at `next`. */
static void end_alone(uint8_t *out, lane *l, const tc_sha256_lanes *kernel, const uint32_t *state, const uint8_t *next,
                      tc_sha256_compress compress) {
    uint32_t words[8];
    for (size_t i = 0; i < 8; i++) {
        words[i] = state[kernel->word_step * i];
    }
    for (; next != NULL; next = go_on(l)) {
        compress(words, next, l->blocks);
    }
    put_digest(out + TC_SHA256_BYTES * l->item, words, 1);
}

static void hash_in_lanes(uint8_t *out, const job *j, size_t count, const tc_sha256_lanes *kernel,
                          tc_sha256_compress compress) {
    static const uint8_t IDLE[TC_SHA256_BLOCK];
    _Alignas(64) uint32_t state[8 * TC_SHA256_MOST_LANES];
    lane lanes[TC_SHA256_MOST_LANES];
    const uint8_t *next[TC_SHA256_MOST_LANES];
    size_t stride[TC_SHA256_MOST_LANES];
    size_t begun = 0, busy = 0;

    for (size_t k = 0; k < kernel->lanes; k++) {
        lanes[k].blocks = 0;
        lanes[k].item = NO_ITEM;
        next[k] = NULL;
    }
    for (;;) {
        size_t steps = SIZE_MAX;
        for (size_t k = 0; k < kernel->lanes; k++) {
            lane *l = &lanes[k];
            uint32_t *words = state + kernel->lane_step * k;
            if (l->blocks == 0) {
                const uint8_t *from = NULL;
                if (l->item != NO_ITEM) {
                    from = go_on(l);
                    if (from == NULL) {
                        put_digest(out + TC_SHA256_BYTES * l->item, words, kernel->word_step);
                        l->item = NO_ITEM;
                        busy--;
                    }
                }
                stride[k] = TC_SHA256_BLOCK;
                if (from == NULL) {
                    for (size_t i = 0; i < 8; i++) {
                        words[kernel->word_step * i] = j->start->state[i];
                    }
                    if (begun < count) {
                        from = begin(l, j, begun++);
                        busy++;
                    } else {
                        from = IDLE;
                        l->blocks = SIZE_MAX;
                        stride[k] = 0;
                    }
                }
                next[k] = from;
            }
            steps = l->blocks < steps ? l->blocks : steps;
        }
        if (busy < kernel->least) {
            break;
        }
        kernel->run(state, next, stride, steps);
        for (size_t k = 0; k < kernel->lanes; k++) {
            lanes[k].blocks -= steps;
        }
    }
    for (size_t k = 0; k < kernel->lanes; k++) {
        if (lanes[k].item != NO_ITEM) {
            end_alone(out, &lanes[k], kernel, state + kernel->lane_step * k, next[k], compress);
        }
    }
}

static void hash_alone(uint8_t *out, const job *j, size_t item) {
    tc_span message = message_of(j, item);
    tc_sha256_ctx ctx = *j->start;
    if (j->head_size > 0) {
        tc_sha256_update(&ctx, j->heads + j->head_size * item, j->head_size);
    }
    tc_sha256_update(&ctx, message.data, message.size);
    tc_sha256_final(out + TC_SHA256_BYTES * item, &ctx);
}

static void hash_all(uint8_t *out, const job *j, size_t count) {
    const tc_sha256_backend *backend = tc_sha256_in_use();
    for (int i = 0; i < 2; i++) {
        const tc_sha256_lanes *kernel = backend->lanes[i];
        if (kernel != NULL && count >= kernel->least) {
            hash_in_lanes(out, j, count, kernel, backend->single);
            return;
        }
    }
    for (size_t i = 0; i < count; i++) {
        hash_alone(out, j, i);
    }
}

void tc_sha256_many(uint8_t *out, const tc_sha256_ctx *start, const tc_span *messages, size_t count) {
    hash_all(out, &(job){.start = start, .spans = messages}, count);
}

void tc_sha256_many_after(uint8_t *out, const tc_sha256_ctx *start, const uint8_t *heads, size_t head_size,
                          const tc_span *messages, size_t count) {
    hash_all(out, &(job){.start = start, .heads = heads, .head_size = head_size, .spans = messages}, count);
}

void tc_sha256_column(uint8_t *out, const tc_sha256_ctx *start, const uint8_t *messages, size_t size, size_t count) {
    hash_all(out, &(job){.start = start, .column = messages, .size = size}, count);
}
