/* The register-blocked product: tile (M rows, N vectors) += A (M, K) times a panel (K, N vectors).
   A template, as simd.h. A's rows are `stride` apart, its columns `next`.

   One function per M and N, since the tile must stay in registers: M * N accumulators, N vectors of
   the panel and one element of A. `tile` has the rows MOST_VECTORS apart in every shape, so that
   one buffer serves all. */

#define PRODUCT(M, N)                                                                              \
    static void NAME(product_##M##x##N)(vec *restrict tile, const real *restrict a,                \
                                        ptrdiff_t stride, ptrdiff_t next, ptrdiff_t depth,         \
                                        const vec *restrict panel) {                               \
        vec sum[M][N];                                                                             \
        _Pragma("GCC unroll 8") for (int i = 0; i < M; i++)                                        \
            _Pragma("GCC unroll 4") for (int j = 0; j < N; j++) sum[i][j] =                        \
                tile[i * MOST_VECTORS + j];                                                        \
        for (ptrdiff_t k = 0; k < depth; k++) {                                                    \
            __builtin_prefetch(panel + (k + 8) * N);                                               \
            vec b[N];                                                                              \
            _Pragma("GCC unroll 4") for (int j = 0; j < N; j++) b[j] = panel[k * N + j];           \
            _Pragma("GCC unroll 8") for (int i = 0; i < M; i++) {                                  \
                vec x = NAME(splat)(a[i * stride + k * next]);                                     \
                _Pragma("GCC unroll 4") for (int j = 0; j < N; j++) sum[i][j] += x * b[j];         \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 8") for (int i = 0; i < M; i++)                                        \
            _Pragma("GCC unroll 4") for (int j = 0; j < N; j++) tile[i * MOST_VECTORS + j] =       \
                sum[i][j];                                                                         \
    }

#define PRODUCTS(N)                                                                                \
    PRODUCT(1, N)                                                                                  \
    PRODUCT(2, N)                                                                                  \
    PRODUCT(3, N)                                                                                  \
    PRODUCT(4, N)                                                                                  \
    PRODUCT(5, N)                                                                                  \
    PRODUCT(6, N)

PRODUCTS(1)
PRODUCTS(2)
PRODUCTS(3)
PRODUCTS(4)
PRODUCT(7, 3)
PRODUCT(8, 3)

#define BY_ROWS(N)                                                                                 \
    {                                                                                              \
        NAME(product_1x##N), NAME(product_2x##N), NAME(product_3x##N), NAME(product_4x##N),        \
            NAME(product_5x##N), NAME(product_6x##N)
static NAME(product) *const NAME(products)[MOST_VECTORS][MOST_ROWS] = {
    BY_ROWS(1)}, BY_ROWS(2)}, BY_ROWS(3), NAME(product_7x3), NAME(product_8x3)}, BY_ROWS(4)}};
#undef BY_ROWS

#undef PRODUCT
#undef PRODUCTS
