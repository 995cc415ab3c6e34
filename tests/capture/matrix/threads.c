/* Several threads on one socket.
 *
 * threads ADDRESS FILE HOW COUNT PART; waits for a line before it begins.  HOW is "writers" (each
 * writes the whole file in parts), "readers" (they read the answer to its end together), "duplex"
 * (one writes the file while another reads), "turns" (they write the file together, a part each in
 * turn) or "heard" (the same, while another waits for the answer). */
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

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t passed_on = PTHREAD_COND_INITIALIZER;
static size_t written;
static unsigned turn, joined, in_turns;

static void *write_in_turns(void *unused) {
    pthread_mutex_lock(&lock);
    unsigned own = joined++;
    while (written < size) {
        if (turn % in_turns != own) {
            pthread_cond_wait(&passed_on, &lock);
            continue;
        }
        size_t part = size - written < part_size ? size - written : part_size;
        for (size_t end = written + part; written < end;)
            written += MUST(write(sock, data + written, end - written));
        turn++;
        pthread_cond_broadcast(&passed_on);
    }
    pthread_mutex_unlock(&lock);
    return unused;
}

static pid_t reader_tid;

/* Until the reader waits in its call. */
static void await_reader(void) {
    char path[64], state = 0;
    while (state != 'S') {
        pid_t tid = __atomic_load_n(&reader_tid, __ATOMIC_ACQUIRE);
        snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
        FILE *file = fopen(path, "r");
        if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
            state = 0;
        if (file)
            fclose(file);
        sched_yield();
    }
}

static void *read_all(void *unused) {
    char room[1 << 14];
    __atomic_store_n(&reader_tid, gettid(), __ATOMIC_RELEASE);
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
    } else if (!strcmp(words[3], "duplex")) {
        run(2, write_all, read_all);
    } else {
        pthread_t reader;
        int is_heard = !strcmp(words[3], "heard");
        if (is_heard && pthread_create(&reader, 0, read_all, 0))
            exit(1);
        if (is_heard)
            await_reader();
        in_turns = atoi(words[4]);
        run(in_turns, write_in_turns, write_in_turns);
        MUST(shutdown(sock, SHUT_WR));
        if (is_heard)
            pthread_join(reader, 0);
        else
            read_all(0);
    }
    close(sock);
    printf("{\"received\": %zu}\n", received);
    return 0;
}
