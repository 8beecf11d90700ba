// Package bench measures what the engine and the commands cost: docs/benchmarks.md says what is measured, how, and what
// came of it. It holds benchmarks only; they report figures and judge none of them, for a figure is the machine's as
// much as the program's. The aims stand in the document.
//
// Start with `go test -run '^$' -bench . ./test/bench`. Each measurement runs in a process of its own, so that its
// memory and its processor time are its own.
package bench
