package main

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lib/pq"
)

// pqForm is how a form makes the same calls.
type pqForm struct {
	options string
	pool    int
}

var pqForms = map[string]pqForm{
	"plain":   {"", 1},
	"binary":  {" binary_parameters=yes", 1},
	"pooled":  {"", 5},
	"changed": {"", 1},
}

type pqProgram struct {
	form pqForm
	db   *sql.DB
}

func runPq(form string) {
	p := &pqProgram{form: pqForms[form]}
	connector := must(pq.NewConnector("sslmode=disable application_name=conformance" + p.form.options))
	p.db = sql.OpenDB(pq.ConnectorWithNoticeHandler(connector, func(notice *pq.Error) { say("notice", pqError(notice)) }))
	p.db.SetMaxOpenConns(1)
	defer p.db.Close()
	sections := []func(){p.schema, p.types, p.prepared, p.transactions, p.errors, p.notifications,
		p.large, p.odd, p.copies, p.pool}
	for n, section := range sections {
		say("section", n)
		section()
	}
	if form == "changed" {
		p.changed()
	}
}

// querying is a database, a connection or a transaction.
type querying interface {
	Query(query string, arguments ...any) (*sql.Rows, error)
}

func (p *pqProgram) ask(step, query string, arguments ...any) {
	p.askOn(p.db, step, query, arguments...)
}

func (p *pqProgram) askOn(on querying, step, query string, arguments ...any) {
	rows, err := on.Query(query, arguments...)
	if err != nil {
		say(step, pqError(err))
		return
	}
	say(step, readSQLRows(rows)...)
}

func readSQLRows(rows *sql.Rows) []any {
	defer rows.Close()
	sets := []any{}
	for {
		columns, seen := []any{}, []any{}
		for _, one := range must(rows.ColumnTypes()) {
			length, hasLength := one.Length()
			precision, scale, _ := one.DecimalSize()
			columns = append(columns, fmt.Sprint(one.Name(), " ", one.DatabaseTypeName(), one.ScanType(), length, hasLength, precision, scale))
		}
		for rows.Next() {
			values := make([]any, len(columns))
			places := make([]any, len(columns))
			for n := range values {
				places[n] = &values[n]
			}
			check(rows.Scan(places...))
			for n, value := range values {
				if text, ok := value.([]byte); ok {
					values[n] = string(text)
				}
			}
			seen = append(seen, plainAll(values))
		}
		sets = append(sets, []any{columns, seen})
		if !rows.NextResultSet() {
			break
		}
	}
	return append(sets, pqError(rows.Err()))
}

func (p *pqProgram) schema() {
	p.ask("drop", "DROP TABLE IF EXISTS people")
	p.ask("create", people)
}

func (p *pqProgram) types() {
	p.ask("all", all())
	for _, one := range literals {
		p.ask(one[0], "SELECT $1::text::"+one[0]+" AS value, $1::text IS NULL AS missing", one[1])
	}
	p.ask("parameters", "SELECT $1::int8, $2::text[], $3::bytea, $4::timestamptz, $5::bool, $6::float8, $7::mood",
		int64(1)<<60, pq.Array([]string{"a", "ü,"}), []byte{0, 255}, time.Date(2024, 2, 29, 1, 2, 3, 4000, time.UTC), true, 0.1, "happy")
	var numbers []sql.NullInt64
	check(p.db.QueryRow("SELECT '{1,NULL,3}'::int4[]").Scan(pq.Array(&numbers)))
	say("scanned", fmt.Sprint(numbers))
	say("no row", p.db.QueryRow("SELECT 1 WHERE false").Scan(&numbers))
}

func (p *pqProgram) prepared() {
	add := must(p.db.Prepare("INSERT INTO people (name, age, mood, seen) VALUES ($1, $2, $3, $4) RETURNING id, name, mood"))
	seen := time.Date(2024, 5, 6, 7, 8, 9, 10000, time.UTC)
	for _, one := range [][]any{{"Ann", 30, "happy", seen}, {"Bob", nil, nil, seen}, {"Çem", 0, "sad", nil}} {
		say("add", readSQLRows(must(add.Query(one...)))...)
	}
	check(add.Close())
	find := must(p.db.Prepare(findPeople))
	for _, age := range []int{0, 20, 99, 0} {
		say("find", readSQLRows(must(find.Query(age)))...)
	}
	check(find.Close())
	for _, query := range []string{"UPDATE people SET age = age + 1", "UPDATE people SET age = age + 1 WHERE id < 0"} {
		result := must(p.db.Exec(query))
		say("affected", must(result.RowsAffected()))
	}
}

func (p *pqProgram) transactions() {
	for _, query := range inTransactions {
		p.ask(query, query)
	}
	tx := must(p.db.Begin())
	must(tx.Exec(addPerson, "Ivy"))
	p.askOn(tx, "cursor", "DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 7) AS n")
	for range 3 {
		p.askOn(tx, "fetch", "FETCH 3 FROM c")
	}
	check(tx.Rollback())
	tx = must(p.db.BeginTx(background, &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true}))
	_, err := tx.Exec(addPerson, "Joe")
	say("read only", pqError(err))
	say("committed", fmt.Sprint(tx.Commit()))
}

func (p *pqProgram) errors() {
	for _, query := range failing {
		p.ask(query, query)
	}
	p.ask("not a number", "SELECT $1::text::int", "many")
	p.ask("after", "SELECT $1::text AS alive", "yes")
	p.ask("raised", "DO $$ BEGIN RAISE NOTICE 'one %', 1; RAISE WARNING 'two' USING HINT = 'three'; END $$")
	bad := must(sql.Open("postgres", "sslmode=disable dbname=nowhere"))
	say("no database", pqError(bad.Ping()))
	check(bad.Close())
}

func (p *pqProgram) notifications() {
	listener := pq.NewListener("sslmode=disable", time.Second, time.Minute, nil)
	check(listener.Listen("news"))
	for _, payload := range []string{"first ü", "second"} {
		p.ask("notify", "SELECT pg_notify('news', $1)", payload)
		heard := <-listener.Notify
		say("heard", heard.Channel, heard.Extra)
	}
	check(listener.Ping())
	check(listener.UnlistenAll())
	check(listener.Close())
}

func (p *pqProgram) large() {
	p.ask("text", "SELECT $1::text AS text, length($1) AS size", strings.Repeat("kebpf ü ", 150_000))
	p.ask("bytes", "SELECT $1::bytea AS bytes", []byte(strings.Repeat("\x00\x01\xfe\xff", 400_000)))
	say("rows", fmt.Sprint(readSQLRows(must(p.db.Query("SELECT n, repeat('x', n % 50) AS x FROM generate_series(1, 5000) AS n")))))
}

func (p *pqProgram) odd() {
	p.ask("empty", "")
	p.ask("comment", "-- nothing")
	p.ask("no column", "SELECT FROM people")
	p.ask("several", "SELECT 1 AS a; SELECT 'b' AS b, 2 AS c; UPDATE people SET age = 1 WHERE id < 0")
	p.ask("several, one fails", "SELECT 1 AS a; SELECT 1 / 0; SELECT 2")
	p.ask("after", "SELECT 1 AS one")
}

func (p *pqProgram) copies() {
	tx := must(p.db.Begin())
	must(tx.Exec("CREATE TEMP TABLE goods (id int, name text, made timestamptz) ON COMMIT DROP"))
	statement := must(tx.Prepare(pq.CopyIn("goods", "id", "name", "made")))
	for n, name := range []any{"one", "tw\\o\t", nil} {
		must(statement.Exec(n, name, time.Date(2024, 2, 29, 1, 2, n, 0, time.UTC)))
	}
	result := must(statement.Exec())
	say("copied", must(result.RowsAffected()))
	check(statement.Close())
	p.askOn(tx, "goods", "SELECT * FROM goods ORDER BY id")
	check(tx.Commit())
}

func (p *pqProgram) pool() {
	p.db.SetMaxOpenConns(p.form.pool)
	found := make([]chan int, 8)
	for n := range found {
		found[n] = make(chan int, 1)
		go func() {
			var result int
			check(p.db.QueryRow("SELECT $1::int * 2", n).Scan(&result))
			found[n] <- result
		}()
	}
	for n := range found {
		say("twice", <-found[n])
	}
	p.ask("drop", "DROP TABLE people")
}

func (p *pqProgram) changed() {
	var number int
	err := p.db.QueryRow("SELECT $1::int * 2", 700).Scan(&number)
	var report *pq.Error
	errors.As(err, &report)
	again := p.db.Ping()
	sayChanged(className(report), string(report.Code), again == nil)
}

// pqError gives all fields of a server's report, and the text of any other error.
func pqError(err error) any {
	var report *pq.Error
	if !errors.As(err, &report) || report == nil {
		return fmt.Sprint(err)
	}
	one := object{"severity": report.Severity, "code": string(report.Code), "message": report.Message,
		"detail": report.Detail, "hint": report.Hint, "position": report.Position, "where": report.Where,
		"schema": report.Schema, "table": report.Table, "column": report.Column,
		"type": report.DataTypeName, "constraint": report.Constraint}
	if report.Code != "25P02" {
		one["routine"] = report.Routine
	}
	return one
}
