#include "verify.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static const tc_backend *const BACKENDS[] = {
    &tc_ed25519_portable,
#ifdef __x86_64__
    &tc_ed25519_avx2,
    &tc_ed25519_ifma,
#endif
};

/* A part of a batch smaller than this is not worth a thread. */
#define LEAST_PART 16

typedef struct {
    uint8_t *verdicts;
    const tc_backend *backend;
    const tc_items *items;
    size_t count, part;
    tc_method method;
    atomic_size_t next; /* the first item that nobody has taken */
} batch;

typedef struct {
    batch *batch;
    void *scratch;
    tc_counts counts;
} worker;

#define BACKEND_COUNT (sizeof BACKENDS / sizeof BACKENDS[0])

/* Those that this machine can run. Asked once: a virtual machine may take long to answer CPUID. */
static const tc_backend *usable[BACKEND_COUNT];
static size_t usable_count;

void tc_ed25519_prepare(void) {
    usable_count = 0;
    for (size_t i = 0; i < BACKEND_COUNT; i++) {
        if (BACKENDS[i]->runs_here()) {
            BACKENDS[i]->prepare();
            usable[usable_count++] = BACKENDS[i];
        }
    }
}

const tc_backend *tc_ed25519_backend(size_t i) {
    return i < usable_count ? usable[i] : NULL;
}

/* Parts of one size, at most TC_CHUNK, as many as threads or a multiple of that where it pays. */
static size_t part_size(size_t count, unsigned threads) {
    size_t rounds = count / ((size_t)threads * TC_CHUNK) + (count % ((size_t)threads * TC_CHUNK) > 0);
    size_t parts = rounds * threads;
    size_t size = parts ? count / parts + (count % parts > 0) : 0;
    return size < LEAST_PART ? (count < LEAST_PART ? count : LEAST_PART) : size;
}

static size_t worker_bytes(const tc_backend *backend, size_t part, tc_method method) {
    return (backend->scratch_bytes(part, method) + 63) / 64 * 64;
}

size_t tc_ed25519_scratch_bytes(const tc_backend *backend, size_t count, tc_method method, unsigned threads) {
    return worker_bytes(backend, part_size(count, threads), method) * threads;
}

static void *work(void *argument) {
    worker *w = argument;
    batch *b = w->batch;
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&b->next, b->part, memory_order_relaxed);
        if (i >= b->count) {
            return NULL;
        }
        size_t size = b->count - i < b->part ? b->count - i : b->part;
        b->backend->verify(b->verdicts + i, b->items, i, size, b->method, w->scratch, &w->counts);
    }
}

void tc_ed25519_verify(uint8_t *verdicts, const tc_backend *backend, const tc_items *items, size_t count,
                       tc_method method, unsigned threads, void *scratch, tc_counts *counts) {
    pthread_t others[TC_MAX_VERIFY_THREADS];
    worker workers[TC_MAX_VERIFY_THREADS];
    batch b = {.verdicts = verdicts, .backend = backend, .items = items, .count = count, .method = method};
    tc_counts total = {0};
    unsigned started = 0;
    if (count > 0) {
        b.part = part_size(count, threads);
        size_t parts = count / b.part + (count % b.part > 0);
        size_t bytes = worker_bytes(backend, b.part, method);
        atomic_init(&b.next, 0);
        for (unsigned i = 0; i < threads; i++) {
            workers[i] = (worker){.batch = &b, .scratch = (uint8_t *)scratch + i * bytes};
        }
        while (started + 1 < threads && started + 1 < parts &&
               pthread_create(&others[started], NULL, work, &workers[started + 1]) == 0) {
            started++;
        }
        work(&workers[0]);
        for (unsigned i = 0; i < started; i++) {
            pthread_join(others[i], NULL);
        }
        for (unsigned i = 0; i <= started; i++) {
            total.multiplications += workers[i].counts.multiplications;
            total.combinations += workers[i].counts.combinations;
            total.failed_combinations += workers[i].counts.failed_combinations;
            total.lane_items += workers[i].counts.lane_items;
        }
    }
    if (counts != NULL) {
        *counts = total;
    }
}
