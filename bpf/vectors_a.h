/* sendmmsg and recvmmsg as door A sees them: each message by itself. */
#pragma once

#define MOST_TABLE (MOST_MESSAGES * 16)

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

/* Whether a message has no more than `size` bytes: the call ends behind one that was cut short.
 * The table of its buffers is read at once, to where the payload comes later: the verifier walks
 * through every round of this loop. */
static inline int is_whole(struct transfer *t, u64 message, u32 size) {
    u64 vector = 0, count = 0, total = 0;
    read_user(&vector, 8, (void *)(message + MSGHDR_IOV));
    read_user(&count, 8, (void *)(message + MSGHDR_IOVLEN));
    u64 *iovecs = (u64 *)t->data;
    u64 table_size = count < MOST_MESSAGES ? count * 16 : MOST_TABLE;
    asm volatile("%0 &= 0x7fff" : "+r"(table_size));
    read_user(iovecs, table_size, (void *)vector);
#pragma clang loop unroll(disable)
    for (u64 number = 0; number < MOST_MESSAGES && number < count; number++) {
        asm volatile("" : "+r"(number)); /* keeps the bound, which the verifier needs */
        total += iovecs[2 * (number & (MOST_MESSAGES - 1)) + 1];
    }
    return total <= size;
}

/* Whether the call goes on behind a message of `size` bytes: sendmmsg does not if that was cut
 * short, and recvmmsg fills each as it comes. */
static inline int goes_on(struct transfer *t, int call, u64 message, u32 size) {
    return call == NR_recvmmsg || is_whole(t, message, size);
}

/* Both calls report each message by itself, in order, and an error that ends them: so the messages
 * can be counted. */
static inline u64 next_message(struct transfer *t, u64 sk, u64 regs, int call, u32 size) {
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
    if (now.next < vector_size && goes_on(t, call, message, size)) {
        count(COUNT_LOST_PLACES, places.update(&thread, &now) != 0);
        count(COUNT_VECTOR_READS, call == NR_recvmmsg);
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

/* The message that was reported, or `NO_BUFFER`.  One without bytes is one too; an error is the end
 * of the call.  Called from one place each, lest the verifier walks through it again and again. */
static inline u64 pass_message(struct transfer *t, u64 sk, u64 regs, int call, s32 result) {
    if (call == NR_recvmmsg && read_register(regs, REG_5))
        return NO_BUFFER; /* a timeout ends the call unseen: the messages cannot be counted */
    if (!is_message_known(regs))
        return NO_BUFFER;
    return next_message(t, sk, regs, call, result);
}

static inline void end_messages(void) {
    u32 thread = (u32)bpf_get_current_pid_tgid();
    places.delete(&thread);
}

/* `vector` is what `pass_message` gave. */
static inline u64 find_message(struct transfer *t, u64 regs, int call, u64 vector) {
    if (vector == NO_BUFFER)
        return NO_BUFFER;
    u64 name = set_message(t, vector);
    return call == NR_recvmmsg ? 0 : name; /* the source is not written yet */
}

/* Each comes by itself. */
static inline int begin_next_message(struct transfer *t, struct connection *c) {
    return 0;
}
