/* What the kernel and the libraries of the cells share. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "kernel.h"

#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64, REGISTERS = 32 };
#elif defined(__AVX__)
enum { VECTOR_BYTES = 32, REGISTERS = 16 };
#elif defined(__aarch64__)
enum { VECTOR_BYTES = 16, REGISTERS = 32 };
#else
enum { VECTOR_BYTES = 16, REGISTERS = 16 };
#endif

enum { MOST_VECTORS = 4, MOST_ROWS = 8, MOST_THREADS = 64, PANEL_BYTES = 128 * 1024 };
enum { TILE = MOST_ROWS * MOST_VECTORS }; /* vectors */

/* A strided matrix: element (i, j) at data[i * row + j * column]. */
typedef struct {
    const void *data;
    ptrdiff_t row, column;
} Matrix;

/* What a cell's library takes from the kernel; for float at 0, for double at 1. */
typedef struct {
    void (*in_parallel)(void (*work)(void *, int, int), void *argument, int parts);
    int (*multiply)(const Product *product);
    void (*pack)(int64_t is_double, Matrix b, ptrdiff_t depth, ptrdiff_t columns, void *packed);
    void (*column_sums)(int64_t is_double, const void *x, int64_t rows, int64_t columns,
                        int64_t stride, void *out);
    const void *products[2]; /* [vectors - 1][rows - 1], see product.h */
} Base;

/* The rows of a tile that fit the registers together with the panel's vectors and one of A. */
static inline int most_rows(int vectors) {
    if (REGISTERS == 16)
        return vectors == 4 ? 3 : vectors == 3 ? 4 : 6;
    return vectors == 3 ? 8 : 6;
}

/* The number of parts into which to split `items`: one per thread. It sizes the scratch space. */
static inline int parts_of(int64_t threads, int64_t items) {
    int64_t parts = threads < items ? threads : items;
    return (int)(parts < MOST_THREADS ? parts : MOST_THREADS);
}
