import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

/** HTTP; each request makes two calls by the JDK's own HTTPS client. */
public final class Asker {
    private static final String VENDOR = System.getenv("VENDOR_URL");
    private static final String BUG = System.getenv().getOrDefault("TLS_BUG", "");
    private final HttpClient client =
            HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    public static void main(String[] arguments) throws IOException {
        InetAddress here = InetAddress.getByName("127.0.0.1");
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress(here, port), 64);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/", new Asker()::answer);
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
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(VENDOR + "/notes/" + number));
        try {
            if (!BUG.equals("drop")) {
                send(request.POST(BodyPublishers.ofString(text)).build());
            }
            String answer = send(request.GET().build());
            return number + (BUG.equals("field") ? "0 " : " ") + answer;
        } catch (IOException | InterruptedException error) {
            return "failed: " + error;
        }
    }

    private String send(HttpRequest request) throws IOException, InterruptedException {
        HttpResponse<String> response = client.send(request, BodyHandlers.ofString());
        if (response.statusCode() >= 300) {
            throw new IOException("status " + response.statusCode());
        }
        return response.body();
    }
}
