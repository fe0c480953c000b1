/* The constants of the templates for double. */

#define real double
#define bits uint64_t
#define signed_bits int64_t
#define NAME(name) name##_f64
#define ROUND_BY 6755399441055744.0 /* 1.5 * 2^52 */
#define LN2_HIGH 6.93145751953125e-1
#define LN2_LOW 1.42860682030941723212e-6
#define EXPONENT_BIAS 1023
#define EXPONENT_SHIFT 52
#define LARGEST_EXPONENT 707.0
#define SATURATED 40.0
#define SQUARE_ROOT sqrt
#define LAST_COEFFICIENT (1.0 / 6227020800)
#define TAYLOR_TERMS                                                                               \
    TERM(479001600)                                                                                \
    TERM(39916800) TERM(3628800) TERM(362880) TERM(40320) TERM(5040) TERM(720) TERM(120) TERM(24)  \
        TERM(6) TERM(2)
#define LOG_TERMS 17
