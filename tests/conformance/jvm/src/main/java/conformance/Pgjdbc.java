package conformance;

import static conformance.Say.outcome;
import static conformance.Say.say;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.SQLXML;
import java.sql.Savepoint;
import java.sql.Statement;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/** The PostgreSQL JDBC driver. */
final class Pgjdbc {
    private static final Map<String, Map<String, String>> FORMS = Map.of(
            "plain", Map.of(),
            "prepared", Map.of("prepareThreshold", "1"),
            "unprepared", Map.of("prepareThreshold", "0"),
            "simple", Map.of("preferQueryMode", "extendedForPrepared"),
            "changed", Map.of());
    private static final List<String> LITERALS = List.of(
            "'-32768'::int2", "2147483647::int4", "9223372036854775807::int8",
            "'-12345678901234567890.0123456789'::numeric", "'NaN'::numeric", "1.50::numeric(6,2)",
            "1.5::float4", "0.1::float8", "'-Infinity'::float8", "true", "'grüße, 世界 🌍 \"x\" \\'::text", "''::text",
            "'short'::varchar(12)", "'ab'::char(4)", "'\\x00017f80ff'::bytea", "'{\"a\": [1, 2.50, null]}'::json",
            "'{\"b\": {\"c\": \"ü\"}, \"a\": 1}'::jsonb", "'0b50a8ad-4c4e-4c59-9b4e-0a5b53a4a0f0'::uuid",
            "'2024-02-29'::date", "'12:34:56.789'::time", "'2024-02-29 12:34:56.123456'::timestamp",
            "'2024-02-29 12:34:56.123456+05:30'::timestamptz", "'1 year 2 mons 3 days 04:05:06.789'::interval",
            "'{1,NULL,3}'::int4[]", "'{a,\"b,\\\"c\\\"\",NULL,\"NULL\",\"\"}'::text[]", "'[1,10)'::int4range",
            "'happy'::mood", "'(5,five)'::pair", "'192.168.0.1/24'::inet", "'10110'::bit(5)", "'(1.5,-2)'::point",
            "'$12.34'::money", "'<a>b</a>'::xml", "4000000000::oid", "NULL::int8");
    private static final List<String> FAILING = List.of(
            "SELEKT 1", "SELECT * FROM nowhere", "SELECT nothing FROM people", "SELECT 1 / 0",
            "INSERT INTO people (name) VALUES ('Ann')", "INSERT INTO people (name, age) VALUES ('Ida', -1)",
            "INSERT INTO people (age) VALUES (1)", "SELECT 'many'::int", "SELECT missing(1)",
            "DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'KB123', DETAIL = 'more', HINT = 'less'; END $$",
            "SELECT n, 10 / (3 - n) FROM generate_series(1, 5) AS n", "ROLLBACK TO nowhere");

    private final String form;
    private final Connection connection;

    Pgjdbc(String form) throws SQLException {
        this.form = form;
        this.connection = connect();
    }

    private Connection connect() throws SQLException {
        Map<String, String> environment = System.getenv();
        Properties properties = new Properties();
        properties.putAll(FORMS.get(form));
        properties.put("user", environment.get("PGUSER"));
        properties.put("ApplicationName", "conformance");
        properties.put("sslmode", "disable");
        String place = environment.get("PGHOST") + ":" + environment.get("PGPORT");
        return DriverManager.getConnection("jdbc:postgresql://" + place + "/" + environment.get("PGDATABASE"), properties);
    }

    void run() throws Exception {
        say("server", connection.getMetaData().getDatabaseProductVersion(),
                connection.unwrap(PGConnection.class).getParameterStatuses());
        schema();
        types();
        prepared();
        batches();
        cursors();
        transactions();
        errors();
        notifications();
        large();
        odd();
        copies();
        several();
        if (form.equals("changed")) {
            changed();
        }
        connection.close();
    }

    /** Runs SQL and gives all that comes of it. */
    private Object ask(String sql) {
        return outcome(() -> {
            try (Statement statement = connection.createStatement()) {
                return readAll(statement, statement.execute(sql));
            } catch (SQLException error) {
                return describe(error);
            }
        });
    }

    private Object ask(String sql, Object... values) {
        return outcome(() -> {
            try (PreparedStatement statement = connection.prepareStatement(sql)) {
                for (int n = 0; n < values.length; n++) {
                    statement.setObject(n + 1, values[n]);
                }
                return readAll(statement, statement.execute());
            } catch (SQLException error) {
                return describe(error);
            }
        });
    }

    private static List<Object> readAll(Statement statement, boolean hasRows) throws SQLException {
        List<Object> seen = new ArrayList<>();
        for (boolean has = hasRows; has || statement.getUpdateCount() != -1; has = statement.getMoreResults()) {
            seen.add(has ? readRows(statement.getResultSet()) : statement.getUpdateCount());
        }
        for (SQLWarning warning = statement.getWarnings(); warning != null; warning = warning.getNextWarning()) {
            seen.add(warning.getSQLState() + " " + warning.getMessage());
        }
        return seen;
    }

    private static List<Object> readRows(ResultSet rows) throws SQLException {
        ResultSetMetaData columns = rows.getMetaData();
        List<Object> seen = new ArrayList<>();
        for (int n = 1; n <= columns.getColumnCount(); n++) {
            seen.add(columns.getColumnLabel(n) + " " + columns.getColumnTypeName(n) + " " + columns.getPrecision(n)
                    + " " + columns.getScale(n) + " " + columns.getColumnDisplaySize(n));
        }
        while (rows.next()) {
            List<Object> row = new ArrayList<>();
            for (int n = 1; n <= columns.getColumnCount(); n++) {
                row.add(readValue(rows.getObject(n), rows.getString(n)));
            }
            seen.add(row);
        }
        return seen;
    }

    private static Object readValue(Object value, String text) throws SQLException {
        if (value instanceof Array array) {
            return Arrays.asList("array", Arrays.toString((Object[]) array.getArray()));
        }
        if (value instanceof PGobject one) {
            return Arrays.asList(one.getType(), one.getValue());
        }
        if (value instanceof SQLXML) {
            return Arrays.asList("xml", text);
        }
        return value instanceof byte[] ? value : Arrays.asList(value, text);
    }

    private void schema() {
        say("drop", ask("DROP TABLE IF EXISTS people"));
        say("create", ask("CREATE TABLE people (id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
                + "name text NOT NULL UNIQUE, age int CHECK (age >= 0), mood mood, seen timestamptz)"));
    }

    private void types() throws SQLException {
        for (String literal : LITERALS) {
            say(literal, ask("SELECT " + literal + " AS value"));
        }
        String sql = "SELECT ?::int4 AS a, ?::int8 AS b, ?::numeric AS c, ?::text AS d, ?::bool AS e, ?::float8 AS f, "
                + "?::uuid AS g, ?::timestamptz AS h, ?::bytea AS i, ?::int4[] AS j, ?::mood::text AS k";
        Object[] values = {7, 1L << 60, new BigDecimal("1.50"), "ü", true, 0.1,
            UUID.fromString("0b50a8ad-4c4e-4c59-9b4e-0a5b53a4a0f0"),
            OffsetDateTime.of(2024, 2, 29, 1, 2, 3, 4000, ZoneOffset.UTC), new byte[] {0, -1},
            connection.createArrayOf("int4", new Object[] {1, null, 3}), "happy"};
        for (int n = 0; n < 7; n++) { // the statement is prepared on the server after the fifth
            say("values", ask(sql, values));
        }
    }

    private void prepared() throws SQLException {
        String add = "INSERT INTO people (name, age, seen) VALUES (?, ?, ?)";
        try (PreparedStatement statement = connection.prepareStatement(add, Statement.RETURN_GENERATED_KEYS)) {
            for (String name : List.of("Ann", "Bob", "Çem")) {
                statement.setString(1, name);
                statement.setObject(2, name.equals("Bob") ? null : (Object) name.length(), java.sql.Types.INTEGER);
                statement.setObject(3, OffsetDateTime.of(2024, 5, 6, 7, 8, 9, 10000, ZoneOffset.UTC));
                int count = statement.executeUpdate();
                ResultSet keys = statement.getGeneratedKeys();
                keys.next();
                say("add", count, keys.getLong("id"));
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT id, name, age, seen FROM people WHERE age >= ? ORDER BY id")) {
            say("parameters", statement.getParameterMetaData().getParameterTypeName(1), statement.getMetaData().getColumnName(2));
            for (int age : new int[] {0, 2, 99, 0, 1, 3, 0}) {
                statement.setInt(1, age);
                say("find", readRows(statement.executeQuery()));
            }
        }
        say("none", ask("UPDATE people SET age = age + 1 WHERE id = ?", -1));
        say("many", ask("UPDATE people SET age = age + 1"));
    }

    private void batches() throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO people (name, age) VALUES (?, ?)")) {
            for (int n = 0; n < 10; n++) {
                statement.setString(1, "batch " + n);
                statement.setInt(2, n);
                statement.addBatch();
            }
            say("batch", Arrays.toString(statement.executeBatch()));
            statement.setString(1, "batch 10");
            statement.setInt(2, 10);
            statement.addBatch();
            statement.setString(1, "batch 3");
            statement.addBatch();
            try {
                statement.executeBatch();
            } catch (BatchUpdateException error) {
                say("failing", Arrays.toString(error.getUpdateCounts()), describe(error.getNextException()));
            }
        }
        try (Statement statement = connection.createStatement()) {
            statement.addBatch("UPDATE people SET age = 0 WHERE name = 'batch 0'");
            statement.addBatch("DELETE FROM people WHERE name LIKE 'batch%'");
            say("statements", Arrays.toString(statement.executeBatch()));
        }
    }

    private void cursors() throws SQLException {
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement("SELECT n, n * n AS square FROM generate_series(1, ?) AS n")) {
            statement.setFetchSize(4);
            statement.setInt(1, 10);
            say("pieces", readRows(statement.executeQuery()));
            ResultSet rows = statement.executeQuery();
            rows.next();
            say("left early", rows.getInt(1));
            statement.setFetchSize(0);
            statement.setMaxRows(3);
            say("at most", readRows(statement.executeQuery()));
        }
        say("declare", ask("DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 7) AS n"));
        for (int n = 0; n < 4; n++) {
            say("fetch", ask("FETCH 3 FROM c"));
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    private void transactions() throws SQLException {
        String add = "INSERT INTO people (name) VALUES (?)";
        connection.setAutoCommit(false);
        say("add", ask(add, "Dora"));
        Savepoint savepoint = connection.setSavepoint("one");
        say("again", ask(add, "Dora"));
        say("failed", ask(add, "Eve"), ask("SELECT 1 AS one"));
        connection.rollback(savepoint);
        say("on", ask(add, "Fay"));
        connection.releaseSavepoint(savepoint);
        connection.commit();
        connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        connection.setReadOnly(true);
        say("level", connection.getTransactionIsolation(), ask(add, "Guy"));
        connection.rollback();
        connection.setReadOnly(false);
        connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        say("lost", ask(add, "Hal"));
        connection.rollback();
        connection.setAutoCommit(true);
        say("names", ask("SELECT name FROM people ORDER BY id"));
        connection.setSchema("pg_catalog");
        say("schema", connection.getSchema(), ask("SHOW search_path"), ask("RESET search_path"), ask("SHOW search_path"));
    }

    private void errors() {
        for (String sql : FAILING) {
            say(sql, ask(sql));
        }
        say("not a number", ask("SELECT ?::text::int", "many"));
        say("after", ask("SELECT ?::text AS alive", "yes"));
        say("notices", ask("DO $$ BEGIN RAISE NOTICE 'one %', 1; RAISE WARNING 'two' USING HINT = 'three'; END $$"));
    }

    private void notifications() throws SQLException {
        try (Connection other = connect(); Statement statement = other.createStatement()) {
            statement.execute("LISTEN news");
            for (String payload : List.of("first ü", "second")) {
                say("notify", ask("SELECT pg_notify('news', ?)", payload));
                var heard = other.unwrap(PGConnection.class).getNotifications(20_000);
                say("heard", heard.length, heard[0].getName(), heard[0].getParameter());
            }
            statement.execute("UNLISTEN news");
        }
    }

    private void large() {
        say("text", ask("SELECT ?::text AS text", "kebpf ü ".repeat(150_000)));
        say("bytes", ask("SELECT ?::bytea AS bytes", (Object) new byte[1_500_000]));
        say("rows", ask("SELECT n, repeat('x', n % 50) AS x FROM generate_series(1, 5000) AS n").toString());
    }

    private void odd() {
        say("empty", ask(""));
        say("comment", ask("-- nothing"));
        say("no column", ask("SELECT FROM people"));
        say("several", ask("SELECT 1 AS a; SELECT 'b' AS b, 2 AS c; UPDATE people SET age = 1 WHERE id < 0"));
        say("several, one fails", ask("SELECT 1 AS a; SELECT 1 / 0; SELECT 2"));
        say("after", ask("SELECT 1 AS one"));
    }

    private void copies() throws Exception {
        ask("CREATE TEMP TABLE goods (id int, name text)");
        CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
        say("in", copy.copyIn("COPY goods FROM STDIN", new StringReader("1\tone\n2\ttw\\to\n3\t\\N\n")));
        byte[] lines = "4,four ü\n5,\n".getBytes(StandardCharsets.UTF_8);
        say("csv", copy.copyIn("COPY goods FROM STDIN WITH (FORMAT csv)", new ByteArrayInputStream(lines)));
        try {
            copy.copyIn("COPY goods FROM STDIN", new StringReader("x\ty\n"));
        } catch (SQLException error) {
            say("bad data", describe(error));
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        say("out", copy.copyOut("COPY goods TO STDOUT WITH (FORMAT csv, HEADER)", out), out.toString(StandardCharsets.UTF_8));
    }

    private void several() throws SQLException {
        List<Object> seen = new ArrayList<>();
        for (int n = 0; n < 4; n++) {
            try (Connection other = connect(); PreparedStatement statement = other.prepareStatement("SELECT ? * 2 AS twice")) {
                statement.setInt(1, n);
                seen.add(readRows(statement.executeQuery()));
            }
        }
        say("connections", seen);
        say("drop", ask("DROP TABLE people"));
    }

    private void changed() throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT ? * 2 AS twice")) {
            statement.setInt(1, 700);
            statement.executeQuery();
        } catch (SQLException error) {
            Say.sayChanged(error, error.getSQLState(), connection.isValid(5));
        }
    }

    private static Object describe(SQLException error) {
        if (!(error instanceof PSQLException one) || one.getServerErrorMessage() == null) {
            return error;
        }
        ServerErrorMessage told = one.getServerErrorMessage();
        boolean isBlock = "25P02".equals(told.getSQLState()); // which message failed is the form's affair
        return Arrays.asList(told.getSeverity(), told.getSQLState(), told.getMessage(), told.getDetail(), told.getHint(),
                told.getWhere(), told.getSchema(), told.getTable(), told.getColumn(), told.getDatatype(),
                told.getConstraint(), told.getPosition(), isBlock ? null : told.getRoutine());
    }
}
