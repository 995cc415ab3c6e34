/* Which connections are left out because a person said so: judged once for each, when it would be
 * announced.  Without filters nothing of this is compiled. */
#pragma once

enum filter { FILTER_PORT = 1, FILTER_EXCLUDED = 2, FILTER_OUTBOUND = 3, FILTER_INTERNAL = 4 };

#ifdef KEBPF_FILTERS

enum { PORT_WANTED = 1, PORT_UNWANTED = 2 };

BPF_HASH(ports, u32, u32, 4096);      /* a service's port → PORT_…; user space writes it */
BPF_HASH(listening, u32, u32, 16384); /* ports on which the target listens → 1; both write it */

static inline void remember_listening(u32 port) {
    u32 one = 1;
    listening.update(&port, &one);
}

static inline u32 find_choice(u32 port) {
    u32 *choice = ports.lookup(&port);
    return choice ? *choice : 0;
}

/* By the rules of kebpf/reassembly/tracker.py; unknown where both ports may be the service's. */
static inline u32 find_role(struct kebpf_open *open) {
    u32 port = open->local_port;
    if (open->role != KEBPF_ROLE_UNKNOWN || open->head.transport != KEBPF_TCP)
        return open->role;
    if (listening.lookup(&port))
        return KEBPF_ROLE_SERVER;
    int is_older = open->ingress_before || open->egress_before;
    return is_older ? KEBPF_ROLE_UNKNOWN : KEBPF_ROLE_SERVER;
}

static inline int is_with_itself(struct kebpf_open *open) {
    u64 *local = (u64 *)open->local, *remote = (u64 *)open->remote;
    return open->local_port == open->remote_port && local[0] == remote[0] && local[1] == remote[1];
}

static inline u32 find_filter(struct kebpf_open *open, u32 direction) {
    if (open->head.transport == KEBPF_UDP && is_with_itself(open))
        return 0; /* the agent in a Java program reports so */
    u32 role = find_role(open);
    u32 local = role == KEBPF_ROLE_CLIENT ? 0 : find_choice(open->local_port);
    u32 remote = role == KEBPF_ROLE_SERVER ? 0 : find_choice(open->remote_port);
    if (open->family == 1 && !open->local_path[0] && !open->local_path[1] &&
        !open->remote_path[0] && !open->remote_path[1])
        return FILTER_INTERNAL; /* a pair of the target's own: no service */
    if (local == PORT_UNWANTED || remote == PORT_UNWANTED)
        return FILTER_EXCLUDED;
#ifdef KEBPF_ONLY_PORTS
    if (local != PORT_WANTED && remote != PORT_WANTED)
        return FILTER_PORT;
#endif
#ifdef KEBPF_INBOUND_ONLY
    /* of datagrams and Unix sockets that do not say, who speaks first is the client */
    if (role == KEBPF_ROLE_UNKNOWN && open->head.transport != KEBPF_TCP && direction == INGRESS)
        return 0;
    if (role != KEBPF_ROLE_SERVER)
        return FILTER_OUTBOUND;
#endif
    return 0;
}

/* 0, or which filter leaves the connection out; counts it. */
static inline u32 choose_filter(struct kebpf_open *open, u32 direction) {
    u32 filter = find_filter(open, direction);
    if (filter && filter != FILTER_INTERNAL)
        count(COUNT_LEFT_OUT + filter - 1, 1);
    return filter;
}

/* Datagram sockets are judged by their peers, which change. */
static inline int is_left_out(struct connection *c) {
    return c->left_out && c->transport != KEBPF_UDP;
}

#else

static inline void remember_listening(u32 port) {
}

static inline u32 choose_filter(struct kebpf_open *open, u32 direction) {
    return 0;
}

static inline int is_left_out(struct connection *c) {
    return 0;
}

#endif
