/* BLAKE3 in its plain hash mode (O'Connor, Aumasson, Neves, Wilcox-O'Hearn: "BLAKE3", 2020), with output of any length.
 *
 * The element of a coin in the UTXO commitment is 2048 bytes of it (lthash.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TC_BLAKE3_BYTES 32  /* the usual output length */

/* out = the first out_len bytes of BLAKE3(data). Either length may be 0; `data` may be NULL when len is 0. */
void tc_blake3(uint8_t *out, size_t out_len, const uint8_t *data, size_t len);
