/* What a host calls, and what it asks, of the cell whose functions and constants come before. */

int harness_forward(const Layer *layer) {
    return layer->is_double ? run_f64(layer, 0) : run_f32(layer, 0);
}

int harness_reverse(const Layer *layer) {
    return layer->is_double ? run_f64(layer, 1) : run_f32(layer, 1);
}

int harness_weight_gradients(const Layer *layer) {
    return layer->is_double ? weight_gradients_f64(layer) : weight_gradients_f32(layer);
}

const Cell *harness_cell(void) {
    static Cell cell = {harness_forward, harness_reverse, STATES, PRODUCTS, VECTORS, KEPT};
    for (int p = 0; p < PRODUCTS; p++) {
        cell.has[p].pieces = operands[p].pieces;
        cell.has[p].bias = operands[p].bias;
        cell.has[p].operand = operands[p].state < 0;
        cell.has[p].d_product = operands[p].shared < 0;
    }
    return &cell;
}
