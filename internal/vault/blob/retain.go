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

// Uncoverer is a Retainer in whose place objects can be hidden though nobody can delete them (S3: by delete markers and
// newer versions). The store itself reads through that; other programs do not.
type Uncoverer interface {
	// Undelete lifts what hides objects from other programs, and calls each for every one that it brought back; each may
	// be nil. With dry it only tells. It gives how many. Unsupported: nothing can be hidden in this place.
	Undelete(ctx context.Context, dry bool, each func(Handle)) (int, error)
}
