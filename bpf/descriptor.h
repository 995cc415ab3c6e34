/* From a file descriptor to the socket behind it. */
#pragma once

#define S_IFMT 0170000
#define S_IFSOCK 0140000

/* The struct file of a descriptor of the current `task`, or 0. */
static inline u64 find_file(u64 task, u32 descriptor) {
#ifdef KEBPF_HAS_TASK_REGS
    u64 files = LOAD(u64, task, OFF_TASK_FILES);
    u64 table = files ? LOAD(u64, files, OFF_FILES_FDT) : 0;
    if (!table || descriptor >= LOAD(u32, table, OFF_FDTABLE_MAX))
        return 0;
    u64 array = LOAD(u64, table, OFF_FDTABLE_FD);
#else
    u64 files = PROBE(u64, task, OFF_TASK_FILES);
    u64 table = PROBE(u64, files, OFF_FILES_FDT);
    if (descriptor >= PROBE(u32, table, OFF_FDTABLE_MAX))
        return 0;
    u64 array = PROBE(u64, table, OFF_FDTABLE_FD);
#endif
    return PROBE(u64, array, 8 * (u64)descriptor);
}

/* The socket of a struct file, or 0. */
static inline u64 read_socket(u64 file) {
    u64 inode = PROBE(u64, file, OFF_FILE_INODE);
    if ((PROBE(u16, inode, OFF_INODE_MODE) & S_IFMT) != S_IFSOCK)
        return 0;
    return PROBE(u64, PROBE(u64, file, OFF_FILE_PRIVATE), OFF_SOCKET_SK);
}

/* The socket behind a file descriptor of the current task, or 0. */
static inline u64 find_socket(u32 descriptor) {
    u64 file = find_file(find_task(), descriptor);
    return file ? read_socket(file) : 0;
}
