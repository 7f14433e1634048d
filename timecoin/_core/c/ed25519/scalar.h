/* Integers modulo L = 2^252 + 27742317777372353535851937790883648493, the order of the Ed25519 base point (RFC 8032),
 * and the signed digits that a scalar multiplication takes them as.
 *
 * For public data only: the time depends on the values. A tc_scalar is always reduced, 0 <= value < L, least
 * significant limb first; every function here may write to one of its inputs. Nothing fails or allocates. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TC_SCALAR_BITS 253     /* every scalar is less than 2^253 */
#define TC_SCALAR_NAF_BYTES 257

typedef struct {
    uint64_t limb[4];
} tc_scalar;

/* Takes the sum of up to 2^32 products a * z before it is reduced. All zero is the empty sum: tc_scalar_sum s = {{0}}. */
typedef struct {
    uint64_t limb[7];
} tc_scalar_sum;

/* Reads 32 little-endian bytes. The result is 1 when they are canonical (less than L), else 0 and *out is not set. */
int tc_scalar_read(tc_scalar *out, const uint8_t bytes[32]);

/* out = 64 little-endian bytes mod L. */
void tc_scalar_reduce(tc_scalar *out, const uint8_t bytes[64]);

/* out = a + b, -a, a * z mod L. z is any 128-bit number, least significant limb first. */
void tc_scalar_add(tc_scalar *out, const tc_scalar *a, const tc_scalar *b);
void tc_scalar_negate(tc_scalar *out, const tc_scalar *a);
void tc_scalar_mul128(tc_scalar *out, const tc_scalar *a, const uint64_t z[2]);

/* sum += a * z; out = the sum mod L. The sum stays as it is and may go on. */
void tc_scalar_sum_add(tc_scalar_sum *sum, const tc_scalar *a, const uint64_t z[2]);
void tc_scalar_sum_finish(tc_scalar *out, const tc_scalar_sum *sum);

/* Two halves of a scalar: u k = v mod L, or u k = -v mod L when the result is 1, with 0 < u and u, v < 0.32 * 2^128, least
 * significant limb first. (A. Antipa et al., 'Accelerated verification of ECDSA signatures', 2005.) */
int tc_scalar_halve(uint64_t u[2], uint64_t v[2], const tc_scalar *k);

/* How many digits tc_scalar_digits writes. The signed digits reach up to (2^(width-1) - 1) / (2^width - 1) of
 * 2^(width * count), a little less than half, so two bits above the number's own are needed: of 128 bits there are 33
 * digits of width 4 and 17 of width 8, while a scalar's 253 bits have the room already (64 and 32), and so have
 * coefficients that are kept under 126 bits (32 and 16). */
#define TC_SCALAR_DIGITS(bits, width) (((bits) + 1) / (width) + 1)

/* Fixed windows: digits[i] in [-2^(width-1), 2^(width-1) - 1] for i < TC_SCALAR_DIGITS(bits, width), with
 * sum of digits[i] * 2^(width * i) = the number in `limbs`, which is less than 2^bits. 4 <= width <= 8,
 * 1 <= bits <= 256; (bits + 63) / 64 limbs are read. The top digit is never negative. */
void tc_scalar_digits(int8_t *digits, const uint64_t *limbs, unsigned bits, unsigned width);

/* Non-adjacent form: sum of naf[i] * 2^i = a, every digit is 0 or odd with |naf[i]| < 2^(width-1), and of any `width`
 * digits in a row at most one is not 0. 2 <= width <= 8. All 257 are written; those from 254 on are 0. The result is
 * the number of digits up to the last that is not 0, i.e. 0 for a = 0. */
size_t tc_scalar_naf(int8_t naf[TC_SCALAR_NAF_BYTES], const tc_scalar *a, unsigned width);
