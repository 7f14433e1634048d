/* Ed25519 verification of a batch, each signature by libsodium's crypto_sign_verify_detached.
 *
 * Public data only. The verdict on an item depends on that item alone: never on its neighbours, on the size of the
 * batch or on the number of threads. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "params.h"
#include "span.h"

#define TC_ED25519_KEY_BYTES 32
#define TC_ED25519_SIGNATURE_BYTES 64

/* verdicts[i] = 1 when signatures[64*i ..] is valid for messages[i] under keys[32*i ..], else 0, for i < count.
 * threads: 1..TC_MAX_VERIFY_THREADS, the calling one included. Threads that the system refuses to start are done
 * without: the others take their share. sodium_init must have returned before. */
void tc_ed25519_verify(uint8_t *verdicts, const uint8_t *keys, const tc_span *messages, const uint8_t *signatures,
                       size_t count, unsigned threads);
