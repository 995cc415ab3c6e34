package sun.security.ssl;

/** What is kept for a thread: whose call it is about to make anew, and its last session. */
final class KebpfCall {
    Object pending;
    private KebpfSession last;

    KebpfSession find(Object owner) {
        KebpfSession session = last;
        if (session == null || !session.isOf(owner)) {
            last = session = KebpfSession.find(owner);
        }
        return session;
    }
}
