/* Door A: kernels that report each message of a socket (6.3 and newer). */
#include <uapi/linux/ptrace.h>
#include "events.h"
#include "maps.h"
#include "target.h"
#include "arch.h"
#include "descriptor.h"
#include "filters.h"
#include "connection.h"
#define KEBPF_WITHIN_CALL /* its probes see a call while it holds its file */
#include "overlap.h"
#include "tasks.h"
#include "tls.h"
#include "buffers.h"
#include "vectors_a.h"
#include "capture.h"
#include "groups.h"
#include "short.h"
#include "lifecycle.h"
#include "tls_calls.h"
#include "tls_probes.h"
#include "rustls.h"

enum { ENOSYS = 38 };

/* How the bytes moved: KEBPF_OTHER if the call in the registers is what moved them, through its
 * buffers.  io_uring works at the end of other calls as well, and the kernel has sockets of its
 * own. */
static inline u32 find_operation(u64 regs, u64 sk, u32 direction) {
    int call = read_call(regs);
#ifdef REG_RESULT
    if ((s64)read_register(regs, REG_RESULT) != -ENOSYS)
        return KEBPF_IO_URING;
#endif
    if (call == NR_splice)
        return find_socket(read_register(regs, REG_3)) == sk ? KEBPF_SPLICE : KEBPF_IO_URING;
    if (read_direction(call) != (int)direction || find_socket(read_register(regs, REG_1)) != sk)
        return KEBPF_IO_URING;
    return call == NR_sendfile ? KEBPF_SENDFILE : KEBPF_OTHER;
}

/* A failed receive moves nothing; it only ends a recvmmsg, if ever there was one. */
static inline int end_vector(void) {
    u32 which = COUNT_VECTOR_READS;
    u64 *vectors = counts.lookup(&which);
    if (vectors && *vectors && is_target())
        end_messages();
    return 0;
}

/* Whether a call with one buffer is what moved the bytes: as above, but what the descriptor leads
 * to is looked up once. */
static inline int is_of_short_call(u64 task, u64 regs, u64 sk, struct connection *c,
                                   u32 direction) {
    int call = read_call(regs);
#ifdef REG_RESULT
    if ((s64)read_register(regs, REG_RESULT) != -ENOSYS)
        return 0;
#endif
    if (!has_one_buffer(call) || read_direction(call) != (int)direction)
        return 0;
    u64 file = find_file(task, read_register(regs, REG_1));
    if (!file || (file != c->file && read_socket(file) != sk))
        return 0;
    c->file = file;
    return 1;
}

/* What the short way does not take: one program for both directions, for it is a large one. */
int capture_long(struct bpf_raw_tracepoint_args *ctx) {
    struct transfer *t = find_transfer();
    if (!t || t->thread != bpf_get_current_pid_tgid())
        return 0;
    u64 sk = t->connection, regs = find_registers(find_task(), 0);
    u32 direction = t->piece.head.direction, flags = t->flags;
    u64 vector = 0;
    s32 result = t->result;
    int call = read_call(regs);
    if (call == NR_sendmmsg || call == NR_recvmmsg) {
        if (result < 0)
            end_messages();
        else
            vector = pass_message(t, sk, regs, call, result);
    }
    if (result < 0)
        return 0;
    return capture(ctx, regs, sk, result, direction, flags, result ? vector : 0,
                   find_operation(regs, sk, direction));
}

static inline int enter(void *ctx, u64 sk, s32 result, s32 flags, u32 direction) {
    if (result < 0 && direction == INGRESS)
        return end_vector();
    u64 task = find_task();
    if (!is_known_target(read_process(task)) || !is_consuming(direction, flags))
        return 0;
    u64 regs = find_registers(task, 0);
    struct connection *c = connections.lookup(&sk);
    if (c && result > 0 && is_of_short_call(task, regs, sk, c, direction) &&
        capture_short(task, regs, sk, c, result, direction, flags))
        return 0;
    return go_long_way(ctx, sk, result, direction, flags);
}

int on_sock_send_length(struct bpf_raw_tracepoint_args *ctx) {
    return enter(ctx, ctx->args[0], ctx->args[1], 0, EGRESS);
}

int on_sock_recv_length(struct bpf_raw_tracepoint_args *ctx) {
    return enter(ctx, ctx->args[0], ctx->args[1], ctx->args[2], INGRESS);
}
