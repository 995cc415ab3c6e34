/* Whom the probes watch. */
#pragma once

#define TARGET_SLOTS 4096
#define ASK ((u64)-1) /* in a slot: only the table of targets knows */

/* Process → 1; user space adds, fork adds, exit removes, each together with the slot. */
BPF_HASH(targets, u32, u32, 16384);

/* What lets a process that is no target go at the cost of one load: by the low bits of the process
 * id, 0 where no target has them, else the last target that had or `ASK`.  Never back to 0: another
 * target may have the same bits. */
BPF_ARRAY(target_slots, u64, TARGET_SLOTS);

/* Not 0: from this moment on nothing is seen, by whatever probe.  Taking the probes away one by one
 * would leave what a request did half seen. */
BPF_ARRAY(is_over, u32, 1);

static inline int has_ended(void) {
    u32 slot = 0;
    u32 *over = is_over.lookup(&slot);
    return over && *over;
}

static inline int is_known_target(u32 process) {
    u32 slot = process & (TARGET_SLOTS - 1);
    u64 *known = target_slots.lookup(&slot);
    if (!known || !*known || has_ended())
        return 0;
    return *known == process || targets.lookup(&process) != 0;
}

/* The current task, and its process and thread: where the verifier knows the task's type, one
 * helper serves for all, and it can be handed on. */
#ifdef KEBPF_HAS_TASK_REGS
#define find_task() ((u64)bpf_get_current_task_btf())
#define read_process(task) LOAD(u32, task, OFF_TASK_TGID)
#define read_thread(task) LOAD(u32, task, OFF_TASK_PID)
#else
#define find_task() bpf_get_current_task()
#define read_process(task) (bpf_get_current_pid_tgid() >> 32)
#define read_thread(task) ((u32)bpf_get_current_pid_tgid())
#endif

static inline int is_target(void) {
    return is_known_target(bpf_get_current_pid_tgid() >> 32);
}

static inline void add_target(u32 process) {
    u32 one = 1, slot = process & (TARGET_SLOTS - 1);
    u64 *known = target_slots.lookup(&slot);
    targets.update(&process, &one);
    if (known)
        *known = process;
}

static inline void remove_target(u32 process) {
    u32 slot = process & (TARGET_SLOTS - 1);
    u64 *known = target_slots.lookup(&slot);
    if (known)
        *known = ASK;
    targets.delete(&process);
}
