/* Whether the bytes of a write to a Unix socket may lie among another's.
 *
 * Such a socket numbers no bytes, so a write is where it says only if no other is under way as it
 * ends: what was written before is counted by then, and what begins later comes behind it.  While
 * threads share a table of descriptors each call holds the file it works on, so how often a file is
 * held tells.  Where a call need not wait (O_NONBLOCK) the program is taken to keep an order of its
 * own: runtimes do, which write one socket from whatever thread they are on. */
#pragma once

enum { MOST_SLEEPERS = 4 };
enum { NONBLOCKING = 04000 };    /* O_NONBLOCK, include/uapi/asm-generic/fcntl.h */
enum { FLAG_NO_SPACE = 1 << 2 }; /* SOCK_NOSPACE, include/linux/net.h: a write has waited there */

/* Whether calls hold the file they work on. */
static inline int has_threads(u64 task) {
    return PROBE(u32, PROBE(u64, task, OFF_TASK_FILES), OFF_FILES_COUNT) > 1;
}

/* Calls on the file besides the current one, or more: each further descriptor counts as one. */
static inline u64 count_others(u64 task, u64 file) {
    u64 held = PROBE(u64, file, OFF_FILE_COUNT) + KEBPF_FILE_COUNT_BASE;
    if (held <= 1)
        return 0;
#ifdef KEBPF_WITHIN_CALL
    return held - 1 - has_threads(task);
#else
    return held - 1;
#endif
}

/* Threads that sleep in a call on the socket, and so hold its file; the last that is of the current
 * process. */
static inline u64 find_sleepers(u64 socket, u32 process, u32 *last) {
    u64 head = socket + OFF_SOCKET_WAITERS, entry = PROBE(u64, head, 0), found = 0;
#pragma clang loop unroll(disable)
    for (int number = 0; number < MOST_SLEEPERS && entry && entry != head; number++) {
        u64 task = PROBE(u64, entry, OFF_WAITER_TASK - OFF_WAITER_ENTRY);
        found += task != 0; /* an epoll instance has none, and holds nothing */
        if (task && PROBE(u32, task, OFF_TASK_TGID) == process)
            *last = PROBE(u32, task, OFF_TASK_PID);
        entry = PROBE(u64, entry, 0);
    }
    return found;
}

/* Whether a call that was over may not be counted yet. */
static inline int looks_late(u64 task) {
#ifdef KEBPF_WITHIN_CALL
    return 0;
#else
    return has_threads(task);
#endif
}

/* For a call whose bytes are counted, and go up to `end`; `file` is what it writes to, or 0. */
static inline void note_overlap(struct kebpf_head *head, u64 task, u64 file, struct connection *c,
                                u64 end) {
    if (head->direction != EGRESS || c->transport != KEBPF_UNIX_STREAM)
        return;
    head->sequence = 0;
    if (!file)
        file = PROBE(u64, PROBE(u64, head->socket, OFF_SOCK_SOCKET), OFF_SOCKET_FILE);
    u64 others = count_others(task, file);
    u32 late = looks_late(task) ? KEBPF_OVERLAP_LATE : 0, sleeper = 0;
    if (!others && !late && c->moved[EGRESS] == end)
        return;
    if (PROBE(u32, file, OFF_FILE_FLAGS) & NONBLOCKING)
        return;
    if (others) {
        u64 socket = PROBE(u64, head->socket, OFF_SOCK_SOCKET);
        /* first who sleeps: a writer says that it waits before it does */
        u64 sleepers = find_sleepers(socket, head->pid, &sleeper);
        if (others == 1)
            head->sequence = sleeper;
        if (others <= sleepers && !(PROBE(u64, socket, OFF_SOCKET_FLAGS) & FLAG_NO_SPACE))
            others = 0; /* they read */
    }
    if (others > KEBPF_OVERLAP_MANY || c->moved[EGRESS] != end)
        others = KEBPF_OVERLAP_MANY;
    head->overlaps = others | late;
}
