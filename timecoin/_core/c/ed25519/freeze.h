/* One field element outside the lanes: five signed limbs of radix 2^51 and what needs the one canonical value.
 *
 * Every backend hands its lanes over in this form; it is where bytes, signs and zeros are looked at. */
#pragma once

#include <stdint.h>
#include <string.h>

#define FE_LIMBS 5
#define FE_MASK ((1ULL << 51) - 1)

/* The canonical limbs (0 <= value < p, each limb < 2^51) of the element with these limbs, |limb| < 2^62. */
static inline void limbs_freeze(uint64_t out[FE_LIMBS], const int64_t in[FE_LIMBS]) {
    int64_t limb[FE_LIMBS];
    memcpy(limb, in, sizeof limb);
    /* The first pass leaves limbs 1..4 in 0..2^51 - 1 and less than 2^17 in excess in limb 0; the second one carries at
     * most one from there to the top. A carry of -1 from the top leaves limb 4 at 2^51 - 1, so that the value is now from
     * 0 to 2^255 + 18. */
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < FE_LIMBS; i++) {
            int64_t carry = limb[i] >> 51;
            limb[i] &= (int64_t)FE_MASK;
            if (i + 1 < FE_LIMBS) {
                limb[i + 1] += carry;
            } else {
                limb[0] += 19 * carry;
            }
        }
    }
    /* Adding 19 and dropping the bit 2^255 subtracts p from what is at least p. */
    for (int pass = 0; pass < 2; pass++) {
        int64_t carry = (limb[0] + 19) >> 51;
        for (int i = 1; i < FE_LIMBS; i++) {
            carry = (limb[i] + carry) >> 51;
        }
        limb[0] += 19 * carry;
        for (int i = 0; i + 1 < FE_LIMBS; i++) {
            limb[i + 1] += limb[i] >> 51;
            limb[i] &= (int64_t)FE_MASK;
        }
        limb[4] &= (int64_t)FE_MASK;
    }
    for (int i = 0; i < FE_LIMBS; i++) {
        out[i] = (uint64_t)limb[i];
    }
}

/* The limbs of the low 255 bits of 32 bytes, little-endian; a value of p or more is kept as it is. */
static inline void limbs_from_bytes(uint64_t out[FE_LIMBS], const uint8_t bytes[32]) {
    uint64_t word[4];
    for (int i = 0; i < 4; i++) {
        word[i] = 0;
        for (int j = 7; j >= 0; j--) {
            word[i] = word[i] << 8 | bytes[8 * i + j];
        }
    }
    out[0] = word[0] & FE_MASK;
    out[1] = (word[0] >> 51 | word[1] << 13) & FE_MASK;
    out[2] = (word[1] >> 38 | word[2] << 26) & FE_MASK;
    out[3] = (word[2] >> 25 | word[3] << 39) & FE_MASK;
    out[4] = (word[3] >> 12) & FE_MASK;
}
