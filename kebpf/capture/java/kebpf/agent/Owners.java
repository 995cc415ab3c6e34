package kebpf.agent;

import java.io.File;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.channels.FileLock;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Set;

/** The processes of kebpf that reports are for: none is sent when the last of them is gone. */
final class Owners {
    private final Set<String> processes = new HashSet<>(); // "PID:START" as in /proc/PID/stat
    private final List<RandomAccessFile> files = new ArrayList<>(); // which kebpf keeps locked

    /** Takes ``pid=PID:START`` or ``lock=FILE``. */
    void add(String text) throws IOException {
        if (text.startsWith("pid=")) {
            processes.add(text.substring(4));
        } else if (text.startsWith("lock=")) {
            files.add(new RandomAccessFile(text.substring(5), "rw"));
        } else {
            throw new IOException("kebpf's agent is given pid=… or lock=…, not " + text);
        }
    }

    boolean areGone() {
        for (Iterator<String> each = processes.iterator(); each.hasNext(); ) {
            if (!isThere(each.next())) {
                each.remove();
            }
        }
        for (Iterator<RandomAccessFile> each = files.iterator(); each.hasNext(); ) {
            RandomAccessFile file = each.next();
            if (!isLocked(file)) {
                each.remove();
            }
        }
        return processes.isEmpty() && files.isEmpty();
    }

    private static boolean isThere(String process) {
        int colon = process.indexOf(':');
        File stat = new File("/proc/" + process.substring(0, colon) + "/stat");
        try {
            String text = new String(Files.readAllBytes(stat.toPath()), StandardCharsets.ISO_8859_1);
            String[] fields = text.substring(text.lastIndexOf(')') + 2).split(" ");
            return fields[19].equals(process.substring(colon + 1)) && !fields[0].equals("Z");
        } catch (IOException | RuntimeException error) {
            return false;
        }
    }

    private static boolean isLocked(RandomAccessFile file) {
        try {
            FileLock lock = file.getChannel().tryLock();
            if (lock == null) {
                return true;
            }
            file.close();
        } catch (IOException error) {
            return false;
        }
        return false;
    }
}
