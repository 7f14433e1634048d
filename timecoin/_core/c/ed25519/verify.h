/* Ed25519 verification of a batch, by ZIP-215: the door to the engine, for the Cython module and for embedders.
 *
 * The rule (https://zips.z.cash/zip-0215): s < L; A and R are any 32 bytes that decode, y taken mod p; and
 * [8][s]B = [8]R + [8][k]A with k = SHA-512(R || A || M) over the bytes as given. Public data only. The verdict on an item
 * depends on that item alone: never on its neighbours, the batch's size, the backend, the method or the threads. */
#pragma once

#include "backend.h"

#include "../params.h"

#define TC_ED25519_KEY_BYTES 32
#define TC_ED25519_SIGNATURE_BYTES 64

/* Fills every backend's tables. Once, before anything else, by one thread; sodium_init has returned before. */
void tc_ed25519_prepare(void);

/* The i-th backend that this machine can run, the quickest last; NULL beyond the last one. */
const tc_backend *tc_ed25519_backend(size_t i);

/* Bytes of working memory for tc_ed25519_verify with the same arguments. */
size_t tc_ed25519_scratch_bytes(const tc_backend *backend, size_t count, tc_method method, unsigned threads);

/* verdicts[i] = 1 when item i is valid, else 0, for i < count; *counts = the work done, if not NULL.
 * threads: 1..TC_MAX_VERIFY_THREADS, the calling one included. Threads that the system refuses to start are done
 * without: the others take their share. scratch is 64-byte aligned. */
void tc_ed25519_verify(uint8_t *verdicts, const tc_backend *backend, const tc_items *items, size_t count,
                       tc_method method, unsigned threads, void *scratch, tc_counts *counts);
