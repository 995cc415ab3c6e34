package conformance;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Collection;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** Prints what a program sees as JSON lines that are the same each time. */
final class Say {
    private static final int LONG = 200;
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    /** Gives a value or fails. */
    interface Call {
        Object make() throws Exception;
    }

    private Say() {}

    static void say(String step, Object... values) {
        OUT.println("{" + quote(step) + ":" + (values.length == 1 ? json(values[0]) : json(values)) + "}");
    }

    /** The last line of the form `changed`. */
    static void sayChanged(Exception error, String code, boolean isUsable) {
        String name = quote(error.getClass().getSimpleName());
        OUT.println("{\"changed\":" + name + ",\"code\":" + quote(code) + ",\"usable\":" + isUsable + "}");
    }

    /** What a call gives, or the error it fails with. */
    static Object outcome(Call call) {
        try {
            return call.make();
        } catch (Exception error) {
            return error;
        }
    }

    static String json(Object value) {
        if (value == null) {
            return "null";
        }
        if (value instanceof Object[] array) {
            return json(Arrays.asList(array));
        }
        if (value instanceof Collection<?> items) {
            return items.stream().map(Say::json).collect(Collectors.joining(",", "[", "]"));
        }
        if (value instanceof Map<?, ?> map) {
            Map<String, String> sorted = new TreeMap<>();
            map.forEach((key, one) -> sorted.put(String.valueOf(key), json(one)));
            return sorted.entrySet().stream()
                    .map(one -> quote(one.getKey()) + ":" + one.getValue())
                    .collect(Collectors.joining(",", "{", "}"));
        }
        return scalar(value);
    }

    private static String scalar(Object value) {
        if (value instanceof Integer || value instanceof Long || value instanceof Boolean) {
            return value.toString();
        }
        if (value instanceof byte[] bytes) {
            return quote(shorten(HexFormat.of().formatHex(bytes)));
        }
        if (value instanceof String text) {
            return quote(shorten(text));
        }
        if (value instanceof Exception error) {
            return quote(error.getClass().getSimpleName() + ": " + error.getMessage());
        }
        return quote(value.getClass().getSimpleName() + " " + shorten(value.toString()));
    }

    private static String shorten(String text) {
        if (text.length() <= LONG) {
            return text;
        }
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
            return "<" + text.length() + " characters, sha256 " + HexFormat.of().formatHex(digest) + ">";
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }

    private static String quote(String text) {
        StringBuilder out = new StringBuilder("\"");
        text.chars().forEach(one -> {
            if (one == '"' || one == '\\') {
                out.append('\\').append((char) one);
            } else if (one < ' ') {
                out.append(String.format("\\u%04x", one));
            } else {
                out.append((char) one);
            }
        });
        return out.append('"').toString();
    }
}
