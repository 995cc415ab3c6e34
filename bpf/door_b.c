/* Door B: older kernels (5.8 and newer); each system call's end, and the socket by its number. */
#include <uapi/linux/ptrace.h>
#include "events.h"
#include "maps.h"
#include "target.h"
#include "arch.h"
#include "descriptor.h"
#include "filters.h"
#include "connection.h"
#include "overlap.h"
#include "tasks.h"
#include "tls.h"
#include "buffers.h"
#include "vectors_b.h"
#include "capture.h"
#include "groups.h"
#include "short.h"
#include "lifecycle.h"
#include "tls_calls.h"
#include "tls_probes.h"
#include "rustls.h"

static inline u32 read_flags(u64 regs, int call) {
    if (call == NR_recvfrom || call == NR_recvmmsg)
        return read_register(regs, REG_4);
    if (call == NR_recvmsg)
        return read_register(regs, REG_3);
    return 0;
}

/* One program for all that the short way does not take: before Linux 6.3 the verifier would walk
 * through sum_messages too often if it came behind the rest. */
int capture_long(struct bpf_raw_tracepoint_args *ctx) {
    struct transfer *t = find_transfer();
    if (!t || t->thread != bpf_get_current_pid_tgid())
        return 0;
    u64 sk = t->connection, regs = find_registers(find_task(), ctx->args[0]);
    u32 direction = t->piece.head.direction, flags = t->flags, size = t->result, messages = 0;
    int call = read_call(regs);
    /* these two report at their end: the sizes are in the messages themselves */
    if (call == NR_sendmmsg || call == NR_recvmmsg) {
        if (!size)
            return 0;
        size = sum_messages(t, read_register(regs, REG_2));
        messages = *(volatile s32 *)&t->result;
    }
    u32 operation = call == NR_splice     ? KEBPF_SPLICE
                    : call == NR_sendfile ? KEBPF_SENDFILE
                                          : KEBPF_OTHER;
    return capture(ctx, regs, sk, size, direction, flags, messages, operation);
}

int on_sys_exit(struct bpf_raw_tracepoint_args *ctx) {
    s64 result = ctx->args[1];
    u64 task = find_task();
    if (result < 0 || !is_known_target(read_process(task)))
        return 0;
    u64 regs = find_registers(task, ctx->args[0]);
    int call = read_call(regs);
    int direction = read_direction(call);
    if (direction < 0)
        return 0;
    u32 flags = read_flags(regs, call);
    if (!is_consuming(direction, flags))
        return 0;
    u64 sk = find_socket(read_register(regs, REG_1));
    if (!sk && call == NR_splice) { /* from a pipe into a socket */
        sk = find_socket(read_register(regs, REG_3));
        direction = EGRESS;
    }
    if (!sk)
        return 0;
    struct connection *c = connections.lookup(&sk);
    if (c && has_one_buffer(call) && capture_short(task, regs, sk, c, result, direction, flags))
        return 0;
    return go_long_way(ctx, sk, result, direction, flags);
}
