package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

var background = context.Background()

// pgxForm is how a form makes the same calls.
type pgxForm struct {
	mode pgx.QueryExecMode
	pool int32
}

var pgxForms = map[string]pgxForm{
	"plain":    {pgx.QueryExecModeCacheStatement, 2},
	"describe": {pgx.QueryExecModeCacheDescribe, 2},
	"exec":     {pgx.QueryExecModeDescribeExec, 2},
	"pooled":   {pgx.QueryExecModeCacheStatement, 6},
	"changed":  {pgx.QueryExecModeCacheStatement, 2},
}

type pgxProgram struct {
	form pgxForm
	conn *pgx.Conn
}

func runPgx(form string) {
	p := &pgxProgram{form: pgxForms[form]}
	p.conn = p.connect()
	defer p.conn.Close(background)
	sections := []func(){p.parameters, p.schema, p.types, p.prepared, p.batches, p.rows, p.transactions,
		p.errors, p.notices, p.notifications, p.large, p.odd, p.copies, p.lowLevel, p.pool}
	for n, section := range sections {
		say("section", n)
		section()
	}
	if form == "changed" {
		p.changed()
	}
}

func (p *pgxProgram) connect() *pgx.Conn {
	config := must(pgx.ParseConfig("application_name=conformance"))
	config.DefaultQueryExecMode = p.form.mode
	config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) {
		say("notice", (*pgconn.PgError)(notice))
	}
	return must(pgx.ConnectConfig(background, config))
}

func (p *pgxProgram) parameters() {
	_, err := p.conn.Exec(background, "SELECT 1")
	check(err)
	for _, name := range []string{"server_version", "client_encoding", "TimeZone", "DateStyle",
		"application_name", "standard_conforming_strings", "integer_datetimes", "is_superuser"} {
		say(name, p.conn.PgConn().ParameterStatus(name))
	}
}

// ask makes a call and says all that comes of it.
func (p *pgxProgram) ask(step, sql string, arguments ...any) {
	rows, err := p.conn.Query(background, sql, arguments...)
	if err != nil {
		say(step, err)
		return
	}
	say(step, readRows(rows)...)
}

func readRows(rows pgx.Rows) []any {
	defer rows.Close()
	seen := []any{}
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			seen = append(seen, err)
			break
		}
		seen = append(seen, plainAll(values))
	}
	columns := []any{}
	for _, one := range rows.FieldDescriptions() {
		columns = append(columns, fmt.Sprint(one.Name, one.TableOID, one.TableAttributeNumber, one.DataTypeOID, one.DataTypeSize, one.TypeModifier))
	}
	return []any{columns, seen, rows.CommandTag().String(), rows.Err()}
}

func (p *pgxProgram) schema() {
	p.ask("drop", "DROP TABLE IF EXISTS people")
	p.ask("create", people)
	mood := must(p.conn.LoadType(background, "mood"))
	p.conn.TypeMap().RegisterType(mood)
	moods := must(p.conn.LoadType(background, "_mood"))
	say("types", mood.Name, moods.Name)
}

func (p *pgxProgram) types() {
	for _, one := range literals {
		p.ask(one[0], "SELECT $1::text::"+one[0]+" AS value, $1::text IS NULL AS missing", one[1])
	}
	p.ask("all", all())
	p.ask("parameters", "SELECT $1::int8, $2::numeric, $3::text[], $4::jsonb, $5::bytea, $6::timestamptz, $7::bool, $8::float8, $9::int4[], $10::mood",
		int64(1)<<60, "1.50", []string{"a", "ü,"}, map[string]any{"k": []int{1}}, []byte{0, 255}, time.Date(2024, 2, 29, 1, 2, 3, 4000, time.UTC), true, 0.1, []*int32{nil}, "happy")
	p.ask("nothing", "SELECT $1::int8, $2::text", nil, nil)
	var number int64
	var text *string
	check(p.conn.QueryRow(background, "SELECT 7::int8, NULL::text").Scan(&number, &text))
	say("scanned", number, text == nil)
	say("no row", p.conn.QueryRow(background, "SELECT 1 WHERE false").Scan(&number))
}

func (p *pgxProgram) prepared() {
	add := "INSERT INTO people (name, age, mood, seen) VALUES ($1, $2, $3, $4) RETURNING id, name, mood"
	seen := time.Date(2024, 5, 6, 7, 8, 9, 10000, time.UTC)
	p.ask("add", add, "Ann", 30, "happy", seen)
	p.ask("add", add, "Bob", nil, nil, seen)
	p.ask("add", add, "Çem", 0, "sad", nil)
	for _, age := range []int{0, 20, 99, 0} {
		p.ask("find", findPeople, age)
	}
	statement := must(p.conn.Prepare(background, "named", "SELECT $1::int + $2 AS sum"))
	say("prepared", statement.SQL, fmt.Sprint(statement.ParamOIDs), len(statement.Fields))
	p.ask("named", "named", 1, 2)
	p.ask("named", "named", 3, 4)
	check(p.conn.Deallocate(background, "named"))
	p.ask("none", "UPDATE people SET age = age + 1 WHERE id = $1", -1)
	p.ask("many", "UPDATE people SET age = age + 1")
}

func (p *pgxProgram) batches() {
	batch := &pgx.Batch{}
	batch.Queue("SELECT $1::int * 10", 1)
	batch.Queue("INSERT INTO people (name) VALUES ($1)", "Batch")
	batch.Queue("SELECT count(*) FROM people WHERE name = $1", "Batch")
	results := p.conn.SendBatch(background, batch)
	for range 3 {
		rows, err := results.Query()
		check(err)
		say("batch", readRows(rows)...)
	}
	check(results.Close())
	failing := &pgx.Batch{}
	failing.Queue("INSERT INTO people (name) VALUES ($1)", "Lost")
	failing.Queue("SELECT 1 / $1::int", 0)
	failing.Queue("SELECT $1::int", 3)
	results = p.conn.SendBatch(background, failing)
	for range 3 {
		tag, err := results.Exec()
		say("failing", tag.String(), err)
	}
	say("closed", results.Close())
	p.ask("none of it", "SELECT count(*) FROM people WHERE name = 'Lost'")
}

func (p *pgxProgram) rows() {
	rows := must(p.conn.Query(background, "SELECT n, n * n AS square FROM generate_series(1, $1::int) AS n", 100))
	for n := 0; n < 3 && rows.Next(); n++ {
		say("row", must(rows.Values())...)
	}
	rows.Close()
	type pair struct{ N, Square int32 }
	found, err := pgx.CollectRows(must(p.conn.Query(background, "SELECT n, n * n AS square FROM generate_series(1, $1::int) AS n", 4)), pgx.RowToStructByName[pair])
	say("structs", fmt.Sprint(found), err)
	p.ask("some rows, then an error", "SELECT 10 / (5 - n) AS q FROM generate_series(1, $1::int) AS n", 9)
	tx := must(p.conn.Begin(background))
	p.ask("declare", "DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 7) AS n")
	for range 4 {
		p.ask("fetch", "FETCH 3 FROM c")
	}
	p.ask("close", "CLOSE c")
	check(tx.Commit(background))
}

func (p *pgxProgram) transactions() {
	for _, sql := range inTransactions {
		p.ask(sql, sql)
		say("status", string(p.conn.PgConn().TxStatus()))
	}
	err := pgx.BeginFunc(background, p.conn, func(tx pgx.Tx) error {
		must(tx.Exec(background, addPerson, "Ivy"))
		inner := must(tx.Begin(background))
		_, failed := inner.Exec(background, addPerson, "Ivy")
		say("inner", failed, inner.Rollback(background))
		must(tx.Exec(background, addPerson, "Joe"))
		return errors.New("taken back")
	})
	say("outer", err.Error())
	tx := must(p.conn.BeginTx(background, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}))
	_, failed := tx.Exec(background, addPerson, "Kim")
	say("read only", failed)
	say("committed", fmt.Sprint(tx.Commit(background)))
}

func (p *pgxProgram) errors() {
	for _, sql := range failing {
		p.ask(sql, sql)
	}
	p.ask("not a number", "SELECT $1::text::int", "many")
	p.ask("after", "SELECT $1::text AS alive", "yes")
	_, err := pgx.Connect(background, "dbname=nowhere")
	var report *pgconn.PgError
	say("no database", errors.As(err, &report), report)
}

func (p *pgxProgram) notices() {
	p.ask("raised", "DO $$ BEGIN RAISE NOTICE 'one %', 1; RAISE WARNING 'two' USING HINT = 'three'; END $$")
	p.ask("dropped", "DROP TABLE IF EXISTS nothing_there")
}

func (p *pgxProgram) notifications() {
	other := p.connect()
	defer other.Close(background)
	must(other.Exec(background, "LISTEN news"))
	for _, payload := range []string{"first ü", "second"} {
		p.ask("notify", "SELECT pg_notify('news', $1)", payload)
		heard := must(other.WaitForNotification(background))
		say("heard", heard.Channel, heard.Payload)
	}
	must(other.Exec(background, "UNLISTEN news"))
}

func (p *pgxProgram) large() {
	p.ask("text", "SELECT $1::text AS text, length($1) AS size", strings.Repeat("kebpf ü ", 150_000))
	p.ask("bytes", "SELECT $1::bytea AS bytes", []byte(strings.Repeat("\x00\x01\xfe\xff", 400_000)))
	rows := must(p.conn.Query(background, "SELECT n, repeat('x', n % 50) AS x FROM generate_series(1, 5000) AS n"))
	say("rows", fmt.Sprint(readRows(rows)))
}

func (p *pgxProgram) odd() {
	p.ask("empty", "")
	p.ask("comment", "-- nothing")
	p.ask("no column", "SELECT FROM people")
	results, err := p.conn.PgConn().Exec(background, "SELECT 1 AS a; SELECT 'b' AS b, 2 AS c; UPDATE people SET age = 1 WHERE id < 0").ReadAll()
	say("several", len(results), string(results[1].Rows[0][0]), results[2].CommandTag.String(), err)
	results, err = p.conn.PgConn().Exec(background, "SELECT 1 AS a; SELECT 1 / 0; SELECT 2").ReadAll()
	say("several, one fails", len(results), err)
}

func (p *pgxProgram) copies() {
	p.ask("table", "CREATE TEMP TABLE goods (id int, name text, price numeric, made timestamptz)")
	when := time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC)
	rows := [][]any{{1, "one", "1.50", when}, {2, "tw\\o\t", nil, when}, {3, nil, "3", nil}}
	count, err := p.conn.CopyFrom(background, pgx.Identifier{"goods"}, []string{"id", "name", "price", "made"}, pgx.CopyFromRows(rows))
	say("copied", count, err)
	text := &strings.Builder{}
	tag, err := p.conn.PgConn().CopyTo(background, text, "COPY goods TO STDOUT WITH (FORMAT csv, HEADER)")
	say("out", tag.String(), text.String(), err)
	tag, err = p.conn.PgConn().CopyFrom(background, strings.NewReader("4\tfour\n5\t\\N\n"), "COPY goods (id, name) FROM STDIN")
	say("text in", tag.String(), err)
	tag, err = p.conn.PgConn().CopyFrom(background, strings.NewReader("x\ty\n"), "COPY goods (id, name) FROM STDIN")
	say("bad data", tag.String(), err)
	p.ask("goods", "SELECT * FROM goods ORDER BY id")
}

func (p *pgxProgram) lowLevel() {
	pipeline := p.conn.PgConn().StartPipeline(background)
	for _, number := range []string{"1", "2", "0", "4"} {
		pipeline.SendQueryParams("SELECT 8 / $1::int AS q", [][]byte{[]byte(number)}, nil, nil, nil)
		check(pipeline.Sync())
	}
	for {
		result, err := pipeline.GetResults()
		if result == nil && err == nil {
			break
		}
		switch one := result.(type) {
		case *pgconn.ResultReader:
			read := one.Read()
			say("pipeline", len(read.Rows), read.CommandTag.String(), read.Err)
		case *pgconn.PipelineSync:
			say("sync", err)
		default:
			say("pipeline", err)
		}
	}
	check(pipeline.Close())
}

func (p *pgxProgram) pool() {
	config := must(pgxpool.ParseConfig(""))
	config.MaxConns = p.form.pool
	config.ConnConfig.DefaultQueryExecMode = p.form.mode
	pool := must(pgxpool.NewWithConfig(background, config))
	defer pool.Close()
	twice := make(chan int, 8)
	for n := range 8 {
		go func() {
			var result int
			check(pool.QueryRow(background, "SELECT $1::int * 2", n).Scan(&result))
			twice <- result
		}()
	}
	found := []int{}
	for range 8 {
		found = append(found, <-twice)
	}
	sort.Ints(found)
	say("twice", found)
	must(pool.Exec(background, "DROP TABLE people"))
}

func (p *pgxProgram) changed() {
	var number int
	err := p.conn.QueryRow(background, "SELECT $1::int * 2", 700).Scan(&number)
	var report *pgconn.PgError
	errors.As(err, &report)
	_, again := p.conn.Exec(background, "SELECT 1")
	sayChanged(className(report), report.Code, again == nil)
}

// describeError gives all fields of a server's report, and the text of any other error.
func describeError(err error) any {
	var report *pgconn.PgError
	if errors.As(err, &report) && report != nil {
		one := *report
		one.Line = 0
		if one.Code == "25P02" { // which message failed is the form's affair
			one.Routine = ""
		}
		return fmt.Sprintf("%+v", one)
	}
	return className(err) + ": " + err.Error()
}
