/* What a host asks a cell, from the constants of the cell. */

static const Cell *facts(int (*forward)(const Layer *), int (*reverse)(const Layer *)) {
    static Cell cell = {.states = STATES, .products = PRODUCTS, .vectors = VECTORS, .kept = KEPT};
    cell.forward = forward;
    cell.reverse = reverse;
    for (int p = 0; p < PRODUCTS; p++) {
        cell.has[p].pieces = operands[p].pieces;
        cell.has[p].bias = operands[p].bias;
        cell.has[p].operand = operands[p].state < 0;
        cell.has[p].d_product = operands[p].shared < 0;
    }
    return &cell;
}
