/* The probes in TLS libraries: which register holds what. */
#pragma once

#ifdef KEBPF_TLS
/* int f(session, buffer, size, [flags,] size_t *moved): OpenSSL's SSL_read_ex and SSL_write_ex and
 * what they call.  1 is success. */
static inline int begin_counted(struct pt_regs *ctx, u32 direction) {
    u64 count_at = FOURTH_ARGUMENT(ctx);
    if (count_at < TLS_LEAST_FLAGS)
        count_at = FIFTH_ARGUMENT(ctx);
    return begin_call(name_thread(), FIRST_ARGUMENT(ctx), SECOND_ARGUMENT(ctx), count_at,
                      THIRD_ARGUMENT(ctx), direction);
}

/* int f(session, buffer, size): OpenSSL's SSL_read, GnuTLS's gnutls_record_recv: it returns how
 * many bytes it were. */
static inline int begin_returning(struct pt_regs *ctx, u32 direction) {
    return begin_call(name_thread(), FIRST_ARGUMENT(ctx), SECOND_ARGUMENT(ctx), 0,
                      THIRD_ARGUMENT(ctx), direction);
}

int on_tls_read_counted(struct pt_regs *ctx) {
    return begin_counted(ctx, INGRESS);
}

int on_tls_write_counted(struct pt_regs *ctx) {
    return begin_counted(ctx, EGRESS);
}

int on_tls_read(struct pt_regs *ctx) {
    return begin_returning(ctx, INGRESS);
}

int on_tls_write(struct pt_regs *ctx) {
    return begin_returning(ctx, EGRESS);
}

int on_tls_return(struct pt_regs *ctx) {
    return end_call(ctx, name_thread(), RESULT(ctx));
}

int on_tls_free(struct pt_regs *ctx) {
    struct tls_place place = {FIRST_ARGUMENT(ctx), bpf_get_current_pid_tgid() >> 32};
    struct tls_session *session = tls_sessions.lookup(&place);
    if (!session)
        return 0;
    send_session_end(&place, session);
    tls_sessions.delete(&place);
    return 0;
}

/* crypto/tls.(*Conn).Read and Write, by Go's internal calling convention: receiver, pointer,
 * length; the count is the first result. */
static inline int begin_go(struct pt_regs *ctx, u32 direction) {
    return begin_call(name_goroutine(ctx), GO_FIRST(ctx), GO_SECOND(ctx), 0, GO_THIRD(ctx),
                      direction);
}

int on_go_read(struct pt_regs *ctx) {
    return begin_go(ctx, INGRESS);
}

int on_go_write(struct pt_regs *ctx) {
    begin_go(ctx, EGRESS);
    return send_early(ctx, name_goroutine(ctx));
}

int on_go_return(struct pt_regs *ctx) {
    return end_call(ctx, name_goroutine(ctx), GO_FIRST(ctx));
}

static inline void send_mark(struct tls_call *call, u64 buffer, u64 size, u32 direction) {
    struct tls_place place = {call->session, bpf_get_current_pid_tgid() >> 32};
    struct tls_session *session = tls_sessions.lookup(&place);
    struct kebpf_mark mark = {};
    if (!session || session->socket || call->socket || size < KEBPF_MARK_LEAST)
        return;
    if (session->marks[direction & 1] >= TLS_MARKS)
        return;
    if (size > sizeof(mark.bytes))
        size = sizeof(mark.bytes);
    asm volatile("%0 &= 0x3f" : "+r"(size));
    if (size > sizeof(mark.bytes) || read_user(mark.bytes, size, (void *)buffer))
        return;
    session->marks[direction & 1]++;
    fill_head(&mark.head, KEBPF_MARK, 0, 0);
    mark.head.direction = direction;
    mark.session = call->session;
    mark.session_generation = session->generation;
    mark.size = size;
    emit(&mark, sizeof(mark));
}

/* Something that a program does once before it encrypts: in whatever process, so the targets'. */
int on_tls_begun(struct pt_regs *ctx) {
    u32 process = bpf_get_current_pid_tgid() >> 32;
    if (is_known_target(process) && !tls_modes.lookup(&process))
        tell_news(process);
    return 0;
}

/* SSL_set_bio(session, to be read, to be written): not the same one both ways, as memory BIOs. */
int on_tls_set_bio(struct pt_regs *ctx) {
    u32 process = bpf_get_current_pid_tgid() >> 32;
    struct tls_kinds none = {};
    if (SECOND_ARGUMENT(ctx) == THIRD_ARGUMENT(ctx))
        return 0;
    struct tls_kinds *kinds = tls_kinds.lookup_or_try_init(&process, &none);
    if (!kinds)
        return 0;
    __sync_fetch_and_add(&kinds->in_memory, 1);
    if (kinds->in_memory == 1)
        tell_news(process);
    return 0;
}

/* BIO_write(bio, buffer, size), called by the library with whole records. */
int on_bio_write(struct pt_regs *ctx) {
    struct tls_caller caller = name_thread();
    struct tls_call *call = tls_calls.lookup(&caller);
    if (call)
        send_mark(call, SECOND_ARGUMENT(ctx), THIRD_ARGUMENT(ctx), EGRESS);
    return 0;
}

static inline int begin_bio_read(struct pt_regs *ctx, u64 count_at) {
    struct tls_caller caller = name_thread();
    struct tls_call *call = tls_calls.lookup(&caller);
    if (!call)
        return 0;
    call->bio_buffer = SECOND_ARGUMENT(ctx);
    call->bio_count_at = count_at;
    return 0;
}

int on_bio_read(struct pt_regs *ctx) {
    return begin_bio_read(ctx, 0);
}

/* The same with a fourth argument, where it writes how many bytes it were; 1 is success. */
int on_bio_read_counted(struct pt_regs *ctx) {
    return begin_bio_read(ctx, FOURTH_ARGUMENT(ctx));
}

int on_bio_read_return(struct pt_regs *ctx) {
    struct tls_caller caller = name_thread();
    struct tls_call *call = tls_calls.lookup(&caller);
    s32 result = RESULT(ctx);
    if (!call || result <= 0)
        return 0;
    u64 size = result;
    if (call->bio_count_at && read_user(&size, sizeof(size), (void *)call->bio_count_at))
        return 0;
    send_mark(call, call->bio_buffer, size, INGRESS);
    return 0;
}
#endif
