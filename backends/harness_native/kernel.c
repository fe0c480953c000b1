/* Products, and the rest of a training step except the recurrence, for float and double. Called
   through ctypes, and by the libraries of the cells; knows no cell.

   Plain C11 with GCC's vector extensions, for GCC and Clang on any CPU with vectors. It is built on
   the machine that runs it. */

#ifndef real /* the file includes itself once for each type */

#include "common.h"
#include "pool.h"

enum { DEPTH = 256, HEIGHT = 240 };

#include "float.h"
#include __FILE__
#include "undefine.h"

#include "double.h"
#include __FILE__

static void strided_column_sums(int64_t is_double, const void *x, int64_t rows, int64_t columns,
                                int64_t stride, void *out) {
    is_double ? column_sums_f64(x, rows, columns, stride, out)
              : column_sums_f32(x, rows, columns, stride, out);
}

static void packed(int64_t is_double, Matrix b, ptrdiff_t depth, ptrdiff_t columns, void *out) {
    is_double ? pack_f64(b, depth, columns, out) : pack_f32(b, depth, columns, out);
}

const void *harness_base(void) {
    static const Base base = {in_parallel, harness_multiply, packed, strided_column_sums,
                              {products_f32, products_f64}};
    return &base;
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
    strided_column_sums(is_double, x, rows, columns, columns, out);
}

double harness_cross_entropy(int64_t is_double, void *logits, const int64_t *targets, int64_t rows,
                             int64_t classes, double scored) {
    return is_double ? cross_entropy_f64(logits, targets, rows, classes, scored)
                     : cross_entropy_f32(logits, targets, rows, classes, scored);
}

void harness_adam(const Adam *rule, void *p, const void *g, void *m, void *s) {
    rule->is_double ? adam_f64(rule, p, g, m, s) : adam_f32(rule, p, g, m, s);
}

#else

#include "simd.h"
#include "product.h"
#include "multiply.h"
#include "dense.h"

#endif
