/* The probes in rustls (CommonState of rustls/src/common_state.rs), which does no socket call
 * within: a program reads from a socket, has all of it decrypted at once, and only then goes on. */
#pragma once

#ifdef KEBPF_TLS
#define RUST_ROUNDS 48 /* slices, and chunks of them, of one call */

/* Payload: address and size stand at the same places whether it is owned or borrowed. */
struct rust_payload {
    u64 capacity;
    u64 address;
    u64 size;
};

/* OutboundChunks: of one slice if `slices` is 0, which are the next two words then. */
struct rust_chunks {
    u64 slices;
    u64 count;
    u64 start;
    u64 end;
};

struct rust_slice {
    u64 address;
    u64 size;
};

/* A session whose socket the program has closed is another one's now, at the same address. */
static inline void end_stale_session(struct tls_place *place) {
    struct tls_session *session = tls_sessions.lookup(place);
    if (!session || !session->socket)
        return;
    u64 sk = session->socket;
    struct connection *c = connections.lookup(&sk);
    if (c && c->generation == session->socket_generation && read_inode(sk))
        return;
    send_session_end(place, session);
    tls_sessions.delete(place);
}

/* take_received_plaintext(&mut self, Payload): all of it is received. */
int on_rustls_read(struct pt_regs *ctx) {
    struct tls_caller caller = name_thread();
    struct tls_place place = {FIRST_ARGUMENT(ctx), caller.process};
    struct rust_payload payload = {};
    if (read_user(&payload, sizeof(payload), (void *)SECOND_ARGUMENT(ctx)))
        return 0;
    end_stale_session(&place);
    begin_call(caller, place.session, payload.address, 0, payload.size, INGRESS);
    struct tls_call *call = tls_calls.lookup(&caller);
    struct tls_last *last = tls_last.lookup(&caller);
    if (!call)
        return 0;
    if (last) {
        call->socket = last->socket;
        call->generation = last->generation;
    }
    return end_call(ctx, caller, payload.size);
}

/* send_appdata_encrypt(&mut self, OutboundChunks, …) -> usize: how many of the bytes it took. */
int on_rustls_write(struct pt_regs *ctx) {
    struct tls_caller caller = name_thread();
    struct tls_place place = {FIRST_ARGUMENT(ctx), caller.process};
    struct rust_chunks chunks = {};
    if (read_user(&chunks, sizeof(chunks), (void *)SECOND_ARGUMENT(ctx)))
        return 0;
    end_stale_session(&place);
    if (!chunks.slices)
        return begin_call(caller, place.session, chunks.count, 0, chunks.start, EGRESS);
    begin_call(caller, place.session, 0, chunks.slices, chunks.end - chunks.start, EGRESS);
    struct tls_call *call = tls_calls.lookup(&caller);
    if (call) { /* what a BIO would have, which there is none of */
        call->bio_buffer = chunks.count;
        call->bio_count_at = chunks.start;
    }
    return 0;
}

static inline int begin_slice(struct tls_call *call) {
    struct rust_slice slice = {};
    u64 skipped = call->bio_count_at;
    if (!call->bio_buffer || read_user(&slice, sizeof(slice), (void *)call->count_at))
        return 0;
    call->bio_buffer--;
    call->count_at += sizeof(slice);
    if (skipped >= slice.size) {
        call->bio_count_at -= slice.size;
        return 1;
    }
    call->bio_count_at = 0;
    call->buffer = slice.address + skipped - call->done;
    call->slice_left = slice.size - skipped;
    return 1;
}

/* A slice, or a chunk of it.  Gives 0 at the call's end. */
static inline int send_some(struct tls_call *call, struct tls_session *session) {
    u64 left = call->size - call->done, part = call->slice_left;
    if (call->done >= call->size || call->done >= KEBPF_CALL_LIMIT)
        return 0;
    if (!part)
        return begin_slice(call);
    if (part > left)
        part = left;
    if (part > KEBPF_CHUNK)
        part = KEBPF_CHUNK;
    call->slice_left -= part;
    note_sent(call, session, part, send_sized(call, session, part, KEBPF_CHUNK));
    return 1;
}

int on_rustls_write_return(struct pt_regs *ctx) {
    struct tls_caller caller = name_thread();
    struct tls_call *call = tls_calls.lookup(&caller);
    if (!call)
        return 0;
    if (!call->count_at)
        return end_call(ctx, caller, RESULT(ctx));
    struct tls_place place = {call->session, caller.process};
    struct tls_session *session = place_session(&place, call);
    u64 moved = RESULT(ctx);
    if (session && moved && moved <= call->size) {
        call->size = moved;
        call->offset = session->moved[EGRESS];
        __sync_fetch_and_add(&session->moved[EGRESS], moved);
#pragma clang loop unroll(disable)
        for (int round = 0; round < RUST_ROUNDS; round++)
            if (!send_some(call, session))
                break; /* what is left is missing by the session's count */
    }
    tls_calls.delete(&caller);
    return 0;
}
#endif
