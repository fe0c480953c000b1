/* The kernel's interface. `harness_native.library` mirrors the structs for ctypes. */

#include <stdint.h>

enum { MOST = 32 }; /* states, products, vectors and further kept values of a cell, each */

/* One layer of a cell. Arrays are contiguous, of float or double, time-major: T = steps, B = batch,
   H = hidden, G gates, n pieces of a product. Two arrays may overlap only if a comment says so.
   Which arrays a cell needs is in the source that was generated for it. */
typedef struct {
    int64_t is_double, steps, batch, hidden, threads;
    const void *zx; /* (T, B, G * H), the input product with bias_ih; or, with tokens, a row (G * H)
                       for each */
    const int64_t *tokens; /* (T, B): zx of a step is the row of this token; or NULL */
    void *gates; /* (T, B, G * H), values kept for the reverse; may be a zx without tokens */
    /* Backwards: */
    const void *d_direct; /* (T, B, H), d loss / d h_t past this layer's recurrence */
    void *d_total; /* (T, B, H), d loss / d h_t; may be d_direct, or NULL if not wanted */
    void *d_zx;    /* (T, B, G * H); may be gates */
    /* Per state. */
    const void *initial[MOST]; /* (B, H) */
    void *states[MOST];        /* (T, B, H), the states after each step */
    const void *d_final[MOST]; /* (B, H), d loss / d final state, or NULL for 0 */
    void *d_initial[MOST];     /* (B, H), d loss / d initial state; all NULL if not wanted */
    /* Per product. */
    const void *weight[MOST], *bias[MOST]; /* (n * H, H) and (n * H); a product may have no bias */
    void *operand[MOST]; /* (T, B, H), what it was taken of, if the step computes it */
    void *d_product[MOST]; /* (T, B, n * H), if it does not lie in d_zx */
    void *d_weight[MOST], *d_bias[MOST]; /* as weight and bias; each may be NULL */
    /* Per vector. */
    const void *vector[MOST]; /* (H) */
    void *d_vector[MOST];     /* (H) */
    void *kept[MOST];         /* (T, B, H), values kept for which gates has no place */
} Layer;

/* A cell's functions, which return 0, or -1 if memory ran out; and which arrays of a Layer it has.
 */
typedef struct {
    int (*forward)(const Layer *layer), (*reverse)(const Layer *layer);
    int states, products, vectors, kept;
    struct {
        int pieces, bias, operand, d_product;
    } has[MOST]; /* per product: n, and whether it has each */
} Cell;

/* C (m, n) = A (m, k) B (k, n), contiguous, plus bias (n) if it is not NULL, plus the old C if
 * `accumulate` is 1. */
typedef struct {
    int64_t is_double, threads, m, n, k;
    int64_t transpose_a, transpose_b; /* 1 if A is given as (k, m), B as (n, k) */
    int64_t accumulate;
    int64_t stride; /* elements between the rows of A as given; 0: it is contiguous */
    const void *a, *b, *bias;
    void *c;
} Product;

/* One update: `rate` holds the correction of the mean, `correction` the one of s. */
typedef struct {
    int64_t is_double, n;
    double beta1, beta2, rate, correction, epsilon;
} Adam;

#define EXPORTED __attribute__((visibility("default")))

/* What the library of a cell is connected to, a Base. */
EXPORTED const void *harness_base(void);

/* Return 0, or -1 if memory ran out. */
EXPORTED int harness_multiply(const Product *product);

/* Each for float, or for double if is_double is 1; as its template says. */
EXPORTED void harness_transpose(int64_t is_double, const void *x, int64_t rows, int64_t columns,
                                const void *bias, void *out);
EXPORTED int harness_sum_by_token(int64_t is_double, const void *x, const int64_t *tokens,
                                  int64_t rows, int64_t width, int64_t vocabulary, void *d_weight,
                                  void *d_bias);
EXPORTED void harness_column_sums(int64_t is_double, const void *x, int64_t rows, int64_t columns,
                                  void *out);
EXPORTED double harness_cross_entropy(int64_t is_double, void *logits, const int64_t *targets,
                                      int64_t rows, int64_t classes, double scored);
EXPORTED void harness_adam(const Adam *rule, void *p, const void *g, void *m, void *s);
