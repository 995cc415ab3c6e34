/* Processes and sockets coming and going: descendants are followed, lives of sockets ended. */
#pragma once

enum {
    STATE_SYN_SENT = 2,
    STATE_FIN_WAIT1 = 4,
    STATE_CLOSE = 7,
    STATE_LAST_ACK = 9,
    STATE_LISTEN = 10,
};

static inline void send_process(u32 process, u32 child, u32 change) {
    struct kebpf_process record = {};
    fill_head(&record.head, KEBPF_PROCESS, 0, 0);
    record.head.pid = process;
    record.child = child;
    record.change = change;
    emit(&record, sizeof(record));
}

static inline void send_thread(u32 process, u64 thread) {
    u32 child = 0;
    READ(child, thread, OFF_TASK_PID);
    send_process(process, child, KEBPF_THREAD);
}

int on_sched_process_fork(struct bpf_raw_tracepoint_args *ctx) {
    u32 parent = 0, child = 0;
    READ(parent, ctx->args[0], OFF_TASK_TGID);
    READ(child, ctx->args[1], OFF_TASK_TGID);
    if (child == parent) {
        if (is_known_target(parent))
            send_thread(parent, ctx->args[1]);
        return 0;
    }
    if (!is_known_target(parent) && !is_started_in_group(ctx->args[1], parent))
        return 0;
    add_target(child);
    tell_news(child);
    send_process(parent, child, KEBPF_FORK);
    return 0;
}

int on_sched_process_exec(struct bpf_raw_tracepoint_args *ctx) {
    u32 process = bpf_get_current_pid_tgid() >> 32;
    if (!is_target())
        return 0;
    forget_tasks(process);
    forget_tls(process);
    send_process(process, 0, KEBPF_EXEC);
    return 0;
}

int on_sched_process_exit(struct bpf_raw_tracepoint_args *ctx) {
    if (!is_target())
        return 0;
    u64 signal = 0;
    u32 live = 0, process = bpf_get_current_pid_tgid() >> 32;
    end_messages(); /* the thread's */
    READ(signal, ctx->args[0], OFF_TASK_SIGNAL);
    READ(live, signal, OFF_SIGNAL_LIVE);
    if (live) {
        send_process(process, 0, KEBPF_THREAD_EXIT);
        return 0; /* other threads go on */
    }
    remove_target(process);
    forget_tasks(process);
    forget_tls(process);
    send_process(process, 0, KEBPF_EXIT);
    return 0;
}

static inline void send_listen(u64 sk) {
    struct connection none = {.transport = KEBPF_TCP};
    u32 slot = 0;
    struct kebpf_open *open = opens.lookup(&slot);
    if (!open)
        return;
    __builtin_memset(open, 0, sizeof(*open));
    fill_head(&open->head, KEBPF_LISTEN, sk, &none);
    READ(open->family, sk, OFF_SOCK_FAMILY);
    read_inet_ends(open, sk);
    remember_listening(open->local_port);
    open->role = KEBPF_ROLE_SERVER;
    emit(open, sizeof(*open));
}

/* Whether the stream of this life began where all that the socket ever received began, or within
 * it.  The entry of another socket, whose memory this one has, does not. */
static inline int has_received_since(u64 sk, struct connection *c, u64 received) {
    u32 next = 0;
    READ(next, sk, OFF_TCP_RCV_NXT);
    return next - c->base[INGRESS] <= received;
}

/* Bytes that no probe saw, by the sequence numbers of a socket that is not in use any more: door A
 * does not see splice out of a socket, door B nothing of io_uring. */
static inline u32 count_unseen(u64 sk, struct connection *c, u32 direction) {
    u64 received = 0, acked = 0;
    if (!c->is_announced || c->transport != KEBPF_TCP)
        return 0;
    READ(received, sk, OFF_TCP_BYTES_RECEIVED);
    READ(acked, sk, OFF_TCP_BYTES_ACKED);
    /* both are 0 also once it was disconnected: no sequence then */
    if ((!received && (direction == INGRESS || !acked)) || !has_received_since(sk, c, received))
        return 0;
    if (direction == INGRESS)
        return read_ingress_sequence(sk) - c->base[INGRESS] - (u32)c->moved[INGRESS];
    u32 unseen = read_egress_sequence(sk) - c->fin_sent - c->base[EGRESS] - (u32)c->moved[EGRESS];
    return (s32)unseen < 0 ? 0 : unseen; /* a FIN there was no memory for */
}

/* In the process that connects.  A socket may do so again after a disconnect or a refusal. */
static inline void begin_client(u64 sk) {
    if (!is_target() || read_transport(sk) != KEBPF_TCP)
        return;
    struct connection *last = connections.lookup(&sk);
    if (last && last->is_announced)
        send_close(sk, last, 0, 0);
    begin_life(sk, last, KEBPF_TCP, KEBPF_ROLE_CLIENT);
}

int on_inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx) {
    u64 sk = ctx->args[0];
    int state = (int)ctx->args[2];
    if (state == STATE_SYN_SENT)
        begin_client(sk);
    else if (state == STATE_LISTEN && is_target())
        send_listen(sk);
    if (state != STATE_FIN_WAIT1 && state != STATE_LAST_ACK && state != STATE_CLOSE)
        return 0;
    struct connection *c = has_ended() ? 0 : connections.lookup(&sk);
    /* Closed with unread data there is no FIN; reset by the peer it is not shut down yet. */
    if (!c || (state == STATE_CLOSE && (c->fin_sent || read_shutdown(sk) != SHUTDOWN_BOTH)))
        return 0;
    if (!c->left_out)
        send_end(sk, c, EGRESS); /* the FIN is not counted yet */
    c->fin_sent = state != STATE_CLOSE;
    return 0;
}

/* Nothing more can be read: the state alone does not say so, it is CLOSE while there is unread
 * data as well. */
int on_tcp_destroy_sock(struct bpf_raw_tracepoint_args *ctx) {
    u64 sk = ctx->args[0];
    struct connection *c = connections.lookup(&sk);
    if (!c || has_ended())
        return 0;
    if (!c->left_out)
        send_close(sk, c, count_unseen(sk, c, INGRESS), count_unseen(sk, c, EGRESS));
    forget_connection(sk, c);
    return 0;
}

/* Run by user space (BPF_PROG_TEST_RUN) for the end of a Unix or UDP socket, which no tracepoint
 * tells: the life of `args[0]` that began at `args[1]`.  Here rather than there, so that its record
 * stands behind those of its bytes and before those of the address's next life. */
int end_life(struct bpf_raw_tracepoint_args *ctx) {
    u64 sk = ctx->args[0];
    struct connection *c = connections.lookup(&sk);
    if (!c || c->generation != ctx->args[1])
        return 0;
    struct connection last = *c;
    if (connections.delete(&sk) == 0 && last.transport && !last.left_out)
        send_close(sk, &last, 0, 0);
    return 0;
}
