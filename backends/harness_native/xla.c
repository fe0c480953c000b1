/* The kernel as two custom calls of XLA, against its C API. Built apart from the kernel, whose
   functions it is given, since it must fit the installed XLA's headers. */

#include <stddef.h>
#include <stdint.h>

#include "kernel.h"
#include "xla/ffi/api/c_api.h"

enum { MOST_CELLS = 1024 };

static struct {
    int64_t number;
    const Cell *cell;
} cells[MOST_CELLS];
static int known;

/* Make a cell known by a number of the caller's choice. Returns -1 if there is no room. */
EXPORTED int harness_xla_connect(int64_t number, const Cell *cell) {
    if (known == MOST_CELLS)
        return -1;
    cells[known].number = number;
    cells[known].cell = cell;
    known++;
    return 0;
}

/* Hands out the arguments and results of a call in their order. */
typedef struct {
    const XLA_FFI_CallFrame *frame;
    int64_t argument, result;
} Buffers;

static void *next_argument(Buffers *buffers) {
    return ((XLA_FFI_Buffer *)buffers->frame->args.args[buffers->argument++])->data;
}

static void *next_result(Buffers *buffers) {
    return ((XLA_FFI_Buffer *)buffers->frame->rets.rets[buffers->result++])->data;
}

/* Attributes come sorted by name. */
static int64_t attribute(const XLA_FFI_CallFrame *frame, int64_t index) {
    return *(const int64_t *)((const XLA_FFI_Scalar *)frame->attrs.attrs[index])->value;
}

/* XLA first asks every handler for the version of its interface, by this extension of the call
 * frame. */
static int asks_for_version(const XLA_FFI_CallFrame *frame) {
    const XLA_FFI_Metadata_Extension *extension =
        (const XLA_FFI_Metadata_Extension *)frame->extension_start;
    if (extension == NULL || extension->extension_base.type != XLA_FFI_Extension_Metadata)
        return 0;
    extension->metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    extension->metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    return 1;
}

static const Cell *cell_of(const XLA_FFI_CallFrame *frame) {
    int64_t number = attribute(frame, 0);
    for (int at = 0; at < known; at++)
        if (cells[at].number == number)
            return cells[at].cell;
    return NULL;
}

/* Argument 0 is (T, B, G * H); argument `h` is the initial h, (B, H). */
static Layer shaped(const XLA_FFI_CallFrame *frame, int64_t h) {
    const XLA_FFI_Buffer *wide = frame->args.args[0], *state = frame->args.args[h];
    return (Layer){.threads = attribute(frame, 1),
                   .is_double = wide->dtype == XLA_FFI_DataType_F64,
                   .steps = wide->dims[0],
                   .batch = wide->dims[1],
                   .hidden = state->dims[1]};
}

static XLA_FFI_Error *failed(const XLA_FFI_CallFrame *frame, const char *message,
                             XLA_FFI_Error_Code code) {
    XLA_FFI_Error_Create_Args error = {.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE,
                                       .message = message,
                                       .errc = code};
    return frame->api->XLA_FFI_Error_Create(&error);
}

static XLA_FFI_Error *ended(const XLA_FFI_CallFrame *frame, int status) {
    return status == 0 ? NULL
                       : failed(frame, "no memory for what the kernel packs and sums",
                                XLA_FFI_Error_Code_RESOURCE_EXHAUSTED);
}

static XLA_FFI_Error *unknown(const XLA_FFI_CallFrame *frame) {
    return failed(frame, "this process has not connected the cell", XLA_FFI_Error_Code_INTERNAL);
}

/* zx, initial states, weight and bias per product, vectors -> states, gates, operands, kept. */
EXPORTED XLA_FFI_Error *harness_xla_forward(XLA_FFI_CallFrame *frame) {
    if (asks_for_version(frame))
        return NULL;
    const Cell *cell = cell_of(frame);
    if (cell == NULL)
        return unknown(frame);
    Layer layer = shaped(frame, 1);
    Buffers buffers = {.frame = frame};
    layer.zx = next_argument(&buffers);
    for (int s = 0; s < cell->states; s++) {
        layer.initial[s] = next_argument(&buffers);
        layer.states[s] = next_result(&buffers);
    }
    layer.gates = next_result(&buffers);
    for (int p = 0; p < cell->products; p++) {
        layer.weight[p] = next_argument(&buffers);
        if (cell->has[p].bias)
            layer.bias[p] = next_argument(&buffers);
        if (cell->has[p].operand)
            layer.operand[p] = next_result(&buffers);
    }
    for (int v = 0; v < cell->vectors; v++)
        layer.vector[v] = next_argument(&buffers);
    for (int k = 0; k < cell->kept; k++)
        layer.kept[k] = next_result(&buffers);
    return ended(frame, cell->forward(&layer));
}

/* gates, d_direct, initial states, states, d_final, weight and operand per product, vectors, kept
   -> d_zx, d_total, d_initial, d_weight, d_bias and d_product per product, d_vectors. */
EXPORTED XLA_FFI_Error *harness_xla_reverse(XLA_FFI_CallFrame *frame) {
    if (asks_for_version(frame))
        return NULL;
    const Cell *cell = cell_of(frame);
    if (cell == NULL)
        return unknown(frame);
    Layer layer = shaped(frame, 2);
    Buffers buffers = {.frame = frame};
    layer.gates = next_argument(&buffers);
    layer.d_direct = next_argument(&buffers);
    layer.d_zx = next_result(&buffers);
    layer.d_total = next_result(&buffers);
    for (int s = 0; s < cell->states; s++) {
        layer.initial[s] = next_argument(&buffers);
        layer.d_initial[s] = next_result(&buffers);
    }
    for (int s = 0; s < cell->states; s++)
        layer.states[s] = next_argument(&buffers);
    for (int s = 0; s < cell->states; s++)
        layer.d_final[s] = next_argument(&buffers);
    for (int p = 0; p < cell->products; p++) {
        layer.weight[p] = next_argument(&buffers);
        if (cell->has[p].operand)
            layer.operand[p] = next_argument(&buffers);
        layer.d_weight[p] = next_result(&buffers);
        if (cell->has[p].bias)
            layer.d_bias[p] = next_result(&buffers);
        if (cell->has[p].d_product)
            layer.d_product[p] = next_result(&buffers);
    }
    for (int v = 0; v < cell->vectors; v++) {
        layer.vector[v] = next_argument(&buffers);
        layer.d_vector[v] = next_result(&buffers);
    }
    for (int k = 0; k < cell->kept; k++)
        layer.kept[k] = next_argument(&buffers);
    return ended(frame, cell->reverse(&layer));
}
