/* The kernel as two custom calls of XLA, against its C API. Built apart from the kernel, whose
   functions it is given, since it must fit the installed XLA's headers. */

#include <stddef.h>
#include <stdint.h>

#include "kernel.h"
#include "xla/ffi/api/c_api.h"

typedef int Function(const Layer *layer);

static Function *kernel_forward, *kernel_reverse;

EXPORTED void harness_xla_connect(Function *forward, Function *reverse) {
    kernel_forward = forward;
    kernel_reverse = reverse;
}

static const XLA_FFI_Buffer *argument(const XLA_FFI_CallFrame *frame, int64_t index) {
    return frame->args.args[index];
}

static void *result(const XLA_FFI_CallFrame *frame, int64_t index) {
    return ((XLA_FFI_Buffer *)frame->rets.rets[index])->data;
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

/* `wide` is an argument (T, B, G * H), and argument 2 is weight_hh (G * H, H). */
static Layer shaped(const XLA_FFI_CallFrame *frame, const XLA_FFI_Buffer *wide) {
    const XLA_FFI_Buffer *weight = argument(frame, 2);
    return (Layer){.cell = attribute(frame, 0),
                   .threads = attribute(frame, 1),
                   .is_double = weight->dtype == XLA_FFI_DataType_F64,
                   .steps = wide->dims[0],
                   .batch = wide->dims[1],
                   .hidden = weight->dims[1],
                   .weight = weight->data};
}

static XLA_FFI_Error *ended(const XLA_FFI_CallFrame *frame, int status) {
    if (status == 0)
        return NULL;
    XLA_FFI_Error_Create_Args error = {.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE,
                                       .message = "no memory for what the kernel packs and sums",
                                       .errc = XLA_FFI_Error_Code_RESOURCE_EXHAUSTED};
    return frame->api->XLA_FFI_Error_Create(&error);
}

/* zx, bias_hh, weight_hh, initial states -> states, gates, and a GRU's zh_n. */
EXPORTED XLA_FFI_Error *harness_xla_forward(XLA_FFI_CallFrame *frame) {
    if (asks_for_version(frame))
        return NULL;
    Layer layer = shaped(frame, argument(frame, 0));
    int count = layer.cell == LSTM ? 2 : 1;
    layer.zx = argument(frame, 0)->data;
    layer.bias = argument(frame, 1)->data;
    for (int index = 0; index < count; index++) {
        layer.initial[index] = argument(frame, 3 + index)->data;
        layer.states[index] = result(frame, index);
    }
    layer.gates = result(frame, count);
    layer.zh_n = layer.cell == GRU ? result(frame, count + 1) : NULL;
    return ended(frame, kernel_forward(&layer));
}

/* gates, d_direct, weight_hh, initial states, states, d_final, a GRU's zh_n -> d_zx, d_total,
   d_weight_hh, d_bias_hh, d_initial, a GRU's d_zh. */
EXPORTED XLA_FFI_Error *harness_xla_reverse(XLA_FFI_CallFrame *frame) {
    if (asks_for_version(frame))
        return NULL;
    Layer layer = shaped(frame, argument(frame, 0));
    int count = layer.cell == LSTM ? 2 : 1;
    layer.gates = argument(frame, 0)->data;
    layer.d_direct = argument(frame, 1)->data;
    for (int index = 0; index < count; index++) {
        layer.initial[index] = argument(frame, 3 + index)->data;
        layer.states[index] = argument(frame, 3 + count + index)->data;
        layer.d_final[index] = argument(frame, 3 + 2 * count + index)->data;
        layer.d_initial[index] = result(frame, 4 + index);
    }
    layer.d_zx = layer.d_zh = result(frame, 0);
    layer.d_total = result(frame, 1);
    layer.d_weight = result(frame, 2);
    layer.d_bias = result(frame, 3);
    if (layer.cell == GRU) {
        layer.zh_n = argument(frame, 3 + 3 * count)->data;
        layer.d_zh = result(frame, 4 + count);
    }
    return ended(frame, kernel_reverse(&layer));
}
