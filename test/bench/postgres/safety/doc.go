// Package safety measures what it costs a PostgreSQL primary to wait for a second copy of its log: with Lifeboat's receiver,
// with pg_receivewal --synchronous, and with a real standby, in turn, on one server, in one run.
//
// It is a benchmark of itself and holds nothing else. Start with `make bench-postgres`, or
// go test -run '^$' -bench CostOfSafety -benchtime 1x ./test/bench/postgres/safety; docs/benchmarks.md says what came of it.
package safety
