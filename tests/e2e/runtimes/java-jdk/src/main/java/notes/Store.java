package notes;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.api.StatefulRedisConnection;
import java.net.URI;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;

/** Notes in PostgreSQL (a HikariCP pool of pgjdbc) and what is cached of them in Redis (Lettuce). */
final class Store {
    private static final String COLUMNS = "id, author, title, body, created_at";
    private static final int POOL_SIZE = 6;
    private static final String BUG = System.getenv().getOrDefault("NOTES_BUG", "");
    private static final String ORDER = BUG.equals("order") ? "ASC" : "DESC";

    private final HikariDataSource pool;
    private final StatefulRedisConnection<String, String> redis;

    Store(String databaseUrl, String redisUrl) {
        URI database = URI.create(databaseUrl);
        HikariConfig config = new HikariConfig();
        String place = database.getHost() + ":" + database.getPort() + database.getPath();
        config.setJdbcUrl("jdbc:postgresql://" + place);
        config.setUsername(database.getUserInfo());
        config.setMaximumPoolSize(POOL_SIZE);
        config.setMinimumIdle(1);
        pool = new HikariDataSource(config);
        redis = RedisClient.create(redisUrl).connect();
    }

    Note create(String author, String title, String body) throws SQLException {
        try (Connection connection = pool.getConnection()) {
            connection.setAutoCommit(false);
            try {
                Note note = insert(connection, author, title, body);
                if (!BUG.equals("history")) {
                    insertHistory(connection, note.id());
                }
                connection.commit();
                return note;
            } catch (SQLException error) {
                connection.rollback();
                throw error;
            }
        }
    }

    private Note insert(Connection connection, String author, String title, String body)
            throws SQLException {
        String sql =
                "INSERT INTO notes (author, title, body) VALUES (?, ?, ?) RETURNING id, created_at";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setString(1, author);
            statement.setString(2, title);
            statement.setString(3, body);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return new Note(rows.getLong(1), author, title, body, timeOf(rows, 2));
            }
        }
    }

    private void insertHistory(Connection connection, long id) throws SQLException {
        String sql = "INSERT INTO history (note_id, action) VALUES (?, 'created')";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setLong(1, id);
            statement.executeUpdate();
        }
    }

    /** The two commands go out together, as Lettuce's users do where they can. */
    void remember(Note note, String written) {
        RedisFuture<String> kept = redis.async().set("note:" + note.id(), written);
        RedisFuture<Long> counted = redis.async().incr("notes:count:" + note.author());
        kept.toCompletableFuture().join();
        counted.toCompletableFuture().join();
    }

    void cache(Note note, String written) {
        redis.sync().setex("note:" + note.id(), 60, written);
    }

    String recall(long id) {
        return redis.sync().get("note:" + id);
    }

    Note find(long id) throws SQLException {
        List<Note> found = select("SELECT " + COLUMNS + " FROM notes WHERE id = ?", id);
        return found.isEmpty() ? null : found.get(0);
    }

    List<Note> list(String author, int limit) throws SQLException {
        return select(
                "SELECT " + COLUMNS + " FROM notes WHERE author = ? ORDER BY id " + ORDER + " LIMIT ?",
                author,
                limit);
    }

    private List<Note> select(String sql, Object... values) throws SQLException {
        try (Connection connection = pool.getConnection();
                PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int at = 0; at < values.length; at++) {
                statement.setObject(at + 1, values[at]);
            }
            List<Note> found = new ArrayList<>();
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    found.add(
                            new Note(
                                    rows.getLong(1),
                                    rows.getString(2),
                                    rows.getString(3),
                                    rows.getString(4),
                                    timeOf(rows, 5)));
                }
            }
            return found;
        }
    }

    boolean delete(long id) throws SQLException {
        try (Connection connection = pool.getConnection();
                PreparedStatement statement =
                        connection.prepareStatement("DELETE FROM notes WHERE id = ?")) {
            statement.setLong(1, id);
            int gone = statement.executeUpdate();
            redis.sync().del("note:" + id);
            return gone > 0;
        }
    }

    List<Integer> count(int rows) throws SQLException {
        try (Connection connection = pool.getConnection();
                PreparedStatement statement =
                        connection.prepareStatement("SELECT generate_series(1, ?)")) {
            statement.setInt(1, rows);
            List<Integer> numbers = new ArrayList<>();
            try (ResultSet found = statement.executeQuery()) {
                while (found.next()) {
                    numbers.add(found.getInt(1));
                }
            }
            return numbers;
        }
    }

    private static String timeOf(ResultSet rows, int column) throws SQLException {
        return rows.getObject(column, OffsetDateTime.class).toString();
    }
}
