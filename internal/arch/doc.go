// Package arch holds the architecture as tests: which way imports point, that each package says what it is for, that
// files and functions stay readable, and that the repository speaks of the project alone.
//
// It has no code. docs/architecture.md is the same in words; a new room needs a rule in imports_test.go and a line there.
package arch
