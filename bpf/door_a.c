/* Door A: kernels that report each message of a socket (6.3 and newer). */
#include <uapi/linux/ptrace.h>
#include "events.h"
#include "maps.h"
#include "arch.h"
#include "descriptor.h"
#include "connection.h"
#include "buffers.h"
#include "capture.h"
#include "lifecycle.h"

static inline int enter(void *ctx, u64 sk, s32 result, s32 flags, u32 direction) {
    if (result < 0 || !is_target() || !is_consuming(direction, flags))
        return 0;
    u64 regs = (u64)bpf_task_pt_regs(bpf_get_current_task_btf());
    /* another socket than the call's: io_uring's work at the end of it, or the kernel's own I/O */
    int has_buffers = find_socket(read_register(regs, REG_1)) == sk;
    return capture(ctx, regs, sk, result, direction, flags, 0, has_buffers);
}

int on_sock_send_length(struct bpf_raw_tracepoint_args *ctx) {
    return enter(ctx, ctx->args[0], ctx->args[1], 0, EGRESS);
}

int on_sock_recv_length(struct bpf_raw_tracepoint_args *ctx) {
    return enter(ctx, ctx->args[0], ctx->args[1], ctx->args[2], INGRESS);
}
