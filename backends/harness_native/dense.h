/* The rest of a training step, without products and recurrences: tokens, the cross-entropy, Adam.
   A template, as simd.h. */

/* out (columns, rows) = the transpose of x (rows, columns), plus bias (rows) if it is not NULL; by
   squares that fit the first-level cache. */
static void NAME(transpose)(const real *x, ptrdiff_t rows, ptrdiff_t columns, const real *bias,
                            real *out) {
    enum { SIDE = 32 };
    for (ptrdiff_t top = 0; top < rows; top += SIDE)
        for (ptrdiff_t left = 0; left < columns; left += SIDE)
            for (ptrdiff_t j = left; j < columns && j < left + SIDE; j++)
                for (ptrdiff_t i = top; i < rows && i < top + SIDE; i++)
                    out[j * rows + i] = x[i * columns + j] + (bias == NULL ? 0 : bias[i]);
}

/* d_weight (width, vocabulary): column v is the sum of the rows of x (rows, width) whose token is
   v. d_bias (width): the sum of all. Summed run by run of BLOCK rows, so that rounding does not
   grow with the length of a sequence. */
static int NAME(sum_by_token)(const real *x, const int64_t *tokens, ptrdiff_t rows, ptrdiff_t width,
                              ptrdiff_t vocabulary, real *d_weight, real *d_bias) {
    enum { BLOCK = 1024 };
    ptrdiff_t size = vocabulary * width;
    real *total = calloc(2 * size, sizeof(real)), *run = total + size;
    if (total == NULL)
        return -1;
    for (ptrdiff_t from = 0; from < rows; from += BLOCK) {
        real *into = rows <= BLOCK ? total : run;
        for (ptrdiff_t row = from; row < rows && row < from + BLOCK; row++) {
            const real *in = x + row * width;
            real *out = into + tokens[row] * width;
            for (ptrdiff_t j = 0; j < width; j++)
                out[j] += in[j];
        }
        for (ptrdiff_t j = 0; into == run && j < size; j++)
            total[j] += run[j], run[j] = 0;
    }
    NAME(column_sums)(total, vocabulary, width, width, d_bias);
    NAME(transpose)(total, vocabulary, width, NULL, d_weight);
    free(total);
    return 0;
}

/* Softmax cross-entropy: logits (rows, classes) become their gradient for a mean over `scored`
 * rows; returns the sum of losses. */
static double NAME(cross_entropy)(real *logits, const int64_t *targets, ptrdiff_t rows,
                                  ptrdiff_t classes, double scored) {
    double loss = 0;
    const real share = (real)(1 / scored);
    for (ptrdiff_t row = 0; row < rows; row++, logits += classes) {
        real most = logits[0], chosen = logits[targets[row]], sum = 0;
        for (ptrdiff_t k = 1; k < classes; k++)
            most = logits[k] > most ? logits[k] : most;
        vec sums = {0};
        for (ptrdiff_t k = 0; k < classes; k += LANES) {
            int n = (int)(classes - k < LANES ? classes - k : LANES);
            vec scale,
                p = NAME(expm1_parts)(
                    NAME(at_least)(NAME(load)(logits + k, n) - most, -LARGEST_EXPONENT), &scale);
            vec e = scale * p + scale;
            NAME(store)(logits + k, e, n);
            sums += NAME(load)(logits + k, n);
        }
        for (int lane = 0; lane < LANES; lane++)
            sum += sums[lane];
        loss += log((double)sum) - (double)(chosen - most);
        for (ptrdiff_t k = 0; k < classes; k++)
            logits[k] *= share / sum;
        logits[targets[row]] -= share;
    }
    return loss;
}

/* Adam (Kingma & Ba 2015) on n parameters. */
static void NAME(adam)(const Adam *rule, real *p, const real *g, real *m, real *s) {
    const real beta1 = rule->beta1, beta2 = rule->beta2, rate = rule->rate, epsilon = rule->epsilon;
    const real new1 = 1 - rule->beta1, new2 = 1 - rule->beta2, correction = rule->correction;
    for (ptrdiff_t i = 0; i < rule->n; i++) {
        const real gradient = g[i];
        m[i] = m[i] * beta1 + gradient * new1;
        s[i] = s[i] * beta2 + gradient * gradient * new2;
        p[i] -= rate * m[i] / (SQUARE_ROOT(s[i] * correction) + epsilon);
    }
}
