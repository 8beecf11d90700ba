// Command postgres measures base points against pgBackRest: the same server, the same machine, in turn.
//
// It makes a cluster with pgbench's tables in a temporary folder, lets both tools back it up whole, restore that, and back
// it up again after some of its pages have changed and after nothing has, a few rounds of all that, and prints a table of
// medians with ratios. pgBackRest works with as many processes as there are processors, zstd and bundles; Lifeboat as
// its jobs on the database's host do. It judges nothing but correctness: what was restored is compared with the data.
// Start with `make bench-postgres`; docs/benchmarks.md says what came of it.
package main
