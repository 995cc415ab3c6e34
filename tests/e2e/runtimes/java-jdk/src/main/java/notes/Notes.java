package notes;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;

/** The notes service on the JDK's own HTTP server with a pool of threads. */
public final class Notes {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int THREADS = 8;

    private final Store store;
    private final Path files = Path.of(System.getenv("FILES_DIR"));
    private final boolean shouts = "title".equals(System.getenv("NOTES_BUG"));

    private Notes(Store store) {
        this.store = store;
    }

    public static void main(String[] arguments) throws Exception {
        Store store = new Store(System.getenv("DATABASE_URL"), System.getenv("REDIS_URL"));
        Notes notes = new Notes(store);
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 128);
        server.setExecutor(Executors.newFixedThreadPool(THREADS));
        server.createContext("/", notes::handle);
        server.start();
        System.out.println("listening on port " + port);
    }

    private void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            try {
                route(exchange);
            } catch (SQLException | RuntimeException error) {
                error.printStackTrace();
                send(exchange, 500, Map.of("error", "internal"));
            }
        }
    }

    private void route(HttpExchange exchange) throws IOException, SQLException {
        String method = exchange.getRequestMethod();
        String path = exchange.getRequestURI().getPath();
        switch (method + " " + path) {
            case "GET /health" -> send(exchange, 200, Map.of("status", "ok"));
            case "POST /notes" -> create(exchange);
            case "GET /notes" -> list(exchange, queryOf(exchange));
            case "POST /echo" -> echo(exchange);
            case "GET /report" -> report(exchange, Integer.parseInt(queryOf(exchange).get("rows")));
            case "GET /files/logo" -> sendFile(exchange);
            default -> {
                if (path.startsWith("/notes/") && method.equals("GET")) {
                    read(exchange, Long.parseLong(path.substring("/notes/".length())));
                } else if (path.startsWith("/notes/") && method.equals("DELETE")) {
                    delete(exchange, Long.parseLong(path.substring("/notes/".length())));
                } else {
                    send(exchange, 404, Map.of("error", "no such page"));
                }
            }
        }
    }

    private void create(HttpExchange exchange) throws IOException, SQLException {
        JsonNode given = JSON.readTree(exchange.getRequestBody());
        if (given.path("title").asText("").isEmpty()) {
            send(exchange, 422, Map.of("error", "title is required"));
            return;
        }
        String title = given.get("title").asText();
        Note note = store.create(given.get("author").asText(), title, given.get("body").asText());
        String written = JSON.writeValueAsString(show(note));
        store.remember(note, written);
        exchange.getResponseHeaders().set("Location", "/notes/" + note.id());
        send(exchange, 201, show(note));
    }

    private void read(HttpExchange exchange, long id) throws IOException, SQLException {
        String known = store.recall(id);
        if (known != null) {
            exchange.getResponseHeaders().set("X-Cache", "hit");
            sendBytes(exchange, 200, "application/json", known.getBytes(StandardCharsets.UTF_8));
            return;
        }
        Note note = store.find(id);
        if (note == null) {
            send(exchange, 404, Map.of("error", "no such note"));
            return;
        }
        store.cache(note, JSON.writeValueAsString(show(note)));
        exchange.getResponseHeaders().set("X-Cache", "miss");
        send(exchange, 200, show(note));
    }

    private void list(HttpExchange exchange, Map<String, String> query)
            throws IOException, SQLException {
        List<Note> found = store.list(query.get("author"), Integer.parseInt(query.get("limit")));
        send(exchange, 200, found.stream().map(this::show).toList());
    }

    private void delete(HttpExchange exchange, long id) throws IOException, SQLException {
        if (store.delete(id)) {
            exchange.sendResponseHeaders(204, -1);
        } else {
            send(exchange, 404, Map.of("error", "no such note"));
        }
    }

    private void echo(HttpExchange exchange) throws IOException {
        byte[] body = exchange.getRequestBody().readAllBytes();
        sendBytes(exchange, 200, exchange.getRequestHeaders().getFirst("Content-Type"), body);
    }

    private void report(HttpExchange exchange, int rows) throws IOException, SQLException {
        List<Integer> numbers = store.count(rows);
        exchange.getResponseHeaders().set("Content-Type", "text/plain; charset=utf-8");
        exchange.sendResponseHeaders(200, 0); // 0: of unknown length, so chunked
        try (OutputStream out = exchange.getResponseBody()) {
            for (int number : numbers) {
                out.write(("row " + number + "\n").getBytes(StandardCharsets.UTF_8));
            }
        }
    }

    private void sendFile(HttpExchange exchange) throws IOException {
        Path logo = files.resolve("logo");
        exchange.getResponseHeaders().set("Content-Type", "application/octet-stream");
        exchange.sendResponseHeaders(200, Files.size(logo));
        try (OutputStream out = exchange.getResponseBody()) {
            Files.copy(logo, out);
        }
    }

    private Map<String, Object> show(Note note) {
        Map<String, Object> shown = new LinkedHashMap<>();
        shown.put("id", note.id());
        shown.put("author", note.author());
        shown.put("title", shouts ? note.title().toUpperCase() : note.title());
        shown.put("body", note.body());
        shown.put("created_at", note.createdAt());
        return shown;
    }

    private static void send(HttpExchange exchange, int status, Object body) throws IOException {
        sendBytes(exchange, status, "application/json", JSON.writeValueAsBytes(body));
    }

    private static void sendBytes(HttpExchange exchange, int status, String type, byte[] body)
            throws IOException {
        exchange.getResponseHeaders().set("Content-Type", type);
        exchange.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
        exchange.getResponseBody().write(body);
    }

    private static Map<String, String> queryOf(HttpExchange exchange) {
        Map<String, String> values = new LinkedHashMap<>();
        for (String pair : exchange.getRequestURI().getRawQuery().split("&")) {
            String[] parts = pair.split("=", 2);
            values.put(parts[0], URLDecoder.decode(parts[1], StandardCharsets.UTF_8));
        }
        return values;
    }
}
