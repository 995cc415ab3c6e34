package sun.security.ssl;

import java.lang.ref.ReferenceQueue;
import java.lang.ref.WeakReference;
import java.net.Socket;

/** One TLS socket or engine of the program, as it is reported: a number and two streams. */
final class KebpfSession extends WeakReference<Object> {
    static final int INGRESS = 0, EGRESS = 1;
    static final long NOT_YET = -1;

    private static final int MOST_MARKS = 16; // records reported for how they begin alone
    private static final ReferenceQueue<Object> ENDED = new ReferenceQueue<>();

    private static KebpfSession[] table = new KebpfSession[64];
    private static int known;
    private static long lastId;
    private static volatile int epoch;

    private final long id;
    private final int hash;
    private final int born;
    private KebpfSession next;
    private final long[] offsets = new long[2];
    private final int[] callers = new int[2];
    private final boolean[] isMixed = new boolean[2];
    private final boolean[] hasEnded = new boolean[2];
    private int marks;
    private boolean isBound;
    private byte[] ends;
    private volatile boolean isOpen; // a call was through: the handshake is over

    private KebpfSession(Object owner, int hash) {
        super(owner, ENDED);
        this.id = ++lastId;
        this.hash = hash;
        this.born = epoch;
    }

    static synchronized KebpfSession find(Object owner) {
        for (Object one = ENDED.poll(); one != null; one = ENDED.poll()) {
            remove((KebpfSession) one);
        }
        int hash = System.identityHashCode(owner);
        for (KebpfSession one = table[hash & table.length - 1]; one != null; one = one.next) {
            if (one.get() == owner) {
                return one;
            }
        }
        if (known >= table.length) {
            grow();
        }
        known++;
        return insert(new KebpfSession(owner, hash));
    }

    /** Sessions get new numbers, and begin anew. */
    static synchronized void forgetAll() {
        epoch++;
        known = 0;
        table = new KebpfSession[64];
    }

    private static KebpfSession insert(KebpfSession session) {
        int place = session.hash & table.length - 1;
        session.next = table[place];
        table[place] = session;
        return session;
    }

    private static void grow() {
        KebpfSession[] before = table;
        table = new KebpfSession[2 * before.length];
        for (KebpfSession one : before) {
            while (one != null) {
                KebpfSession following = one.next;
                insert(one);
                one = following;
            }
        }
    }

    private static void remove(KebpfSession ended) {
        int place = ended.hash & table.length - 1;
        KebpfSession before = null;
        for (KebpfSession one = table[place]; one != null; before = one, one = one.next) {
            if (one == ended) {
                if (before == null) {
                    table[place] = one.next;
                } else {
                    before.next = one.next;
                }
                known--;
                return;
            }
        }
    }

    boolean isOf(Object owner) {
        return get() == owner && born == epoch;
    }

    /** A thread begins to read or write; several at once leave the order of the bytes unknown. */
    synchronized void enter(int direction) {
        isMixed[direction] |= callers[direction]++ > 0;
    }

    private synchronized void leave(int direction) {
        if (--callers[direction] == 0) {
            isMixed[direction] = false;
        }
    }

    void endRead(byte[] b, int off, int size) {
        if (size > 0) {
            isOpen = true;
            report(INGRESS, b, off, null, size);
        } else if (size < 0) {
            end(INGRESS);
        }
        leave(INGRESS);
    }

    /**
     * Reports before the bytes are on their way, so that it is before the answer to them; not the
     * first ones, whose call shakes hands first and may be on no connection yet.
     */
    long tellWrite(byte[] b, int off, int len) {
        return isOpen ? report(EGRESS, b, off, null, len) : NOT_YET;
    }

    void endWrite(byte[] b, int off, int len, long told, boolean isDone) {
        if (isDone) {
            isOpen = true;
            if (told == NOT_YET && len > 0) {
                report(EGRESS, b, off, null, len);
            }
        }
        leave(EGRESS);
    }

    /** An engine's call is over; of records without plaintext only the first are of interest. */
    void endCall(int direction, KebpfBuffers plain, int size) {
        if (size > 0) {
            isOpen = true;
            report(direction, null, 0, plain, size);
        } else if (marks < MOST_MARKS) {
            marks++;
            long offset = advance(direction, 0);
            KebpfSender.send(id, KebpfSender.MARK, direction, offset, 0, plain, null, null, 0, 0);
        }
    }

    void end(int direction) {
        if (!hasEnded[direction]) {
            hasEnded[direction] = true;
            long offset = advance(direction, 0);
            KebpfSender.send(id, KebpfSender.END, direction, offset, 0, null, ends, null, 0, 0);
        }
    }

    private long report(int direction, byte[] b, int off, KebpfBuffers plain, int size) {
        introduce();
        boolean isContested = isMixed[direction];
        long offset = advance(direction, size);
        for (int done = 0; done < size; done += KebpfSender.MOST_PAYLOAD) {
            int some = Math.min(size - done, KebpfSender.MOST_PAYLOAD);
            int flags = isContested ? KebpfSender.CONTESTED : 0;
            int from = b == null ? done : off + done;
            KebpfSender.send(id, KebpfSender.PLAIN, direction, offset + done, flags, plain, ends, b,
                    from, some);
        }
        return offset;
    }

    private synchronized long advance(int direction, int size) {
        long offset = offsets[direction];
        offsets[direction] += size;
        return offset;
    }

    private void introduce() {
        if (!isBound) {
            isBound = true;
            Object owner = get();
            if (owner instanceof Socket) {
                ends = KebpfSender.encodeEnds((Socket) owner);
            }
        }
    }
}
