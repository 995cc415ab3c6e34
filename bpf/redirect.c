/* Test mode: what the application's cgroup connects or sends to goes to the responder.
 *
 * The application sees the address it asked for.  Its own listening ports are left alone.  What
 * cannot be sent there is refused and counted. */
#include <uapi/linux/ptrace.h>

#include "egress.h"

enum { TYPE_STREAM = 1 };
enum { TCP_STATE_LISTEN = 10 };

/* A destination as the application named it; the port in network order. */
struct destination {
    u32 address[4]; /* IPv4 in the first word; network order */
    u32 port;
    u32 family;
};

/* Which socket of the application an accepted connection or a datagram comes from. */
struct source {
    u32 family;
    u32 port; /* host order */
};

struct listening {
    u32 pid;
    u32 family;
    u32 port; /* host order */
    u32 reserved;
    u8 address[16];
};

/* Where the responder is, and whose calls are its affair: ports in host order, 0 for none. */
struct settings {
    u64 cgroup;
    u32 stream4;
    u32 datagram4;
    u32 stream6;
    u32 datagram6;
};

BPF_TABLE("array", u32, struct settings, settings, 1); /* no flags: what is compiled is kept */
BPF_TABLE("lru_hash", u64, struct destination, wanted, 65536); /* socket cookie → destination */
/* The same by the responder's view of the peer, and whether the socket is a datagram one. */
BPF_TABLE("lru_hash", struct source, struct destination, streams, 65536);
BPF_TABLE("lru_hash", struct source, struct destination, datagrams, 65536);
BPF_HASH(own_ports, u32, u32, 1024); /* ports the application listens on, host order → 1 */
BPF_RINGBUF_OUTPUT(listens, 16);

static inline struct settings *get_settings(void) {
    u32 first = 0;
    return settings.lookup(&first);
}

#define RESPONDER_INET bpf_htonl(0x7f000001)

/* An IPv4 program may not even look at the IPv6 fields: hence two of each. */
static inline int is_loopback4(struct bpf_sock_addr *ctx) {
    return (bpf_ntohl(ctx->user_ip4) >> 24) == 127 || ctx->user_ip4 == 0;
}

static inline int is_loopback6(struct bpf_sock_addr *ctx) {
    u32 last = bpf_ntohl(ctx->user_ip6[3]);
    if (ctx->user_ip6[0] || ctx->user_ip6[1])
        return 0;
    if (ctx->user_ip6[2] == bpf_htonl(0xffff))
        return last >> 24 == 127;
    return ctx->user_ip6[2] == 0 && last <= 1;
}

static inline int is_own_port(struct bpf_sock_addr *ctx) {
    u32 port = bpf_ntohs(ctx->user_port);
    return ctx->type == TYPE_STREAM && own_ports.lookup(&port) != 0;
}

static inline int is_mapped(struct bpf_sock_addr *ctx) {
    return ctx->user_ip6[0] == 0 && ctx->user_ip6[1] == 0 && ctx->user_ip6[2] == bpf_htonl(0xffff);
}

/* The family the responder sees: a v4-mapped destination is reached over IPv4. */
static inline u32 seen_family(struct destination *to) {
    if (to->family == FAMILY_INET6 && to->address[0] == 0 && to->address[1] == 0 &&
        to->address[2] == bpf_htonl(0xffff))
        return FAMILY_INET;
    return to->family;
}

static inline void remember(struct bpf_sock_addr *ctx, struct destination *to) {
    u64 cookie = bpf_get_socket_cookie(ctx);
    wanted.update(&cookie, to);
}

/* Each datagram of an IPv6 socket that is connected to a v4-mapped address comes by here as if it
 * named its destination, which was steered when it was connected. */
static inline int is_steered(struct bpf_sock_addr *ctx, u32 port) {
    u64 cookie = bpf_get_socket_cookie(ctx);
    return ctx->user_ip4 == RESPONDER_INET && ctx->user_port == port && wanted.lookup(&cookie) != 0;
}

static inline int steer4(struct bpf_sock_addr *ctx) {
    struct destination to = {.port = ctx->user_port, .family = FAMILY_INET};
    struct settings *now = get_settings();
    if (!now)
        return 0;
    u32 port = bpf_htons(ctx->type == TYPE_STREAM ? now->stream4 : now->datagram4);
    if ((is_loopback4(ctx) && is_own_port(ctx)) || is_steered(ctx, port))
        return 1;
    to.address[0] = ctx->user_ip4;
    remember(ctx, &to);
    ctx->user_ip4 = RESPONDER_INET;
    ctx->user_port = port;
    return 1;
}

static inline int steer6(struct bpf_sock_addr *ctx) {
    struct destination to = {.port = ctx->user_port, .family = FAMILY_INET6};
    struct settings *now = get_settings();
    if (!now)
        return 0;
    if (is_loopback6(ctx) && is_own_port(ctx))
        return 1;
    to.address[0] = ctx->user_ip6[0];
    to.address[1] = ctx->user_ip6[1];
    to.address[2] = ctx->user_ip6[2];
    to.address[3] = ctx->user_ip6[3];
    remember(ctx, &to);
    if (is_mapped(ctx)) {
        ctx->user_ip6[3] = RESPONDER_INET;
        ctx->user_port = bpf_htons(ctx->type == TYPE_STREAM ? now->stream4 : now->datagram4);
        return 1;
    }
    ctx->user_ip6[0] = 0;
    ctx->user_ip6[1] = 0;
    ctx->user_ip6[2] = 0;
    ctx->user_ip6[3] = bpf_htonl(1);
    ctx->user_port = bpf_htons(ctx->type == TYPE_STREAM ? now->stream6 : now->datagram6);
    return 1;
}

static inline int tell_wanted4(struct bpf_sock_addr *ctx) {
    u64 cookie = bpf_get_socket_cookie(ctx);
    struct destination *to = wanted.lookup(&cookie);
    if (to && to->family == FAMILY_INET) {
        ctx->user_ip4 = to->address[0];
        ctx->user_port = to->port;
    }
    return 1;
}

static inline int tell_wanted6(struct bpf_sock_addr *ctx) {
    u64 cookie = bpf_get_socket_cookie(ctx);
    struct destination *to = wanted.lookup(&cookie);
    if (!to)
        return 1;
    ctx->user_port = to->port;
    if (to->family == FAMILY_INET) { /* sent to a v4-mapped address: the kernel asked for IPv4 */
        ctx->user_ip6[3] = to->address[0];
        return 1;
    }
    ctx->user_ip6[0] = to->address[0];
    ctx->user_ip6[1] = to->address[1];
    ctx->user_ip6[2] = to->address[2];
    ctx->user_ip6[3] = to->address[3];
    return 1;
}

int on_connect4(struct bpf_sock_addr *ctx) {
    return steer4(ctx);
}

int on_connect6(struct bpf_sock_addr *ctx) {
    return steer6(ctx);
}

int on_sendmsg4(struct bpf_sock_addr *ctx) {
    return steer4(ctx);
}

int on_sendmsg6(struct bpf_sock_addr *ctx) {
    return steer6(ctx);
}

int on_recvmsg4(struct bpf_sock_addr *ctx) {
    return tell_wanted4(ctx);
}

int on_recvmsg6(struct bpf_sock_addr *ctx) {
    return tell_wanted6(ctx);
}

int on_getpeername4(struct bpf_sock_addr *ctx) {
    return tell_wanted4(ctx);
}

int on_getpeername6(struct bpf_sock_addr *ctx) {
    return tell_wanted6(ctx);
}

/* By the time the responder accepts, the connection's own end is known here. */
int on_sock_ops(struct bpf_sock_ops *ctx) {
    if (ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
        return 1;
    u64 cookie = bpf_get_socket_cookie(ctx);
    struct destination *to = wanted.lookup(&cookie);
    if (!to)
        return 1;
    struct source from = {.family = seen_family(to), .port = ctx->local_port};
    struct destination copy = *to;
    streams.update(&from, &copy);
    return 1;
}

/* A datagram's source port is known once it is sent: post_bind knows no automatic one. */
int on_egress(struct __sk_buff *skb) {
    struct packet packet = {};
    u16 port = 0;
    if (!read_packet(skb, &packet))
        return 1;
    if (!is_let_out(skb, &packet)) {
        if (is_own_call(skb, &packet))
            count_refusal(&packet.to);
        return 0;
    }
    if (packet.to.protocol != PROTOCOL_UDP)
        return 1;
    u64 cookie = bpf_get_socket_cookie(skb);
    struct destination *to = wanted.lookup(&cookie);
    if (!to)
        return 1;
    bpf_skb_load_bytes(skb, packet.payload_offset, &port, 2);
    struct source from = {.family = packet.to.family, .port = bpf_ntohs(port)};
    struct destination copy = *to;
    datagrams.update(&from, &copy);
    return 1;
}

#define READ(destination, base, offset)                                                            \
    bpf_probe_read_kernel(&(destination), sizeof(destination), (void *)((u64)(base) + (offset)))

/* Whether the current process is in the application's cgroup or below it.  Its depth is not known
 * to user space where the hierarchy's root is out of sight, as in a container. */
static inline int is_application(void) {
    struct settings *now = get_settings();
    if (!now)
        return 0;
#pragma clang loop unroll(full)
    for (int level = 0; level < 16; level++)
        if (bpf_get_current_ancestor_cgroup_id(level) == now->cgroup)
            return 1;
    return 0;
}

/* A socket of the application's cgroup begins to listen. */
int on_inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx) {
    u64 sk = ctx->args[0];
    u16 family = 0, port = 0;
    u32 one = 1;
    struct listening now = {};
    if ((int)ctx->args[2] != TCP_STATE_LISTEN)
        return 0;
    if (!is_application())
        return 0;
    READ(family, sk, OFF_SOCK_FAMILY);
    READ(port, sk, OFF_SOCK_LOCAL_PORT);
    now.pid = bpf_get_current_pid_tgid() >> 32;
    now.family = family;
    now.port = port;
    if (family == FAMILY_INET6)
        bpf_probe_read_kernel(now.address, 16, (void *)(sk + OFF_SOCK_V6_LOCAL));
    else
        bpf_probe_read_kernel(now.address, 4, (void *)(sk + OFF_SOCK_V4_LOCAL));
    u32 key = port;
    own_ports.update(&key, &one);
    listens.ringbuf_output(&now, sizeof(now), BPF_RB_FORCE_WAKEUP);
    return 0;
}
