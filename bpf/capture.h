/* One capture for both doors: finds the buffers of the current call and sends their bytes. */
#pragma once

enum { MSG_OOB = 1, MSG_PEEK = 2, MSG_TRUNC = 0x20, MSG_ERRQUEUE = 0x2000 };

static inline void send_data(struct transfer *t, struct connection *c) {
    u32 size = t->fill, direction = t->piece.head.direction & 1;
    t->piece.head.time_ns = bpf_ktime_get_ns();
    t->piece.size = size;
    asm volatile("%0 &= 0x7fff" : "+r"(size));
    if (emit(&t->piece, sizeof(t->piece) + size)) {
        __sync_fetch_and_add(&c->lost[direction], t->fill);
        count(COUNT_LOST_BYTES, t->fill);
    }
    if (c->transport == KEBPF_TCP)
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

static inline struct transfer *begin_transfer(u64 sk, struct connection *c, u32 direction) {
    struct transfer *t = find_transfer();
    if (!t)
        return 0;
    __builtin_memset(t, 0, __builtin_offsetof(struct transfer, data));
    t->thread = bpf_get_current_pid_tgid();
    t->connection = sk;
    fill_head(&t->piece.head, KEBPF_DATA, sk, c);
    t->piece.head.direction = direction;
    t->piece.task = direction == EGRESS ? find_running_task(t->thread) : 0;
    return t;
}

static inline void set_size(struct transfer *t, struct connection *c, u32 size) {
    u32 direction = t->piece.head.direction & 1;
    t->piece.offset = c->moved[direction];
    t->piece.call_size = size;
    t->piece.call_offset = 0;
    t->remaining = size;
    t->withheld = 0;
    if (size > KEBPF_CALL_LIMIT) {
        t->remaining = KEBPF_CALL_LIMIT;
        t->withheld = size - KEBPF_CALL_LIMIT;
    }
    if (c->transport == KEBPF_TCP)
        t->piece.head.sequence = (direction == INGRESS ? read_ingress_sequence(t->connection)
                                                       : read_egress_sequence(t->connection)) -
                                 t->behind - size;
    __sync_fetch_and_add(&c->moved[direction], (u64)size);
    note_overlap(&t->piece.head, find_task(), 0, c, t->piece.offset + size);
    if (t->behind)
        t->piece.head.overlaps = KEBPF_OVERLAP_MANY;
}

/* One buffer, or a chunk of it.  Gives 0 at the transfer's end. */
static inline int advance(struct transfer *t, struct connection *c) {
    if (!t->buffer_left && t->remaining && !t->failure)
        next_iovec(t);
    if (t->buffer_left && !t->failure)
        copy_some(t);
    u32 is_done = !t->remaining || t->failure;
    if (t->fill == KEBPF_CHUNK || (is_done && t->fill))
        send_data(t, c);
    if (!is_done)
        return 1;
    send_gap(t);
    return begin_next_message(t, c);
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
#pragma clang loop unroll(disable)
    for (int round = 0; round < KEBPF_ROUNDS; round++)
        if (!advance(t, c))
            return 0;
    continuations.call(ctx, 0); /* falls through when the chain is at its end */
    t->remaining += t->fill;
    send_gap(t);
    __sync_fetch_and_add(&c->moved[t->piece.head.direction & 1], (u64)t->behind);
    return 0;
}

/* A value that tells a datagram's peer from others, or 0 where the call names none. */
static inline u64 read_remote(u64 sk, u64 destination) {
    u64 start = 0, high = 0, low = 0;
    u16 port = 0, family = 0;
    if (destination) {
        read_user(&start, sizeof(start), (void *)destination); /* family, port, IPv4 address */
        if ((u16)start != 10)
            return start;
        read_user(&high, sizeof(high), (void *)(destination + 8));
        read_user(&low, sizeof(low), (void *)(destination + 16));
        return (u32)start + 31 * high + 17 * low;
    }
    READ(port, sk, OFF_SOCK_REMOTE_PORT);
    if (!port)
        return 0;
    READ(family, sk, OFF_SOCK_FAMILY);
    start = family | (u64)port << 16;
    if (family == 2) {
        READ(low, sk, OFF_SOCK_V4_REMOTE);
        return start | low << 32;
    }
    READ(high, sk, OFF_SOCK_V6_REMOTE);
    READ(low, sk, OFF_SOCK_V6_REMOTE + 8);
    return start + 31 * high + 17 * low;
}

/* Whether user space knows, or now was told, which connection the bytes belong to. */
static inline int announce_if_new(u64 sk, struct connection *c, struct transfer *t,
                                  u64 destination) {
    u64 remote = c->transport == KEBPF_UDP ? read_remote(sk, destination) : 0;
    if ((c->is_announced || c->left_out) && (!remote || remote == c->remote))
        return c->is_announced;
    c->remote = remote;
    announce(sk, c, t, destination);
    return c->is_announced;
}

/* The sender is done: a read that gave nothing, and not for want of room in its buffer; or the
 * target is about to send its FIN.  Bytes before that which have not come are missing. */
static inline void send_end(u64 sk, struct connection *c, u32 direction) {
    struct kebpf_head head = {};
    fill_head(&head, KEBPF_END, sk, c);
    head.direction = direction;
    head.sequence = c->moved[direction & 1];
    if (c->transport == KEBPF_TCP)
        head.sequence = direction == INGRESS ? read_ingress_sequence(sk)
                                             : read_egress_sequence(sk) - c->fin_sent;
    emit(&head, sizeof(head));
}

/* Whether a call with these flags takes bytes out of the stream. */
static inline int is_consuming(u32 direction, u32 flags) {
    return direction == EGRESS || !(flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB));
}

/* `result` bytes went through `sk` in the current call of a target; `regs` are its registers, and
 * name the call's buffers unless an `operation` without any is given.  `vector` is what the
 * door's find_message() needs for sendmmsg and recvmmsg: door A's the message, door B's the number
 * of messages, of which `result` is the first one's. */
static inline int capture(void *ctx, u64 regs, u64 sk, s64 result, u32 direction, u32 flags,
                          u64 vector, u32 operation) {
    struct connection *c = find_connection(sk, result);
    if (!c || is_left_out(c))
        return 0;
    if (result == 0 && vector < 2) {
        if (direction == INGRESS && (read_shutdown(sk) & SHUTDOWN_RECEIVE) &&
            (c->transport == KEBPF_TCP || c->transport == KEBPF_UNIX_STREAM))
            send_end(sk, c, direction);
        return 0;
    }
    struct transfer *t = begin_transfer(sk, c, direction);
    if (!t)
        return 0;
    note_tls_socket(regs, t->thread, sk, c);
    int call = read_call(regs);
    u64 destination = find_buffers(t, regs, call, result, vector);
    if (operation == KEBPF_OTHER && direction == INGRESS && (flags & MSG_TRUNC) &&
        c->transport == KEBPF_TCP)
        operation = KEBPF_TRUNCATED;
    else if (destination == NO_BUFFER && call == NR_recvmmsg)
        operation = read_register(regs, REG_5) ? KEBPF_RECVMMSG : KEBPF_VECTOR;
    else if (destination == NO_BUFFER && call == NR_sendmmsg)
        operation = KEBPF_VECTOR;
    if (operation)
        destination = NO_BUFFER;
    set_size(t, c, result);
    if (!announce_if_new(sk, c, t, destination == NO_BUFFER ? 0 : destination)) {
        if (c->left_out) { /* as if it had not been */
            __sync_fetch_and_add(&c->moved[direction & 1], -(u64)(u32)result);
            return 0;
        }
        __sync_fetch_and_add(&c->lost[direction & 1], (u64)(u32)result);
        count(COUNT_LOST_BYTES, result);
        return 0;
    }
    if (destination == NO_BUFFER) {
        if (operation == KEBPF_IO_URING) /* which holds files as it likes */
            t->piece.head.overlaps = KEBPF_OVERLAP_MANY;
        t->piece.reason = operation << 16;
        t->failure = KEBPF_GAP_NO_BUFFER;
    }
    continuations.call(ctx, 0);
    return 0;
}

/* What the short way does not take: capture_long of the door, a program of its own. */
static inline int go_long_way(void *ctx, u64 sk, s32 result, u32 direction, u32 flags) {
    struct transfer *t = find_transfer();
    if (!t)
        return 0;
    t->thread = bpf_get_current_pid_tgid();
    t->connection = sk;
    t->result = result;
    t->flags = flags;
    t->piece.head.direction = direction;
    continuations.call(ctx, 1);
    return 0;
}
