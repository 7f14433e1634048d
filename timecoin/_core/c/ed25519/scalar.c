#include "scalar.h"

#include <string.h>

__extension__ typedef unsigned __int128 u128;

/* L = 2^252 + C. So 2^252 is -C, and a long number is folded by taking C times its upper part from the lower one. */
#define C0 0x5812631a5cf5d3edULL
#define C1 0x14def9dea2f79cd6ULL
#define L3 0x1000000000000000ULL
#define MASK_248 0x00ffffffffffffffULL /* of the fourth limb */
#define MASK_252 0x0fffffffffffffffULL
#define MASK_253 0x1fffffffffffffffULL

static const uint64_t ORDER[4] = {C0, C1, 0, L3};
static const uint64_t TWICE_ORDER[4] = {C0 << 1, C1 << 1 | C0 >> 63, 0, L3 << 1};

static inline uint64_t load_le64(const uint8_t *p) {
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* a + b + *carry, with the new carry (0 or 1) in *carry. */
static inline uint64_t add_carry(uint64_t a, uint64_t b, uint64_t *carry) {
    u128 t = (u128)a + b + *carry;
    *carry = (uint64_t)(t >> 64);
    return (uint64_t)t;
}

static inline uint64_t sub_borrow(uint64_t a, uint64_t b, uint64_t *borrow) {
    u128 t = (u128)a - b - *borrow;
    *borrow = (uint64_t)(t >> 64) & 1;
    return (uint64_t)t;
}

/* a * b + c + *carry fits 128 bits: the low half is the result, the high half the new carry. */
static inline uint64_t mul_carry(uint64_t a, uint64_t b, uint64_t c, uint64_t *carry) {
    u128 t = (u128)a * b + c + *carry;
    *carry = (uint64_t)(t >> 64);
    return (uint64_t)t;
}

/* out = a - b, and the borrow. */
static inline uint64_t sub4(uint64_t out[4], const uint64_t a[4], const uint64_t b[4]) {
    uint64_t borrow = 0;
    out[0] = sub_borrow(a[0], b[0], &borrow);
    out[1] = sub_borrow(a[1], b[1], &borrow);
    out[2] = sub_borrow(a[2], b[2], &borrow);
    out[3] = sub_borrow(a[3], b[3], &borrow);
    return borrow;
}

/* out = a + b where the condition holds, else a; what leaves the top limb is dropped. */
static inline void add4_if(uint64_t out[4], const uint64_t a[4], const uint64_t b[4], uint64_t condition) {
    uint64_t carry = 0, mask = 0 - condition;
    out[0] = add_carry(a[0], b[0] & mask, &carry);
    out[1] = add_carry(a[1], b[1] & mask, &carry);
    out[2] = add_carry(a[2], b[2] & mask, &carry);
    out[3] = a[3] + (b[3] & mask) + carry;
}

/* out = a - L where a is not less than L. For a < 2 L. */
static inline void reduce_once(tc_scalar *out, const uint64_t a[4]) {
    uint64_t less[4];
    uint64_t borrow = sub4(less, a, ORDER);
    add4_if(out->limb, less, ORDER, borrow);
}

/* out = a * (y0 + 2^64 * y1), of n + 2 limbs. */
static inline void mul_2(uint64_t *out, const uint64_t *a, int n, uint64_t y0, uint64_t y1) {
    uint64_t carry = 0;
    for (int i = 0; i < n; i++) {
        out[i] = mul_carry(a[i], y0, 0, &carry);
    }
    out[n] = carry;
    carry = 0;
    for (int i = 0; i < n; i++) {
        out[i + 1] = mul_carry(a[i], y1, out[i + 1], &carry);
    }
    out[n + 1] = carry;
}

int tc_scalar_read(tc_scalar *out, const uint8_t bytes[32]) {
    uint64_t a[4], unused[4];
    for (int i = 0; i < 4; i++) {
        a[i] = load_le64(bytes + 8 * i);
    }
    if (a[3] >= L3 && !sub4(unused, a, ORDER)) {
        return 0;
    }
    memcpy(out->limb, a, sizeof a);
    return 1;
}

/* x = low + 2^256 * high, and 2^256 is -16 C. The product C * high is below 2^380.4, and 16 times it is split at bit
 * 252, which is bit 248 of the product: x = low - 16 (product mod 2^248) + C * (product >> 248). One more L keeps this
 * from being negative; then it is below 2^258, and what is above bit 252 is small. */
static void reduce_512(tc_scalar *out, const uint64_t x[8]) {
    uint64_t product[6], folded[5], borrow = 0, carry = 0;
    mul_2(product, x + 4, 4, C0, C1);
    uint64_t upper[3] = {
        product[3] >> 56 | product[4] << 8,
        product[4] >> 56 | product[5] << 8,
        product[5] >> 56,
    };
    uint64_t lower[4] = {
        product[0] << 4,
        product[1] << 4 | product[0] >> 60,
        product[2] << 4 | product[1] >> 60,
        (product[3] & MASK_248) << 4 | product[2] >> 60,
    };
    mul_2(folded, upper, 3, C0, C1);
    sub4(lower, ORDER, lower); /* lower < 2^252 < L */
    for (int i = 0; i < 4; i++) {
        folded[i] = add_carry(folded[i], lower[i], &carry);
    }
    folded[4] += carry;
    carry = 0;
    for (int i = 0; i < 4; i++) {
        folded[i] = add_carry(folded[i], x[i], &carry);
    }
    folded[4] += carry;

    uint64_t top = folded[3] >> 60 | folded[4] << 4, high = 0;
    uint64_t c_top = mul_carry(C0, top, 0, &high);
    folded[0] = sub_borrow(folded[0], c_top, &borrow);
    c_top = mul_carry(C1, top, 0, &high);
    folded[1] = sub_borrow(folded[1], c_top, &borrow);
    folded[2] = sub_borrow(folded[2], high, &borrow);
    folded[3] = sub_borrow(folded[3] & MASK_252, 0, &borrow);
    add4_if(out->limb, folded, ORDER, borrow);
}

void tc_scalar_reduce(tc_scalar *out, const uint8_t bytes[64]) {
    uint64_t x[8];
    for (int i = 0; i < 8; i++) {
        x[i] = load_le64(bytes + 8 * i);
    }
    reduce_512(out, x);
}

void tc_scalar_add(tc_scalar *out, const tc_scalar *a, const tc_scalar *b) {
    uint64_t sum[4], carry = 0;
    for (int i = 0; i < 4; i++) {
        sum[i] = add_carry(a->limb[i], b->limb[i], &carry);
    }
    reduce_once(out, sum);
}

void tc_scalar_negate(tc_scalar *out, const tc_scalar *a) {
    if ((a->limb[0] | a->limb[1] | a->limb[2] | a->limb[3]) == 0) {
        *out = *a;
        return;
    }
    sub4(out->limb, ORDER, a->limb);
}

/* The product is below 2^381; split at bit 253, where 2^253 is -2 C, both parts of the difference are below 2 L. */
void tc_scalar_mul128(tc_scalar *out, const tc_scalar *a, const uint64_t z[2]) {
    uint64_t product[6], folded[4];
    mul_2(product, a->limb, 4, z[0], z[1]);
    uint64_t upper[2] = {product[3] >> 61 | product[4] << 3, product[4] >> 61 | product[5] << 3};
    product[3] &= MASK_253;
    mul_2(folded, upper, 2, C0 << 1, C1 << 1 | C0 >> 63);
    uint64_t borrow = sub4(folded, product, folded);
    add4_if(folded, folded, TWICE_ORDER, borrow);
    reduce_once(out, folded);
}

void tc_scalar_sum_add(tc_scalar_sum *sum, const tc_scalar *a, const uint64_t z[2]) {
    uint64_t product[6], carry = 0;
    mul_2(product, a->limb, 4, z[0], z[1]);
    for (int i = 0; i < 6; i++) {
        sum->limb[i] = add_carry(sum->limb[i], product[i], &carry);
    }
    sum->limb[6] += carry;
}

void tc_scalar_sum_finish(tc_scalar *out, const tc_scalar_sum *sum) {
    uint64_t x[8] = {0};
    memcpy(x, sum->limb, sizeof sum->limb);
    reduce_512(out, x);
}

/* For widths 4 to 8: half a window, 2^(width-1), in every window. Added to the number it makes every digit the window
 * less a half, with all carries done by the one addition. What stands in windows above the last has no effect. */
static const uint64_t HALVES[5][5] = {
    {0x8888888888888888, 0x8888888888888888, 0x8888888888888888, 0x8888888888888888, 0x8888888888888888},
    {0x0842108421084210, 0x1084210842108421, 0x2108421084210842, 0x4210842108421084, 0x8421084210842108},
    {0x0820820820820820, 0x2082082082082082, 0x8208208208208208, 0x0820820820820820, 0x2082082082082082},
    {0x4081020408102040, 0x2040810204081020, 0x1020408102040810, 0x0810204081020408, 0x0408102040810204},
    {0x8080808080808080, 0x8080808080808080, 0x8080808080808080, 0x8080808080808080, 0x8080808080808080},
};

#define EVERY_BYTE 0x0101010101010101ULL

/* Eight digits from the eight windows at the low end of `windows`: one in each byte of the result. */
static inline uint64_t spread(uint64_t windows, unsigned width) {
    uint64_t x = windows;
    uint64_t quarter = ((uint64_t)1 << (4 * width)) - 1;
    uint64_t pair = (((uint64_t)1 << (2 * width)) - 1) * 0x0000000100000001ULL;
    uint64_t each = (((uint64_t)1 << width) - 1) * 0x0001000100010001ULL;
    x = (x & quarter) | (x >> (4 * width)) << 32;
    x = (x & pair) | (x & pair << (2 * width)) << (16 - 2 * width);
    x = (x & each) | (x & each << width) << (8 - width);
    x &= (((uint64_t)1 << width) - 1) * EVERY_BYTE;
    /* Bytewise x - half: the bit set in every byte beforehand takes the borrow, and comes out as the inverted sign. */
    uint64_t half = ((uint64_t)1 << (width - 1)) * EVERY_BYTE;
    return width == 8 ? x ^ half : ((x | 0x80 * EVERY_BYTE) - half) ^ 0x80 * EVERY_BYTE;
}

static inline void store_le64(int8_t *p, uint64_t x) {
    p[0] = (int8_t)x;
    p[1] = (int8_t)(x >> 8);
    p[2] = (int8_t)(x >> 16);
    p[3] = (int8_t)(x >> 24);
    p[4] = (int8_t)(x >> 32);
    p[5] = (int8_t)(x >> 40);
    p[6] = (int8_t)(x >> 48);
    p[7] = (int8_t)(x >> 56);
}

static inline void write_digits(int8_t *digits, const uint64_t *limbs, unsigned bits, unsigned width) {
    uint64_t x[6] = {0}, carry = 0;
    unsigned count = TC_SCALAR_DIGITS(bits, width), bit = 0;
    for (unsigned i = 0; i < (bits + 63) / 64; i++) {
        x[i] = limbs[i];
    }
    for (int i = 0; i < 5; i++) {
        x[i] = add_carry(x[i], HALVES[width - 4][i], &carry);
    }
    for (; count > 0; bit += 8 * width) {
        const uint64_t *at = x + bit / 64;
        uint64_t part = spread(at[0] >> bit % 64 | at[1] << 1 << (63 - bit % 64), width);
        if (count < 8) {
            for (unsigned i = 0; i < count; i++) {
                digits[i] = (int8_t)(part >> (8 * i));
            }
            return;
        }
        store_le64(digits, part);
        digits += 8;
        count -= 8;
    }
}

void tc_scalar_digits(int8_t *digits, const uint64_t *limbs, unsigned bits, unsigned width) {
    /* Known widths turn shifts and masks into constants. */
    switch (width) {
    case 4:
        write_digits(digits, limbs, bits, 4);
        break;
    case 5:
        write_digits(digits, limbs, bits, 5);
        break;
    case 6:
        write_digits(digits, limbs, bits, 6);
        break;
    case 7:
        write_digits(digits, limbs, bits, 7);
        break;
    default:
        write_digits(digits, limbs, bits, 8);
        break;
    }
}

/* `carry` is what the digits so far owe to the bits above. A run of bits equal to it gives digits 0. */
size_t tc_scalar_naf(int8_t naf[TC_SCALAR_NAF_BYTES], const tc_scalar *a, unsigned width) {
    uint64_t x[6] = {a->limb[0], a->limb[1], a->limb[2], a->limb[3], 0, 0};
    uint64_t carry = 0, window = (uint64_t)1 << width;
    size_t bit = 0, length = 0;
    memset(naf, 0, TC_SCALAR_NAF_BYTES);
    while (bit < TC_SCALAR_BITS + 1) {
        uint64_t bits = x[bit / 64] >> bit % 64 | x[bit / 64 + 1] << 1 << (63 - bit % 64);
        uint64_t changed = bits ^ (0 - carry);
        if (changed == 0) {
            bit += 64;
            continue;
        }
        unsigned skip = (unsigned)__builtin_ctzll(changed);
        if (skip > 64 - width) { /* the window is not all here */
            bit += skip;
            continue;
        }
        int digit = (int)(((bits >> skip) & (window - 1)) + carry);
        carry = (uint64_t)digit >> (width - 1) & 1;
        bit += skip;
        naf[bit] = (int8_t)(carry ? digit - (int)window : digit);
        length = bit + 1;
        bit += width;
    }
    return length;
}

static unsigned bits_of(const uint64_t a[4]) {
    for (unsigned i = 4; i-- > 0;) {
        if (a[i]) {
            return 64 * i + 64 - (unsigned)__builtin_clzll(a[i]);
        }
    }
    return 0;
}

/* out = a * 2^shift over `limbs` limbs; what passes the top is dropped. */
static void shift_left(uint64_t *out, const uint64_t *a, unsigned limbs, unsigned shift) {
    unsigned words = shift / 64, bits = shift % 64;
    for (unsigned i = limbs; i-- > 0;) {
        uint64_t high = i >= words ? a[i - words] : 0, low = i > words ? a[i - words - 1] : 0;
        out[i] = bits ? high << bits | low >> (64 - bits) : high;
    }
}

/* Euclid's algorithm on L and k, stopped half-way. Every remainder is r = +-t k mod L with signs in turn, and t times
 * the remainder before is at most L: with the first r below 0.3125 * 2^128, t is below L / (0.3125 * 2^128) < 2^126. A
 * division is done by subtracting shifted divisors, and t follows it. */
int tc_scalar_halve(uint64_t u[2], uint64_t v[2], const tc_scalar *k) {
    uint64_t dividend[4], divisor[4], t0[2] = {0, 0}, t1[2] = {1, 0};
    int negative = 0;
    memcpy(dividend, ORDER, sizeof dividend);
    memcpy(divisor, k->limb, sizeof divisor);
    while (divisor[3] || divisor[2] || divisor[1] >= 0x5000000000000000U) {
        unsigned size = bits_of(divisor), dividend_size;
        while ((dividend_size = bits_of(dividend)) >= size) {
            unsigned shift = dividend_size - size;
            uint64_t shifted[4], difference[4], step[2], carry = 0;
            shift_left(shifted, divisor, 4, shift);
            if (sub4(difference, dividend, shifted)) {
                if (shift-- == 0) {
                    break;
                }
                shift_left(shifted, divisor, 4, shift);
                sub4(difference, dividend, shifted);
            }
            memcpy(dividend, difference, sizeof dividend);
            shift_left(step, t1, 2, shift);
            t0[0] = add_carry(t0[0], step[0], &carry);
            t0[1] = add_carry(t0[1], step[1], &carry);
        }
        uint64_t swapped[4];
        memcpy(swapped, dividend, sizeof swapped);
        memcpy(dividend, divisor, sizeof dividend);
        memcpy(divisor, swapped, sizeof divisor);
        memcpy(swapped, t0, sizeof t0);
        memcpy(t0, t1, sizeof t0);
        memcpy(t1, swapped, sizeof t1);
        negative = !negative;
    }
    memcpy(u, t1, sizeof t1);
    memcpy(v, divisor, 2 * sizeof *v);
    return negative;
}
