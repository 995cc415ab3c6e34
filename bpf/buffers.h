/* Where the bytes of the current call are in user memory. */
#pragma once

#define NO_BUFFER ((u64)-1)
#define MSGHDR_NAME 0
#define MSGHDR_IOV 16
#define MSGHDR_IOVLEN 24
#define MMSGHDR_LEN 56
#define MMSGHDR_SIZE 64

#define MOST_MESSAGES 1024 /* UIO_MAXIOV: the kernel takes no more */

static inline u64 set_message(struct transfer *t, u64 message) {
    u64 buffers = 0, name = 0;
    read_user(&t->iovec, 8, (void *)(message + MSGHDR_IOV));
    read_user(&buffers, 8, (void *)(message + MSGHDR_IOVLEN));
    read_user(&name, 8, (void *)(message + MSGHDR_NAME));
    t->iovecs_left = buffers;
    t->buffer_left = 0;
    return name;
}

static inline void set_buffer(struct transfer *t, u64 regs, u32 size) {
    u64 room = read_register(regs, REG_3);
    t->buffer = read_register(regs, REG_2);
    t->buffer_left = size < room ? size : room; /* MSG_TRUNC: more than there was room for */
}

/* Those of sendmmsg and recvmmsg: vectors_a.h, vectors_b.h. */
static inline u64 find_message(struct transfer *t, u64 regs, int call, u64 vector);

/* Finds the user buffers of the call; gives the destination's address, 0 for none, and NO_BUFFER
 * when the call has none that can be read. */
static inline u64 find_buffers(struct transfer *t, u64 regs, int call, u32 size, u64 vector) {
    u64 second = read_register(regs, REG_2);
    switch (call) {
    case NR_read:
    case NR_write:
    case NR_recvfrom:
        set_buffer(t, regs, size);
        return 0;
    case NR_sendto:
        set_buffer(t, regs, size);
        return read_register(regs, REG_5);
    case NR_readv:
    case NR_writev:
    case NR_preadv2:
    case NR_pwritev2:
        t->iovec = second;
        t->iovecs_left = read_register(regs, REG_3);
        return 0;
    case NR_sendmsg:
        return set_message(t, second);
    case NR_recvmsg:
        set_message(t, second);
        return 0;
    case NR_recvmmsg:
    case NR_sendmmsg:
        return find_message(t, regs, call, vector);
    }
    return NO_BUFFER;
}
