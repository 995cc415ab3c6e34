/* Which asyncio task of a Python target moves the bytes, as the interpreter itself keeps it.
 *
 * A probe (uprobe) on the function that makes a task gives each one a number and its parent.  The
 * task that runs is read when bytes are sent, from the dictionary in which the interpreter keeps
 * it by event loop: no probe is needed where a step begins or ends.  What is read counts only if
 * it is the address of a task that was seen made by this very thread: whatever else is found
 * there, in a version laid out otherwise, says nothing. */
#pragma once

#ifdef KEBPF_TASKS
#define TASK_LOOPS 5 /* entries of the smallest dictionary */

/* Where a process keeps its tasks: written by user space, but for `type`. */
struct task_place {
    u64 running; /* the dictionary: event loop → task that runs; or 0 */
    u64 entries; /* where its entries begin, from the start of its keys */
    u64 type;    /* of the first task seen made, for user space to find the rest by */
};

struct task_key {
    u64 address;
    u64 process;
};

struct python_task {
    u64 number; /* when it was made, CLOCK_MONOTONIC ns: the address may be another's later */
    u64 thread;
};

struct dictionary_entry {
    u64 hash, key, value;
};

/* Process → where its tasks are; user space adds and removes, an exec and an exit remove. */
BPF_HASH(task_places, u32, struct task_place, 1024);
BPF_ARRAY(has_task_places, u32, 1); /* whether there ever was one */
/* Those made since the recording began; the kernel forgets what was not used for longest. */
BPF_TABLE("lru_hash", struct task_key, struct python_task, python_tasks, 32768);

/* The number of the task that the current thread runs, or 0. */
static inline u64 read_running_task(struct task_place *place, u64 thread) {
    u64 used = 0, keys = 0;
    struct dictionary_entry entries[TASK_LOOPS];
    if (!place->running || read_user(&used, sizeof(used), (void *)(place->running + 16)) || !used)
        return 0;
    if (read_user(&keys, sizeof(keys), (void *)(place->running + 32)) ||
        read_user(entries, sizeof(entries), (void *)(keys + place->entries)))
        return 0;
#pragma clang loop unroll(full)
    for (int i = 0; i < TASK_LOOPS; i++) {
        struct task_key key = {entries[i].value, thread >> 32};
        struct python_task *task = key.address ? python_tasks.lookup(&key) : 0;
        if (task && task->thread == thread)
            return task->number;
    }
    return 0;
}

static inline u64 find_running_task(u64 thread) {
    u32 slot = 0, process = thread >> 32;
    u32 *has_any = has_task_places.lookup(&slot);
    if (!has_any || !*has_any)
        return 0;
    struct task_place *place = task_places.lookup(&process);
    return place ? read_running_task(place, thread) : 0;
}

static inline void forget_tasks(u32 process) {
    task_places.delete(&process);
}

/* At the beginning of the function that fills in a new task: its first argument. */
int on_task_made(struct pt_regs *ctx) {
    u64 thread = bpf_get_current_pid_tgid(), self = FIRST_ARGUMENT(ctx);
    u32 process = thread >> 32;
    struct task_place *place = task_places.lookup(&process);
    if (!place)
        return 0;
    if (!place->type)
        read_user(&place->type, sizeof(place->type), (void *)(self + 8));
    struct kebpf_task record = {};
    record.parent = read_running_task(place, thread);
    fill_head(&record.head, KEBPF_TASK, 0, 0);
    record.task = record.head.time_ns;
    struct task_key key = {self, process};
    struct python_task task = {record.task, thread};
    if (python_tasks.update(&key, &task)) /* never an earlier task's number */
        python_tasks.delete(&key);
    if (record.parent)
        emit(&record, sizeof(record));
    return 0;
}
#else
#define find_running_task(thread) 0
#define forget_tasks(process)
#endif
