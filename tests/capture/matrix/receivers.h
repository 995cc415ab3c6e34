/* Each receives to the end of the stream by one kind of call, and gives how many bytes. */
#pragma once
#include "common.h"
#include <poll.h>

static char room[1 << 20];

typedef ssize_t (*one_receive)(int sock, size_t number);

static size_t receive_parts(int sock, one_receive call) {
    size_t total = 0;
    ssize_t done;
    for (size_t number = 0; (done = MUST(call(sock, number))); number++)
        total += done;
    return total;
}

static ssize_t call_read(int sock, size_t number) {
    return read(sock, room, 1 + number * 977 % 70000);
}

static ssize_t call_recv(int sock, size_t number) {
    return recv(sock, room, 1 + number * 977 % 70000, 0);
}

static ssize_t call_recvfrom(int sock, size_t number) {
    struct sockaddr_storage from;
    socklen_t size = sizeof(from);
    return recvfrom(sock, room, 1 + number * 977 % 70000, 0, (struct sockaddr *)&from, &size);
}

static int part(struct iovec *into) {
    into[0] = (struct iovec){room, 1};
    into[1] = (struct iovec){0, 0};
    into[2] = (struct iovec){room + 50000, 9000};
    into[3] = (struct iovec){room + 100000, 20000};
    return 4;
}

static ssize_t call_readv(int sock, size_t number) {
    struct iovec parts[4];
    return readv(sock, parts, part(parts) - number % 2);
}

static ssize_t call_preadv2(int sock, size_t number) {
    struct iovec parts[4];
    return preadv2(sock, parts, part(parts) - number % 2, -1, 0);
}

static ssize_t call_recvmsg(int sock, size_t number) {
    struct iovec parts[4];
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = part(parts) - number % 2};
    return recvmsg(sock, &message, 0);
}

/* Looks at more than it takes. */
static ssize_t call_peek(int sock, size_t number) {
    MUST(recv(sock, room, 10000, MSG_PEEK));
    return recv(sock, room + 10000, 1 + number * 977 % 7000, 0);
}

static ssize_t call_wait_for_all(int sock, size_t number) {
    return recv(sock, room, 1000 + number * 9773 % 700000, MSG_WAITALL);
}

/* Every other call throws away what it takes. */
static ssize_t call_truncating(int sock, size_t number) {
    return recv(sock, room, 500 + number % 7, MSG_WAITALL | (number % 2 ? MSG_TRUNC : 0));
}

static size_t receive_by_read(int sock) {
    return receive_parts(sock, call_read);
}

static size_t receive_by_recv(int sock) {
    return receive_parts(sock, call_recv);
}

static size_t receive_by_recvfrom(int sock) {
    return receive_parts(sock, call_recvfrom);
}

static size_t receive_by_readv(int sock) {
    return receive_parts(sock, call_readv);
}

static size_t receive_by_preadv2(int sock) {
    return receive_parts(sock, call_preadv2);
}

static size_t receive_by_recvmsg(int sock) {
    return receive_parts(sock, call_recvmsg);
}

static size_t receive_by_peeking(int sock) {
    return receive_parts(sock, call_peek);
}

static size_t receive_by_waiting_for_all(int sock) {
    return receive_parts(sock, call_wait_for_all);
}

static size_t receive_by_truncating(int sock) {
    return receive_parts(sock, call_truncating);
}

/* Five messages a call, of which some stay empty; a stream's end is a message without bytes. */
static size_t receive_by_recvmmsg(int sock, int flags, struct timespec *patience) {
    size_t total = 0;
    for (int is_over = 0; !is_over;) {
        struct mmsghdr messages[5] = {};
        struct iovec parts[5][2];
        for (int number = 0; number < 5; number++) {
            char *place = room + number * 100000;
            parts[number][0] = (struct iovec){place, 3};
            parts[number][1] = (struct iovec){place + 50000, 3000 * number + 1};
            messages[number].msg_hdr.msg_iov = parts[number];
            messages[number].msg_hdr.msg_iovlen = 2;
        }
        int done = recvmmsg(sock, messages, 5, flags, patience);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd wanted = {.fd = sock, .events = POLLIN};
            MUST(poll(&wanted, 1, -1));
            continue;
        }
        MUST(done);
        for (int number = 0; number < done; number++) {
            total += messages[number].msg_len;
            is_over |= !messages[number].msg_len;
        }
    }
    return total;
}

static size_t receive_by_vectors(int sock) {
    return receive_by_recvmmsg(sock, 0, 0);
}

static size_t receive_by_vectors_without_waiting(int sock) {
    return receive_by_recvmmsg(sock, MSG_DONTWAIT, 0);
}

static size_t receive_by_vectors_for_one(int sock) {
    return receive_by_recvmmsg(sock, MSG_WAITFORONE, 0);
}

static size_t receive_by_vectors_with_patience(int sock) {
    struct timespec patience = {.tv_sec = 60};
    return receive_by_recvmmsg(sock, 0, &patience);
}

static size_t receive_by_splice(int sock) {
    int ends[2];
    size_t total = MUST(recv(sock, room, 10, MSG_WAITALL));
    ssize_t given;
    MUST(pipe(ends));
    while ((given = MUST(splice(sock, 0, ends[1], 0, 60000, 0)))) {
        for (total += given; given;)
            given -= MUST(read(ends[0], room, given));
    }
    return total;
}

static size_t receive_by_dribbles(int sock) {
    size_t total = 0;
    while (MUST(read(sock, room, 1)))
        total++;
    return total;
}

/* In one call, whatever it is. */
static size_t receive_at_once(int sock) {
    size_t size = 65 << 20;
    return MUST(recv(sock, malloc(size), size, MSG_WAITALL));
}

static size_t receive_without_waiting(int sock) {
    size_t total = 0;
    MUST(fcntl(sock, F_SETFL, O_NONBLOCK));
    for (ssize_t done = 1; done;) {
        done = read(sock, room, sizeof(room));
        if (done < 0 && errno == EAGAIN) {
            struct pollfd wanted = {.fd = sock, .events = POLLIN};
            MUST(poll(&wanted, 1, -1));
            continue;
        }
        total += MUST(done);
    }
    return total;
}
