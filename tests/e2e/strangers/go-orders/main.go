// Orders: rows in PostgreSQL through database/sql, an order's parts read at the same time.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sort"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
	"golang.org/x/sync/errgroup"
)

type server struct{ db *sql.DB }

type line struct {
	ID       uuid.UUID `json:"id"`
	SKU      string    `json:"sku"`
	Quantity int       `json:"quantity"`
	Created  time.Time `json:"created"`
}

type order struct {
	ID       uuid.UUID `json:"id"`
	Customer string    `json:"customer"`
	Total    string    `json:"total"`
	PlacedAt string    `json:"placed_at"`
	Lines    []line    `json:"lines,omitempty"`
}

var errSoldOut = errors.New("sold out")

func main() {
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL")+"?sslmode=disable")
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(3)
	s := &server{db}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("POST /orders", s.place)
	mux.HandleFunc("GET /orders/{id}", s.show)
	mux.HandleFunc("GET /customers/{name}", s.customer)
	mux.HandleFunc("GET /products", s.products)
	slog.Info("listening", "port", os.Getenv("PORT"))
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), identify(mux)))
}

func identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-ID")
		if id == "" {
			id = uuid.NewString()
		}
		w.Header().Set("X-Request-ID", id)
		began := time.Now()
		next.ServeHTTP(w, r)
		slog.Info("served", "path", r.URL.Path, "id", id, "took", time.Since(began))
	})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, sql.ErrNoRows):
		status = http.StatusNotFound
	case errors.Is(err, errSoldOut):
		status = http.StatusConflict
	}
	reply(w, status, map[string]string{"error": err.Error(), "at": time.Now().UTC().Format(time.RFC3339Nano)})
}

func (s *server) place(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Customer string         `json:"customer"`
		Items    map[string]int `json:"items"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.Items) == 0 {
		reply(w, http.StatusBadRequest, map[string]string{"error": "no items"})
		return
	}
	made, err := s.store(r.Context(), asked.Customer, asked.Items)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Location", "/orders/"+made.ID.String())
	reply(w, http.StatusCreated, made)
}

func (s *server) store(ctx context.Context, customer string, items map[string]int) (*order, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	skus := make([]string, 0, len(items))
	for sku := range items {
		skus = append(skus, sku)
	}
	sort.Strings(skus)
	made := &order{ID: uuid.New(), Customer: customer, PlacedAt: time.Now().UTC().Format(time.RFC3339Nano)}
	cents := 0.0
	for _, sku := range skus {
		var price float64
		row := tx.QueryRowContext(ctx,
			"UPDATE products SET stock = stock - $2 WHERE sku = $1 AND stock >= $2 RETURNING price", sku, items[sku])
		if err := row.Scan(&price); errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("%s: %w", sku, errSoldOut)
		} else if err != nil {
			return nil, err
		}
		cents += price * 100 * float64(items[sku])
		made.Lines = append(made.Lines, line{uuid.New(), sku, items[sku], time.Now().UTC()})
	}
	made.Total = fmt.Sprintf("%.2f", cents/100)
	if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id, customer, total, placed_at) VALUES ($1, $2, $3, $4)",
		made.ID, customer, made.Total, made.PlacedAt); err != nil {
		return nil, err
	}
	for _, l := range made.Lines {
		if _, err := tx.ExecContext(ctx,
			"INSERT INTO order_lines (id, order_id, sku, quantity, created) VALUES ($1, $2, $3, $4, $5)",
			l.ID, made.ID, l.SKU, l.Quantity, l.Created); err != nil {
			return nil, err
		}
	}
	return made, tx.Commit()
}

func (s *server) show(w http.ResponseWriter, r *http.Request) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		reply(w, http.StatusBadRequest, map[string]string{"error": "not an id"})
		return
	}
	found := order{ID: id}
	group, ctx := errgroup.WithContext(r.Context())
	group.Go(func() error {
		return s.db.QueryRowContext(ctx, "SELECT customer, total, placed_at FROM orders WHERE id = $1", id).
			Scan(&found.Customer, &found.Total, &found.PlacedAt)
	})
	group.Go(func() (err error) {
		found.Lines, err = s.lines(ctx, id)
		return err
	})
	if err := group.Wait(); err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, found)
}

func (s *server) lines(ctx context.Context, id uuid.UUID) ([]line, error) {
	rows, err := s.db.QueryContext(ctx,
		"SELECT id, sku, quantity, created FROM order_lines WHERE order_id = $1 ORDER BY sku", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []line
	for rows.Next() {
		var l line
		if err := rows.Scan(&l.ID, &l.SKU, &l.Quantity, &l.Created); err != nil {
			return nil, err
		}
		found = append(found, l)
	}
	return found, rows.Err()
}

func (s *server) customer(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	var ids []string
	row := s.db.QueryRowContext(r.Context(),
		"SELECT coalesce(array_agg(id::text ORDER BY placed_at), '{}') FROM orders WHERE customer = $1", name)
	if err := row.Scan(pq.Array(&ids)); err != nil {
		fail(w, err)
		return
	}
	totals := make([]string, len(ids))
	var group errgroup.Group
	for i, id := range ids {
		group.Go(func() error {
			return s.db.QueryRow("SELECT total FROM orders WHERE id = $1", id).Scan(&totals[i])
		})
	}
	if err := group.Wait(); err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"name": name, "orders": ids, "totals": totals, "asked": time.Now().UnixMilli()})
}

func (s *server) products(w http.ResponseWriter, r *http.Request) {
	rows, err := s.db.QueryContext(r.Context(), "SELECT sku, name, price FROM products WHERE sku = ANY($1)",
		pq.Array(r.URL.Query()["sku"]))
	if err != nil {
		fail(w, err)
		return
	}
	defer rows.Close()
	found := map[string][2]string{}
	for rows.Next() {
		var sku, name, price string
		if err := rows.Scan(&sku, &name, &price); err != nil {
			fail(w, err)
			return
		}
		found[sku] = [2]string{name, price}
	}
	reply(w, http.StatusOK, map[string]any{"products": found, "count": len(found)})
}
