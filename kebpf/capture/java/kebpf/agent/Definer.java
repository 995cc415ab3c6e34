package kebpf.agent;

import java.lang.instrument.Instrumentation;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.security.ProtectionDomain;
import java.util.Collections;
import java.util.Map;
import java.util.Set;

/**
 * Defines classes beside one of the JDK's own, in its package and module.
 *
 * <p>Not by the boot class path: a JVM whose boot class path is appended to prints a warning to
 * standard output and forgoes some of its shared archive.  By reflection: Java 8 has no modules.
 */
final class Definer {
    private static final String PACKAGE = "sun.security.ssl";

    private Definer() {}

    /** A `MethodHandles.Lookup` in the package; before Java 9 `sun.misc.Unsafe`. */
    static Object make(Instrumentation instrumentation, Class<?> neighbour) throws Exception {
        try {
            openPackage(instrumentation, neighbour);
        } catch (NoSuchMethodException error) {
            Field unsafe = Class.forName("sun.misc.Unsafe").getDeclaredField("theUnsafe");
            unsafe.setAccessible(true);
            return unsafe.get(null);
        }
        Method within = MethodHandles.class.getMethod(
                "privateLookupIn", Class.class, MethodHandles.Lookup.class);
        return within.invoke(null, neighbour, MethodHandles.lookup());
    }

    private static void openPackage(Instrumentation instrumentation, Class<?> neighbour)
            throws Exception {
        Method moduleOf = Class.class.getMethod("getModule");
        Class<?> module = moduleOf.getReturnType();
        Set<?> ours = Collections.singleton(moduleOf.invoke(Definer.class));
        Map<String, Set<?>> opened = Collections.<String, Set<?>>singletonMap(PACKAGE, ours);
        Method redefine = Instrumentation.class.getMethod("redefineModule", module, Set.class,
                Map.class, Map.class, Set.class, Map.class);
        redefine.invoke(instrumentation, moduleOf.invoke(neighbour), Collections.emptySet(),
                opened, opened, Collections.emptySet(), Collections.emptyMap());
    }

    static Class<?> define(Object definer, String name, byte[] classFile) throws Exception {
        try {
            if (definer instanceof MethodHandles.Lookup) {
                Method define = MethodHandles.Lookup.class.getMethod("defineClass", byte[].class);
                return (Class<?>) define.invoke(definer, (Object) classFile);
            }
            Method define = definer.getClass().getMethod("defineClass", String.class, byte[].class,
                    int.class, int.class, ClassLoader.class, ProtectionDomain.class);
            return (Class<?>) define.invoke(
                    definer, name, classFile, 0, classFile.length, null, null);
        } catch (InvocationTargetException error) {
            if (error.getCause() instanceof LinkageError) { // it is there already
                return Class.forName(name.replace('/', '.'), true, null);
            }
            throw error;
        }
    }
}
