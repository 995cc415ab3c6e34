package kebpf.agent;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.instrument.ClassFileTransformer;
import java.lang.instrument.Instrumentation;
import java.lang.reflect.Method;
import java.security.ProtectionDomain;
import java.util.ArrayList;
import java.util.List;

/**
 * Reports the plaintext of a Java program's TLS to kebpf, as long as a kebpf is there.
 *
 * <p>It changes four methods of the JDK while it reports and restores them afterwards.  Whatever
 * fails leaves the program as it was.
 */
public final class Agent implements Runnable, ClassFileTransformer {
    private static final String[] HOOKS = {
        "KebpfCall", "KebpfBuffers", "KebpfSession", "KebpfSender", "KebpfTls",
    };
    private static final long PAUSE_MS = 1000;

    private static Agent agent;

    private final Instrumentation instrumentation;
    private final Class<?> hooks;
    private final Owners owners = new Owners();
    private boolean isReporting;
    private volatile boolean isChanging;
    private volatile Throwable failure;
    private int changed;

    private Agent(Instrumentation instrumentation) throws Exception {
        this.instrumentation = instrumentation;
        this.hooks = defineHooks(instrumentation);
    }

    public static void premain(String arguments, Instrumentation instrumentation) {
        agentmain(arguments, instrumentation);
    }

    public static synchronized void agentmain(String arguments, Instrumentation instrumentation) {
        try {
            if (agent == null) {
                agent = new Agent(instrumentation);
            }
            agent.begin(arguments == null ? "" : arguments);
        } catch (Throwable error) {
            agent = agent; // without reports kebpf says that nothing is read
        }
    }

    private synchronized void begin(String arguments) throws Exception {
        owners.add(arguments);
        if (owners.areGone()) {
            return;
        }
        boolean wasReporting = isReporting;
        if (!wasReporting) {
            change(true);
        }
        String facts = System.getProperty("java.version") + "\n"
                + System.getProperty("java.vm.name") + "\n" + changed;
        hooks.getMethod("start", String.class).invoke(null, facts);
        isReporting = true;
        if (!wasReporting) {
            Thread watch = new Thread(null, this, "kebpf", 64 << 10);
            watch.setDaemon(true);
            watch.setContextClassLoader(null);
            watch.start();
        }
    }

    /** Looks every second whether there is still somebody to report to. */
    @Override
    public void run() {
        try {
            while (!isOver()) {
                Thread.sleep(PAUSE_MS);
            }
        } catch (InterruptedException error) {
            end(); // nobody does that but who wants the thread to end
        }
    }

    private synchronized boolean isOver() {
        boolean hasFailed;
        try {
            hasFailed = hooks.getMethod("failure").invoke(null) != null;
        } catch (ReflectiveOperationException error) {
            hasFailed = true;
        }
        if (hasFailed || owners.areGone()) {
            end();
        }
        return !isReporting;
    }

    private synchronized void end() {
        isReporting = false;
        try {
            hooks.getMethod("stop").invoke(null);
            change(false);
        } catch (Throwable error) {
            failure = error; // the methods go on to ask, and are told to do it themselves
        }
    }

    private void change(boolean isPutting) throws Exception {
        List<Class<?>> classes = new ArrayList<>();
        for (Target target : Target.ALL) {
            try {
                Class<?> one = Class.forName(target.className.replace('/', '.'), false, null);
                if (!classes.contains(one)) {
                    classes.add(one);
                }
            } catch (ClassNotFoundException error) {
                continue; // of another version of Java
            }
        }
        changed = 0;
        failure = null;
        isChanging = isPutting;
        if (isPutting) {
            instrumentation.addTransformer(this, true);
        }
        try {
            instrumentation.retransformClasses(classes.toArray(new Class<?>[0]));
        } finally {
            isChanging = false;
            instrumentation.removeTransformer(this);
        }
    }

    @Override
    public byte[] transform(ClassLoader loader, String name, Class<?> redefined,
            ProtectionDomain domain, byte[] classFile) {
        if (!isChanging || loader != null || redefined == null || name == null) {
            return null;
        }
        byte[] now = classFile;
        try {
            for (Target target : Target.ALL) {
                byte[] next = target.className.equals(name) ? Prefix.put(target, now) : null;
                if (next != null) {
                    now = next;
                    changed++;
                }
            }
        } catch (IOException | RuntimeException error) {
            failure = error;
            return null;
        }
        return now == classFile ? null : now;
    }

    private static Class<?> defineHooks(Instrumentation instrumentation) throws Exception {
        Class<?> neighbour = Class.forName("sun.security.ssl.SSLSocketImpl", false, null);
        Object definer = Definer.make(instrumentation, neighbour);
        Class<?> last = null;
        for (String hook : HOOKS) {
            last = Definer.define(definer, "sun/security/ssl/" + hook, readClass(hook));
        }
        last.getMethod("failure").invoke(null); // it works
        return last;
    }

    private static byte[] readClass(String name) throws IOException {
        try (InputStream in = Agent.class.getResourceAsStream("/hooks/" + name + ".class")) {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            byte[] some = new byte[4096];
            for (int size = in.read(some); size > 0; size = in.read(some)) {
                bytes.write(some, 0, size);
            }
            return bytes.toByteArray();
        }
    }
}
