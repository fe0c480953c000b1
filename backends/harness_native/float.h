/* The constants of the templates for float. */

#define real float
#define bits uint32_t
#define signed_bits int32_t
#define NAME(name) name##_f32
/* 1.5 * 2^23: adding it rounds to an integer, which is then in the low bits */
#define ROUND_BY 12582912.0f
#define LN2_HIGH 0.693359375
#define LN2_LOW -2.12194440054690583e-4
#define EXPONENT_BIAS 127
#define EXPONENT_SHIFT 23
#define LARGEST_EXPONENT 87.0f
#define SATURATED 20.0f
#define SQUARE_ROOT sqrtf
#define LAST_COEFFICIENT (1.0 / 5040)
#define TAYLOR_TERMS TERM(720) TERM(120) TERM(24) TERM(6) TERM(2)
#define LOG_TERMS 8
