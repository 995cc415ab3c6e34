/* Door A: kernels that report each message of a socket (6.3 and newer). */
#include <uapi/linux/ptrace.h>
#include "events.h"
#include "maps.h"
#include "arch.h"
#include "connection.h"
#include "capture.h"
#include "lifecycle.h"

static inline int enter(void *ctx, u64 sk, s32 result, s32 flags, u32 direction) {
    if (result < 0 || !is_target())
        return 0;
    if (direction == INGRESS && (flags & MSG_PEEK))
        return 0;
    u64 regs = (u64)bpf_task_pt_regs(bpf_get_current_task_btf());
    return capture(ctx, regs, sk, result, direction, 0);
}

int on_sock_send_length(struct bpf_raw_tracepoint_args *ctx) {
    return enter(ctx, ctx->args[0], ctx->args[1], 0, EGRESS);
}

int on_sock_recv_length(struct bpf_raw_tracepoint_args *ctx) {
    return enter(ctx, ctx->args[0], ctx->args[1], ctx->args[2], INGRESS);
}
