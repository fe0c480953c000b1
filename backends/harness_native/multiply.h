/* A large product on the same tiles: panels of B and blocks of rows of A are packed piece by piece.
 * A template, as simd.h. */

/* B (depth, columns) -> [panel][k][vector][lane], with zeros past the last column. */
static void NAME(pack)(Matrix b, ptrdiff_t depth, ptrdiff_t columns, vec *packed) {
    for (ptrdiff_t from = 0; from < columns; from += MOST_VECTORS * LANES) {
        ptrdiff_t left = columns - from,
                  vectors = left < MOST_VECTORS * LANES ? (left + LANES - 1) / LANES : MOST_VECTORS;
        for (ptrdiff_t v = 0; v < vectors; v++) {
            const real *in = (const real *)b.data + (from + v * LANES) * b.column;
            int n = (int)(left - v * LANES < LANES ? left - v * LANES : LANES);
            if (b.column == 1)
                for (ptrdiff_t k = 0; k < depth; k++)
                    packed[k * vectors + v] = NAME(load)(in + k * b.row, n);
            else
                for (int lane = 0; lane < LANES; lane++) {
                    real *to = (real *)(packed + v) + lane;
                    for (ptrdiff_t k = 0; k < depth; k++)
                        to[k * vectors * LANES] = lane < n ? in[lane * b.column + k * b.row] : 0;
                }
        }
        packed += depth * vectors;
    }
}

/* A (rows, depth), given by columns, -> [block][k][row of the block]; a few columns at a time,
   which stay in the first-level cache for all blocks. */
static void NAME(pack_blocks)(Matrix a, ptrdiff_t rows, ptrdiff_t depth, int most, real *packed) {
    enum { COLUMNS = 16 };
    for (ptrdiff_t from = 0; from < depth; from += COLUMNS)
        for (ptrdiff_t row = 0; row < rows; row += most) {
            ptrdiff_t count = rows - row < most ? rows - row : most;
            real *out = packed + row * depth + from * count;
            for (ptrdiff_t k = from; k < depth && k < from + COLUMNS; k++, out += count) {
                const real *in = (const real *)a.data + row + k * a.column;
                __builtin_prefetch(in + COLUMNS * a.column);
                if (count == 6)
                    memcpy(out, in, 6 * sizeof(real));
                else
                    for (ptrdiff_t i = 0; i < count; i++)
                        out[i] = in[i];
            }
        }
}

/* C (rows, n) += a (rows, depth) times the packed b. The first piece of the depth begins at the
 * bias, or at C. */
static void NAME(multiply_piece)(const Product *product, real *c, Matrix a, ptrdiff_t rows,
                                 ptrdiff_t depth, const vec *b, int first) {
    vec tile[MOST_ROWS * MOST_VECTORS];
    for (ptrdiff_t column = 0; column < product->n; column += MOST_VECTORS * LANES) {
        ptrdiff_t left = product->n - column;
        int vectors =
            (int)(left < MOST_VECTORS * LANES ? (left + LANES - 1) / LANES : MOST_VECTORS);
        const real *block = a.data;
        int most = product->transpose_a ? most_rows(MOST_VECTORS) : most_rows(vectors);
        for (ptrdiff_t row = 0; row < rows; row += most) {
            int count = (int)(rows - row < most ? rows - row : most);
            for (int i = 0; i < count; i++)
                for (int v = 0; v < vectors; v++) {
                    int n = (int)(left - v * LANES < LANES ? left - v * LANES : LANES);
                    const real *from =
                        first && !product->accumulate ? NULL : c + (row + i) * product->n;
                    vec start = from == NULL ? (vec){0} : NAME(load)(from + column + v * LANES, n);
                    if (first && product->bias != NULL)
                        start += NAME(load)((const real *)product->bias + column + v * LANES, n);
                    tile[i * MOST_VECTORS + v] = start;
                    __builtin_prefetch(c + (row + i) * product->n + column + v * LANES, 1);
                }
            if (product->transpose_a)
                NAME(products)[vectors - 1][count - 1](tile, block, 1, count, depth, b);
            else
                NAME(products)[vectors - 1][count - 1](tile, block, a.row, 1, depth, b);
            block += product->transpose_a ? count * depth : count * a.row;
            for (int i = 0; i < count; i++)
                for (int v = 0; v < vectors; v++) {
                    int n = (int)(left - v * LANES < LANES ? left - v * LANES : LANES);
                    NAME(store)(c + (row + i) * product->n + column + v * LANES,
                                tile[i * MOST_VECTORS + v], n);
                }
        }
        b += depth * vectors;
    }
}

typedef struct {
    const Product *product;
    vec *scratch;
    ptrdiff_t packed, size; /* vectors of packed B, and of all scratch, per part */
} NAME(Multiplication);

/* Rows of C from..to - 1: a piece of the depth at a time, and for each a piece of the rows. */
static void NAME(multiply_rows)(void *argument, int part, int parts) {
    const NAME(Multiplication) *job = argument;
    const Product *product = job->product;
    ptrdiff_t from = product->m * part / parts, to = product->m * (part + 1) / parts,
              k = product->k;
    ptrdiff_t stride = product->stride        ? product->stride
                       : product->transpose_a ? product->m
                                              : k;
    vec *b = job->scratch + job->size * part;
    real *blocks = (real *)(b + job->packed);
    for (ptrdiff_t at = 0; at < k || at == 0; at += DEPTH) {
        ptrdiff_t depth = k - at < DEPTH ? k - at : DEPTH;
        Matrix right = product->transpose_b
                           ? (Matrix){(const real *)product->b + at, 1, k}
                           : (Matrix){(const real *)product->b + at * product->n, product->n, 1};
        NAME(pack)(right, depth, product->n, b);
        for (ptrdiff_t row = from; row < to; row += HEIGHT) {
            ptrdiff_t rows = to - row < HEIGHT ? to - row : HEIGHT;
            Matrix left = {(const real *)product->a + row * stride + at, stride, 1};
            if (product->transpose_a) {
                left = (Matrix){(const real *)product->a + at * stride + row, 1, stride};
                NAME(pack_blocks)(left, rows, depth, most_rows(MOST_VECTORS), blocks);
                left.data = blocks;
            }
            NAME(multiply_piece)(product, (real *)product->c + row * product->n, left, rows, depth,
                                 b, at == 0);
        }
    }
}

static int NAME(multiply)(const Product *product) {
    ptrdiff_t vectors = (product->n + LANES - 1) / LANES,
              depth = product->k < DEPTH ? product->k : DEPTH;
    NAME(Multiplication) job = {.product = product, .packed = vectors * depth};
    int parts = parts_of(product->threads, product->m);
    job.size = job.packed + (product->transpose_a ? HEIGHT * depth / LANES + 1 : 0);
    job.scratch = aligned_alloc(VECTOR_BYTES, (job.size * parts + 1) * VECTOR_BYTES);
    if (job.scratch == NULL)
        return -1;
    in_parallel(NAME(multiply_rows), &job, parts);
    free(job.scratch);
    return 0;
}

/* out (columns) = the sum of the rows of x (rows, columns), `stride` apart, eight at a time, so
   that rounding grows with rows / 8. */
static void NAME(column_sums)(const real *x, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride,
                              real *out) {
    for (ptrdiff_t j = 0; j < columns; j++)
        out[j] = 0;
    for (ptrdiff_t row = 0; row < rows; row += 8) {
        const real *from = x + row * stride;
        if (rows - row >= 8)
            for (ptrdiff_t j = 0; j < columns; j++)
                out[j] += ((from[j] + from[j + stride]) +
                           (from[j + 2 * stride] + from[j + 3 * stride])) +
                          ((from[j + 4 * stride] + from[j + 5 * stride]) +
                           (from[j + 6 * stride] + from[j + 7 * stride]));
        else
            for (ptrdiff_t i = row; i < rows; i++, from += stride)
                for (ptrdiff_t j = 0; j < columns; j++)
                    out[j] += from[j];
    }
}
