/* Processes and sockets coming and going: descendants are followed, lives of sockets ended. */
#pragma once

enum { STATE_SYN_SENT = 2, STATE_FIN_WAIT1 = 4, STATE_CLOSE = 7, STATE_LAST_ACK = 9 };
enum { STATE_LISTEN = 10 };

static inline void send_process(u32 process, u32 child, u32 change) {
    struct kebpf_process record = {};
    fill_head(&record.head, KEBPF_PROCESS, 0, 0);
    record.head.pid = process;
    record.child = child;
    record.change = change;
    emit(&record, sizeof(record));
}

int on_sched_process_fork(struct bpf_raw_tracepoint_args *ctx) {
    u32 parent = 0, child = 0, one = 1;
    READ(parent, ctx->args[0], OFF_TASK_TGID);
    READ(child, ctx->args[1], OFF_TASK_TGID);
    if (child == parent || !targets.lookup(&parent))
        return 0;
    targets.update(&child, &one);
    send_process(parent, child, KEBPF_FORK);
    return 0;
}

int on_sched_process_exec(struct bpf_raw_tracepoint_args *ctx) {
    if (is_target())
        send_process(bpf_get_current_pid_tgid() >> 32, 0, KEBPF_EXEC);
    return 0;
}

int on_sched_process_exit(struct bpf_raw_tracepoint_args *ctx) {
    if (!is_target())
        return 0;
    u64 signal = 0;
    u32 live = 0, process = bpf_get_current_pid_tgid() >> 32;
    READ(signal, ctx->args[0], OFF_TASK_SIGNAL);
    READ(live, signal, OFF_SIGNAL_LIVE);
    if (live)
        return 0; /* other threads go on */
    targets.delete(&process);
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
    open->role = KEBPF_ROLE_SERVER;
    emit(open, sizeof(*open));
}

/* Bytes read that no probe saw (splice under door A), by the sequence number. */
static inline u32 count_unseen(u64 sk, struct connection *c) {
    if (c->transport != KEBPF_TCP || !c->is_announced)
        return 0;
    return read_ingress_sequence(sk) - c->base[INGRESS] - (u32)c->moved[INGRESS];
}

static inline void send_close(u64 sk, struct connection *c) {
    struct kebpf_close close = {};
    fill_head(&close.head, KEBPF_CLOSE, sk, c);
    close.moved[0] = c->moved[0] + count_unseen(sk, c);
    close.moved[1] = c->moved[1];
    close.lost[0] = c->lost[0];
    close.lost[1] = c->lost[1];
    emit(&close, sizeof(close));
}

int on_inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx) {
    u64 sk = ctx->args[0];
    int state = (int)ctx->args[2];
    if (state == STATE_SYN_SENT) { /* in the process that connects */
        if (is_target() && read_transport(sk) == KEBPF_TCP)
            begin_life(sk, KEBPF_TCP, KEBPF_ROLE_CLIENT);
        return 0;
    }
    if (state == STATE_LISTEN) {
        if (is_target())
            send_listen(sk);
        return 0;
    }
    if (state != STATE_CLOSE && state != STATE_FIN_WAIT1 && state != STATE_LAST_ACK)
        return 0;
    struct connection *c = connections.lookup(&sk);
    if (!c)
        return 0;
    if (state != STATE_CLOSE) {
        send_end(sk, c, EGRESS);
        return 0;
    }
    send_close(sk, c);
    connections.delete(&sk);
    return 0;
}
