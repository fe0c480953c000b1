/* The recurrence of one layer, forward and reverse, for float and double. Called through ctypes and XLA's FFI; knows neither.

   Plain C11 with GCC's vector extensions, for GCC and Clang on any CPU that has vectors; built on the machine that runs it. */

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

static int gates_of(const Layer *layer) { return layer->cell == LSTM ? 4 : layer->cell == GRU ? 3 : 1; }

/* The rows of a tile that fit the registers beside the vectors of the panel and one of A. */
static int most_rows(int vectors) {
    if (REGISTERS == 16)
        return vectors == 4 ? 3 : vectors == 3 ? 4 : 6;
    return vectors == 3 ? 8 : 6;
}

#define real float
#define bits uint32_t
#define NAME(name) name##_f32
#define ROUND_BY 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer, which is then in the low bits */
#define LN2_HIGH 0.693359375
#define LN2_LOW -2.12194440054690583e-4
#define EXPONENT_BIAS 127
#define EXPONENT_SHIFT 23
#define LARGEST_EXPONENT 87.0f
#define SATURATED 20.0f
#define LAST_COEFFICIENT (1.0 / 5040)
#define TAYLOR_TERMS TERM(720) TERM(120) TERM(24) TERM(6) TERM(2)
#include "simd.h"
#include "product.h"
#include "multiply.h"
#include "layer.h"
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
#define LAST_COEFFICIENT (1.0 / 6227020800)
#define TAYLOR_TERMS \
    TERM(479001600) TERM(39916800) TERM(3628800) TERM(362880) TERM(40320) TERM(5040) TERM(720) TERM(120) TERM(24) TERM(6) TERM(2)
#include "simd.h"
#include "product.h"
#include "multiply.h"
#include "layer.h"

int harness_forward(const Layer *layer) { return layer->is_double ? run_f64(layer, 0) : run_f32(layer, 0); }

int harness_reverse(const Layer *layer) { return layer->is_double ? run_f64(layer, 1) : run_f32(layer, 1); }

int harness_multiply(const Product *product) { return product->is_double ? multiply_f64(product) : multiply_f32(product); }
