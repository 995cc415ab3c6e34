package main

import (
	"context"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pgx's pool; sslmode=verify-full and sslrootcert come with the URL.
type database struct {
	pool *pgxpool.Pool
}

func newDatabase() caller {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // as behind a pooler
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	return &database{pool}
}

func (d *database) keep(ctx context.Context, number int, note string) error {
	_, err := d.pool.Exec(ctx, "INSERT INTO notes (number, text) VALUES ($1, $2)", number, note)
	return err
}

func (d *database) recall(ctx context.Context, number int) (string, error) {
	var text string
	err := d.pool.QueryRow(ctx, "SELECT recall($1)", number).Scan(&text)
	return text, err
}
