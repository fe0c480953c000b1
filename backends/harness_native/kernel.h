/* The kernel's interface. `harness_native.library` mirrors the structs for ctypes. */

#include <stdint.h>

enum { RNN, RNN_RELU, LSTM, GRU };

/* One layer. Arrays are contiguous, of float or double, time-major: T = steps, B = batch, H =
   hidden, G gates in the order of torch.nn. Two arrays may overlap only if a comment says so. */
typedef struct {
    int64_t cell, is_double, steps, batch, hidden, threads;
    const void *weight, *bias; /* weight_hh (G * H, H), bias_hh (G * H) */
    const void *initial[2];    /* (B, H) per state of the cell: h, and c of an LSTM */
    void *states[2];           /* (T, B, H) per state, the states after each step */
    const void *zx; /* (T, B, G * H), the input product with bias_ih; or, with tokens, a row (G * H)
                       for each */
    const int64_t *tokens; /* (T, B): zx of a step is the row of this token; or NULL */
    void *gates; /* (T, B, G * H), the activated gates; may be a zx without tokens; unused for the
                    plain cells */
    void *zh_n;  /* (T, B, H), the recurrent product of a GRU's n */
    /* Backwards only. */
    const void *d_direct;   /* (T, B, H), d loss / d h_t past this layer's recurrence */
    const void *d_final[2]; /* (B, H) per state, d loss / d final state, or NULL for 0 */
    void *d_total; /* (T, B, H), d loss / d h_t; may be d_direct, or NULL if not wanted */
    void *d_zx, *d_zh;  /* (T, B, G * H); d_zx may be gates; the same array for all but a GRU */
    void *d_initial[2]; /* (B, H) per state, d loss / d initial state, or NULL if not wanted */
    void *d_weight, *d_bias; /* (G * H, H) and (G * H), the gradients of weight_hh and bias_hh; each
                                may be NULL */
} Layer;

/* C (m, n) = A (m, k) B (k, n), contiguous, plus bias (n) if it is not NULL, plus the old C if
 * `accumulate` is 1. */
typedef struct {
    int64_t is_double, threads, m, n, k;
    int64_t transpose_a, transpose_b; /* 1 if A is given as (k, m), B as (n, k) */
    int64_t accumulate;
    const void *a, *b, *bias;
    void *c;
} Product;

/* One update: `rate` holds the correction of the mean, `correction` the one of s. */
typedef struct {
    int64_t is_double, n;
    double beta1, beta2, rate, correction, epsilon;
} Adam;

#define EXPORTED __attribute__((visibility("default")))

/* Return 0, or -1 if memory ran out. */
EXPORTED int harness_forward(const Layer *layer);
EXPORTED int harness_reverse(const Layer *layer);
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
