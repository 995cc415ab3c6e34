/* sendmmsg and recvmmsg as door B sees them: once, at their end, all messages together. */
#pragma once

static inline void set_size(struct transfer *t, struct connection *c, u32 size);

static inline u32 read_message_size(u64 message) {
    u32 size = 0;
    read_user(&size, sizeof(size), (void *)(message + MMSGHDR_LEN));
    return size;
}

/* What one call moved behind its first message, summed up where the payload comes later; gives the
 * first one's size.  The number of messages is read anew from memory here and behind the loop: else
 * each round would leave with another number, and the verifier walk through all that follows. */
static inline u32 sum_messages(struct transfer *t, u64 vector) {
    volatile s32 *count = &t->result;
    u32 *behind = (u32 *)t->data;
    *behind = 0;
#pragma clang loop unroll(disable)
    for (u32 number = 1; number < MOST_MESSAGES && number < (u32)*count; number++)
        *behind += read_message_size(vector + number * MMSGHDR_SIZE);
    return read_message_size(vector);
}

/* `vector` is the number of messages. */
static inline u64 find_message(struct transfer *t, u64 regs, int call, u64 vector) {
    u64 first = read_register(regs, REG_2);
    t->message = first + MMSGHDR_SIZE;
    t->messages_left = vector - 1;
    t->behind = *(u32 *)t->data;
    return set_message(t, first);
}

/* On to the next. */
static inline int begin_next_message(struct transfer *t, struct connection *c) {
    if (!t->messages_left)
        return 0;
    u32 size = read_message_size(t->message);
    set_message(t, t->message);
    t->piece.head.kind = KEBPF_DATA;
    t->piece.reason = 0;
    t->failure = 0;
    t->behind -= size;
    set_size(t, c, size);
    t->message += MMSGHDR_SIZE;
    t->messages_left--;
    return 1;
}

/* Nothing is kept between calls. */
static inline void end_messages(void) {
}
