/* From a file descriptor to the socket behind it. */
#pragma once

#define S_IFMT 0170000
#define S_IFSOCK 0140000

/* The socket behind a file descriptor of the current task, or 0. */
static inline u64 find_socket(u32 descriptor) {
    u64 task = bpf_get_current_task(), files = 0, table = 0, array = 0, file = 0, inode = 0;
    u64 socket = 0, sk = 0;
    u32 size = 0;
    u16 mode = 0;
    READ(files, task, OFF_TASK_FILES);
    READ(table, files, OFF_FILES_FDT);
    READ(size, table, OFF_FDTABLE_MAX);
    if (descriptor >= size)
        return 0;
    READ(array, table, OFF_FDTABLE_FD);
    READ(file, array, 8 * (u64)descriptor);
    READ(inode, file, OFF_FILE_INODE);
    READ(mode, inode, OFF_INODE_MODE);
    if ((mode & S_IFMT) != S_IFSOCK)
        return 0;
    READ(socket, file, OFF_FILE_PRIVATE);
    READ(sk, socket, OFF_SOCKET_SK);
    return sk;
}
