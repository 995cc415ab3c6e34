package sun.security.ssl;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLException;

/**
 * What is called first by the methods of the JDK's TLS that read and write.
 *
 * <p>Each call makes the program's own call in its place, to the same method of the same object,
 * whose second question to this class is answered with "do it yourself"; and reports the
 * plaintext.  What fails in here ends the reporting and nothing else.
 */
public final class KebpfTls {
    private static final int DO_IT = Integer.MIN_VALUE;
    private static final ThreadLocal<KebpfCall> CALLS = new ThreadLocal<>();

    private static volatile boolean isOn;
    private static volatile Throwable failure;

    private KebpfTls() {}

    /** Reports from here on; every session anew. */
    public static void start(String facts) throws IOException {
        failure = null;
        KebpfSender.open();
        KebpfSession.forgetAll();
        KebpfSender.tell(KebpfSender.STARTED, facts);
        isOn = true;
    }

    public static void stop() {
        isOn = false;
        KebpfSession.forgetAll();
        KebpfSender.close();
    }

    /** What made it end by itself, or null. */
    public static Throwable failure() {
        return failure;
    }

    static void fail(Throwable cause) {
        isOn = false;
        failure = cause;
    }

    public static int read(InputStream in, Object owner, byte[] b, int off, int len)
            throws IOException {
        KebpfCall call = enter(in);
        if (call == null) {
            return DO_IT;
        }
        KebpfSession session = begin(call, owner, KebpfSession.INGRESS);
        int size = 0;
        try {
            size = in.read(b, off, len);
        } finally {
            call.pending = null;
            endRead(session, b, off, size);
        }
        return size;
    }

    private static void endRead(KebpfSession session, byte[] b, int off, int size) {
        if (session != null) {
            try {
                session.endRead(b, off, size);
            } catch (Throwable error) {
                fail(error);
            }
        }
    }

    public static boolean write(OutputStream out, Object owner, byte[] b, int off, int len)
            throws IOException {
        KebpfCall call = enter(out);
        if (call == null) {
            return false;
        }
        KebpfSession session = begin(call, owner, KebpfSession.EGRESS);
        long told = tellWrite(session, b, off, len);
        boolean isDone = false;
        try {
            out.write(b, off, len);
            isDone = true;
        } finally {
            call.pending = null;
            endWrite(session, b, off, len, told, isDone);
        }
        return true;
    }

    private static long tellWrite(KebpfSession session, byte[] b, int off, int len) {
        if (session != null && b != null && off >= 0 && len > 0 && len <= b.length - off) {
            try {
                return session.tellWrite(b, off, len);
            } catch (Throwable error) {
                fail(error);
            }
        }
        return KebpfSession.NOT_YET;
    }

    private static void endWrite(
            KebpfSession session, byte[] b, int off, int len, long told, boolean isDone) {
        if (session != null) {
            try {
                session.endWrite(b, off, len, told, isDone);
            } catch (Throwable error) {
                fail(error);
            }
        }
    }

    public static SSLEngineResult wrap(
            SSLEngine engine, ByteBuffer[] from, int off, int len, ByteBuffer to)
            throws SSLException {
        KebpfCall call = enter(engine);
        if (call == null) {
            return null;
        }
        KebpfBuffers plain = note(from, off, len);
        int start = to == null ? 0 : to.position();
        SSLEngineResult result = null;
        try {
            result = engine.wrap(from, off, len, to);
        } finally {
            call.pending = null;
        }
        endWrap(call, engine, plain, to, start, result);
        return result;
    }

    private static void endWrap(KebpfCall call, SSLEngine engine, KebpfBuffers plain, ByteBuffer to,
            int start, SSLEngineResult result) {
        try {
            if (isOn && plain != null && result.bytesProduced() > 0) {
                plain.noteRecord(to, start, result.bytesProduced());
                call.find(engine).endCall(KebpfSession.EGRESS, plain, result.bytesConsumed());
            }
        } catch (Throwable error) {
            fail(error);
        }
    }

    public static SSLEngineResult unwrap(
            SSLEngine engine, ByteBuffer from, ByteBuffer[] to, int off, int len)
            throws SSLException {
        KebpfCall call = enter(engine);
        if (call == null) {
            return null;
        }
        KebpfBuffers plain = note(to, off, len);
        noteRecord(plain, from); // now: it is decrypted where it lies
        SSLEngineResult result = null;
        try {
            result = engine.unwrap(from, to, off, len);
        } finally {
            call.pending = null;
        }
        endUnwrap(call, engine, plain, result);
        return result;
    }

    private static void endUnwrap(
            KebpfCall call, SSLEngine engine, KebpfBuffers plain, SSLEngineResult result) {
        try {
            if (isOn && plain != null && result.bytesConsumed() > 0) {
                plain.cutRecord(result.bytesConsumed());
                KebpfSession session = call.find(engine);
                session.endCall(KebpfSession.INGRESS, plain, result.bytesProduced());
                if (result.getStatus() == SSLEngineResult.Status.CLOSED) {
                    session.end(KebpfSession.INGRESS);
                }
            }
        } catch (Throwable error) {
            fail(error);
        }
    }

    private static KebpfBuffers note(ByteBuffer[] buffers, int off, int len) {
        try {
            return KebpfBuffers.note(buffers, off, len);
        } catch (Throwable error) {
            fail(error);
            return null;
        }
    }

    private static void noteRecord(KebpfBuffers plain, ByteBuffer from) {
        try {
            if (plain != null && from != null) {
                plain.noteRecord(from, from.position(), from.remaining());
            }
        } catch (Throwable error) {
            fail(error);
        }
    }

    /** This thread's state if the call is the program's own; null: do it yourself. */
    private static KebpfCall enter(Object subject) {
        if (!isOn) {
            return null;
        }
        try {
            KebpfCall call = CALLS.get();
            if (call == null) {
                call = new KebpfCall();
                CALLS.set(call);
            } else if (call.pending == subject) {
                call.pending = null;
                return null;
            }
            call.pending = subject;
            return call;
        } catch (Throwable error) {
            fail(error);
            return null;
        }
    }

    private static KebpfSession begin(KebpfCall call, Object owner, int direction) {
        try {
            KebpfSession session = call.find(owner);
            session.enter(direction);
            return session;
        } catch (Throwable error) {
            fail(error);
            return null;
        }
    }
}
