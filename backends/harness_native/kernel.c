/* The recurrence of one layer, forward and reverse, for float and double. Called through ctypes and
   XLA's FFI; knows neither.

   Plain C11 with GCC's vector extensions, for GCC and Clang on any CPU with vectors. It is built on
   the machine that runs it. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "kernel.h"
#include "pool.h"

#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64, REGISTERS = 32 };
#elif defined(__AVX__)
enum { VECTOR_BYTES = 32, REGISTERS = 16 };
#elif defined(__aarch64__)
enum { VECTOR_BYTES = 16, REGISTERS = 32 };
#else
enum { VECTOR_BYTES = 16, REGISTERS = 16 };
#endif

enum { MOST_VECTORS = 4, MOST_ROWS = 8, PANEL_BYTES = 128 * 1024, DEPTH = 256, HEIGHT = 240 };

/* A strided matrix: element (i, j) at data[i * row + j * column]. */
typedef struct {
    const void *data;
    ptrdiff_t row, column;
} Matrix;

static int gates_of(const Layer *layer) {
    return layer->cell == LSTM ? 4 : layer->cell == GRU ? 3 : 1;
}

/* The rows of a tile that fit the registers together with the panel's vectors and one of A. */
static int most_rows(int vectors) {
    if (REGISTERS == 16)
        return vectors == 4 ? 3 : vectors == 3 ? 4 : 6;
    return vectors == 3 ? 8 : 6;
}

#define real float
#define bits uint32_t
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
#include "simd.h"
#include "product.h"
#include "multiply.h"
#include "layer.h"
#include "dense.h"
#include "undefine.h"

#define real double
#define bits uint64_t
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
#include "simd.h"
#include "product.h"
#include "multiply.h"
#include "layer.h"
#include "dense.h"

int harness_forward(const Layer *layer) {
    return layer->is_double ? run_f64(layer, 0) : run_f32(layer, 0);
}

int harness_reverse(const Layer *layer) {
    return layer->is_double ? run_f64(layer, 1) : run_f32(layer, 1);
}

int harness_multiply(const Product *product) {
    return product->is_double ? multiply_f64(product) : multiply_f32(product);
}

void harness_transpose(int64_t is_double, const void *x, int64_t rows, int64_t columns,
                       const void *bias, void *out) {
    is_double ? transpose_f64(x, rows, columns, bias, out)
              : transpose_f32(x, rows, columns, bias, out);
}

int harness_sum_by_token(int64_t is_double, const void *x, const int64_t *tokens, int64_t rows,
                         int64_t width, int64_t vocabulary, void *d_weight, void *d_bias) {
    return (is_double ? sum_by_token_f64(x, tokens, rows, width, vocabulary, d_weight, d_bias)
                      : sum_by_token_f32(x, tokens, rows, width, vocabulary, d_weight, d_bias));
}

void harness_column_sums(int64_t is_double, const void *x, int64_t rows, int64_t columns,
                         void *out) {
    is_double ? column_sums_f64(x, rows, columns, out) : column_sums_f32(x, rows, columns, out);
}

double harness_cross_entropy(int64_t is_double, void *logits, const int64_t *targets, int64_t rows,
                             int64_t classes, double scored) {
    return is_double ? cross_entropy_f64(logits, targets, rows, classes, scored)
                     : cross_entropy_f32(logits, targets, rows, classes, scored);
}

void harness_adam(const Adam *rule, void *p, const void *g, void *m, void *s) {
    rule->is_double ? adam_f64(rule, p, g, m, s) : adam_f32(rule, p, g, m, s);
}
