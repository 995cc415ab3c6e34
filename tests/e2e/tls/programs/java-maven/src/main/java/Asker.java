import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisURI;
import io.lettuce.core.SslOptions;
import io.lettuce.core.ClientOptions;
import io.lettuce.core.api.sync.RedisCommands;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.concurrent.Executors;

/** HTTP; each request makes two calls by pgjdbc (SSLSocket) or by Lettuce (Netty, SSLEngine). */
public final class Asker {
    private static final String BUG = System.getenv().getOrDefault("TLS_BUG", "");

    private interface Caller {
        void keep(long number, String note) throws Exception;

        String recall(long number) throws Exception;
    }

    private final Caller caller;

    private Asker(Caller caller) {
        this.caller = caller;
    }

    public static void main(String[] arguments) throws IOException {
        Caller caller = arguments[0].equals("pgjdbc") ? new Postgres() : new Redis();
        InetAddress here = InetAddress.getByName("127.0.0.1");
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress(here, port), 64);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/", new Asker(caller)::answer);
        server.start();
    }

    private void answer(HttpExchange exchange) throws IOException {
        byte[] note = exchange.getRequestBody().readAllBytes();
        String path = exchange.getRequestURI().getPath();
        boolean isHealth = exchange.getRequestMethod().equals("GET");
        String text = isHealth ? "fine" : ask(path.substring(path.lastIndexOf('/') + 1), note);
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "text/plain");
        exchange.sendResponseHeaders(text.startsWith("failed") ? 502 : 200, body.length);
        try (OutputStream out = exchange.getResponseBody()) {
            out.write(body);
        }
    }

    private String ask(String number, byte[] note) {
        String text = new String(note, StandardCharsets.UTF_8) + (BUG.equals("argument") ? "!" : "");
        try {
            if (!BUG.equals("drop")) {
                caller.keep(Long.parseLong(number), text);
            }
            String answer = caller.recall(Long.parseLong(number));
            return number + (BUG.equals("field") ? "0 " : " ") + answer;
        } catch (Exception error) {
            return "failed: " + error;
        }
    }

    /** A connection for each thread. */
    private static final class Postgres implements Caller {
        private final ThreadLocal<Connection> connections = ThreadLocal.withInitial(this::connect);

        private Connection connect() {
            String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":"
                    + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE")
                    + "?sslmode=verify-full&prepareThreshold=0&sslrootcert="
                    + System.getenv("CA_FILE");
            try {
                return DriverManager.getConnection(
                        url, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
            } catch (SQLException error) {
                throw new IllegalStateException(error);
            }
        }

        @Override
        public void keep(long number, String note) throws SQLException {
            String insert = "INSERT INTO notes (number, text) VALUES (?, ?)";
            try (PreparedStatement statement = connections.get().prepareStatement(insert)) {
                statement.setLong(1, number);
                statement.setString(2, note);
                statement.executeUpdate();
            }
        }

        @Override
        public String recall(long number) throws SQLException {
            try (PreparedStatement statement =
                    connections.get().prepareStatement("SELECT recall(?)")) {
                statement.setLong(1, number);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    return rows.getString(1);
                }
            }
        }
    }

    /** One connection for all. */
    private static final class Redis implements Caller {
        private final RedisCommands<String, String> commands;

        Redis() {
            RedisClient client = RedisClient.create(RedisURI.create(System.getenv("REDIS_URL")));
            SslOptions trust = SslOptions.builder().jdkSslProvider()
                    .trustManager(new File(System.getenv("CA_FILE"))).build();
            client.setOptions(ClientOptions.builder().sslOptions(trust).build());
            commands = client.connect().sync();
        }

        @Override
        public void keep(long number, String note) {
            commands.set("note:" + number, note);
        }

        @Override
        public String recall(long number) {
            return commands.get("note:" + number);
        }
    }
}
