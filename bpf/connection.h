/* Which connection a socket is: its life, its ends, its role. */
#pragma once

enum {
    SHUTDOWN_RECEIVE = 1,
    SHUTDOWN_SEND = 2,
    SHUTDOWN_BOTH = 3
};                           /* sk_shutdown, include/net/sock.h */
enum { FLAG_DONE = 1 << 1 }; /* SOCK_DONE: the peer's FIN came */

static inline u32 read_transport(u64 sk) {
    u16 family = 0, protocol = 0, type = 0;
    READ(family, sk, OFF_SOCK_FAMILY);
    READ(type, sk, OFF_SOCK_TYPE);
    if (family == 1)
        return type == 1 ? KEBPF_UNIX_STREAM : KEBPF_UNIX_DATAGRAM;
    if (family != 2 && family != 10)
        return 0;
    READ(protocol, sk, OFF_SOCK_PROTOCOL);
    if (protocol == 6)
        return KEBPF_TCP;
    return protocol == 17 ? KEBPF_UDP : 0;
}

static inline u64 read_inode(u64 sk) {
    u64 socket = 0, inode = 0;
    READ(socket, sk, OFF_SOCK_SOCKET);
    if (socket)
        READ(inode, socket, OFF_SOCKET_INODE);
    return inode;
}

static inline void fill_head(struct kebpf_head *head, u32 kind, u64 sk, struct connection *c) {
    u64 id = bpf_get_current_pid_tgid();
    head->time_ns = bpf_ktime_get_ns();
    head->socket = sk;
    head->generation = c ? c->generation : 0;
    head->pid = id >> 32;
    head->tid = (u32)id;
    head->kind = kind;
    head->direction = 0;
    head->transport = c ? c->transport : 0;
    head->overlaps = 0;
    head->sequence = 0;
}

static inline void read_path(char *path, u64 sk) {
    u64 address = 0;
    u32 size = 0;
    READ(address, sk, OFF_UNIX_ADDRESS);
    if (!address)
        return;
    READ(size, address, OFF_UNIX_ADDRESS_SIZE);
    if (size <= 2)
        return;
    size -= 2; /* sun_family */
    if (size > 108)
        size = 108;
    asm volatile("%0 &= 0x7f" : "+r"(size));
    bpf_probe_read_kernel(path, size, (void *)(address + OFF_UNIX_ADDRESS_NAME + 2));
}

static inline int has_name(const char *path) {
    return path[0] || path[1]; /* an abstract name begins with a zero byte */
}

static inline void read_unix_ends(struct kebpf_open *open, u64 sk) {
    u64 peer = 0;
    read_path(open->local_path, sk);
    READ(peer, sk, OFF_UNIX_PEER);
    if (peer)
        read_path(open->remote_path, peer);
    /* an accepted socket carries its listener's name, a connecting one usually none */
    if (open->role == KEBPF_ROLE_UNKNOWN && has_name(open->local_path))
        open->role = KEBPF_ROLE_SERVER;
    else if (open->role == KEBPF_ROLE_UNKNOWN && has_name(open->remote_path))
        open->role = KEBPF_ROLE_CLIENT;
}

static inline void read_inet_ends(struct kebpf_open *open, u64 sk) {
    u16 port = 0;
    if (open->family == 10) {
        READ(open->local, sk, OFF_SOCK_V6_LOCAL);
        READ(open->remote, sk, OFF_SOCK_V6_REMOTE);
    } else {
        bpf_probe_read_kernel(open->local, 4, (void *)(sk + OFF_SOCK_V4_LOCAL));
        bpf_probe_read_kernel(open->remote, 4, (void *)(sk + OFF_SOCK_V4_REMOTE));
    }
    READ(port, sk, OFF_SOCK_LOCAL_PORT); /* host order */
    open->local_port = port;
    READ(port, sk, OFF_SOCK_REMOTE_PORT); /* network order */
    open->remote_port = bpf_ntohs(port);
}

static inline u8 read_shutdown(u64 sk) {
    u8 shutdown = 0;
    READ(shutdown, sk, OFF_SOCK_SHUTDOWN);
    return shutdown;
}

/* Reading as far as the peer's FIN moves copied_seq past it: 1 then, else 0. */
static inline u32 count_read_fin(u64 sk, u32 copied) {
    u64 flags = 0;
    u32 next = 0;
    READ(flags, sk, OFF_SOCK_FLAGS);
    READ(next, sk, OFF_TCP_RCV_NXT);
    return (flags & FLAG_DONE) && next == copied;
}

/* The sequence number behind the last byte that the target read. */
static inline u32 read_ingress_sequence(u64 sk) {
    u32 sequence = 0;
    READ(sequence, sk, OFF_TCP_COPIED_SEQ);
    return sequence - count_read_fin(sk, sequence);
}

/* The same after a call that read `size` bytes: as expected, or looked into. */
static inline u32 read_ingress_sequence_behind(u64 sk, struct connection *c, u32 size) {
    u32 sequence = 0;
    READ(sequence, sk, OFF_TCP_COPIED_SEQ);
    if (sequence == c->base[INGRESS] + (u32)c->moved[INGRESS] + size)
        return sequence; /* so no FIN is in it */
    return sequence - count_read_fin(sk, sequence);
}

/* Behind the last byte that it wrote, or behind its FIN. */
static inline u32 read_egress_sequence(u64 sk) {
    u32 sequence = 0;
    READ(sequence, sk, OFF_TCP_WRITE_SEQ);
    return sequence;
}

enum { MOST_READS = 4 };

/* What came to the socket, and the sequence number behind it, as they stood at one moment: another
 * processor may be receiving. */
static inline u32 read_received(u64 sk, u64 *received) {
    u32 next = 0, again = 0;
    u64 before = 0;
    READ(next, sk, OFF_TCP_RCV_NXT);
    READ(before, sk, OFF_TCP_BYTES_RECEIVED);
    for (int i = 0; i < MOST_READS; i++) {
        READ(again, sk, OFF_TCP_RCV_NXT);
        READ(*received, sk, OFF_TCP_BYTES_RECEIVED);
        if (again == next && *received == before)
            break;
        next = again;
        before = *received;
    }
    return next;
}

/* Where the streams stand: sequence numbers, and bytes moved since the socket was connected. */
static inline void read_tcp_position(struct kebpf_open *open, u64 sk) {
    u32 copied = 0, received_next = 0, unacknowledged = 0;
    u32 own_fin = (read_shutdown(sk) & SHUTDOWN_SEND) != 0;
    READ(copied, sk, OFF_TCP_COPIED_SEQ);
    received_next = read_received(sk, &open->ingress_before);
    READ(unacknowledged, sk, OFF_TCP_SND_UNA);
    READ(open->egress_before, sk, OFF_TCP_BYTES_ACKED);
    open->ingress_sequence = copied - count_read_fin(sk, copied);
    open->egress_sequence = read_egress_sequence(sk) - own_fin;
    /* bytes_received counts the FIN as well, bytes_acked both SYN and FIN */
    open->ingress_before -= received_next - open->ingress_sequence;
    open->egress_before += (s32)(open->egress_sequence - unacknowledged);
}

/* Back to where they stood when this life began, `behind` bytes of this call not yet counted. */
static inline void begin_streams(struct kebpf_open *open, struct connection *c, u32 direction,
                                 u32 behind) {
    u64 ingress = c->moved[INGRESS] + (direction == INGRESS ? behind : 0);
    u64 egress = c->moved[EGRESS] + (direction == EGRESS ? behind : 0);
    open->ingress_sequence -= ingress;
    open->egress_sequence -= egress;
    open->ingress_before -= ingress;
    open->egress_before -= egress;
    if (c->role == KEBPF_ROLE_CLIENT) { /* it was seen to connect: what else moved is missing */
        open->ingress_sequence -= open->ingress_before;
        open->egress_sequence -= open->egress_before - 1; /* the SYN is no byte */
        open->ingress_before = 0;
        open->egress_before = 1;
    }
    c->base[INGRESS] = open->ingress_sequence;
    c->base[EGRESS] = open->egress_sequence;
}

/* A datagram socket without a peer names its destination in each call. */
static inline void read_destination(struct kebpf_open *open, u64 address) {
    u16 family = 0, port = 0;
    read_user(&family, sizeof(family), (void *)address);
    if (family == 1) {
        read_user_text(open->remote_path, sizeof(open->remote_path), (void *)(address + 2));
        return;
    }
    read_user(&port, sizeof(port), (void *)(address + 2));
    open->remote_port = bpf_ntohs(port);
    open->family = family;
    if (family == 2)
        read_user(open->remote, 4, (void *)(address + 4));
    else if (family == 10)
        read_user(open->remote, 16, (void *)(address + 8));
}

/* Tells user space of a connection, as it stood when this life of it began; datagram sockets,
 * whose peers change, as it stood before this transfer. */
static inline void announce(u64 sk, struct connection *c, struct transfer *t, u64 destination) {
    u32 slot = 0, direction = t->piece.head.direction;
    struct kebpf_open *open = opens.lookup(&slot);
    if (!open)
        return;
    __builtin_memset(open, 0, sizeof(*open));
    fill_head(&open->head, KEBPF_OPEN, sk, c);
    open->inode = c->inode;
    open->role = c->role;
    bpf_get_current_comm(open->process, sizeof(open->process));
    READ(open->family, sk, OFF_SOCK_FAMILY);
    if (open->family == 1)
        read_unix_ends(open, sk);
    else
        read_inet_ends(open, sk);
    if (destination && !open->remote_port && !has_name(open->remote_path))
        read_destination(open, destination);
    if (c->transport == KEBPF_TCP) {
        read_tcp_position(open, sk);
        begin_streams(open, c, direction, t->behind);
        c->fin_sent |= (read_shutdown(sk) & SHUTDOWN_SEND) != 0;
    } else if (c->transport == KEBPF_UDP && c->has_peers) {
        open->ingress_before = c->moved[INGRESS] - (direction == INGRESS ? t->piece.call_size : 0);
        open->egress_before = c->moved[EGRESS] - (direction == EGRESS ? t->piece.call_size : 0);
    }
    c->left_out = choose_filter(open, direction);
    c->is_announced = !c->left_out && emit(open, sizeof(*open)) == 0;
    c->has_peers |= c->is_announced;
}

/* A socket has none of its predecessor's life: should its entry have to stay, for a lock that is
 * not to be had, it is no connection's. */
static inline void forget_connection(u64 sk, struct connection *c) {
    c->is_announced = 0;
    c->transport = 0;
    connections.delete(&sk);
}

/* Instead of the `last` one.  Where threads use it first at the same time, one begins its life. */
static inline struct connection *begin_life(u64 sk, struct connection *last, u32 transport,
                                            u32 role) {
    struct connection fresh = {};
    fresh.generation = bpf_ktime_get_ns();
    fresh.transport = transport;
    fresh.role = role;
    if (transport != KEBPF_TCP)
        fresh.inode = read_inode(sk);
    if (last)
        forget_connection(sk, last);
    if (connections.insert(&sk, &fresh) == 0 && transport != KEBPF_TCP)
        count(COUNT_UNTOLD_LIVES, 1);
    struct connection *c = connections.lookup(&sk);
    return c && c->transport ? c : 0;
}

static inline void send_close(u64 sk, struct connection *c, u32 unseen_in, u32 unseen_out) {
    struct kebpf_close close = {};
    fill_head(&close.head, KEBPF_CLOSE, sk, c);
    close.moved[0] = c->moved[0] + unseen_in;
    close.moved[1] = c->moved[1] + unseen_out;
    close.lost[0] = c->lost[0];
    close.lost[1] = c->lost[1];
    emit(&close, sizeof(close));
}

/* The connection a call moved `size` bytes on, or 0 for sockets that are none of ours. */
static inline struct connection *find_connection(u64 sk, u64 size) {
    struct connection *c = connections.lookup(&sk);
    if (c && (c->transport == KEBPF_TCP || c->inode == read_inode(sk)))
        return c;
    u32 transport = read_transport(sk);
    if (!transport)
        return 0;
    if (c && c->is_announced) /* the address is another socket's now */
        send_close(sk, c, 0, 0);
    c = begin_life(sk, c, transport, KEBPF_ROLE_UNKNOWN);
    if (!c)
        count(COUNT_UNFOLLOWED_BYTES, size);
    return c;
}
