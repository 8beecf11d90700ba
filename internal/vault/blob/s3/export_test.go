package s3

import (
	"testing"
	"time"
)

// MakeLocked makes a bucket with Object Lock.
func MakeLocked(tb testing.TB, o Options) {
	tb.Helper()
	o.Retain = time.Hour
	s, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Create(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}
