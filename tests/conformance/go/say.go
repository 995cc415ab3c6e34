package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"time"
)

const long = 200

// object is one line of output.
type object map[string]any

// say prints a step and what was seen in it, the same each time.
func say(step string, values ...any) {
	var seen any
	if len(values) == 1 {
		seen = plain(values[0])
	} else {
		seen = plainAll(values)
	}
	printLine(object{step: seen})
}

// sayChanged prints the last line of the form `changed`.
func sayChanged(class string, code string, usable bool) {
	printLine(object{"changed": class, "code": code, "usable": usable})
}

func printLine(line object) {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	check(encoder.Encode(line))
}

func plainAll(values []any) []any {
	seen := make([]any, len(values))
	for n, value := range values {
		seen[n] = plain(value)
	}
	return seen
}

func plain(value any) any {
	switch one := value.(type) {
	case nil, bool, int, int32, int64, uint32, uint64, object, []string, []int, []bool, []int64:
		return one
	case string:
		return shorten(one, "string")
	case []byte:
		if one == nil {
			return nil
		}
		return shorten(hex.EncodeToString(one), "bytes in hex")
	case float64:
		if math.IsInf(one, 0) || math.IsNaN(one) {
			return fmt.Sprint(one)
		}
		return one
	case time.Time:
		return one.UTC().Format(time.RFC3339Nano)
	case error:
		return describeError(one)
	case []any:
		return plainAll(one)
	}
	return shorten(fmt.Sprintf("%T %v", value, value), "value")
}

func shorten(text, kind string) string {
	if len(text) <= long {
		return text
	}
	digest := sha256.Sum256([]byte(text))
	return fmt.Sprintf("<%s of %d, sha256 %x>", kind, len(text), digest)
}

// className is an error's type as it is written in a program.
func className(err error) string {
	return strings.TrimPrefix(fmt.Sprintf("%T", err), "*")
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}
