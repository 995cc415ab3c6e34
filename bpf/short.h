/* The commonest call in one go: a single buffer of at most a chunk, on a stream that user space
 * knows.  What is not so simple goes the long way through capture.h. */
#pragma once

static inline int has_one_buffer(int call) {
    return call == NR_read || call == NR_write || call == NR_recvfrom || call == NR_sendto;
}

static inline int is_known_stream(u64 sk, struct connection *c) {
    if (!c->is_announced)
        return 0;
    if (c->transport == KEBPF_TCP)
        return 1;
    return c->transport == KEBPF_UNIX_STREAM && c->inode == read_inode(sk);
}

static inline void fill_piece(struct transfer *t, u64 sk, struct connection *c, u32 size,
                              u32 direction) {
    struct kebpf_piece *piece = &t->piece;
    piece->head.socket = sk;
    piece->head.generation = c->generation;
    piece->head.pid = t->thread >> 32;
    piece->head.tid = (u32)t->thread;
    piece->head.kind = KEBPF_DATA;
    piece->head.direction = direction;
    piece->head.transport = c->transport;
    piece->head.overlaps = 0;
    piece->head.sequence = 0;
    if (c->transport == KEBPF_TCP)
        piece->head.sequence = (direction == INGRESS ? read_ingress_sequence_behind(sk, c, size)
                                                     : read_egress_sequence(sk)) -
                               size;
    piece->offset = c->moved[direction & 1];
    piece->call_size = size;
    piece->call_offset = 0;
    piece->reason = 0;
    piece->task = direction == EGRESS ? find_running_task(t->thread) : 0;
}

/* Gives 0, and nothing has changed, when the call has to go the long way. */
static inline int capture_short(u64 task, u64 regs, u64 sk, struct connection *c, s64 result,
                                u32 direction, u32 flags) {
    if (result <= 0 || result > KEBPF_CHUNK || (flags & MSG_TRUNC) || !is_known_stream(sk, c))
        return 0;
    struct transfer *t = find_transfer();
    u64 size = result;
    if (!t || size > read_register(regs, REG_3))
        return 0;
    asm volatile("%0 &= 0x7fff" : "+r"(size));
    if (read_user(t->data, size, (void *)read_register(regs, REG_2)))
        return 0;
    t->thread = (u64)read_process(task) << 32 | read_thread(task);
    note_tls_socket(regs, t->thread, sk, c);
    fill_piece(t, sk, c, size, direction);
    __sync_fetch_and_add(&c->moved[direction & 1], size);
    note_overlap(&t->piece.head, task, c->file, c, t->piece.offset + size);
    t->fill = size;
    send_data(t, c);
    return 1;
}
