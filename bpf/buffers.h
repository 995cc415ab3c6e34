/* Where the bytes of the current call are in user memory. */
#pragma once

#define NO_BUFFER ((u64)-1)
#define MSGHDR_NAME 0
#define MSGHDR_IOV 16
#define MSGHDR_IOVLEN 24
#define MMSGHDR_LEN 56
#define MMSGHDR_SIZE 64

#define MOST_MESSAGES 1024 /* UIO_MAXIOV: the kernel takes no more */

/* Where a sendmmsg or recvmmsg is: thread → its next message; gone once the call or the thread is
 * over.  Not an LRU: a place that is lost unnoticed would be taken for a call's beginning. */
struct place {
    u64 connection;
    u64 vector;
    u32 vector_size;
    u32 next;
    u32 last_size;
    u32 reserved;
};
BPF_HASH(places, u32, struct place, KEBPF_PLACES);

static inline u64 set_message(struct transfer *t, u64 message) {
    u64 buffers = 0, name = 0;
    read_user(&t->iovec, 8, (void *)(message + MSGHDR_IOV));
    read_user(&buffers, 8, (void *)(message + MSGHDR_IOVLEN));
    read_user(&name, 8, (void *)(message + MSGHDR_NAME));
    t->iovecs_left = buffers;
    t->buffer_left = 0;
    return name;
}

/* Whether a message has no more than `size` bytes: the call ends behind one that was cut short. */
static inline int is_whole(u64 message, u32 size) {
    u64 vector = 0, count = 0, iovec[2] = {}, total = 0;
    read_user(&vector, 8, (void *)(message + MSGHDR_IOV));
    read_user(&count, 8, (void *)(message + MSGHDR_IOVLEN));
#pragma clang loop unroll(disable)
    for (u32 number = 0; number < MOST_MESSAGES && number < count; number++) {
        read_user(iovec, sizeof(iovec), (void *)(vector + number * sizeof(iovec)));
        total += iovec[1];
    }
    return total <= size;
}

/* Whether the call goes on behind a message of `size` bytes: sendmmsg does not if that was cut
 * short, and recvmmsg fills each as it comes. */
static inline int goes_on(u64 regs, u64 message, u32 size) {
    return read_call(regs) == NR_recvmmsg || is_whole(message, size);
}

/* Both calls report each message by itself, in order, and an error that ends them: so the messages
 * can be counted. */
static inline u64 next_message(u64 sk, u64 regs, u32 size) {
    u64 vector = read_register(regs, REG_2), given = read_register(regs, REG_3);
    u32 vector_size = given < MOST_MESSAGES ? given : MOST_MESSAGES;
    u32 thread = (u32)bpf_get_current_pid_tgid(), index = 0, before = 0;
    struct place *place = places.lookup(&thread);
    if (place && place->connection == sk && place->vector == vector &&
        place->vector_size == vector_size && place->next < vector_size) {
        u64 previous = vector + (u64)(place->next - 1) * MMSGHDR_SIZE;
        read_user(&before, 4, (void *)(previous + MMSGHDR_LEN));
        if (before == place->last_size)
            index = place->next;
    }
    u64 message = vector + (u64)index * MMSGHDR_SIZE;
    struct place now = {.connection = sk,
                        .vector = vector,
                        .vector_size = vector_size,
                        .next = index + 1,
                        .last_size = size};
    if (now.next < vector_size && goes_on(regs, message, size)) {
        count(COUNT_LOST_PLACES, places.update(&thread, &now) != 0);
        count(COUNT_VECTOR_READS, read_call(regs) == NR_recvmmsg);
    } else if (place) {
        places.delete(&thread);
    }
    return message;
}

/* Whether the message is known: without a place it is a call's first, unless places were lost. */
static inline int is_message_known(u64 regs) {
    u32 thread = (u32)bpf_get_current_pid_tgid(), which = COUNT_LOST_PLACES;
    u64 *lost = counts.lookup(&which);
    return !lost || !*lost || read_register(regs, REG_3) < 2 || places.lookup(&thread);
}

/* A message without bytes is one too; an error is the end of the call. */
static inline void pass_message(u64 sk, u64 regs, s32 result) {
    u32 thread = (u32)bpf_get_current_pid_tgid();
    int call = read_call(regs);
    if (call != NR_sendmmsg && call != NR_recvmmsg)
        return;
    if (result < 0)
        places.delete(&thread);
    else if (is_message_known(regs))
        next_message(sk, regs, 0);
}

/* What one call moves behind its first message. */
static inline void set_messages(struct transfer *t, u64 vector, u32 count) {
    t->message = vector;
    t->messages_left = count;
#pragma clang loop unroll(disable)
    for (u32 number = 0; number < MOST_MESSAGES && number < count; number++) {
        u32 size = 0;
        read_user(&size, sizeof(size), (void *)(vector + number * MMSGHDR_SIZE + MMSGHDR_LEN));
        t->behind += size;
    }
}

static inline void set_buffer(struct transfer *t, u64 regs, u32 size) {
    u64 room = read_register(regs, REG_3);
    t->buffer = read_register(regs, REG_2);
    t->buffer_left = size < room ? size : room; /* MSG_TRUNC: more than there was room for */
}

/* Door A comes here with each message, door B once, with the number of them all. */
static inline u64 find_message(struct transfer *t, u64 regs, int call, u32 size, u32 messages) {
    u64 vector = read_register(regs, REG_2);
    if (messages) {
        set_messages(t, vector + MMSGHDR_SIZE, messages - 1);
        return set_message(t, vector);
    }
    if (call == NR_recvmmsg && read_register(regs, REG_5))
        return NO_BUFFER; /* a timeout ends the call unseen: the messages cannot be counted */
    if (!is_message_known(regs))
        return NO_BUFFER;
    u64 name = set_message(t, next_message(t->connection, regs, size));
    return call == NR_recvmmsg ? 0 : name; /* the source is not written yet */
}

/* Finds the user buffers of the call; gives the destination's address, 0 for none, and NO_BUFFER
 * when the call has none that can be read. */
static inline u64 find_buffers(struct transfer *t, u64 regs, int call, u32 size, u32 messages) {
    u64 vector = read_register(regs, REG_2);
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
        t->iovec = vector;
        t->iovecs_left = read_register(regs, REG_3);
        return 0;
    case NR_sendmsg:
        return set_message(t, vector);
    case NR_recvmsg:
        set_message(t, vector);
        return 0;
    case NR_recvmmsg:
    case NR_sendmmsg:
        return find_message(t, regs, call, size, messages);
    }
    return NO_BUFFER;
}
