/* Door B: older kernels (5.8 and newer); each system call's end, and the socket by its number. */
#include <uapi/linux/ptrace.h>
#include "events.h"
#include "maps.h"
#include "arch.h"
#include "connection.h"
#include "capture.h"
#include "lifecycle.h"

#define S_IFMT 0170000
#define S_IFSOCK 0140000

/* The socket behind a file descriptor of the current task, or 0. */
static inline u64 find_socket(u32 descriptor) {
    u64 task = bpf_get_current_task(), files = 0, table = 0, array = 0, file = 0, inode = 0;
    u64 socket = 0, sk = 0;
    u32 size = 0;
    u16 mode = 0;
    READ(files, task, OFF_TASK_FILES);
    READ(table, files, OFF_FILES_FDT);
    READ(size, table, OFF_FDTABLE_MAX);
    if (descriptor >= size)
        return 0;
    READ(array, table, OFF_FDTABLE_FD);
    READ(file, array, 8 * (u64)descriptor);
    READ(inode, file, OFF_FILE_INODE);
    READ(mode, inode, OFF_INODE_MODE);
    if ((mode & S_IFMT) != S_IFSOCK)
        return 0;
    READ(socket, file, OFF_FILE_PRIVATE);
    READ(sk, socket, OFF_SOCKET_SK);
    return sk;
}

static inline int read_direction(int call) {
    switch (call) {
    case NR_read:
    case NR_readv:
    case NR_preadv2:
    case NR_recvfrom:
    case NR_recvmsg:
    case NR_recvmmsg:
        return INGRESS;
    case NR_write:
    case NR_writev:
    case NR_pwritev2:
    case NR_sendto:
    case NR_sendmsg:
    case NR_sendmmsg:
    case NR_sendfile:
        return EGRESS;
    }
    return -1;
}

static inline int is_peek(u64 regs, int call) {
    if (call == NR_recvfrom)
        return read_register(regs, REG_4) & MSG_PEEK;
    if (call == NR_recvmsg)
        return read_register(regs, REG_3) & MSG_PEEK;
    return 0;
}

int on_sys_exit(struct bpf_raw_tracepoint_args *ctx) {
    s64 result = ctx->args[1];
    if (result < 0 || !is_target())
        return 0;
    u64 regs = ctx->args[0];
    int call = read_call(regs);
    int direction = read_direction(call);
    if (direction < 0 || is_peek(regs, call))
        return 0;
    u64 sk = find_socket(read_register(regs, REG_1));
    if (!sk)
        return 0;
    /* these two report at their end: the sizes are in the messages themselves */
    u32 messages = 0, size = result;
    if (call == NR_sendmmsg || call == NR_recvmmsg) {
        messages = result;
        read_user(&size, sizeof(size), (void *)(read_register(regs, REG_2) + MMSGHDR_LEN));
    }
    return capture(ctx, regs, sk, size, direction, messages);
}
