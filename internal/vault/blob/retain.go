package blob

import (
	"context"
	"time"
)

// Retainer is a store that can keep objects from deletion and from being overwritten until an instant, for everybody,
// its own credentials included (S3 Object Lock in compliance mode). Find it with [As]; Facts.Retention says whether the
// place has it switched on.
type Retainer interface {
	// Retain keeps h at least until the instant. A longer retention stays as it is. NotFound: h is not there.
	// Unsupported: this place has no retention.
	Retain(ctx context.Context, h Handle, until time.Time) error
	// RetainedUntil is when the retention of h ends; the zero time: it has none.
	RetainedUntil(ctx context.Context, h Handle) (time.Time, error)
}
