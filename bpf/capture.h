/* One capture for both doors: finds the buffers of the current call and sends their bytes. */
#pragma once

#define ROUNDS 24 /* buffers or chunks one program copies before it calls the next */
#define MSG_PEEK 2
#define MSGHDR_NAME 0
#define MSGHDR_IOV 16
#define MSGHDR_IOVLEN 24
#define MMSGHDR_LEN 56
#define MMSGHDR_SIZE 64

/* How many messages of a sendmmsg are gone: thread → place; lives as long as the call. */
struct place {
    u64 vector;
    u32 next;
    u32 last_size;
};
BPF_TABLE("lru_hash", u32, struct place, places, 4096);

static inline void send_data(struct transfer *t, struct connection *c) {
    u32 size = t->fill, direction = t->piece.head.direction & 1;
    t->piece.head.time_ns = bpf_ktime_get_ns();
    t->piece.size = size;
    asm volatile("%0 &= 0x7fff" : "+r"(size));
    if (emit(&t->piece, sizeof(t->piece) + size)) {
        __sync_fetch_and_add(&c->lost[direction], t->fill);
        count(COUNT_LOST_BYTES, t->fill);
    }
    t->piece.head.sequence += t->fill;
    t->piece.offset += t->fill;
    t->piece.call_offset += t->fill;
    t->fill = 0;
}

/* What the call moved and this did not copy. */
static inline void send_gap(struct transfer *t) {
    t->piece.head.kind = KEBPF_GAP;
    t->piece.size = t->remaining + t->withheld;
    t->piece.reason |= t->failure ? t->failure : KEBPF_GAP_LIMIT;
    if (t->piece.size)
        emit(&t->piece, sizeof(t->piece));
}

static inline void next_iovec(struct transfer *t) {
    u64 iovec[2] = {};
    if (!t->iovecs_left || read_user(iovec, sizeof(iovec), (void *)t->iovec)) {
        t->failure = KEBPF_GAP_FAULT;
        return;
    }
    t->iovec += sizeof(iovec);
    t->iovecs_left--;
    t->buffer = iovec[0];
    t->buffer_left = iovec[1] > t->remaining ? t->remaining : iovec[1];
}

static inline void copy_some(struct transfer *t) {
    u32 at = t->fill, size = KEBPF_CHUNK - at;
    if (size > t->buffer_left)
        size = t->buffer_left;
    if (size > t->remaining)
        size = t->remaining;
    u32 copied = size;
    asm volatile("%0 &= 0x3fff" : "+r"(at));
    asm volatile("%0 &= 0x7fff" : "+r"(size));
    if (read_user(&t->data[at], size, (void *)t->buffer)) {
        t->failure = KEBPF_GAP_FAULT;
        return;
    }
    t->fill += copied;
    t->buffer += copied;
    t->buffer_left -= copied;
    t->remaining -= copied;
}

static inline u32 read_sequence(u64 sk, u32 direction) {
    u32 sequence = 0;
    if (direction == INGRESS)
        READ(sequence, sk, OFF_TCP_COPIED_SEQ);
    else
        READ(sequence, sk, OFF_TCP_WRITE_SEQ);
    return sequence;
}

static inline struct transfer *begin_transfer(u64 sk, struct connection *c, u32 direction) {
    struct transfer *t = find_transfer();
    if (!t)
        return 0;
    __builtin_memset(t, 0, __builtin_offsetof(struct transfer, data));
    t->thread = bpf_get_current_pid_tgid();
    t->connection = sk;
    fill_head(&t->piece.head, KEBPF_DATA, sk, c);
    t->piece.head.direction = direction;
    return t;
}

static inline void set_size(struct transfer *t, struct connection *c, u32 size) {
    u32 direction = t->piece.head.direction & 1;
    t->piece.offset = c->moved[direction];
    t->piece.call_size = size;
    t->piece.call_offset = 0;
    t->remaining = size;
    if (size > KEBPF_CALL_LIMIT) {
        t->remaining = KEBPF_CALL_LIMIT;
        t->withheld = size - KEBPF_CALL_LIMIT;
    }
    if (c->transport == KEBPF_TCP)
        t->piece.head.sequence = read_sequence(t->connection, direction) - size;
    __sync_fetch_and_add(&c->moved[direction], (u64)size);
}

static inline void set_buffer(struct transfer *t, u64 buffer, u32 size) {
    t->buffer = buffer;
    t->buffer_left = size;
}

static inline u64 set_message(struct transfer *t, u64 message) {
    u64 buffers = 0, name = 0;
    read_user(&t->iovec, 8, (void *)(message + MSGHDR_IOV));
    read_user(&buffers, 8, (void *)(message + MSGHDR_IOVLEN));
    read_user(&name, 8, (void *)(message + MSGHDR_NAME));
    t->iovecs_left = buffers;
    t->buffer_left = 0;
    return name;
}

/* Door B sees sendmmsg and recvmmsg once, at their end: on to the next of their messages. */
static inline int set_next_message(struct transfer *t, struct connection *c) {
    u32 size = 0;
    if (!t->messages_left)
        return 0;
    read_user(&size, sizeof(size), (void *)(t->message + MMSGHDR_LEN));
    set_message(t, t->message);
    t->piece.head.kind = KEBPF_DATA;
    t->piece.reason = 0;
    set_size(t, c, size);
    t->message += MMSGHDR_SIZE;
    t->messages_left--;
    return 1;
}

/* Copies the current transfer, or its share of it, and then calls itself for the rest. */
int copy_transfer(struct bpf_raw_tracepoint_args *ctx) {
    struct transfer *t = find_transfer();
    if (!t || t->thread != bpf_get_current_pid_tgid())
        return 0;
    u64 sk = t->connection;
    struct connection *c = connections.lookup(&sk);
    if (!c)
        return 0;
    u32 is_done = 0;
#pragma clang loop unroll(disable)
    for (int round = 0; round < ROUNDS && !is_done; round++) {
        is_done = !t->remaining || t->failure;
        if (t->fill == KEBPF_CHUNK || (is_done && t->fill))
            send_data(t, c);
        else if (!t->buffer_left)
            next_iovec(t);
        else
            copy_some(t);
    }
    if (!is_done)
        continuations.call(ctx, 0); /* falls through when the chain is at its end */
    send_gap(t);
    if (set_next_message(t, c))
        continuations.call(ctx, 0);
    return 0;
}

/* sendmmsg reports each message by itself, in order: which one this is has to be counted. */
static inline u64 next_message(u64 vector, u32 vector_size, u32 size) {
    u32 thread = (u32)bpf_get_current_pid_tgid(), index = 0, before = 0;
    struct place *place = places.lookup(&thread);
    if (place && place->vector == vector && place->next < vector_size) {
        u64 previous = vector + (u64)(place->next - 1) * MMSGHDR_SIZE;
        read_user(&before, 4, (void *)(previous + MMSGHDR_LEN));
        if (before == place->last_size)
            index = place->next;
    }
    struct place now = {.vector = vector, .next = index + 1, .last_size = size};
    places.update(&thread, &now);
    return vector + (u64)index * MMSGHDR_SIZE;
}

/* Finds the user buffers of the call; gives the destination's address, 0 for none, and -1 when
 * the call has no buffer that can be read. */
static inline u64 find_buffers(struct transfer *t, u64 regs, int call, u32 size, u32 messages) {
    u64 second = read_register(regs, REG_2);
    switch (call) {
    case NR_read:
    case NR_write:
    case NR_recvfrom:
        set_buffer(t, second, size);
        return 0;
    case NR_sendto:
        set_buffer(t, second, size);
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
    case NR_recvmmsg: /* door A cannot tell which message this is: a gap */
        if (!messages)
            return -1;
    case NR_sendmmsg:
        if (!messages)
            return set_message(t, next_message(second, read_register(regs, REG_3), size));
        t->message = second + MMSGHDR_SIZE;
        t->messages_left = messages - 1;
        return set_message(t, second);
    }
    return -1;
}

static inline void announce_if_new(u64 sk, struct connection *c, u32 direction, u32 size,
                                   u64 destination) {
    u32 port = 0;
    if (destination && c->transport == KEBPF_UDP) {
        u16 raw = 0;
        read_user(&raw, sizeof(raw), (void *)(destination + 2));
        port = raw;
    }
    if (c->is_announced && port == c->remote_port)
        return;
    if (c->is_announced && !port)
        return;
    c->remote_port = port;
    announce(sk, c, direction, size, destination);
}

/* The sender is done: a read that gave nothing. */
static inline void send_end(u64 sk, struct connection *c, u32 direction) {
    struct kebpf_head head = {};
    fill_head(&head, KEBPF_END, sk, c);
    head.direction = direction;
    emit(&head, sizeof(head));
}

static inline int is_target(void) {
    u32 process = bpf_get_current_pid_tgid() >> 32;
    return targets.lookup(&process) != 0;
}

/* `result` bytes went through `sk` in the current call of a target; `regs` are its registers.
 * `messages` is not 0 for a whole sendmmsg or recvmmsg: then `result` is its first message's. */
static inline int capture(void *ctx, u64 regs, u64 sk, s64 result, u32 direction, u32 messages) {
    struct connection *c = find_connection(sk);
    if (!c)
        return 0;
    if (result == 0) {
        if (direction == INGRESS &&
            (c->transport == KEBPF_TCP || c->transport == KEBPF_UNIX_STREAM))
            send_end(sk, c, direction);
        return 0;
    }
    struct transfer *t = begin_transfer(sk, c, direction);
    if (!t)
        return 0;
    int call = read_call(regs);
    u64 destination = find_buffers(t, regs, call, result, messages);
    set_size(t, c, result);
    announce_if_new(sk, c, direction, result, destination == -1 ? 0 : destination);
    if (destination == -1) {
        t->piece.reason = (u32)call << 16;
        t->failure = KEBPF_GAP_NO_BUFFER;
    }
    continuations.call(ctx, 0);
    return 0;
}
