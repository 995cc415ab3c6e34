/* What a call of a TLS library moved, on its way out. */
#pragma once

#ifdef KEBPF_TLS
static inline void fill_plain(struct kebpf_plain *plain, struct tls_call *call,
                              struct tls_session *session, u32 size) {
    fill_head(&plain->head, KEBPF_PLAIN, session->socket, 0);
    plain->head.generation = session->socket_generation;
    plain->head.direction = call->direction;
    plain->session = call->session;
    plain->session_generation = session->generation;
    plain->offset = call->offset + call->done;
    plain->size = size;
    plain->call_size = call->size;
    plain->call_offset = call->done;
    plain->reason = 0;
    plain->task = call->task;
}

/* As emit() does: the ring's lock may have given up on a holder whose processor does not run. */
static inline __attribute__((always_inline)) struct kebpf_plain *reserve_plain(const u64 limit) {
    struct kebpf_plain *plain = events.ringbuf_reserve(sizeof(struct kebpf_plain) + limit);
    if (plain)
        return plain;
    u64 begun = bpf_ktime_get_ns();
#pragma clang loop unroll(disable)
    for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        count(COUNT_RETRIES, 1);
        plain = events.ringbuf_reserve(sizeof(struct kebpf_plain) + limit);
        if (plain)
            return plain;
        if (attempt == 3 && bpf_ktime_get_ns() - begun < LOCK_WAIT_NS)
            break;
    }
    return 0;
}

/* Straight into the ring: a probe in user code may be pre-empted, so memory of a processor would
 * not be its own.  `limit` is a constant: the verifier wants to know the record's size. */
static inline __attribute__((always_inline)) int
send_sized(struct tls_call *call, struct tls_session *session, u64 size, const u64 limit) {
    struct kebpf_plain *plain = reserve_plain(limit);
    if (!plain)
        return 0;
    fill_plain(plain, call, session, size);
    asm volatile("" : "+r"(size));
    if (size > limit)
        size = limit;
    if (read_user(plain + 1, size, (void *)(call->buffer + call->done)))
        plain->reason = KEBPF_GAP_FAULT;
    events.ringbuf_submit(plain, choose_wakeup(sizeof(*plain) + limit));
    note_written(sizeof(*plain) + limit);
    return 1;
}

static inline void note_sent(struct tls_call *call, struct tls_session *session, u64 size,
                             int is_sent) {
    call->done += size;
    if (is_sent)
        return;
    __sync_fetch_and_add(&session->lost[call->direction & 1], size);
    lose_event();
    count(COUNT_LOST_BYTES, size);
}

static inline void finish_call(struct tls_caller caller, struct tls_call *call) {
    if (call->is_early) /* its socket calls are to come */
        call->state = TLS_COPIED;
    else
        tls_calls.delete(&caller); /* what is left is missing by the session's count */
}

/* Sends what moved: at once if it is as little as it mostly is. */
static inline int send_call(struct pt_regs *ctx, struct tls_caller caller, struct tls_call *call,
                            struct tls_session *session) {
    u64 size = call->size;
    if (size <= 512)
        note_sent(call, session, size, send_sized(call, session, size, 512));
    else if (size <= 4096)
        note_sent(call, session, size, send_sized(call, session, size, 4096));
    else
        tls_continuations.call(ctx, 0);
    finish_call(caller, call);
    return 0;
}

/* The call that the current thread, or its goroutine, is sending. */
static inline struct tls_call *find_sending(struct pt_regs *ctx, struct tls_caller *caller) {
    *caller = name_thread();
    struct tls_call *call = tls_calls.lookup(caller);
    if (call && call->state == TLS_COPYING)
        return call;
    *caller = name_goroutine(ctx);
    call = tls_calls.lookup(caller);
    return call && call->state == TLS_COPYING ? call : 0;
}

/* Sends a share of much, and then calls itself for the rest. */
int copy_plain(struct pt_regs *ctx) {
    struct tls_caller caller;
    struct tls_call *call = find_sending(ctx, &caller);
    if (!call)
        return 0;
    struct tls_place place = {call->session, caller.process};
    struct tls_session *session = tls_sessions.lookup(&place);
#pragma clang loop unroll(disable)
    for (int round = 0; session && round < KEBPF_TLS_ROUNDS; round++) {
        u64 left = call->size - call->done;
        u64 size = left > KEBPF_CHUNK ? KEBPF_CHUNK : left;
        if (!size || call->done >= KEBPF_CALL_LIMIT)
            break;
        note_sent(call, session, size, send_sized(call, session, size, KEBPF_CHUNK));
    }
    if (session && call->done < call->size && call->done < KEBPF_CALL_LIMIT)
        tls_continuations.call(ctx, 0);
    finish_call(caller, call);
    return 0;
}

static inline void begin_sending(struct tls_call *call, struct tls_session *session, u64 moved) {
    call->state = TLS_COPYING;
    call->size = moved;
    call->offset = session->moved[call->direction & 1];
    __sync_fetch_and_add(&session->moved[call->direction & 1], moved);
}

/* What was sent early did not name its connection: now, and not with the session's next bytes,
 * which may be long in coming. */
static inline void send_place(struct tls_caller caller, struct tls_call *call,
                              struct tls_session *session) {
    if (session->is_told || !session->socket)
        return;
    tell_kind(caller.process, session);
    send_sized(call, session, 0, 8);
}

static inline int end_call(struct pt_regs *ctx, struct tls_caller caller, s32 result) {
    struct tls_call *call = tls_calls.lookup(&caller);
    if (!call || !is_tls_seen())
        return 0;
    struct tls_place place = {call->session, caller.process};
    struct tls_session *session = place_session(&place, call);
    u64 moved = call->state == TLS_CALLED ? read_moved(call, result) : 0;
    if (session && call->state == TLS_COPIED)
        send_place(caller, call, session);
    if (!session || !moved) {
        tls_calls.delete(&caller);
        return 0;
    }
    tell_kind(caller.process, session);
    begin_sending(call, session, moved);
    return send_call(ctx, caller, call, session);
}

/* A write that writes all or fails, seen at its entry: another thread may read the answer before
 * it returns. */
static inline int send_early(struct pt_regs *ctx, struct tls_caller caller) {
    struct tls_call *call = tls_calls.lookup(&caller);
    if (!call || !call->size || call->direction != EGRESS || call->state != TLS_CALLED)
        return 0; /* one from before the end, as this was not noted any more */
    struct tls_place place = {call->session, caller.process};
    struct tls_session *session = find_session(&place);
    if (!session)
        return 0;
    call->is_early = 1;
    begin_sending(call, session, call->size);
    return send_call(ctx, caller, call, session);
}
#endif
