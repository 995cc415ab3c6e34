package kebpf.agent;

/** A method of the JDK's TLS before which a call is put. */
final class Target {
    /** What the call gives back: whether all is done, a count of bytes, or an engine's result. */
    static final int DONE = 0, COUNT = 1, RESULT = 2;

    private static final String SOCKET = "Lsun/security/ssl/SSLSocketImpl;";
    private static final String BUFFER = "Ljava/nio/ByteBuffer;";
    private static final String ENGINE_RESULT = ")Ljavax/net/ssl/SSLEngineResult;";
    private static final byte[] THREE = {0x2b, 0x1c, 0x1d}; // aload_1, iload_2, iload_3
    private static final byte[] WRAP = {0x2b, 0x1c, 0x1d, 0x19, 4}; // …, aload 4
    private static final byte[] UNWRAP = {0x2b, 0x2c, 0x1d, 0x15, 4}; // aload_1, aload_2, …, iload 4

    static final Target[] ALL = {
        read("SSLSocketImpl$AppInputStream"),
        write("SSLSocketImpl$AppOutputStream"),
        read("AppInputStream"), // Java 8 before update 251
        write("AppOutputStream"),
        engine("wrap", "[" + BUFFER + "II" + BUFFER, WRAP),
        engine("unwrap", BUFFER + "[" + BUFFER + "II", UNWRAP),
    };

    final String className;
    final String method;
    final String type;
    final String hook;
    final String hookType;
    final String ownerType; // of the field that says whose stream it is; null: it is itself
    final byte[] arguments;
    final int result;
    final int stack;

    private Target(String className, String method, String type, String hook, String hookType,
            String ownerType, byte[] arguments, int result) {
        this.className = "sun/security/ssl/" + className;
        this.method = method;
        this.type = type;
        this.hook = hook;
        this.hookType = hookType;
        this.ownerType = ownerType;
        this.arguments = arguments;
        this.result = result;
        this.stack = 5;
    }

    private static Target read(String name) {
        return new Target(name, "read", "([BII)I", "read",
                "(Ljava/io/InputStream;Ljava/lang/Object;[BII)I", SOCKET, THREE, COUNT);
    }

    private static Target write(String name) {
        return new Target(name, "write", "([BII)V", "write",
                "(Ljava/io/OutputStream;Ljava/lang/Object;[BII)Z", SOCKET, THREE, DONE);
    }

    private static Target engine(String name, String arguments, byte[] loads) {
        return new Target("SSLEngineImpl", name, "(" + arguments + ENGINE_RESULT, name,
                "(Ljavax/net/ssl/SSLEngine;" + arguments + ENGINE_RESULT, null, loads, RESULT);
    }
}
