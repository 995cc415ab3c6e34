/* Targets by control group: processes that are started or moved into one, and groups made below.
 *
 * Who is a target stays a question of the process alone (`targets`), so that no call costs more.
 * Without groups to watch nothing of this is compiled. */
#pragma once

#ifdef KEBPF_GROUPS

#define GROUP_PATH_SIZE 504

/* Ids are unique within a hierarchy (of version 1 there may be many, version 2 is number 0). */
struct group {
    u64 id;
    u32 hierarchy;
    u32 reserved;
};

struct group_path {
    u64 hierarchy;
    char path[GROUP_PATH_SIZE];
};

BPF_HASH(groups, struct group, u32, 16384);        /* watched → 1; mkdir adds, rmdir removes */
BPF_HASH(group_paths, struct group_path, u32, 64); /* watched again when made again → 1 */
BPF_PERCPU_ARRAY(group_scratch, struct group_path, 1);
BPF_ARRAY(recorder, u32, 1); /* kebpf's own process, which is never watched; user space writes it */

static inline int is_recorder(u32 process) {
    u32 slot = 0;
    u32 *own = recorder.lookup(&slot);
    return own && *own == process;
}

static inline void read_group(struct group *group, u64 cgroup) {
    u64 node = 0, root = 0;
    READ(node, cgroup, OFF_CGROUP_NODE);
    READ(group->id, node, OFF_NODE_ID);
    READ(root, cgroup, OFF_CGROUP_ROOT);
    READ(group->hierarchy, root, OFF_ROOT_HIERARCHY);
}

/* A fork can put the child elsewhere than its parent (CLONE_INTO_CGROUP, version 2 only). */
static inline int is_started_in_group(u64 child, u32 parent) {
    struct group group = {};
    u64 set = 0, cgroup = 0;
    if (is_recorder(parent))
        return 0;
    READ(set, child, OFF_TASK_GROUPS);
    READ(cgroup, set, OFF_GROUPS_DEFAULT);
    read_group(&group, cgroup);
    return groups.lookup(&group) != 0;
}

static inline void send_process(u32 process, u32 child, u32 change);

int on_cgroup_attach_task(struct bpf_raw_tracepoint_args *ctx) {
    struct group group = {};
    u32 process = 0;
    read_group(&group, ctx->args[0]);
    if (!groups.lookup(&group))
        return 0;
    READ(process, ctx->args[2], OFF_TASK_TGID);
    if (is_recorder(process) || is_known_target(process))
        return 0;
    send_process(bpf_get_current_pid_tgid() >> 32, process, KEBPF_JOIN); /* before its bytes */
    add_target(process);
    tell_news(process);
    return 0;
}

static inline int is_awaited(struct group *group, u64 path) {
    u32 slot = 0;
    struct group_path *key = group_scratch.lookup(&slot);
    if (!key)
        return 0;
    __builtin_memset(key, 0, sizeof(*key));
    key->hierarchy = group->hierarchy;
    bpf_probe_read_kernel_str(key->path, sizeof(key->path), (void *)path);
    return group_paths.lookup(key) != 0;
}

int on_cgroup_mkdir(struct bpf_raw_tracepoint_args *ctx) {
    struct group group = {}, above = {};
    u64 parent = 0, cgroup = 0;
    u32 one = 1;
    read_group(&group, ctx->args[0]);
    READ(parent, ctx->args[0], OFF_CGROUP_PARENT);
    READ(cgroup, parent, OFF_CSS_CGROUP);
    read_group(&above, cgroup);
    if (groups.lookup(&above) || is_awaited(&group, ctx->args[1]))
        groups.update(&group, &one);
    return 0;
}

int on_cgroup_rmdir(struct bpf_raw_tracepoint_args *ctx) {
    struct group group = {};
    read_group(&group, ctx->args[0]);
    groups.delete(&group);
    return 0;
}

#else

static inline int is_started_in_group(u64 child, u32 parent) {
    return 0;
}

#endif
