package sun.security.ssl;

import java.nio.ByteBuffer;

/** The program's buffers of an engine's call, where each began, and the record it stands in. */
final class KebpfBuffers {
    private final ByteBuffer[] buffers;
    private final int first;
    private final int[] starts;
    private byte[] record = new byte[KebpfSender.RECORD_SIZE];
    private int recordSize;

    private KebpfBuffers(ByteBuffer[] buffers, int first, int count) {
        this.buffers = buffers;
        this.first = first;
        this.starts = new int[count];
        for (int index = 0; index < count; index++) {
            starts[index] = buffers[first + index].position();
        }
    }

    /** Null if the engine will refuse them. */
    static KebpfBuffers note(ByteBuffer[] buffers, int first, int count) {
        if (buffers == null || first < 0 || count < 0 || count > buffers.length - first) {
            return null;
        }
        for (int index = first; index < first + count; index++) {
            if (buffers[index] == null) {
                return null;
            }
        }
        return new KebpfBuffers(buffers, first, count);
    }

    /** Keeps how a TLS record begins: its header and some of its body, as it crosses the wire. */
    void noteRecord(ByteBuffer from, int start, int size) {
        recordSize = Math.min(size, record.length);
        for (int index = 0; index < recordSize; index++) {
            record[index] = from.get(start + index);
        }
    }

    void cutRecord(int size) {
        recordSize = Math.min(size, recordSize);
    }

    void putRecord(ByteBuffer to) {
        to.put((byte) recordSize).put(record, 0, record.length);
    }

    /** Copies bytes that moved, ``skip`` of them being left out at the start. */
    void put(ByteBuffer to, int skip, int size) {
        for (int index = 0; index < starts.length && size > 0; index++) {
            ByteBuffer from = buffers[first + index];
            int moved = from.position() - starts[index];
            int some = Math.min(moved - skip, size);
            if (some > 0) {
                ByteBuffer part = from.duplicate();
                part.limit(starts[index] + skip + some).position(starts[index] + skip);
                to.put(part);
                size -= some;
            }
            skip = Math.max(0, skip - moved);
        }
    }
}
