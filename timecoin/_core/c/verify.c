#include "verify.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>

/* Items that a thread takes at a time: enough that taking them costs nothing, few enough that all end together. */
#define SHARE 16

typedef struct {
    uint8_t *verdicts;
    const uint8_t *keys;
    const tc_span *messages;
    const uint8_t *signatures;
    size_t count;
    atomic_size_t next; /* the first item that nobody has taken */
} batch;

static void *work(void *argument) {
    batch *b = argument;
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&b->next, SHARE, memory_order_relaxed);
        if (i >= b->count) {
            return NULL;
        }
        size_t end = b->count - i < SHARE ? b->count : i + SHARE;
        for (; i < end; i++) {
            b->verdicts[i] = crypto_sign_verify_detached(b->signatures + TC_ED25519_SIGNATURE_BYTES * i,
                                                         b->messages[i].data, b->messages[i].size,
                                                         b->keys + TC_ED25519_KEY_BYTES * i) == 0;
        }
    }
}

void tc_ed25519_verify(uint8_t *verdicts, const uint8_t *keys, const tc_span *messages, const uint8_t *signatures,
                       size_t count, unsigned threads) {
    pthread_t others[TC_MAX_VERIFY_THREADS];
    size_t shares = count / SHARE + (count % SHARE > 0);
    unsigned started = 0;
    batch b = {.verdicts = verdicts, .keys = keys, .messages = messages, .signatures = signatures, .count = count};
    atomic_init(&b.next, 0);
    while (started + 1 < threads && started + 1 < shares && pthread_create(&others[started], NULL, work, &b) == 0) {
        started++;
    }
    work(&b);
    while (started > 0) {
        pthread_join(others[--started], NULL);
    }
}
