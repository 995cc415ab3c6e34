import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Arrays;
import java.util.Random;

/**
 * Posts random bytes over TLS from several threads and checks that they come back.
 *
 * <p>{@code TlsClient socket|engine URL REQUESTS THREADS MOST [WAIT]}: by HttpsURLConnection
 * (SSLSocket) or java.net.http (SSLEngine).  With WAIT it says "ready" and waits for a line first.
 */
public final class TlsClient {
    private static final HttpClient CLIENT =
            HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    public static void main(String[] words) throws Exception {
        String kind = words[0], url = words[1];
        int requests = Integer.parseInt(words[2]), most = Integer.parseInt(words[4]);
        Thread[] threads = new Thread[Integer.parseInt(words[3])];
        if (words.length > 5) {
            System.out.println("ready");
            System.in.read();
        }
        for (int number = 0; number < threads.length; number++) {
            long seed = number;
            threads[number] = new Thread(() -> post(kind, url, requests, new Random(seed), most));
            threads[number].start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println("{\"done\": " + requests * threads.length + "}");
    }

    private static void post(String kind, String url, int requests, Random random, int most) {
        try {
            for (int request = 0; request < requests; request++) {
                byte[] body = new byte[random.nextInt(most) + 1];
                random.nextBytes(body);
                byte[] answer = kind.equals("socket") ? bySocket(url, body) : byEngine(url, body);
                if (!Arrays.equals(body, answer)) {
                    throw new IllegalStateException("what came back is not what was sent");
                }
            }
        } catch (Exception error) {
            error.printStackTrace();
            System.exit(9);
        }
    }

    private static byte[] bySocket(String url, byte[] body) throws Exception {
        HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
        connection.setDoOutput(true);
        connection.setFixedLengthStreamingMode(body.length);
        try (OutputStream out = connection.getOutputStream()) {
            out.write(body);
        }
        try (InputStream in = connection.getInputStream()) {
            return in.readAllBytes();
        }
    }

    private static byte[] byEngine(String url, byte[] body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(url))
                .POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
        return CLIENT.send(request, HttpResponse.BodyHandlers.ofByteArray()).body();
    }
}
