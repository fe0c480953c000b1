/* One layer over all time steps, and its reverse. A template, as simd.h.

   The recurrent weight is packed once per call into panels of at most MOST_VECTORS vectors of
   columns, each panel contiguous in the order in which the products read it. Forwards a panel holds
   every gate of the same hidden units, so a finished tile is turned into gates and states while it
   is in the first-level cache; backwards it holds hidden units, and a finished tile of d_h is
   turned into the gradient of the gates of the time step before. */

/* A range of sequences of one layer: what a thread works on. No other thread's range depends on it.
 */
typedef struct {
    const Layer *layer;
    ptrdiff_t hidden, width, batch, first, last; /* width = G * H; rows first..last - 1 */
    vec *packed, *tiles;
    real *carry; /* (B, H), backwards: d_c of an LSTM, and what reaches h directly in a GRU */
} NAME(Range);

#define Range NAME(Range)
#define AT(array, t)                                                                               \
    ((real *)(array) + (t) * range->batch * range->hidden) /* (B, H) of time step t */
#define WIDE(array, t)                                                                             \
    ((real *)(array) + (t) * range->batch * range->width) /* (B, G * H) of time step t */

static ptrdiff_t NAME(units)(const Layer *layer) { return (layer->hidden + LANES - 1) / LANES; }

/* The states before time step t: (B, H). */
static const real *NAME(before)(const Range *range, int state, ptrdiff_t t) {
    return t == 0 ? range->layer->initial[state] : AT(range->layer->states[state], t - 1);
}

/* zx of a sequence at time step t: (G * H). */
static inline const real *NAME(zx_of)(const Range *range, ptrdiff_t t, ptrdiff_t row) {
    const Layer *layer = range->layer;
    ptrdiff_t at = t * range->batch + row;
    return (const real *)layer->zx +
           (layer->tokens == NULL ? at : layer->tokens[at]) * range->width;
}

/* weight_hh (G * H, H) -> [panel][k < H][gate or vector][lane]: the columns of its transpose. */
static void NAME(pack_forward)(const Layer *layer, vec *packed) {
    ptrdiff_t hidden = layer->hidden, units = NAME(units)(layer);
    int gates = gates_of(layer), step = gates > 1 ? 1 : MOST_VECTORS;
    real *out = (real *)packed;
    for (ptrdiff_t unit = 0; unit < units; unit += step) {
        int vectors = gates > 1 ? gates : (int)(units - unit < step ? units - unit : step);
        for (int v = 0; v < vectors; v++)
            for (int lane = 0; lane < LANES; lane++) {
                ptrdiff_t column = (gates > 1 ? unit : unit + v) * LANES + lane;
                const real *row =
                    (const real *)layer->weight + ((gates > 1 ? v : 0) * hidden + column) * hidden;
                real *to = out + v * LANES + lane;
                if (column < hidden)
                    for (ptrdiff_t k = 0; k < hidden; k++)
                        to[k * vectors * LANES] = row[k];
                else
                    for (ptrdiff_t k = 0; k < hidden; k++)
                        to[k * vectors * LANES] = 0;
            }
        out += hidden * vectors * LANES;
    }
}

/* Where a panel stands: its first hidden unit, its vectors, and the rows of its blocks. */
typedef struct {
    ptrdiff_t column;
    int vectors;
    const vec *packed;
} NAME(Panel);

#define Panel NAME(Panel)

typedef void NAME(at_tile)(const Range *, ptrdiff_t t, const Panel *, ptrdiff_t row, int rows,
                           vec *tile);

#define at_tile NAME(at_tile)

/* For every block of rows: begin(tile), tile += a (rows, depth) times the panel, end(tile). The
   depth is cut so that a piece of the panel stays in the second-level cache for all rows. `a` may
   be NULL: no product. */
static inline __attribute__((always_inline)) void NAME(over_rows)(const Range *range, ptrdiff_t t,
                                                                  const Panel *panel, const real *a,
                                                                  ptrdiff_t depth, at_tile *begin,
                                                                  at_tile *end) {
    ptrdiff_t count = range->last - range->first, most = most_rows(panel->vectors);
    ptrdiff_t blocks = (count + most - 1) / most,
              piece = PANEL_BYTES / (panel->vectors * VECTOR_BYTES);
    for (ptrdiff_t k = 0; k == 0 || k < depth; k += piece)
        for (ptrdiff_t block = 0; block < blocks; block++) {
            ptrdiff_t row = range->first + block * count / blocks,
                      next = range->first + (block + 1) * count / blocks;
            vec *tile = range->tiles + block * MOST_ROWS * MOST_VECTORS;
            if (k == 0)
                begin(range, t, panel, row, (int)(next - row), tile);
            if (a != NULL)
                NAME(product_of)((int)(next - row), panel->vectors)(
                    tile, a + row * depth + k, depth, 1, depth - k < piece ? depth - k : piece,
                    panel->packed + k * panel->vectors);
            if (k + piece >= depth)
                end(range, t, panel, row, (int)(next - row), tile);
        }
}

static inline int NAME(lanes_of)(const Range *range, ptrdiff_t column) {
    return (int)(range->hidden - column < LANES ? range->hidden - column : LANES);
}

/* tile = zx + bias_hh; the n of a GRU begins with its bias alone. */
static void NAME(begin_forward)(const Range *range, ptrdiff_t t, const Panel *panel, ptrdiff_t row,
                                int rows, vec *tile) {
    const Layer *layer = range->layer;
    int gates = gates_of(layer);
    for (int v = 0; v < panel->vectors; v++) {
        ptrdiff_t unit = panel->column + (gates > 1 ? 0 : v * LANES),
                  column = unit + (gates > 1 ? v * range->hidden : 0);
        int n = NAME(lanes_of)(range, unit), product_alone = layer->cell == GRU && v == 2;
        vec bias = NAME(load)((const real *)layer->bias + column, n);
        for (int i = 0; t + 1 < layer->steps && i < rows;
             i++) { /* too far apart for the processor to foresee */
            __builtin_prefetch(WIDE(layer->gates, t + 1) + (row + i) * range->width + column, 1);
            if (layer->zx != layer->gates)
                __builtin_prefetch(NAME(zx_of)(range, t + 1, row + i) + column);
        }
        for (int i = 0; i < rows; i++)
            tile[i * MOST_VECTORS + v] =
                product_alone ? bias
                              : bias + NAME(load)(NAME(zx_of)(range, t, row + i) + column, n);
    }
}

/* In two passes, so that the processor has several rows in flight: tanh(c) waits for all gates of
 * its row. */
static void NAME(end_lstm)(const Range *range, ptrdiff_t t, const Panel *panel, ptrdiff_t row,
                           int rows, vec *tile) {
    const Layer *layer = range->layer;
    ptrdiff_t hidden = range->hidden, at = row * hidden + panel->column;
    int n = NAME(lanes_of)(range, panel->column);
    const real *c_before = NAME(before)(range, 1, t) + at;
    real *gates = WIDE(layer->gates, t) + row * range->width + panel->column;
    for (int b = 0; b < rows; b++, gates += range->width) {
        vec *z = tile + b * MOST_VECTORS;
        vec i = NAME(sigmoid)(z[0]), f = NAME(sigmoid)(z[1]), g = NAME(tanh)(z[2]),
            o = NAME(sigmoid)(z[3]);
        NAME(store)(gates, i, n);
        NAME(store)(gates + hidden, f, n);
        NAME(store)(gates + 2 * hidden, g, n);
        NAME(store)(gates + 3 * hidden, o, n);
        z[0] = f * NAME(load)(c_before + b * hidden, n) + i * g;
        z[3] = o;
    }
    for (int b = 0; b < rows; b++) {
        vec *z = tile + b * MOST_VECTORS;
        NAME(store)(AT(layer->states[1], t) + at + b * hidden, z[0], n);
        NAME(store)(AT(layer->states[0], t) + at + b * hidden, z[3] * NAME(tanh)(z[0]), n);
    }
}

static void NAME(end_gru)(const Range *range, ptrdiff_t t, const Panel *panel, ptrdiff_t row,
                          int rows, vec *tile) {
    const Layer *layer = range->layer;
    ptrdiff_t hidden = range->hidden;
    int lanes = NAME(lanes_of)(range, panel->column);
    for (int b = 0; b < rows; b++, tile += MOST_VECTORS) {
        ptrdiff_t at = (row + b) * hidden + panel->column,
                  wide = (row + b) * range->width + panel->column;
        real *gates = WIDE(layer->gates, t) + wide;
        vec zx_n = NAME(load)(NAME(zx_of)(range, t, row + b) + panel->column + 2 * hidden, lanes);
        vec h = NAME(load)(NAME(before)(range, 0, t) + at, lanes);
        vec r = NAME(sigmoid)(tile[0]), z = NAME(sigmoid)(tile[1]),
            n = NAME(tanh)(zx_n + r * tile[2]);
        NAME(store)(gates, r, lanes);
        NAME(store)(gates + hidden, z, lanes);
        NAME(store)(gates + 2 * hidden, n, lanes);
        NAME(store)(AT(layer->zh_n, t) + at, tile[2], lanes);
        NAME(store)(AT(layer->states[0], t) + at, n + z * (h - n), lanes);
    }
}

static void NAME(end_rnn)(const Range *range, ptrdiff_t t, const Panel *panel, ptrdiff_t row,
                          int rows, vec *tile) {
    for (int b = 0; b < rows; b++, tile += MOST_VECTORS)
        for (int v = 0; v < panel->vectors; v++) {
            ptrdiff_t column = panel->column + v * LANES;
            vec h = range->layer->cell == RNN ? NAME(tanh)(tile[v]) : NAME(at_least)(tile[v], 0);
            NAME(store)(AT(range->layer->states[0], t) + (row + b) * range->hidden + column, h,
                        NAME(lanes_of)(range, column));
        }
}

static void NAME(forward_range)(const Range *range) {
    const Layer *layer = range->layer;
    ptrdiff_t units = NAME(units)(layer);
    int gates = gates_of(layer), step = gates > 1 ? 1 : MOST_VECTORS;
    at_tile *end = layer->cell == LSTM  ? NAME(end_lstm)
                   : layer->cell == GRU ? NAME(end_gru)
                                        : NAME(end_rnn);
    for (ptrdiff_t t = 0; t < layer->steps; t++) {
        const real *h = NAME(before)(range, 0, t);
        Panel panel = {.packed = range->packed};
        for (ptrdiff_t unit = 0; unit < units; unit += step) {
            panel.column = unit * LANES;
            panel.vectors = gates > 1 ? gates : (int)(units - unit < step ? units - unit : step);
            NAME(over_rows)(range, t, &panel, h, range->hidden, NAME(begin_forward), end);
            panel.packed += range->hidden * panel.vectors;
        }
    }
}

/* tile = the direct part of d_h at t, and what reaches h_t past the gates. t = -1: the initial
 * state, with no direct part. */
static void NAME(begin_reverse)(const Range *range, ptrdiff_t t, const Panel *panel, ptrdiff_t row,
                                int rows, vec *tile) {
    const Layer *layer = range->layer;
    int last = t == layer->steps - 1;
    for (int b = 0; b < rows; b++, tile += MOST_VECTORS)
        for (int v = 0; v < panel->vectors; v++) {
            ptrdiff_t column = panel->column + v * LANES, at = (row + b) * range->hidden + column;
            int n = NAME(lanes_of)(range, column);
            tile[v] = t < 0 ? (vec){0} : NAME(load)(AT(layer->d_direct, t) + at, n);
            if (last && layer->d_final[0] != NULL)
                tile[v] += NAME(load)((const real *)layer->d_final[0] + at, n);
            if (!last && layer->cell == GRU)
                tile[v] += NAME(load)(range->carry + at, n);
        }
}

static inline void NAME(lstm_gradient)(const Range *range, ptrdiff_t t, ptrdiff_t b,
                                       ptrdiff_t column, vec d_h) {
    const Layer *layer = range->layer;
    ptrdiff_t hidden = range->hidden, at = b * hidden + column, wide = b * range->width + column;
    int n = NAME(lanes_of)(range, column);
    const real *gates = WIDE(layer->gates, t) + wide;
    real *d_zx = WIDE(layer->d_zx, t) + wide;
    vec i = NAME(load)(gates, n), f = NAME(load)(gates + hidden, n),
        g = NAME(load)(gates + 2 * hidden, n);
    vec o = NAME(load)(gates + 3 * hidden, n),
        c_before = NAME(load)(NAME(before)(range, 1, t) + at, n);
    vec tanh_c = NAME(tanh)(NAME(load)(AT(layer->states[1], t) + at, n));
    vec d_c = NAME(load)(range->carry + at, n) + d_h * o * (1 - tanh_c * tanh_c);
    if (t > 0)
        for (int gate = 0; gate < 4; gate++)
            __builtin_prefetch(gates + gate * hidden - range->batch * range->width, 1);
    NAME(store)(d_zx, d_c * g * i * (1 - i), n);
    NAME(store)(d_zx + hidden, d_c * c_before * f * (1 - f), n);
    NAME(store)(d_zx + 2 * hidden, d_c * i * (1 - g * g), n);
    NAME(store)(d_zx + 3 * hidden, d_h * tanh_c * o * (1 - o), n);
    NAME(store)(range->carry + at, d_c * f, n);
}

static inline void NAME(gru_gradient)(const Range *range, ptrdiff_t t, ptrdiff_t b,
                                      ptrdiff_t column, vec d_h) {
    const Layer *layer = range->layer;
    ptrdiff_t hidden = range->hidden, at = b * hidden + column, wide = b * range->width + column;
    int lanes = NAME(lanes_of)(range, column);
    const real *gates = WIDE(layer->gates, t) + wide;
    real *d_zx = WIDE(layer->d_zx, t) + wide, *d_zh = WIDE(layer->d_zh, t) + wide;
    vec r = NAME(load)(gates, lanes), z = NAME(load)(gates + hidden, lanes),
        n = NAME(load)(gates + 2 * hidden, lanes);
    vec zh_n = NAME(load)(AT(layer->zh_n, t) + at, lanes),
        h = NAME(load)(NAME(before)(range, 0, t) + at, lanes);
    vec d_n = d_h * (1 - z) * (1 - n * n), d_z = d_h * (h - n) * z * (1 - z),
        d_r = d_n * zh_n * r * (1 - r);
    NAME(store)(d_zx, d_r, lanes);
    NAME(store)(d_zx + hidden, d_z, lanes);
    NAME(store)(d_zx + 2 * hidden, d_n, lanes);
    NAME(store)(d_zh, d_r, lanes);
    NAME(store)(d_zh + hidden, d_z, lanes);
    NAME(store)(d_zh + 2 * hidden, d_n * r, lanes);
    NAME(store)(range->carry + at, d_h * z, lanes);
}

static inline void NAME(rnn_gradient)(const Range *range, ptrdiff_t t, ptrdiff_t b,
                                      ptrdiff_t column, vec d_h) {
    const Layer *layer = range->layer;
    ptrdiff_t at = b * range->hidden + column;
    int n = NAME(lanes_of)(range, column);
    vec h = NAME(load)(AT(layer->states[0], t) + at, n);
    vec slope = layer->cell == RNN ? 1 - h * h : (vec)((ivec)(h > 0) & (ivec)NAME(splat)(1));
    NAME(store)(AT(layer->d_zx, t) + at, d_h * slope, n);
}

/* The tile is the total d_h at t; from it the gradients of the gates at t. */
static void NAME(end_reverse)(const Range *range, ptrdiff_t t, const Panel *panel, ptrdiff_t row,
                              int rows, vec *tile) {
    const Layer *layer = range->layer;
    for (ptrdiff_t b = row; b < row + rows; b++, tile += MOST_VECTORS)
        for (int v = 0; v < panel->vectors; v++) {
            ptrdiff_t column = panel->column + v * LANES;
            real *to = t < 0                    ? layer->d_initial[0]
                       : layer->d_total == NULL ? NULL
                                                : AT(layer->d_total, t);
            if (to != NULL)
                NAME(store)(to + b * range->hidden + column, tile[v],
                            NAME(lanes_of)(range, column));
            if (t < 0)
                continue;
            if (layer->cell == LSTM)
                NAME(lstm_gradient)(range, t, b, column, tile[v]);
            else if (layer->cell == GRU)
                NAME(gru_gradient)(range, t, b, column, tile[v]);
            else
                NAME(rnn_gradient)(range, t, b, column, tile[v]);
        }
}

static void NAME(reverse_range)(const Range *range) {
    const Layer *layer = range->layer;
    ptrdiff_t units = NAME(units)(layer), from = range->first * range->hidden,
              size = (range->last - range->first) * range->hidden;
    if (layer->cell == LSTM && layer->d_final[1] != NULL)
        memcpy(range->carry + from, (const real *)layer->d_final[1] + from, size * sizeof(real));
    else
        memset(range->carry + from, 0, size * sizeof(real));
    for (ptrdiff_t t = layer->steps - 1; t >= (layer->d_initial[0] == NULL ? 0 : -1); t--) {
        const real *d_zh = t == layer->steps - 1 ? NULL : WIDE(layer->d_zh, t + 1);
        Panel panel = {.packed = range->packed};
        for (ptrdiff_t unit = 0; unit < units; unit += MOST_VECTORS) {
            panel.column = unit * LANES;
            panel.vectors = (int)(units - unit < MOST_VECTORS ? units - unit : MOST_VECTORS);
            NAME(over_rows)(range, t, &panel, d_zh, range->width, NAME(begin_reverse),
                            NAME(end_reverse));
            panel.packed += range->width * panel.vectors;
        }
    }
    if (layer->cell == LSTM && layer->d_initial[1] != NULL)
        memcpy((real *)layer->d_initial[1] + from, range->carry + from, size * sizeof(real));
}

typedef struct {
    Range whole;
    ptrdiff_t tiles; /* vectors of tiles per part */
    int reverse;
} NAME(Job);

static void NAME(work)(void *argument, int part, int parts) {
    const NAME(Job) *job = argument;
    Range range = job->whole;
    range.first = range.batch * part / parts;
    range.last = range.batch * (part + 1) / parts;
    range.tiles += job->tiles * part;
    (job->reverse ? NAME(reverse_range) : NAME(forward_range))(&range);
}

/* d_weight_hh = sum over t of d_zh_t (B, G * H) transposed times h_{t-1} (B, H), and d_bias_hh =
 * the sum of the d_zh_t. */
static int NAME(weight_gradient)(const Layer *layer, ptrdiff_t width) {
    ptrdiff_t batch = layer->batch, hidden = layer->hidden, rest = (layer->steps - 1) * batch;
    const real *d_zh = layer->d_zh;
    Product first = {.is_double = sizeof(real) == sizeof(double),
                     .threads = layer->threads,
                     .m = width,
                     .n = hidden};
    first.k = batch, first.transpose_a = 1, first.a = d_zh, first.b = layer->initial[0],
    first.c = layer->d_weight;
    Product others = first;
    others.k = rest, others.accumulate = 1, others.a = d_zh + batch * width,
    others.b = layer->states[0];
    if (layer->d_bias != NULL)
        NAME(column_sums)(d_zh, layer->steps * batch, width, layer->d_bias);
    return NAME(multiply)(&first) || (rest > 0 && NAME(multiply)(&others)) ? -1 : 0;
}

static int NAME(run)(const Layer *layer, int reverse) {
    ptrdiff_t hidden = layer->hidden, width = gates_of(layer) * hidden, units = NAME(units)(layer);
    int parts = parts_of(layer->threads, layer->batch);
    ptrdiff_t tiles = (layer->batch / parts + 2) * MOST_ROWS *
                      MOST_VECTORS; /* a tile for every block, of one row at least */
    ptrdiff_t packed = units * gates_of(layer) * hidden,
              carry = (layer->batch * hidden + LANES - 1) / LANES;
    vec *scratch = aligned_alloc(VECTOR_BYTES,
                                 (packed + tiles * parts + (reverse ? carry : 0)) * VECTOR_BYTES);
    if (scratch == NULL)
        return -1;
    NAME(Job)
    job = {.whole = {layer, hidden, width, layer->batch, 0, 0, scratch, scratch + packed,
                     (real *)(scratch + packed + tiles * parts)},
           .tiles = tiles,
           .reverse = reverse};
    if (reverse)
        NAME(pack)((Matrix){layer->weight, hidden, 1}, width, hidden, scratch);
    else
        NAME(pack_forward)(layer, scratch);
    in_parallel(NAME(work), &job, parts);
    free(scratch);
    return reverse && layer->d_weight != NULL ? NAME(weight_gradient)(layer, width) : 0;
}

#undef AT
#undef WIDE
#undef Range
#undef Panel
#undef at_tile
