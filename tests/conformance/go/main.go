// Runs the program of a row: conformance ROW FORM.
package main

import "os"

func main() {
	programs := map[string]func(form string){
		"pgx":      runPgx,
		"pq":       runPq,
		"go-redis": runRedis,
		"net-http": runHTTP,
	}
	programs[os.Args[1]](os.Args[2])
}
