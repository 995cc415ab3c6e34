/* Each sends `size` bytes by one kind of call. */
#pragma once
#include "common.h"
#include <linux/errqueue.h>
#include <poll.h>
#include <sys/sendfile.h>

enum { MOST_BUFFERS = 1024 }; /* UIO_MAXIOV */

static const size_t SIZES[] = {1, 70000, 16384, 16385, 3, 4096};

static size_t next_size(int number, size_t left) {
    size_t size = SIZES[number % 6];
    return size < left ? size : left;
}

typedef ssize_t (*one_call)(int sock, const char *data, size_t size);

static void send_parts(int sock, const char *data, size_t size, one_call call) {
    for (int number = 0; size; number++) {
        ssize_t done = MUST(call(sock, data, next_size(number, size)));
        data += done, size -= done;
    }
}

static ssize_t call_write(int sock, const char *data, size_t size) {
    return write(sock, data, size);
}

static ssize_t call_send(int sock, const char *data, size_t size) {
    return send(sock, data, size, 0);
}

static ssize_t call_sendto(int sock, const char *data, size_t size) {
    return sendto(sock, data, size, MSG_NOSIGNAL, 0, 0);
}

static ssize_t call_send_more(int sock, const char *data, size_t size) {
    return send(sock, data, size, MSG_MORE);
}

/* Three buffers, the one in the middle empty. */
static int cut(const char *data, size_t size, struct iovec *into) {
    into[0] = (struct iovec){(void *)data, size / 3};
    into[1] = (struct iovec){0, 0};
    into[2] = (struct iovec){(void *)(data + size / 3), size - size / 3};
    return 3;
}

static ssize_t call_writev(int sock, const char *data, size_t size) {
    struct iovec parts[3];
    return writev(sock, parts, cut(data, size, parts));
}

static ssize_t call_pwritev2(int sock, const char *data, size_t size) {
    struct iovec parts[3];
    return pwritev2(sock, parts, cut(data, size, parts), -1, 0);
}

static ssize_t call_sendmsg(int sock, const char *data, size_t size) {
    struct iovec parts[3];
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = cut(data, size, parts)};
    return sendmsg(sock, &message, 0);
}

static void send_by_write(int sock, const char *data, size_t size) {
    send_parts(sock, data, size, call_write);
}

static void send_by_send(int sock, const char *data, size_t size) {
    send_parts(sock, data, size, call_send);
}

static void send_by_sendto(int sock, const char *data, size_t size) {
    send_parts(sock, data, size, call_sendto);
}

static void send_by_send_more(int sock, const char *data, size_t size) {
    send_parts(sock, data, size, call_send_more);
}

static void send_by_writev(int sock, const char *data, size_t size) {
    send_parts(sock, data, size, call_writev);
}

static void send_by_pwritev2(int sock, const char *data, size_t size) {
    send_parts(sock, data, size, call_pwritev2);
}

static void send_by_sendmsg(int sock, const char *data, size_t size) {
    send_parts(sock, data, size, call_sendmsg);
}

/* Four messages a call, of three buffers each. */
static void send_by_sendmmsg(int sock, const char *data, size_t size) {
    for (int number = 0; size;) {
        struct mmsghdr messages[4] = {};
        struct iovec parts[4][3];
        size_t given = 0;
        int count = 0;
        for (; count < 4 && given < size; count++, number++) {
            size_t part = next_size(number, size - given);
            messages[count].msg_hdr.msg_iov = parts[count];
            messages[count].msg_hdr.msg_iovlen = cut(data + given, part, parts[count]);
            given += part;
        }
        int done = MUST(sendmmsg(sock, messages, count, 0));
        for (int one = 0; one < done; one++)
            data += messages[one].msg_len, size -= messages[one].msg_len;
    }
}

/* As many buffers as a call takes; it refuses one more. */
static void send_by_many_buffers(int sock, const char *data, size_t size) {
    static struct iovec parts[MOST_BUFFERS + 1];
    while (size) {
        size_t each = size / MOST_BUFFERS, given = 0;
        for (int number = 0; number < MOST_BUFFERS - 1; number++, given += each)
            parts[number] = (struct iovec){(void *)(data + given), each};
        parts[MOST_BUFFERS - 1] = (struct iovec){(void *)(data + given), size - given};
        parts[MOST_BUFFERS] = (struct iovec){(void *)data, 1};
        if (writev(sock, parts, MOST_BUFFERS + 1) != -1)
            exit(2);
        ssize_t done = MUST(writev(sock, parts, MOST_BUFFERS));
        data += done, size -= done;
    }
}

static void send_by_dribbles(int sock, const char *data, size_t size) {
    for (size_t at = 0; at < size; at++)
        MUST(write(sock, data + at, 1));
}

static void send_at_once(int sock, const char *data, size_t size) {
    if ((size_t)MUST(write(sock, data, size)) != size)
        exit(2);
}

/* Until there is no room, then as it comes: writes that are refused or done in part. */
static void send_without_waiting(int sock, const char *data, size_t size) {
    int refused = 0;
    MUST(fcntl(sock, F_SETFL, O_NONBLOCK));
    while (size) {
        ssize_t done = write(sock, data, size < 300000 ? size : 300000);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd wanted = {.fd = sock, .events = POLLOUT};
            if (!refused++)
                puts("full"), fflush(stdout);
            MUST(poll(&wanted, 1, -1));
            continue;
        }
        MUST(done);
        data += done, size -= done;
    }
    MUST(fcntl(sock, F_SETFL, 0));
    if (!refused)
        exit(2);
}

/* A head by write, the rest from a file, but for its last byte. */
static void send_by_sendfile(int sock, const char *data, size_t size) {
    FILE *file = tmpfile();
    if (fwrite(data, 1, size, file) != size || fflush(file))
        exit(2);
    MUST(write(sock, data, 10));
    for (off_t at = 10; (size_t)at < size - 1;)
        MUST(sendfile(sock, fileno(file), &at, size - 1 - at));
    MUST(write(sock, data + size - 1, 1));
}

/* The same through a pipe. */
static void send_by_splice(int sock, const char *data, size_t size) {
    int ends[2];
    MUST(pipe(ends));
    MUST(write(sock, data, 10));
    for (size_t at = 10; at < size - 1;) {
        size_t left = size - 1 - at;
        ssize_t given = MUST(write(ends[1], data + at, left < 60000 ? left : 60000));
        for (at += given; given;)
            given -= MUST(splice(ends[0], 0, sock, 0, given, 0));
    }
    MUST(write(sock, data + size - 1, 1));
}

/* Notices come on the error queue: reading them takes no bytes of the stream. */
static void send_by_zerocopy(int sock, const char *data, size_t size) {
    int one = 1, calls = 0;
    MUST(setsockopt(sock, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
    for (; size; calls++) {
        ssize_t done = MUST(send(sock, data, next_size(calls, size), MSG_ZEROCOPY));
        data += done, size -= done;
    }
    for (int told = 0; told < calls;) {
        char control[200];
        struct msghdr message = {.msg_control = control, .msg_controllen = sizeof(control)};
        struct pollfd notice = {.fd = sock};
        MUST(poll(&notice, 1, -1));
        MUST(recvmsg(sock, &message, MSG_ERRQUEUE));
        struct sock_extended_err *range = (void *)CMSG_DATA(CMSG_FIRSTHDR(&message));
        told += range->ee_data - range->ee_info + 1;
    }
}
