// Command vault measures lifeboat's vault against restic: the same data, the same machine, in turn, each at its defaults.
//
// It generates a data set of 2.1 GB with fixed seeds in a temporary folder, lets both tools back it up into folders,
// back it up again unchanged and with some pages changed, check, restore and prune, a few rounds of all that, and prints
// a table of medians with ratios. It judges nothing but correctness: what was restored is compared with the data. Start
// with `make bench-vault`; docs/benchmarks.md says what came of it.
package main
