/* System calls: their numbers and where their arguments are, which differ between processors. */
#pragma once

#if defined(KEBPF_ARCH_X86_64)
/* struct pt_regs of arch/x86: r15 … ss in this order, eight bytes each */
/* of a function, in a uprobe: by the C convention, and by Go's own (receiver first) */
#define FIRST_ARGUMENT(regs) ((regs)->di)
#define SECOND_ARGUMENT(regs) ((regs)->si)
#define THIRD_ARGUMENT(regs) ((regs)->dx)
#define FOURTH_ARGUMENT(regs) ((regs)->cx)
#define FIFTH_ARGUMENT(regs) ((regs)->r8)
#define RESULT(regs) ((regs)->ax)
#define GO_FIRST(regs) ((regs)->ax) /* and the first result */
#define GO_SECOND(regs) ((regs)->bx)
#define GO_THIRD(regs) ((regs)->cx)
#define GOROUTINE(regs) ((regs)->r14)
#define REG_GOROUTINE 8
#define REG_CALL 120 /* orig_ax */
#define REG_1 112    /* di */
#define REG_2 104    /* si */
#define REG_3 96     /* dx */
#define REG_4 56     /* r10 */
#define REG_5 72     /* r8 */
#define REG_CS 136
#define REG_RESULT 80 /* ax: -ENOSYS as long as the call is under way */
#define CS_64BIT 0x33
#define NR_read 0
#define NR_write 1
#define NR_readv 19
#define NR_writev 20
#define NR_sendto 44
#define NR_recvfrom 45
#define NR_sendmsg 46
#define NR_recvmsg 47
#define NR_sendfile 40
#define NR_splice 275
#define NR_recvmmsg 299
#define NR_sendmmsg 307
#define NR_preadv2 327
#define NR_pwritev2 328
#elif defined(KEBPF_ARCH_AARCH64)
/* struct user_pt_regs of arch/arm64: x0 … x30, sp, pc, pstate; then orig_x0, syscallno */
#define ARGUMENT(regs, number) (((u64 *)(regs))[number])
#define FIRST_ARGUMENT(regs) ARGUMENT(regs, 0)
#define SECOND_ARGUMENT(regs) ARGUMENT(regs, 1)
#define THIRD_ARGUMENT(regs) ARGUMENT(regs, 2)
#define FOURTH_ARGUMENT(regs) ARGUMENT(regs, 3)
#define FIFTH_ARGUMENT(regs) ARGUMENT(regs, 4)
#define RESULT(regs) ARGUMENT(regs, 0)
#define GO_FIRST(regs) ARGUMENT(regs, 0)
#define GO_SECOND(regs) ARGUMENT(regs, 1)
#define GO_THIRD(regs) ARGUMENT(regs, 2)
#define GOROUTINE(regs) ARGUMENT(regs, 28)
#define REG_GOROUTINE (28 * 8)
#define REG_CALL 280 /* syscallno, 32 bits */
#define REG_1 272    /* orig_x0: x0 holds the result at the exit */
#define REG_2 8
#define REG_3 16
#define REG_4 24
#define REG_5 32
#define NR_read 63
#define NR_write 64
#define NR_readv 65
#define NR_writev 66
#define NR_sendto 206
#define NR_recvfrom 207
#define NR_sendmsg 211
#define NR_recvmsg 212
#define NR_sendfile 71
#define NR_splice 76
#define NR_recvmmsg 243
#define NR_sendmmsg 269
#define NR_preadv2 286
#define NR_pwritev2 287
#else
#error "kebpf knows the registers of x86_64 and aarch64"
#endif

/* The registers of the current call: where the verifier knows their type they are read without a
 * helper, otherwise `given` says where they are. */
#ifdef KEBPF_HAS_TASK_REGS
#define read_register(regs, offset) LOAD(u64, regs, offset)
#define read_call_number(regs) LOAD(u32, regs, REG_CALL)
#define read_code_segment(regs) LOAD(u16, regs, REG_CS)
#define find_registers(task, given) ((u64)bpf_task_pt_regs((void *)(task)))
#else
#define read_register(regs, offset) PROBE(u64, regs, offset)
#define read_call_number(regs) PROBE(u32, regs, REG_CALL)
#define read_code_segment(regs) PROBE(u16, regs, REG_CS)
#define find_registers(task, given) (given)
#endif

/* The number of the system call, or -1 for one whose arguments are laid out otherwise. */
static inline int read_call(u64 regs) {
#ifdef CS_64BIT
    if (read_code_segment(regs) != CS_64BIT)
        return -1;
#endif
    return (int)read_call_number(regs);
}

static inline int read_direction(int call) {
    switch (call) {
    case NR_read:
    case NR_readv:
    case NR_preadv2:
    case NR_recvfrom:
    case NR_recvmsg:
    case NR_recvmmsg:
    case NR_splice:
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
