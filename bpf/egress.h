/* Test mode: which packets of the application's cgroup may go out; the others are counted. */
#pragma once

enum { FAMILY_INET = 2, FAMILY_INET6 = 10 };
enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };
enum { LOOPBACK_INTERFACE = 1 }; /* in every network namespace */
enum { TCP_FLAGS_OFFSET = 13, TCP_SYN = 2, TCP_ACK = 16 };

/* A packet that would have left the machine, or that is of no protocol that can be answered. */
struct refusal {
    u32 address[4];
    u32 family;
    u32 protocol;
};

BPF_TABLE("lru_hash", struct refusal, u64, refused, 1024); /* what was not let out → packets */

struct packet {
    struct refusal to;
    u32 payload_offset;
    u8 is_loopback;
};

/* Whether it is an IP packet, and where it goes. */
static inline int read_packet(struct __sk_buff *skb, struct packet *packet) {
    u8 first = 0, protocol = 0;
    if (skb->protocol == bpf_htons(0x0800)) {
        bpf_skb_load_bytes(skb, 0, &first, 1);
        bpf_skb_load_bytes(skb, 9, &protocol, 1);
        bpf_skb_load_bytes(skb, 16, packet->to.address, 4);
        packet->to.family = FAMILY_INET;
        packet->payload_offset = 4 * (first & 0xf); /* behind the header's options */
        packet->is_loopback = bpf_ntohl(packet->to.address[0]) >> 24 == 127;
    } else if (skb->protocol == bpf_htons(0x86dd)) {
        bpf_skb_load_bytes(skb, 6, &protocol, 1);
        bpf_skb_load_bytes(skb, 24, packet->to.address, 16);
        packet->to.family = FAMILY_INET6;
        packet->payload_offset = 40;
        packet->is_loopback = !packet->to.address[0] && !packet->to.address[1] &&
                              !packet->to.address[2] && packet->to.address[3] == bpf_htonl(1);
    } else {
        return 0;
    }
    packet->to.protocol = protocol;
    return 1;
}

/* Connections and datagrams were steered before they became packets.  What else there is (raw
 * sockets, ICMP) goes nowhere; in a namespace with only loopback it is told by its address. */
static inline int is_let_out(struct __sk_buff *skb, struct packet *packet) {
    if (packet->to.protocol == PROTOCOL_TCP || packet->to.protocol == PROTOCOL_UDP)
        return skb->ifindex == LOOPBACK_INTERFACE;
    return packet->is_loopback;
}

/* The answers to somebody outside who calls the application are no calls of its own. */
static inline int is_own_call(struct __sk_buff *skb, struct packet *packet) {
    u8 flags = 0;
    if (packet->to.protocol != PROTOCOL_TCP)
        return 1;
    bpf_skb_load_bytes(skb, packet->payload_offset + TCP_FLAGS_OFFSET, &flags, 1);
    return (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static inline void count_refusal(struct refusal *to) {
    u64 one = 1, *count = refused.lookup(to);
    if (count)
        __sync_fetch_and_add(count, 1);
    else
        refused.update(to, &one);
}
