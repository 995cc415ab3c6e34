// HTTP whose requests each make two calls over TLS, or HTTPS that calls nobody.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
)

var bug = os.Getenv("TLS_BUG")

type caller interface {
	keep(ctx context.Context, number int, note string) error
	recall(ctx context.Context, number int) (string, error)
}

func ask(ctx context.Context, peer caller, number int, note string) (string, error) {
	if bug == "argument" {
		note += "!"
	}
	if bug != "drop" {
		if err := peer.keep(ctx, number, note); err != nil {
			return "", err
		}
	}
	return peer.recall(ctx, number)
}

func reverse(_ context.Context, _ int, note string) (string, error) {
	backwards := make([]byte, len(note))
	for place := range note {
		backwards[len(note)-1-place] = note[place]
	}
	return string(backwards), nil
}

func serve(answer func(context.Context, int, string) (string, error)) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		response.Header().Set("Content-Type", "text/plain")
		if request.Method == http.MethodGet {
			fmt.Fprint(response, "fine")
			return
		}
		note, err := io.ReadAll(request.Body)
		if err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		parts := strings.Split(request.URL.Path, "/")
		number, err := strconv.Atoi(parts[len(parts)-1])
		if err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		text, err := answer(request.Context(), number, string(note))
		if err != nil {
			http.Error(response, err.Error(), http.StatusBadGateway)
			return
		}
		zero := ""
		if bug == "field" {
			zero = "0"
		}
		fmt.Fprintf(response, "%d%s %s", number, zero, text)
	})
}

func serveTLS(server *http.Server) error {
	return server.ListenAndServeTLS(os.Getenv("CERT_FILE"), os.Getenv("KEY_FILE"))
}

func main() {
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT")}
	switch os.Args[1] {
	case "echo":
		server.Handler = serve(reverse)
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		log.Fatal(serveTLS(server))
	case "echo-h2":
		server.Handler = serve(reverse)
		log.Fatal(serveTLS(server))
	case "echo-deep":
		server.Handler = serve(deep)
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		log.Fatal(serveTLS(server))
	}
	peer := map[string]func() caller{"http": newVendor, "pgx": newDatabase}[os.Args[1]]()
	server.Handler = serve(func(ctx context.Context, number int, note string) (string, error) {
		return ask(ctx, peer, number, note)
	})
	log.Fatal(server.ListenAndServe())
}
