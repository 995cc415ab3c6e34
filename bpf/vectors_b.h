/* sendmmsg and recvmmsg as door B sees them: once, at their end, all messages together. */
#pragma once

static inline void set_size(struct transfer *t, struct connection *c, u32 size);

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

/* `vector` is the number of messages. */
static inline u64 find_message(struct transfer *t, u64 regs, int call, u64 vector) {
    u64 first = read_register(regs, REG_2);
    set_messages(t, first + MMSGHDR_SIZE, vector - 1);
    return set_message(t, first);
}

/* On to the next. */
static inline int begin_next_message(struct transfer *t, struct connection *c) {
    u32 size = 0;
    if (!t->messages_left)
        return 0;
    read_user(&size, sizeof(size), (void *)(t->message + MMSGHDR_LEN));
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
