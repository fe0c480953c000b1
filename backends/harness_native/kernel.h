/* What a caller of the kernel passes. `harness_native.library` mirrors the struct for ctypes. */

#include <stdint.h>

enum { RNN, RNN_RELU, LSTM, GRU };

/* One layer. Arrays are contiguous, of float or double, time-major: T = steps, B = batch, H = hidden, G gates in the order of
   torch.nn. Where two may be the same array, it says so; no others may overlap. */
typedef struct {
    int64_t cell, is_double, steps, batch, hidden, threads;
    const void *weight, *bias; /* weight_hh (G * H, H), bias_hh (G * H) */
    const void *initial[2];    /* (B, H) per state of the cell: h, and c of an LSTM */
    void *states[2];           /* (T, B, H) per state, the states after each step */
    const void *zx;            /* (T, B, G * H), the input product with bias_ih; forwards only */
    void *gates;               /* (T, B, G * H), the activated gates; may be zx; unused for the plain cells */
    void *zh_n;                /* (T, B, H), the recurrent product of a GRU's n */
    /* Backwards only. */
    const void *d_direct;   /* (T, B, H), d loss / d h_t past this layer's recurrence */
    const void *d_final[2]; /* (B, H) per state, d loss / d final state, or NULL for 0 */
    void *d_total;          /* (T, B, H), d loss / d h_t; may be d_direct, or NULL where it is not wanted */
    void *d_zx, *d_zh;      /* (T, B, G * H); d_zx may be gates; the same array for all but a GRU */
    void *d_initial[2];     /* (B, H) per state, d loss / d initial state, or NULL where it is not wanted */
    void *d_weight, *d_bias; /* (G * H, H) and (G * H), the gradients of weight_hh and bias_hh, or both NULL */
} Layer;

/* C (m, n) = A (m, k) B (k, n), contiguous, plus bias (n) where it is not NULL, plus what C holds where `accumulate` is 1. */
typedef struct {
    int64_t is_double, threads, m, n, k;
    int64_t transpose_a, transpose_b; /* 1 where A is given as (k, m), B as (n, k) */
    int64_t accumulate;
    const void *a, *b, *bias;
    void *c;
} Product;

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

/* Return 0, or -1 where memory ran out. */
EXPORTED int harness_forward(const Layer *layer);
EXPORTED int harness_reverse(const Layer *layer);
EXPORTED int harness_multiply(const Product *product);
