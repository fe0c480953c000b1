/* One layer over all time steps, and its reverse, for the cell that includes this. A template, as
   simd.h; it holds no equation.

   The weights are packed once per call into panels of at most MOST_VECTORS vectors of columns, each
   contiguous in the order in which the products read it. Forwards a panel holds all pieces of the
   same hidden units, so a finished tile becomes gates and states while it is in the first-level
   cache; backwards it holds hidden units, and a finished tile of d_h becomes the gradients of the
   time step before. A step is a sequence of stages: a product of a value that the step computes
   waits for the stage before it. */

/* A range of sequences of one layer: what a thread works on. No other thread's range depends on it.
 */
typedef struct {
    const Layer *layer;
    NAME(product) *const (*products)[MOST_ROWS]; /* by vectors - 1 and rows - 1 */
    ptrdiff_t hidden, width, batch, units, first, last; /* width = G * H; rows first..last - 1 */
    vec *packed, *tiles;
    vec *own;   /* [OWN][units], the values of the step that are the same for all sequences */
    vec *sums;  /* [VECTORS][units], backwards: the gradients of the vectors so far */
    real *carry; /* (STATES, B, H), backwards: what reaches a state past the products */
    real *held; /* (HELD, B, H), backwards: gradients that a later stage needs */
} NAME(Range);

/* Where a panel stands: its first hidden unit, and its vectors of hidden units. */
typedef struct {
    ptrdiff_t column;
    int units;
} NAME(Panel);

/* tile += a (rows, depth), its rows `stride` apart, times the packed panel. */
typedef struct {
    const real *a;
    ptrdiff_t stride, depth;
    const vec *packed;
    int vectors, tile;
} NAME(Feed);

#define Range NAME(Range)
#define Panel NAME(Panel)
#define Feed NAME(Feed)

#define AT_TILE                                                                                    \
    const Range *range, ptrdiff_t t, const Panel *panel, ptrdiff_t row, int rows, vec *tile

typedef void NAME(at_tile)(AT_TILE);

#define at_tile NAME(at_tile)
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Time step t of an array (T, B, H), (T, B, G * H) or (T, B, n * H). */
#define AT(array, t) ((real *)(array) + (t) * range->batch * range->hidden)
#define WIDE(array, t) ((real *)(array) + (t) * range->batch * range->width)
#define PIECES(array, n, t) ((real *)(array) + (t) * range->batch * (n) * range->hidden)

/* A state before time step t: (B, H). */
static inline const real *NAME(before)(const Range *range, int state, ptrdiff_t t) {
    return t == 0 ? range->layer->initial[state] : AT(range->layer->states[state], t - 1);
}

/* zx of a sequence at time step t: (G * H). */
static inline const real *NAME(zx_of)(const Range *range, ptrdiff_t t, ptrdiff_t row) {
    const Layer *layer = range->layer;
    ptrdiff_t at = t * range->batch + row;
    return (const real *)layer->zx +
           (layer->tokens == NULL ? at : layer->tokens[at]) * range->width;
}

static inline int NAME(lanes_of)(const Range *range, ptrdiff_t column) {
    return (int)(range->hidden - column < LANES ? range->hidden - column : LANES);
}

/* For every block of rows: begin(tile), the feeds, end(tile). The depth is cut so that a piece of
   the panels stays in the second-level cache for all rows. */
ALWAYS_INLINE void NAME(over_rows)(const Range *range, ptrdiff_t t, const Panel *panel,
                                   const Feed *feeds, int count, at_tile *begin, at_tile *end) {
    ptrdiff_t rows = range->last - range->first, most = MOST_ROWS, depth = 0, vectors = 1;
    for (int f = 0; f < count; f++) {
        int fit = most_rows(feeds[f].vectors);
        most = fit < most ? fit : most;
        depth = feeds[f].depth > depth ? feeds[f].depth : depth;
        vectors = f == 0 ? feeds[f].vectors : vectors + feeds[f].vectors;
    }
    ptrdiff_t blocks = (rows + most - 1) / most, piece = PANEL_BYTES / (vectors * VECTOR_BYTES);
    for (ptrdiff_t k = 0; k == 0 || k < depth; k += piece)
        for (ptrdiff_t block = 0; block < blocks; block++) {
            ptrdiff_t row = range->first + block * rows / blocks,
                      next = range->first + (block + 1) * rows / blocks;
            vec *tile = range->tiles + block * TILES * TILE;
            if (k == 0)
                begin(range, t, panel, row, (int)(next - row), tile);
            for (int f = 0; f < count; f++) {
                const Feed *feed = feeds + f;
                ptrdiff_t left = feed->depth - k;
                if (left > 0)
                    range->products[feed->vectors - 1][next - row - 1](
                        tile + feed->tile * TILE, feed->a + row * feed->stride + k, feed->stride, 1,
                        left < piece ? left : piece, feed->packed + k * feed->vectors);
            }
            if (k + piece >= depth)
                end(range, t, panel, row, (int)(next - row), tile);
        }
}

/* One stage of time step t. */
ALWAYS_INLINE void NAME(forward_stage)(const Range *range, ptrdiff_t t, int stage, at_tile *begin,
                                       at_tile *end) {
    int units = stage_units[stage]; /* vectors of hidden units a panel */
    for (ptrdiff_t unit = 0; unit < range->units; unit += units) {
        Panel panel = {unit * LANES,
                       (int)(range->units - unit < units ? range->units - unit : units)};
        Feed feeds[GROUPS + 1] = {0};
        int count = 0;
        const vec *packed = range->packed;
        for (int g = 0; g < GROUPS; g++) {
            const Group *group = groups + g;
            const Operand *operand = operands + group->product;
            if (group->stage == stage) {
                const real *a = operand->state < 0 ? AT(range->layer->operand[group->product], t)
                                                   : NAME(before)(range, operand->state, t);
                feeds[count] = (Feed){a,
                                      range->hidden,
                                      range->hidden,
                                      packed + unit * group->count * range->hidden,
                                      group->count * panel.units,
                                      count};
                count++;
            }
            packed += range->units * group->count * range->hidden;
        }
        NAME(over_rows)(range, t, &panel, feeds, count, begin, end);
    }
}

/* One stage of the reverse of time step t: first the products of gradients that are complete, in
   the first stage those of the time step after. */
ALWAYS_INLINE void NAME(reverse_stage)(const Range *range, ptrdiff_t t, int stage, at_tile *begin,
                                       at_tile *end) {
    ptrdiff_t from = stage == 0 ? t + 1 : t, hidden = range->hidden;
    for (ptrdiff_t unit = 0; unit < range->units; unit += MOST_VECTORS) {
        Panel panel = {unit * LANES, (int)(range->units - unit < MOST_VECTORS ? range->units - unit
                                                                              : MOST_VECTORS)};
        Feed feeds[PRODUCTS + 1] = {0};
        int count = 0;
        const vec *packed = range->packed;
        for (int p = 0; p < PRODUCTS; p++) {
            const Operand *operand = operands + p;
            if (operand->stage == stage && from < range->layer->steps) {
                int lies = operand->shared >= 0;
                const real *a = lies ? WIDE(range->layer->d_zx, from) + operand->shared * hidden
                                     : PIECES(range->layer->d_product[p], operand->pieces, from);
                feeds[count++] = (Feed){a,
                                        lies ? range->width : operand->pieces * hidden,
                                        operand->pieces * hidden,
                                        packed + unit * operand->pieces * hidden,
                                        panel.units,
                                        operand->tile};
            }
            packed += range->units * operand->pieces * hidden;
        }
        NAME(over_rows)(range, t, &panel, feeds, count, begin, end);
    }
}

/* A column of tiles = the bias of a product's piece, if it has one, plus zx of a gate, unless
   gate < 0. */
ALWAYS_INLINE void NAME(begin_at)(const Range *range, ptrdiff_t t, ptrdiff_t column, ptrdiff_t row,
                                  int rows, vec *tile, int product, int piece, int gate) {
    int n = NAME(lanes_of)(range, column);
    const real *bias = (const real *)range->layer->bias[product] + piece * range->hidden;
    vec start = operands[product].bias ? NAME(load)(bias + column, n) : (vec){0};
    for (int b = 0; b < rows; b++) {
        const real *zx = NAME(zx_of)(range, t, row + b) + gate * range->hidden + column;
        tile[b * MOST_VECTORS] = gate < 0 ? start : start + NAME(load)(zx, n);
    }
}

/* Fetches a gate's zx of the next time step: too far away for the processor to foresee. */
ALWAYS_INLINE void NAME(fetch_ahead)(const Range *range, ptrdiff_t t, ptrdiff_t column,
                                     ptrdiff_t row, int rows, int gate, int kept) {
    const Layer *layer = range->layer;
    column += gate * range->hidden;
    for (int b = 0; t + 1 < layer->steps && b < rows; b++) {
        if (kept)
            __builtin_prefetch(WIDE(layer->gates, t + 1) + (row + b) * range->width + column, 1);
        if (!kept || layer->zx != layer->gates)
            __builtin_prefetch(NAME(zx_of)(range, t + 1, row + b) + column);
    }
}

/* tile = what reaches a state at t past the products. t = -1: the initial state. */
ALWAYS_INLINE void NAME(begin_state)(const Range *range, ptrdiff_t t, const Panel *panel,
                                     ptrdiff_t row, int rows, vec *tile, int state, int carried) {
    const Layer *layer = range->layer;
    const real *direct = state == 0 && t >= 0 ? AT(layer->d_direct, t) : NULL;
    const real *last = carried                ? range->carry + state * range->batch * range->hidden
                       : t + 1 == layer->steps ? layer->d_final[state]
                                               : NULL;
    for (int b = 0; b < rows; b++, tile += MOST_VECTORS)
        for (int u = 0; u < panel->units; u++) {
            ptrdiff_t column = panel->column + u * LANES, at = (row + b) * range->hidden + column;
            int n = NAME(lanes_of)(range, column);
            tile[u] = direct == NULL ? (vec){0} : NAME(load)(direct + at, n);
            if (last != NULL)
                tile[u] += NAME(load)(last + at, n);
        }
}

ALWAYS_INLINE void NAME(begin_empty)(const Panel *panel, int rows, vec *tile) {
    for (int b = 0; b < rows; b++)
        for (int u = 0; u < panel->units; u++)
            tile[b * MOST_VECTORS + u] = (vec){0};
}

/* The mean of a row of H += the first n elements of x over H; those of the first column begin it. */
ALWAYS_INLINE void NAME(add_mean)(real *mean, vec x, ptrdiff_t column, int n, ptrdiff_t hidden) {
    real sum = 0;
    for (int lane = 0; lane < n; lane++)
        sum += x[lane];
    *mean = (column == 0 ? 0 : *mean) + sum / hidden;
}

/* A tile is d loss / d initial state. */
ALWAYS_INLINE void NAME(end_initial)(const Range *range, const Panel *panel, ptrdiff_t row,
                                     int rows, const vec *tile, int state) {
    for (int b = 0; b < rows; b++, tile += MOST_VECTORS)
        for (int u = 0; u < panel->units; u++) {
            ptrdiff_t column = panel->column + u * LANES;
            NAME(store)((real *)range->layer->d_initial[state] + (row + b) * range->hidden + column,
                        tile[u], NAME(lanes_of)(range, column));
        }
}

/* Written for the cell: its time step, the step's reverse, and the end of the reverse at the
   initial state; and the values that are the same for all sequences. */
static void NAME(forward_step)(const Range *range, ptrdiff_t t);
static void NAME(reverse_step)(const Range *range, ptrdiff_t t);
static void NAME(initial_step)(const Range *range);
static void NAME(fill_own)(const Range *range);

static void NAME(forward_range)(const Range *range) {
    for (ptrdiff_t t = 0; t < range->layer->steps; t++)
        NAME(forward_step)(range, t);
}

static int NAME(has_product)(int state) {
    for (int p = 0; p < PRODUCTS; p++)
        if (operands[p].state == state)
            return 1;
    return 0;
}

static void NAME(reverse_range)(const Range *range) {
    const Layer *layer = range->layer;
    ptrdiff_t all = range->batch * range->hidden, from = range->first * range->hidden,
              size = (range->last - range->first) * range->hidden * sizeof(real);
    for (int s = 0; s < STATES; s++)
        if (layer->d_final[s] != NULL)
            memcpy(range->carry + s * all + from, (const real *)layer->d_final[s] + from, size);
        else
            memset(range->carry + s * all + from, 0, size);
    for (ptrdiff_t t = layer->steps - 1; t >= 0; t--)
        NAME(reverse_step)(range, t);
    if (layer->d_initial[0] == NULL)
        return;
    NAME(initial_step)(range);
    for (int s = 0; s < STATES; s++)
        if (!NAME(has_product)(s))
            memcpy((real *)layer->d_initial[s] + from, range->carry + s * all + from, size);
}

/* weight (n * H, H) -> [panel][k < H][unit][piece][lane]: the columns of its transpose. */
static vec *NAME(pack_forward)(const Layer *layer, const Group *group, int units, vec *packed) {
    ptrdiff_t hidden = layer->hidden, all = (hidden + LANES - 1) / LANES;
    const real *weight = (const real *)layer->weight[group->product] +
                         group->first * hidden * hidden;
    real *out = (real *)packed;
    for (ptrdiff_t unit = 0; unit < all; unit += units) {
        ptrdiff_t here = all - unit < units ? all - unit : units, vectors = here * group->count;
        for (ptrdiff_t v = 0; v < vectors; v++)
            for (int lane = 0; lane < LANES; lane++) {
                ptrdiff_t column = (unit + v / group->count) * LANES + lane;
                const real *row = weight + (v % group->count * hidden + column) * hidden;
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
    return (vec *)out;
}

static void NAME(pack_all)(const Range *range, int reverse) {
    const Layer *layer = range->layer;
    ptrdiff_t hidden = range->hidden;
    vec *packed = range->packed;
    for (int g = 0; !reverse && g < GROUPS; g++)
        packed = NAME(pack_forward)(layer, groups + g, stage_units[groups[g].stage], packed);
    for (int p = 0; reverse && p < PRODUCTS; p++) {
        ptrdiff_t depth = operands[p].pieces * hidden;
        base->pack(sizeof(real) == sizeof(double), (Matrix){layer->weight[p], hidden, 1}, depth,
                   hidden, packed);
        packed += range->units * depth;
    }
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
    range.sums += VECTORS * range.units * part;
    (job->reverse ? NAME(reverse_range) : NAME(forward_range))(&range);
}

/* d_weight of a product = the sum over t of d_product (B, n * H) transposed times its operand;
   d_bias = the sum of d_product. */
static int NAME(weight_gradient)(const Range *range, int p) {
    const Layer *layer = range->layer;
    const Operand *operand = operands + p;
    ptrdiff_t hidden = range->hidden, rows = layer->steps * range->batch;
    int lies = operand->shared >= 0;
    const real *d_product = lies ? (const real *)layer->d_zx + operand->shared * hidden
                                 : layer->d_product[p];
    Product whole = {.is_double = sizeof(real) == sizeof(double),
                     .threads = layer->threads,
                     .m = operand->pieces * hidden,
                     .n = hidden,
                     .k = rows,
                     .transpose_a = 1,
                     .stride = lies ? range->width : operand->pieces * hidden,
                     .a = d_product,
                     .b = layer->operand[p],
                     .c = layer->d_weight[p]};
    if (layer->d_bias[p] != NULL)
        base->column_sums(whole.is_double, d_product, rows, whole.m, whole.stride,
                          layer->d_bias[p]);
    if (layer->d_weight[p] == NULL)
        return 0;
    if (operand->state < 0)
        return base->multiply(&whole);
    const real *initial = layer->initial[operand->state], *states = layer->states[operand->state];
    if (initial + range->batch * hidden == states) {
        whole.b = initial;
        return base->multiply(&whole);
    }
    Product first = whole;
    first.k = range->batch, first.b = initial;
    whole.k -= range->batch, whole.a = d_product + range->batch * whole.stride;
    whole.b = states, whole.accumulate = 1;
    return base->multiply(&first) || (whole.k > 0 && base->multiply(&whole)) ? -1 : 0;
}

static int NAME(weight_gradients)(const Layer *layer) {
    Range range = {.layer = layer, .hidden = layer->hidden, .width = GATES * layer->hidden,
                   .batch = layer->batch};
    for (int p = 0; p < PRODUCTS; p++)
        if (NAME(weight_gradient)(&range, p) != 0)
            return -1;
    return 0;
}

static void NAME(vector_gradients)(const Range *range, int parts) {
    for (int v = 0; v < VECTORS; v++)
        for (ptrdiff_t i = 0; i < range->hidden; i++) {
            real sum = 0;
            for (int part = 0; part < parts; part++)
                sum += ((real *)(range->sums + (part * VECTORS + v) * range->units))[i];
            ((real *)range->layer->d_vector[v])[i] = sum;
        }
}

static int NAME(run)(const Layer *layer, int reverse) {
    ptrdiff_t hidden = layer->hidden, units = (hidden + LANES - 1) / LANES,
              row = layer->batch * hidden;
    int parts = parts_of(layer->threads, layer->batch);
    /* for every block of rows, of which each has one at least */
    ptrdiff_t tiles = (layer->batch / parts + 2) * TILES * TILE;
    ptrdiff_t packed = 0, sums = reverse ? VECTORS * units * parts : 0,
              rows = reverse ? ((STATES + HELD) * row + LANES - 1) / LANES : 0;
    for (int p = 0; p < PRODUCTS; p++)
        packed += units * operands[p].pieces * hidden;
    vec *scratch = aligned_alloc(
        VECTOR_BYTES, (packed + tiles * parts + OWN * units + sums + rows) * VECTOR_BYTES);
    if (scratch == NULL)
        return -1;
    vec *own = scratch + packed + tiles * parts, *first_sum = own + OWN * units;
    real *carry = (real *)(first_sum + sums);
    NAME(Job)
    job = {.whole = {layer, base->products[sizeof(real) == sizeof(double)], hidden, GATES * hidden,
                     layer->batch, units, 0, layer->batch, scratch, scratch + packed, own,
                     first_sum, carry, carry + STATES * row},
           .tiles = tiles,
           .reverse = reverse};
    memset(first_sum, 0, sums * VECTOR_BYTES);
    NAME(fill_own)(&job.whole);
    NAME(pack_all)(&job.whole, reverse);
    base->in_parallel(NAME(work), &job, parts);
    if (reverse)
        NAME(vector_gradients)(&job.whole, parts);
    free(scratch);
    return reverse ? NAME(weight_gradients)(layer) : 0;
}
