// Command notes is the notes service on Go's net/http, with pgx's pool and go-redis.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

const maxRows = 2000

type note struct {
	ID        int64     `json:"id"`
	Author    string    `json:"author"`
	Title     string    `json:"title"`
	Body      string    `json:"body"`
	CreatedAt time.Time `json:"created_at"`
}

type service struct {
	db    *pgxpool.Pool
	cache *redis.Client
	bug   string
}

func main() {
	ctx := context.Background()
	db, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	s := &service{db: db, cache: redis.NewClient(options), bug: os.Getenv("NOTES_BUG")}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), s.routes()))
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("POST /notes", s.create)
	mux.HandleFunc("GET /notes/{id}", s.show)
	mux.HandleFunc("GET /notes", s.list)
	mux.HandleFunc("DELETE /notes/{id}", s.remove)
	mux.HandleFunc("POST /echo", s.echo)
	mux.HandleFunc("GET /report", s.report)
	files := http.FileServer(http.Dir(os.Getenv("FILES_DIR")))
	mux.Handle("GET /files/", http.StripPrefix("/files/", files))
	return mux
}

func (s *service) health(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *service) create(w http.ResponseWriter, r *http.Request) {
	var n note
	if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if n.Title == "" {
		refuse(w, http.StatusUnprocessableEntity, "title is required")
		return
	}
	if err := s.insert(r.Context(), &n); err != nil {
		fail(w, err)
		return
	}
	s.spoil(&n)
	text, _ := json.Marshal(n)
	if err := s.cache.Set(r.Context(), key(n.ID), text, 0).Err(); err != nil {
		fail(w, err)
		return
	}
	if err := s.cache.Incr(r.Context(), "notes:count:"+n.Author).Err(); err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Location", fmt.Sprintf("/notes/%d", n.ID))
	answer(w, http.StatusCreated, n)
}

func (s *service) insert(ctx context.Context, n *note) error {
	return pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		row := tx.QueryRow(ctx,
			"INSERT INTO notes (author, title, body) VALUES ($1, $2, $3) RETURNING id, created_at",
			n.Author, n.Title, n.Body)
		if err := row.Scan(&n.ID, &n.CreatedAt); err != nil {
			return err
		}
		if s.bug == "history" {
			return nil
		}
		_, err := tx.Exec(ctx, "INSERT INTO history (note_id, action) VALUES ($1, 'created')", n.ID)
		return err
	})
}

func (s *service) show(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		refuse(w, http.StatusNotFound, "no such note")
		return
	}
	cached, err := s.cache.Get(r.Context(), key(id)).Bytes()
	if err == nil {
		w.Header().Set("X-Cache", "hit")
		w.Header().Set("Content-Type", "application/json")
		w.Write(cached)
		return
	}
	if !errors.Is(err, redis.Nil) {
		fail(w, err)
		return
	}
	w.Header().Set("X-Cache", "miss")
	rows, _ := s.db.Query(r.Context(),
		"SELECT id, author, title, body, created_at FROM notes WHERE id = $1", id)
	n, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[note])
	if errors.Is(err, pgx.ErrNoRows) {
		refuse(w, http.StatusNotFound, "no such note")
		return
	}
	if err != nil {
		fail(w, err)
		return
	}
	s.spoil(&n)
	text, _ := json.Marshal(n)
	if err := s.cache.Set(r.Context(), key(id), text, time.Minute).Err(); err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, n)
}

func (s *service) list(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(r.FormValue("limit"))
	if err != nil {
		limit = 10
	}
	rows, _ := s.db.Query(r.Context(),
		"SELECT id, author, title, body, created_at FROM notes "+
			"WHERE author = $1 ORDER BY id "+s.order()+" LIMIT $2",
		r.FormValue("author"), limit)
	notes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[note])
	if err != nil {
		fail(w, err)
		return
	}
	for i := range notes {
		s.spoil(&notes[i])
	}
	answer(w, http.StatusOK, notes)
}

func (s *service) remove(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		refuse(w, http.StatusNotFound, "no such note")
		return
	}
	tag, err := s.db.Exec(r.Context(), "DELETE FROM notes WHERE id = $1", id)
	if err != nil {
		fail(w, err)
		return
	}
	if err := s.cache.Del(r.Context(), key(id)).Err(); err != nil {
		fail(w, err)
		return
	}
	if tag.RowsAffected() == 0 {
		refuse(w, http.StatusNotFound, "no such note")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *service) echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	w.Write(body)
}

// report streams one line a row; net/http frames a body of unknown length in chunks.
func (s *service) report(w http.ResponseWriter, r *http.Request) {
	count, err := strconv.Atoi(r.FormValue("rows"))
	if err != nil || count > maxRows {
		count = maxRows
	}
	rows, err := s.db.Query(r.Context(), "SELECT generate_series(1, $1::int)", count)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	out := bufio.NewWriter(w)
	defer out.Flush()
	var number int32
	_, err = pgx.ForEachRow(rows, []any{&number}, func() error {
		_, err := fmt.Fprintf(out, "row %d\n", number)
		return err
	})
	if err != nil {
		log.Print(err)
	}
}

// spoil and order are regressions that a test of this service must find.
func (s *service) spoil(n *note) {
	if s.bug == "title" {
		n.Title = strings.ToUpper(n.Title)
	}
}

func (s *service) order() string {
	if s.bug == "order" {
		return "ASC"
	}
	return "DESC"
}

func key(id int64) string {
	return fmt.Sprintf("note:%d", id)
}

func refuse(w http.ResponseWriter, status int, reason string) {
	answer(w, status, map[string]string{"error": reason})
}

func fail(w http.ResponseWriter, err error) {
	log.Print(err)
	refuse(w, http.StatusInternalServerError, err.Error())
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		log.Print(err)
	}
}
