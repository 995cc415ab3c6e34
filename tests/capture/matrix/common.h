/* What all programs of the matrix share: failing loudly, and sockets by one word. */
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static long must(long result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

#define MUST(call) must(call, #call)

/* Held until the probes watch this process. */
static void await_line(void) {
    char letter = 0;
    while (letter != '\n')
        if (MUST(read(0, &letter, 1)) == 0)
            exit(1);
}

/* "4:PORT", "6:PORT", "m:PORT" (IPv4 mapped into IPv6), "u:PATH", "a:NAME" (abstract). */
static int connect_to(const char *word) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(atoi(word + 2))};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(word + 2))};
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    inet_pton(AF_INET, "127.0.0.1", &v4.sin_addr);
    inet_pton(AF_INET6, word[0] == 'm' ? "::ffff:127.0.0.1" : "::1", &v6.sin6_addr);
    int is_abstract = word[0] == 'a';
    strncpy(path.sun_path + is_abstract, word + 2, sizeof(path.sun_path) - 2);
    struct sockaddr *address = (struct sockaddr *)&v4;
    socklen_t size = sizeof(v4);
    if (word[0] == '6' || word[0] == 'm') {
        address = (struct sockaddr *)&v6;
        size = sizeof(v6);
    } else if (word[0] != '4') {
        address = (struct sockaddr *)&path;
        size = offsetof(struct sockaddr_un, sun_path) + is_abstract + strlen(word + 2);
    }
    int sock = MUST(socket(address->sa_family, SOCK_STREAM, 0));
    MUST(connect(sock, address, size));
    return sock;
}

static char *read_file(const char *path, size_t *size) {
    int file = MUST(open(path, O_RDONLY));
    struct stat facts;
    MUST(fstat(file, &facts));
    char *data = malloc(facts.st_size + 1);
    *size = 0;
    while (*size < (size_t)facts.st_size)
        *size += MUST(read(file, data + *size, facts.st_size - *size));
    close(file);
    return data;
}
