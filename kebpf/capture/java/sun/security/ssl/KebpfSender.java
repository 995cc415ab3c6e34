package sun.security.ssl;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Sends reports: datagrams from a loopback port to itself, which the kernel drops unread.
 *
 * <p>Nobody can receive them: a connected socket takes none but its peer's, which is itself, and
 * its port is its own.  That they are sent is what the probes see.  kebpf/reassembly/javareports.py
 * reads the same layout.
 */
final class KebpfSender {
    static final int STARTED = 1, PLAIN = 2, MARK = 3, END = 4;
    static final int CONTESTED = 1, WITH_ENDS = 2;
    static final int RECORD_SIZE = 29; // a TLS record's header and 24 bytes of its body
    static final int MOST_PAYLOAD = (16 << 10) - 80; // the probes tell of 16 KiB at once

    private static final long MAGIC = 0x6b656270664a5301L; // "kebpfJS", version 1
    private static final int HEAD_SIZE = 80;
    private static final int MOST_FAILURES = 1000;
    private static final long PATIENCE_MS = 1000;

    private static volatile KebpfSender[] senders = {};
    private static int failures; // in a row

    private final ReentrantLock lock = new ReentrantLock();
    private final ByteBuffer frame = ByteBuffer.allocateDirect(HEAD_SIZE + MOST_PAYLOAD);
    private final DatagramChannel channel;

    private KebpfSender() throws IOException {
        channel = DatagramChannel.open();
        channel.configureBlocking(false);
        channel.setOption(StandardSocketOptions.SO_RCVBUF, 1); // the kernel makes it its least
        bindToLoopback();
        channel.connect(channel.getLocalAddress());
    }

    private void bindToLoopback() throws IOException {
        byte[] v4 = {127, 0, 0, 1}, v6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
        try {
            channel.bind(new InetSocketAddress(InetAddress.getByAddress(v4), 0));
        } catch (IOException error) { // a host without IPv4
            channel.bind(new InetSocketAddress(InetAddress.getByAddress(v6), 0));
        }
    }

    static synchronized void open() throws IOException {
        close();
        // more than can run: one that has lost its processor keeps its lock
        int count = Math.max(8, Math.min(32, 2 * Runtime.getRuntime().availableProcessors()));
        KebpfSender[] made = new KebpfSender[count];
        for (int index = 0; index < count; index++) {
            made[index] = new KebpfSender();
        }
        failures = 0;
        senders = made;
    }

    static synchronized void close() {
        KebpfSender[] former = senders;
        senders = new KebpfSender[0];
        for (KebpfSender sender : former) {
            try {
                sender.channel.close();
            } catch (IOException error) {
                continue; // it is not used any more
            }
        }
    }

    static byte[] encode(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static void tell(int kind, String text) {
        byte[] payload = encode(text);
        send(0, kind, 0, 0, 0, null, null, payload, 0, payload.length);
    }

    /** The connection of a socket: local and remote end, address and port; null: unknown. */
    static byte[] encodeEnds(Socket socket) {
        InetAddress local = socket.getLocalAddress(), remote = socket.getInetAddress();
        if (local == null || remote == null) {
            return null;
        }
        byte[] from = local.getAddress(), to = remote.getAddress();
        ByteBuffer ends = ByteBuffer.allocate(from.length + to.length + 4);
        ends.put(from).putShort((short) socket.getLocalPort());
        return ends.put(to).putShort((short) socket.getPort()).array();
    }

    /**
     * Sends one report of bytes of ``b``, or without it those of ``plain`` from ``off`` on.
     * Each says by itself on which connection it is, if ``ends`` are known, or in which record.
     *
     * <p>What cannot be sent is missing from the session's offsets, and so known to be.
     */
    static void send(long session, int kind, int direction, long offset, int flags,
            KebpfBuffers plain, byte[] ends, byte[] b, int off, int size) {
        KebpfSender sender = choose();
        if (sender == null) {
            return;
        }
        try {
            ByteBuffer frame = sender.frame;
            frame.clear();
            frame.putLong(MAGIC).put((byte) kind).put((byte) direction);
            frame.put((byte) (ends == null ? flags : flags | WITH_ENDS));
            frame.put((byte) 0).putInt(size).putLong(session).putLong(offset);
            if (plain != null) {
                plain.putRecord(frame);
            } else if (ends != null) {
                frame.put((byte) ends.length).put(ends);
            }
            while (frame.position() < HEAD_SIZE) {
                frame.put((byte) 0);
            }
            if (b != null) {
                frame.put(b, off, size);
            } else if (plain != null) {
                plain.put(frame, off, size);
            }
            frame.flip();
            sender.write();
        } finally {
            sender.lock.unlock();
        }
    }

    /** One that no other thread uses now, locked; null if there is none for too long. */
    private static KebpfSender choose() {
        KebpfSender[] all = senders;
        if (all.length == 0) {
            return null;
        }
        int first = (int) (Thread.currentThread().getId() & 0x7fffffff) % all.length;
        for (int index = 0; index < all.length; index++) {
            KebpfSender sender = all[(first + index) % all.length];
            if (sender.lock.tryLock()) {
                return sender;
            }
        }
        boolean wasInterrupted = Thread.interrupted();
        try {
            return all[first].lock.tryLock(PATIENCE_MS, TimeUnit.MILLISECONDS) ? all[first] : null;
        } catch (InterruptedException error) {
            wasInterrupted = true;
            return null;
        } finally {
            if (wasInterrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private void write() {
        boolean wasInterrupted = Thread.interrupted(); // or Java 8 closes the channel
        try {
            channel.write(frame);
            failures = 0;
        } catch (IOException error) {
            if (++failures > MOST_FAILURES) {
                KebpfTls.fail(error);
            }
        } finally {
            if (wasInterrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
