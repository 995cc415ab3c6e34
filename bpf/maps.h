/* The maps all probes share: from what to what, how long an entry lives, who writes it. */
#pragma once

#define READ(destination, base, offset)                                                            \
    bpf_probe_read_kernel(&(destination), sizeof(destination), (void *)((u64)(base) + (offset)))

/* The same as a value. */
#define PROBE(type, base, offset)                                                                  \
    ({                                                                                             \
        type found = 0;                                                                            \
        bpf_probe_read_kernel(&found, sizeof(found), (void *)((u64)(base) + (offset)));            \
        found;                                                                                     \
    })

/* The same without a helper, from a pointer whose type the verifier knows (by the kernel's BTF);
 * a bad one reads as zero.  In assembly, lest the compiler joins or moves what must be one load of
 * one member. */
#define LOAD(type, base, offset)                                                                   \
    ({                                                                                             \
        u64 found;                                                                                 \
        asm volatile("%0 = *(" #type " *)(%1 + %2)" : "=r"(found) : "r"(base), "i"(offset));       \
        found;                                                                                     \
    })

/* The helper bpf_probe_read_user under a name of ours: at each call by its own name bcc reads
 * /proc/kallsyms anew, which makes loading three times as long. */
static long (*read_user)(void *destination, u32 size, const void *source) = (void *)112;
static long (*read_user_text)(void *destination, u32 size, const void *source) = (void *)114;

enum { INGRESS = KEBPF_INGRESS, EGRESS = KEBPF_EGRESS };

/* One life of a socket.  `inode` tells a new life of the same address from the old one. */
struct connection {
    u64 generation;
    u64 inode;
    u64 file; /* struct file of a descriptor it was seen under, or 0 */
    u64 moved[2];
    u64 lost[2];
    u64 remote;  /* UDP: tells the last peer from others; 0 for none. */
    u32 base[2]; /* TCP: sequence numbers of offset 0 */
    u32 transport;
    u32 role;
    u32 is_announced; /* its KEBPF_OPEN is out */
    u32 has_peers;    /* it was announced before, for another peer */
    u32 left_out;     /* 0, or by which filter (filters.h) */
    u32 fin_sent;     /* TCP: the target's own, which takes up a sequence number */
};

/* The bytes of one call on their way out, kept across tail calls. */
struct transfer {
    u64 thread;     /* whose call this is */
    u64 connection; /* struct sock */
    u64 iovec;      /* next one in user memory */
    u64 buffer;     /* in user memory */
    u32 iovecs_left;
    u32 buffer_left;
    u32 remaining;
    u32 fill;     /* bytes gathered in `data` */
    u32 withheld; /* bytes of the call beyond the limit */
    u32 failure;  /* why `remaining` cannot be copied, or 0 */
    u64 message;  /* door B, sendmmsg and recvmmsg: the next message's header in user memory */
    u32 messages_left;
    u32 behind; /* bytes of the messages left */
    s32 result; /* as the kernel reported them, for the long way */
    u32 flags;
    struct kebpf_piece piece;
    char data[3 * KEBPF_CHUNK]; /* a third is used: the verifier wants room for any masked size */
};

/* What a processor tried to send, in a cache line of its own. */
struct emission {
    u64 events;
    u64 unannounced; /* bytes written since it last woke the reader */
    u64 written;     /* bytes of the ring's records that are whole, heads included */
    u64 rest[5];
};

enum { MAPPABLE = 1 << 10 }; /* BPF_F_MMAPABLE */

#define MOST_ATTEMPTS 8
#define LOCK_WAIT_NS 500000 /* four attempts that take less failed for want of room */

enum {
    COUNT_LOST_EVENTS,
    COUNT_LOST_BYTES,
    COUNT_RETRIES,
    COUNT_UNFOLLOWED_BYTES, /* of sockets that `connections` had no room for */
    COUNT_VECTOR_READS,     /* recvmmsg calls with more than one message */
    COUNT_UNTOLD_LIVES,     /* of sockets whose end no tracepoint tells */
    COUNT_LOST_PLACES,      /* in a sendmmsg or recvmmsg, for want of room (buffers.h) */
    COUNT_LEFT_OUT,         /* connections: three counts, in the order of enum filter */
    COUNTS = COUNT_LEFT_OUT + 3,
};

BPF_RINGBUF_OUTPUT(events, KEBPF_RING_PAGES);
/* struct sock → its life; the end of a TCP socket removes it, and user space has those of others
 * removed (end_life) once no target holds the socket.  What finds no room is counted: nothing is
 * ever dropped to make some. */
BPF_HASH(connections, u64, struct connection, KEBPF_CONNECTIONS);
/* By processor; too large a value for a map of per-processor memory. */
BPF_ARRAY(transfers, struct transfer, KEBPF_PROCESSORS);
BPF_PERCPU_ARRAY(opens, struct kebpf_open, 1); /* too large for the stack */
BPF_ARRAY(counts, u64, COUNTS);
/* By processor, for it is written with each record; the reader maps it into its memory. */
BPF_F_TABLE("array", u32, struct emission, emitted, KEBPF_PROCESSORS, MAPPABLE);
/* 0: copies the current transfer, a share at a time; 1: the long way */
BPF_PROG_ARRAY(continuations, 2);

static inline void count(u32 which, u64 amount) {
    u64 *value = counts.lookup(&which);
    if (value)
        __sync_fetch_and_add(value, amount);
}

static inline struct emission *find_emission(void) {
    u32 slot = bpf_get_smp_processor_id();
    return emitted.lookup(&slot);
}

/* Counts a record; wakes the reader once a processor's share of a quarter of the ring was written,
 * never for each record: the reader looks by itself every few milliseconds. */
static inline u64 choose_wakeup(u64 size) {
    struct emission *own = find_emission();
    if (!own)
        return BPF_RB_NO_WAKEUP;
    __sync_fetch_and_add(&own->events, 1); /* an interrupt may come in between */
    own->unannounced += size;              /* here that does no harm */
    if (own->unannounced < KEBPF_RING_PAGES * 4096 / 4 / KEBPF_PROCESSORS)
        return BPF_RB_NO_WAKEUP;
    own->unannounced = 0;
    return BPF_RB_FORCE_WAKEUP;
}

/* A record is whole.  The reader, which looks at the sum of all processors and then at how much of
 * the ring was given out, knows by that that none is being written, and need not look at each. */
static inline void note_written(u64 size) {
    struct emission *own = find_emission();
    if (own)
        __sync_fetch_and_add(&own->written, (size + 15) & ~7ULL); /* as the ring rounds it */
}

/* After a first refusal.  The ring's lock may have given up (rqspinlock, Linux 6.15) on a holder
 * whose processor does not run, after a millisecond or longer; a full ring refuses at once. */
static inline int emit_again(void *record, u64 size) {
    u64 begun = bpf_ktime_get_ns();
#pragma clang loop unroll(disable)
    for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        count(COUNT_RETRIES, 1);
        if (events.ringbuf_output(record, size, BPF_RB_FORCE_WAKEUP) == 0)
            return 0;
        if (attempt == 3 && bpf_ktime_get_ns() - begun < LOCK_WAIT_NS)
            break;
    }
    count(COUNT_LOST_EVENTS, 1);
    return -1;
}

/* Sends one record; not 0 when it found no room. */
static inline int emit(void *record, u64 size) {
    if (events.ringbuf_output(record, size, choose_wakeup(size)) && emit_again(record, size))
        return -1;
    note_written(size);
    return 0;
}

static inline struct transfer *find_transfer(void) {
    u32 slot = bpf_get_smp_processor_id();
    return transfers.lookup(&slot);
}
