module orders

go 1.26.0

require (
	github.com/google/uuid v1.6.0
	github.com/lib/pq v1.10.9
	golang.org/x/sync v0.22.0
)
