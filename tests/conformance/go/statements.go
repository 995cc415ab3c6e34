package main

import "strings"

const people = "CREATE TABLE people (id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, " +
	"name text NOT NULL UNIQUE, age int CHECK (age >= 0), mood mood, seen timestamptz)"

const (
	addPerson  = "INSERT INTO people (name) VALUES ($1)"
	findPeople = "SELECT id, name, age, mood::text, seen FROM people WHERE age >= $1 ORDER BY id"
)

// literals are values of all types, as SQL; their names are the types.
var literals = [][2]string{
	{"int2", "-32768"}, {"int4", "2147483647"}, {"int8", "9223372036854775807"},
	{"numeric", "-12345678901234567890.0123456789"}, {"numeric", "NaN"}, {"numeric", "1.50"},
	{"float4", "1.5"}, {"float8", "0.1"}, {"float8", "-Infinity"}, {"bool", "true"},
	{"text", "grüße, 世界 🌍 \"quoted\" \\"}, {"text", ""}, {"varchar(12)", "short"},
	{"char(4)", "ab"}, {"bytea", "\\x00017f80ff"}, {"json", "{\"a\": [1, 2.50, null]}"},
	{"jsonb", "{\"b\": {\"c\": \"ü\"}, \"a\": 1}"},
	{"uuid", "0b50a8ad-4c4e-4c59-9b4e-0a5b53a4a0f0"}, {"date", "2024-02-29"},
	{"time", "12:34:56.789"}, {"timestamp", "2024-02-29 12:34:56.123456"},
	{"timestamptz", "2024-02-29 12:34:56.123456+05:30"},
	{"interval", "1 year 2 mons 3 days 04:05:06.789"}, {"int4[]", "{1,NULL,3}"},
	{"text[]", "{a,\"b,\\\"c\\\"\",NULL,\"NULL\",\"\"}"}, {"int4range", "[1,10)"},
	{"tstzrange", "[2024-01-01 00:00:00+00,)"}, {"mood", "happy"}, {"inet", "192.168.0.1/24"},
	{"macaddr", "08:00:2b:01:02:03"}, {"bit(5)", "10110"}, {"point", "(1.5,-2)"}, {"oid", "4000000000"},
}

// failing are statements that the server refuses.
var failing = []string{
	"SELEKT 1", "SELECT * FROM nowhere", "SELECT nothing FROM people", "SELECT 1 / 0",
	"INSERT INTO people (name) VALUES ('Ann')", "INSERT INTO people (name, age) VALUES ('Ida', -1)",
	"INSERT INTO people (age) VALUES (1)", "SELECT 'many'::int", "SELECT missing(1)",
	"DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'KB123', DETAIL = 'more', HINT = 'less', TABLE = 't', COLUMN = 'c'; END $$",
	"SELECT n, 10 / (3 - n) FROM generate_series(1, 5) AS n", "ROLLBACK TO nowhere",
}

// inTransactions are statements that open, divide and end transactions, or fail in them.
var inTransactions = []string{
	"BEGIN", "INSERT INTO people (name) VALUES ('Dora')", "SAVEPOINT one",
	"INSERT INTO people (name) VALUES ('Dora') -- again", "INSERT INTO people (name) VALUES ('Eve')",
	"ROLLBACK TO SAVEPOINT one", "INSERT INTO people (name) VALUES ('Fay')",
	"RELEASE SAVEPOINT one", "COMMIT", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
	"SHOW transaction_isolation", "INSERT INTO people (name) VALUES ('Guy')", "SELECT 1 AS one",
	"COMMIT", "ROLLBACK", "START TRANSACTION", "INSERT INTO people (name) VALUES ('Hal')", "ROLLBACK",
	"SELECT name FROM people ORDER BY id", "SET search_path = pg_catalog, public",
	"SHOW search_path", "RESET search_path", "SHOW search_path",
}

// all selects the values of all types at once.
func all() string {
	items := make([]string, len(literals))
	for n, one := range literals {
		items[n] = "'" + strings.ReplaceAll(one[1], "'", "''") + "'::" + one[0] + " AS \"" + one[0] + "\""
	}
	return "SELECT " + strings.Join(items, ", ")
}
