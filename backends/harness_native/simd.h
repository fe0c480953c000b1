/* Vectors of one element type, and the functions of a cell's step on them. A template: included
   once for float and once for double, after float.h or double.h.
   GCC's and Clang's vector extensions; intrinsics only if a compiler makes poor code of the
   portable form, which follows each. */

#define LANES ((int)(VECTOR_BYTES / sizeof(real)))
#define vec NAME(vec)
#define ivec NAME(ivec)
#define svec NAME(svec)

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef bits ivec __attribute__((vector_size(VECTOR_BYTES)));
typedef signed_bits svec __attribute__((vector_size(VECTOR_BYTES)));

/* A tile (M rows, N vectors) plus a product, see product.h. */
typedef void NAME(product)(vec *, const real *, ptrdiff_t, ptrdiff_t, ptrdiff_t, const vec *);

static inline vec NAME(splat)(real x) { return x - (vec){0}; }

/* The first n elements at p, zeros after them. */
static inline vec NAME(load)(const real *p, int n) {
    vec x = {0};
    if (n == LANES) {
        memcpy(&x, p, sizeof x);
        return x;
    }
#ifdef __AVX512F__
    if (sizeof(real) == 4)
        return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
#else
    for (int i = 0; i < n; i++)
        x[i] = p[i];
    return x;
#endif
}

static inline void NAME(store)(real *p, vec x, int n) {
    if (n == LANES) {
        memcpy(p, &x, sizeof x);
        return;
    }
#ifdef __AVX512F__
    if (sizeof(real) == 4)
        _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x);
    else
        _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)x);
#else
    for (int i = 0; i < n; i++)
        p[i] = x[i];
#endif
}

/* The larger of x and a bound; NaN where x is. */
static inline vec NAME(at_least)(vec x, real bound) {
#ifdef __AVX512F__
    if (sizeof(real) == 4)
        return (vec)_mm512_max_ps((__m512)NAME(splat)(bound), (__m512)x);
    return (vec)_mm512_max_pd((__m512d)NAME(splat)(bound), (__m512d)x);
#else
    ivec below = (ivec)(x < NAME(splat)(bound));
    return (vec)((below & (ivec)NAME(splat)(bound)) | (~below & (ivec)x));
#endif
}

/* The smaller of x and a bound; NaN where x is. */
static inline vec NAME(at_most)(vec x, real bound) {
#ifdef __AVX512F__
    if (sizeof(real) == 4)
        return (vec)_mm512_min_ps((__m512)NAME(splat)(bound), (__m512)x);
    return (vec)_mm512_min_pd((__m512d)NAME(splat)(bound), (__m512d)x);
#else
    return -NAME(at_least)(-x, -bound);
#endif
}

/* x / y. A division of floats takes as long as ten products, so float uses x times an estimate of
 * 1 / y, and one Newton step on the quotient. The residual is exact: the error stays below one unit
 * in the last place, however a processor rounds its estimate. */
static inline vec NAME(divided)(vec x, vec y) {
#ifdef __AVX512F__
    if (sizeof(real) == 4) {
        __m512 estimate = _mm512_rcp14_ps((__m512)y), q = _mm512_mul_ps((__m512)x, estimate);
        return (vec)_mm512_fmadd_ps(_mm512_fnmadd_ps((__m512)y, q, (__m512)x), estimate, q);
    }
#endif
    return x / y;
}

/* e^x - 1 = scale * p + (scale - 1) with scale = 2^n and p = e^r - 1, r = x - n ln 2, |r| <= ln(2)
   / 2: Taylor's series, whose remainder is below a fifth of the last place of p. x must lie where
   2^n is a normal number. */
static inline vec NAME(expm1_parts)(vec x, vec *scale) {
    vec n = x * (real)1.4426950408889634 + ROUND_BY;
    ivec exponent = (ivec)n;
    n -= ROUND_BY;
    vec r = x - n * (real)LN2_HIGH;
    r -= n * (real)LN2_LOW;
    *scale = (vec)((exponent + EXPONENT_BIAS) << EXPONENT_SHIFT);
    vec p = NAME(splat)((real)LAST_COEFFICIENT);
#define TERM(k) p = p * r + (real)(1.0 / k);
    TAYLOR_TERMS
#undef TERM
    return p * (r * r) + r;
}

/* 1 / (1 + e^-x). */
static inline vec NAME(sigmoid)(vec x) {
    vec scale, p = NAME(expm1_parts)(
                   NAME(at_most)(NAME(at_least)(-x, -LARGEST_EXPONENT), LARGEST_EXPONENT), &scale);
    return NAME(divided)(NAME(splat)(1), 1 + (scale * p + scale));
}

/* (e^2x - 1) / (e^2x + 1): exact to a few units in the last place near 0 too, since e^2x - 1 is. */
static inline vec NAME(tanh)(vec x) {
    vec scale,
        p = NAME(expm1_parts)(NAME(at_most)(NAME(at_least)(x + x, -SATURATED), SATURATED), &scale);
    vec e = scale * p + (scale - 1);
    return NAME(divided)(e, e + 2);
}

/* e^x, as the square of e^(x / 2): so it overflows to infinity, and to 0. */
static inline vec NAME(exp)(vec x) {
    vec half = NAME(at_most)(NAME(at_least)(x * (real)0.5, -LARGEST_EXPONENT), LARGEST_EXPONENT);
    vec scale, p = NAME(expm1_parts)(half, &scale);
    vec e = scale * p + scale;
    return e * e;
}

/* Where the mask is set a, else b. */
static inline vec NAME(chosen)(ivec mask, vec a, vec b) {
    return (vec)((mask & (ivec)a) | (~mask & (ivec)b));
}

/* 2 artanh(s) = log((1 + s) / (1 - s)), for |s| <= 1/3. */
static inline vec NAME(log_quotient)(vec s) {
    vec square = s * s, sum = {0};
    _Pragma("GCC unroll 32") for (int k = LOG_TERMS; k > 0; k--) sum =
        (sum + (real)(1.0 / (2 * k + 1))) * square;
    return 2 * s + 2 * s * sum;
}

/* log(x) = k log 2 + log(m), x = 2^k m, with m between sqrt(1/2) and sqrt(2). Numbers too small to
   be normal are taken for others as small. */
static inline vec NAME(log)(vec x) {
    const real half = (real)0.70710678118654752;
    bits begin;
    memcpy(&begin, &half, sizeof half);
    svec k = (svec)((ivec)x - begin) >> EXPONENT_SHIFT;
    vec m = (vec)((svec)x - (k << EXPONENT_SHIFT)), power = __builtin_convertvector(k, vec);
    vec y = NAME(log_quotient)((m - 1) / (m + 1)) + power * (real)LN2_LOW;
    y = power * (real)LN2_HIGH + y;
    y = NAME(chosen)((ivec)(x == (real)HUGE_VAL), x, y);
    y = NAME(chosen)((ivec)(x == 0), NAME(splat)((real)-HUGE_VAL), y);
    return NAME(chosen)((ivec)(x >= 0), y, NAME(splat)((real)NAN));
}

static inline vec NAME(sqrt)(vec x) {
    for (int lane = 0; lane < LANES; lane++)
        x[lane] = SQUARE_ROOT(x[lane]);
    return x;
}

static inline vec NAME(absolute)(vec x) { return (vec)((ivec)x & ((bits)-1 >> 1)); }

static inline vec NAME(relu)(vec x) { return NAME(at_least)(x, 0); }

/* 1 where x > 0, else 0. */
static inline vec NAME(positive)(vec x) { return (vec)((ivec)(x > 0) & (ivec)NAME(splat)(1)); }

/* d where x > 0, else 0. */
static inline vec NAME(where_positive)(vec d, vec x) { return (vec)((ivec)d & (ivec)(x > 0)); }

static inline vec NAME(sign)(vec x) { return NAME(positive)(x) - NAME(positive)(-x); }

static inline vec NAME(maximum)(vec a, vec b) {
    return NAME(chosen)((ivec)(a > b) | (ivec)(a != a), a, b);
}

/* log(1 + e^x), without overflow. */
static inline vec NAME(softplus)(vec x) {
    vec e = NAME(exp)(-NAME(absolute)(x));
    return NAME(relu)(x) + NAME(log_quotient)(e / (2 + e));
}
