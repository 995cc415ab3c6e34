/* What TLS libraries of a target encrypt and decrypt, taken at the calls of the program itself.
 *
 * Probes (uprobes) at the entry of a library's read and write note the call; socket calls within
 * it, of the same thread or goroutine, tell which connection its session is on; at the return the
 * bytes go out, numbered by their session.  A session on a memory BIO has no socket call within:
 * the first bytes of the records that the library takes from its BIO and puts into it go out as
 * well, for user space to find again among those of a connection. */
#pragma once

#ifdef KEBPF_TLS
#define TLS_BY_THREAD 1
#define TLS_BY_GOROUTINE 2
#define TLS_BY_LAST 4      /* what is decrypted is of the socket that the thread read from last */
#define TLS_MARKS 8        /* of each direction of a session */
#define TLS_LEAST_FLAGS 64 /* no pointer is as small, no flags of SSL_write_ex2 are larger */

struct tls_caller {
    u64 thread; /* or goroutine */
    u64 process;
};

enum tls_state {
    TLS_CALLED,
    TLS_COPYING, /* it is known what moved, or will */
    TLS_COPIED,  /* before it returned */
};

struct tls_call {
    u64 session;
    u64 buffer;
    u64 count_at; /* where the library writes how many bytes it were; 0: it returns that */
    u64 socket;   /* of the last socket call within, or 0 */
    u64 generation;
    u64 bio_buffer;
    u64 bio_count_at; /* as count_at */
    u64 task;
    u64 offset;
    u64 slice_left; /* rustls.h */
    u32 size;       /* room, and once it has returned what moved */
    u32 done;
    u32 direction;
    u32 state; /* enum tls_state */
    u32 is_early;
    u32 reserved;
};

struct tls_place {
    u64 session;
    u64 process;
};

struct tls_session {
    u64 generation; /* when it was first seen */
    u64 socket;     /* the connection's, once it is known, and its generation */
    u64 socket_generation;
    u64 moved[2];
    u64 lost[2];
    u32 marks[2];
    u32 is_told;
    u32 reserved;
};

struct tls_kinds {
    u64 on_sockets;
    u64 in_memory;
};

/* Call in progress → its arguments; the return removes it. */
BPF_HASH(tls_calls, struct tls_caller, struct tls_call, 16384);
/* Session → what is known of it; SSL_free and the like remove it.  What finds no room is counted.
 */
BPF_HASH(tls_sessions, struct tls_place, struct tls_session, KEBPF_CONNECTIONS);
struct tls_last {
    u64 socket;
    u64 generation;
};

/* Thread → the socket of its last call; only of processes that are told apart by it. */
BPF_TABLE("lru_hash", struct tls_caller, struct tls_last, tls_last, 16384);
/* Process → how its calls are told apart; user space adds, an exec and an exit remove. */
BPF_HASH(tls_modes, u32, u32, 4096);
BPF_ARRAY(has_tls, u32, 1); /* whether there ever was one */
/* Process → how many of its sessions were seen to be on sockets, and on memory BIOs. */
BPF_HASH(tls_kinds, u32, struct tls_kinds, 4096);
/* Processes to be looked at at once: each record is a process id. */
BPF_RINGBUF_OUTPUT(tls_news, 1);
/* 0: copies what is much (tls_calls.h) */
BPF_PROG_ARRAY(tls_continuations, 1);

static inline int is_tls_seen(void) {
    u32 slot = 0;
    u32 *has_any = has_tls.lookup(&slot);
    return has_any && *has_any && !has_ended();
}

static inline struct tls_caller name_thread(void) {
    u64 id = bpf_get_current_pid_tgid();
    struct tls_caller caller = {(u32)id, id >> 32};
    return caller;
}

static inline struct tls_caller name_goroutine(struct pt_regs *ctx) {
    struct tls_caller caller = {GOROUTINE(ctx), bpf_get_current_pid_tgid() >> 32};
    return caller;
}

/* Bytes moved on `sk`: if that was within a call of a TLS library, its session is on it. */
static inline void note_tls_socket(u64 regs, u64 thread, u64 sk, struct connection *c) {
    u32 process = thread >> 32;
    if (!is_tls_seen())
        return;
    u32 *mode = tls_modes.lookup(&process);
    if (!mode)
        return;
    struct tls_caller caller = {(u32)thread, process};
    if (*mode & TLS_BY_LAST) {
        struct tls_last last = {sk, c->generation};
        tls_last.update(&caller, &last);
    }
    struct tls_call *call = tls_calls.lookup(&caller);
    if (!call && (*mode & TLS_BY_GOROUTINE)) {
        caller.thread = read_register(regs, REG_GOROUTINE);
        call = tls_calls.lookup(&caller);
    }
    if (!call)
        return;
    call->socket = sk;
    call->generation = c->generation;
}

static inline void tell_news(u32 process) {
    tls_news.ringbuf_output(&process, sizeof(process), BPF_RB_FORCE_WAKEUP);
}

static inline void forget_tls(u32 process) {
    tls_modes.delete(&process);
    tls_kinds.delete(&process);
    tell_news(process);
}

static inline struct tls_session *find_session(struct tls_place *place) {
    struct tls_session *session = tls_sessions.lookup(place);
    if (session)
        return session;
    struct tls_session fresh = {.generation = bpf_ktime_get_ns()};
    tls_sessions.update(place, &fresh);
    return tls_sessions.lookup(place);
}

static inline void send_session_end(struct tls_place *place, struct tls_session *session) {
    struct kebpf_session end = {};
    fill_head(&end.head, KEBPF_SESSION_END, session->socket, 0);
    end.head.generation = session->socket_generation;
    end.session = place->session;
    end.session_generation = session->generation;
    end.moved[0] = session->moved[0];
    end.moved[1] = session->moved[1];
    emit(&end, sizeof(end));
}

/* Nobody knows of which connection it was. */
static inline void lose_event(void) {
    choose_wakeup(0);
    count(COUNT_LOST_EVENTS, 1);
}

static inline int begin_call(struct tls_caller caller, u64 session, u64 buffer, u64 count_at,
                             u64 size, u32 direction) {
    if (!is_known_target(caller.process)) /* its sockets are not seen either */
        return 0;
    struct tls_place place = {session, caller.process};
    struct tls_call call = {.session = session, .buffer = buffer, .count_at = count_at};
    call.size = size > (u32)-1 ? (u32)-1 : size;
    call.direction = direction;
    call.task = direction == EGRESS ? find_running_task(bpf_get_current_pid_tgid()) : 0;
    if (!find_session(&place) || tls_calls.update(&caller, &call))
        lose_event();
    return 0;
}

/* How many bytes a call moved, by what it returned; 0: none. */
static inline u64 read_moved(struct tls_call *call, s32 result) {
    u64 size = result;
    if (result <= 0)
        return 0;
    if (call->count_at && read_user(&size, sizeof(size), (void *)call->count_at))
        return 0;
    return size <= call->size ? size : 0;
}

/* A session whose socket is another one now is another session at the same address. */
static inline struct tls_session *place_session(struct tls_place *place, struct tls_call *call) {
    struct tls_session *session = find_session(place);
    if (!session || !call->socket)
        return session;
    if (session->socket &&
        (session->socket != call->socket || session->socket_generation != call->generation)) {
        send_session_end(place, session);
        tls_sessions.delete(place);
        session = find_session(place);
        if (!session)
            return 0;
    }
    session->socket = call->socket;
    session->socket_generation = call->generation;
    return session;
}

/* A process's first session on a memory BIO is news: its records have to be marked. */
static inline void tell_kind(u32 process, struct tls_session *session) {
    struct tls_kinds none = {};
    if (session->is_told)
        return;
    session->is_told = 1;
    struct tls_kinds *kinds = tls_kinds.lookup_or_try_init(&process, &none);
    if (!kinds)
        return;
    if (session->socket) {
        __sync_fetch_and_add(&kinds->on_sockets, 1);
        return;
    }
    __sync_fetch_and_add(&kinds->in_memory, 1);
    tell_news(process);
}
#else
#define note_tls_socket(regs, thread, sk, c)
#define forget_tls(process)
#define tell_news(process)
#endif
