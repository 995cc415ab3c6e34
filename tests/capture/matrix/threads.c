/* Several threads on one socket.
 *
 * threads ADDRESS FILE HOW COUNT PART; waits for a line before it begins.  HOW is "writers" (each
 * writes the whole file in parts), "readers" (they read the answer to its end together), or
 * "duplex" (one writes the file while another reads). */
#include "common.h"
#include <pthread.h>

static int sock;
static const char *data;
static size_t size;
static size_t received;
static unsigned part_size;

static void *write_all(void *unused) {
    for (size_t at = 0; at < size;) {
        size_t part = size - at < part_size ? size - at : part_size;
        at += MUST(write(sock, data + at, part));
    }
    return unused;
}

static void *read_all(void *unused) {
    char room[1 << 14];
    for (ssize_t done = 1; done;) {
        done = MUST(read(sock, room, part_size < sizeof(room) ? part_size : sizeof(room)));
        __sync_fetch_and_add(&received, done);
    }
    return unused;
}

static void run(int count, void *(*work)(void *), void *(*other)(void *)) {
    pthread_t threads[16];
    for (int number = 0; number < count; number++)
        if (pthread_create(&threads[number], 0, number % 2 ? other : work, 0))
            exit(1);
    for (int number = 0; number < count; number++)
        pthread_join(threads[number], 0);
}

int main(int count, char **words) {
    if (count != 6)
        return 2;
    data = read_file(words[2], &size);
    part_size = atoi(words[5]);
    await_line();
    sock = connect_to(words[1]);
    if (!strcmp(words[3], "writers")) {
        int room = 8192; /* so little that writes wait for each other */
        MUST(setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)));
        run(atoi(words[4]), write_all, write_all);
        MUST(shutdown(sock, SHUT_WR));
        read_all(0);
    } else if (!strcmp(words[3], "readers")) {
        write_all(0);
        MUST(shutdown(sock, SHUT_WR));
        run(atoi(words[4]), read_all, read_all);
    } else {
        run(2, write_all, read_all);
    }
    close(sock);
    printf("{\"received\": %zu}\n", received);
    return 0;
}
