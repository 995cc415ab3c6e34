/* The whole contract between the probes and user space: what one ring record holds.
 *
 * Fixed-width fields and explicit padding only; kebpf/capture/events.py has the same layout, and
 * a test compiles this file and compares both.  Byte order is the host's. */
#pragma once
#include <linux/types.h>

enum kebpf_kind {
    KEBPF_DATA = 1,    /* struct kebpf_piece with `size` bytes of payload behind it */
    KEBPF_GAP = 2,     /* struct kebpf_piece, no payload: bytes moved but not copied */
    KEBPF_END = 3,     /* struct kebpf_head: the sender of `direction` is done */
    KEBPF_OPEN = 4,    /* struct kebpf_open: a connection seen for the first time */
    KEBPF_CLOSE = 5,   /* struct kebpf_close: the socket is gone */
    KEBPF_LISTEN = 6,  /* struct kebpf_open: a socket began to listen */
    KEBPF_PROCESS = 7, /* struct kebpf_process: what became of a target */
    /* from the reader in user space, between the others */
    KEBPF_GIVEN_UP = 8, /* struct kebpf_given_up: a connection whose bytes are kept no more */
    KEBPF_LOSS = 9,     /* struct kebpf_loss: records found no room in the ring */
    KEBPF_HELD = 10,    /* struct kebpf_held: what a process had when it became a target */
    KEBPF_TASK = 11,    /* struct kebpf_task: from the probes: a task made by another */
    /* of TLS sessions; `socket` and `generation` name the connection where it is known, else 0 */
    KEBPF_PLAIN = 12,       /* struct kebpf_plain with room for payload behind it */
    KEBPF_MARK = 13,        /* struct kebpf_mark: how a record begins */
    KEBPF_SESSION_END = 14, /* struct kebpf_session: it is freed, or its address another's */
    KEBPF_TLS_CODE = 15,    /* struct kebpf_tls_code: from user space: where probes are now */
};

enum kebpf_direction { KEBPF_INGRESS = 0, KEBPF_EGRESS = 1 };

enum kebpf_transport {
    KEBPF_TCP = 1,
    KEBPF_UDP = 2,
    KEBPF_UNIX_STREAM = 3,
    KEBPF_UNIX_DATAGRAM = 4,
};

enum kebpf_role { KEBPF_ROLE_UNKNOWN = 0, KEBPF_ROLE_CLIENT = 1, KEBPF_ROLE_SERVER = 2 };

/* Why bytes are missing; the low 16 bits of kebpf_piece.reason, the operation above them. */
enum kebpf_gap_reason {
    KEBPF_GAP_NO_BUFFER = 1, /* no user buffer is known: the operation says why */
    KEBPF_GAP_LIMIT = 2,     /* beyond the limit of bytes a call */
    KEBPF_GAP_FAULT = 3,     /* the buffer could not be read */
};

/* What moved bytes that no buffer of the caller's is known for. */
enum kebpf_operation {
    KEBPF_OTHER = 0,
    KEBPF_SENDFILE = 1,
    KEBPF_SPLICE = 2,
    KEBPF_IO_URING = 3,  /* or the kernel on its own account */
    KEBPF_TRUNCATED = 4, /* read with MSG_TRUNC: thrown away */
    KEBPF_RECVMMSG = 5,  /* with a timeout: which of its messages it is cannot be told */
    KEBPF_VECTOR = 6,    /* sendmmsg or recvmmsg while too many threads were in one: the same */
};

enum kebpf_process_change {
    KEBPF_FORK = 1,
    KEBPF_EXEC = 2,
    KEBPF_EXIT = 3,
    KEBPF_JOIN = 4,
    KEBPF_THREAD = 5,     /* `head.tid` made another thread of its process */
    KEBPF_THREAD_EXIT = 6 /* of `head.tid`, others of the process go on */
};

/* kebpf_head.overlaps, KEBPF_EGRESS on a Unix stream: how many other calls on the socket were under
 * way as this one ended, which may have written some of what was before that. */
enum kebpf_overlap {
    KEBPF_OVERLAP_MANY = 127, /* or more, or nobody knows */
    KEBPF_OVERLAP_LATE = 128, /* besides: a call that was over may not have been counted yet */
};

#define KEBPF_CHUNK 16384

struct kebpf_head {
    __u64 time_ns;    /* CLOCK_MONOTONIC */
    __u64 socket;     /* address of the kernel's struct sock: with generation, the connection */
    __u64 generation; /* when this life of the address was first seen, CLOCK_MONOTONIC ns */
    __u32 pid;
    __u32 tid;
    __u8 kind;
    __u8 direction;
    __u8 transport;
    __u8 overlaps;  /* enum kebpf_overlap, or 0 */
    __u32 sequence; /* TCP: number of the first byte; KEBPF_END: of the one behind the last, where
                     * the transport has none the low bits of its offset; KEBPF_EGRESS on a Unix
                     * stream: the thread that slept in the only other call, or 0 */
};

struct kebpf_piece {
    struct kebpf_head head;
    __u64 offset;      /* first byte, counted from where the connection was first seen */
    __u32 size;        /* bytes this record stands for */
    __u32 call_size;   /* bytes the whole call moved */
    __u32 call_offset; /* of the first byte, within the call */
    __u32 reason;      /* KEBPF_GAP only */
    __u64 task;        /* KEBPF_EGRESS: the asyncio task that sent it, by when it was made
                        * (CLOCK_MONOTONIC ns); 0: none is known */
};

struct kebpf_open {
    struct kebpf_head head;
    __u64 ingress_before; /* bytes moved before this was first seen, as the socket counts them */
    __u64 egress_before;
    __u32 ingress_sequence; /* TCP sequence numbers at that point */
    __u32 egress_sequence;
    __u64 inode; /* of the socket, as in /proc/PID/fd */
    __u8 local[16];
    __u8 remote[16];
    __u16 local_port;
    __u16 remote_port;
    __u16 family;
    __u8 role;
    __u8 reserved;
    char local_path[128]; /* Unix sockets: as bound, abstract names begin with a zero byte */
    char remote_path[128];
    char process[16]; /* name of the thread that was seen first, as in /proc/PID/comm */
};

struct kebpf_close {
    struct kebpf_head head;
    __u64 moved[2]; /* bytes by direction, as the calls returned them */
    __u64 lost[2];  /* of these, bytes whose record found no room in the ring */
};

struct kebpf_process {
    struct kebpf_head head;
    __u32 child; /* KEBPF_FORK: the new process; KEBPF_JOIN: the one moved into the group;
                  * KEBPF_THREAD: the new thread */
    __u32 change;
};

/* An asyncio task of a Python process (`head.pid`) was made, while another ran. */
struct kebpf_task {
    struct kebpf_head head;
    __u64 task; /* as in kebpf_piece */
    __u64 parent;
};

/* Sent when it begins, and again with the sums before the connection's KEBPF_CLOSE. */
struct kebpf_given_up {
    struct kebpf_head head;
    __u64 dropped[2]; /* bytes by direction whose records were thrown away */
};

/* Of one connection, or with `socket` 0 of some that cannot be named any more. */
struct kebpf_loss {
    struct kebpf_head head; /* its time: when the loss was noticed */
    __u64 since_ns;         /* it was not there yet */
};

/* Of a process (`head.pid`) that KEBPF_JOIN told of: one of its sockets, or where it listens. */
struct kebpf_held {
    struct kebpf_head head;
    __u64 inode;   /* or 0 */
    __u32 port;    /* of TCP, or 0 */
    __u32 is_last; /* all was told */
};

#define KEBPF_MARK_LEAST 24 /* bytes: fewer could be found by chance */

/* Bytes that a program gave a TLS library or was given by it. */
struct kebpf_plain {
    struct kebpf_head head;
    __u64 session;            /* address of the library's object; unique in its process, with: */
    __u64 session_generation; /* when it was first seen, CLOCK_MONOTONIC ns */
    __u64 offset;             /* first byte, counted from then */
    __u32 size;               /* payload; there may be room for more behind it */
    __u32 call_size;
    __u32 call_offset;
    __u32 reason; /* 0, or KEBPF_GAP_FAULT: the payload is none */
    __u64 task;   /* as in kebpf_piece */
};

/* What a library took from its BIO, or put into it, at the beginning of a read or a write: a TLS
 * record, or what follows its five bytes of header. */
struct kebpf_mark {
    struct kebpf_head head;
    __u64 session;
    __u64 session_generation;
    __u32 size;
    __u8 bytes[44];
};

struct kebpf_session {
    struct kebpf_head head;
    __u64 session;
    __u64 session_generation;
    __u64 moved[2]; /* bytes by direction */
};

enum kebpf_library {
    KEBPF_OPENSSL = 1,
    KEBPF_GNUTLS = 2,
    KEBPF_GO = 3,
    KEBPF_RUSTLS = 4,
    KEBPF_JAVA = 5
};

/* From its time on the probes see what a process (`head.pid`) does through a TLS library. */
struct kebpf_tls_code {
    struct kebpf_head head;
    __u32 library; /* enum kebpf_library */
    __u32 is_read; /* 0: it was found, and its calls cannot be seen */
    char name[48]; /* the file's, and what it says of its version */
};
