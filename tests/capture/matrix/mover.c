/* Sends a file's bytes to a peer by one kind of call and receives its answer by another.
 *
 * mover ADDRESS FILE SENDER RECEIVER; waits for a line before it begins. */
#include "receivers.h"
#include "senders.h"

#define SENDER(name)                                                                               \
    { #name, send_##name }
#define RECEIVER(name)                                                                             \
    { #name, receive_##name }

static const struct {
    const char *name;
    void (*send)(int sock, const char *data, size_t size);
} SENDERS[] = {
    SENDER(by_write),    SENDER(by_send),         SENDER(by_sendto),   SENDER(by_send_more),
    SENDER(by_writev),   SENDER(by_pwritev2),     SENDER(by_sendmsg),  SENDER(by_sendmmsg),
    SENDER(by_dribbles), SENDER(by_many_buffers), SENDER(at_once),     SENDER(without_waiting),
    SENDER(by_sendfile), SENDER(by_splice),       SENDER(by_zerocopy), {0, 0},
};

static const struct {
    const char *name;
    size_t (*receive)(int sock);
} RECEIVERS[] = {
    RECEIVER(by_read),
    RECEIVER(by_recv),
    RECEIVER(by_recvfrom),
    RECEIVER(by_readv),
    RECEIVER(by_preadv2),
    RECEIVER(by_recvmsg),
    RECEIVER(by_peeking),
    RECEIVER(by_waiting_for_all),
    RECEIVER(by_truncating),
    RECEIVER(by_vectors),
    RECEIVER(by_vectors_without_waiting),
    RECEIVER(by_vectors_for_one),
    RECEIVER(by_vectors_with_patience),
    RECEIVER(by_splice),
    RECEIVER(by_dribbles),
    RECEIVER(at_once),
    RECEIVER(without_waiting),
    {0, 0},
};

int main(int count, char **words) {
    size_t size, received = 0;
    int sender = 0, receiver = 0;
    if (count != 5)
        return 2;
    while (SENDERS[sender].name && strcmp(SENDERS[sender].name, words[3]))
        sender++;
    while (RECEIVERS[receiver].name && strcmp(RECEIVERS[receiver].name, words[4]))
        receiver++;
    if (!SENDERS[sender].name || !RECEIVERS[receiver].name)
        return 2;
    char *data = read_file(words[2], &size);
    await_line();
    int sock = connect_to(words[1]);
    SENDERS[sender].send(sock, data, size);
    MUST(shutdown(sock, SHUT_WR));
    received = RECEIVERS[receiver].receive(sock);
    close(sock);
    printf("{\"sent\": %zu, \"received\": %zu}\n", size, received);
    return 0;
}
