package conformance;

/** Runs the program of a row: Main ROW FORM. */
public final class Main {
    private Main() {}

    public static void main(String[] words) throws Exception {
        switch (words[0]) {
            case "pgjdbc" -> new Pgjdbc(words[1]).run();
            case "lettuce" -> new LettuceProgram(words[1]).run();
            case "jedis" -> new JedisProgram(words[1]).run();
            default -> throw new IllegalArgumentException(words[0]);
        }
        System.exit(0);
    }
}
