/* The library of one cell: begins the source that `emit.py` writes, which then includes itself once
   for float and once for double. */

#include "common.h"

/* A product of a stage forwards: pieces first..first + count - 1 of a learnt product. */
typedef struct {
    int stage, product, first, count;
} Group;

/* A learnt product.
     pieces: n; bias: whether it has one.
     state: what it is taken of; -1: of a value that the step computes, kept in `operand`.
     shared: the first gate whose d_zx is its gradient as well, piece by piece; -1: none.
     stage, tile: where backwards the gradient of its operand arrives. */
typedef struct {
    int pieces, bias, state, shared, stage, tile;
} Operand;

static const Base *base;

EXPORTED int harness_forward(const Layer *layer);
EXPORTED int harness_reverse(const Layer *layer);
EXPORTED int harness_weight_gradients(const Layer *layer);
EXPORTED const Cell *harness_cell(void);
EXPORTED void harness_connect(const Base *kernel) { base = kernel; }
