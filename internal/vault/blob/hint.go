package blob

import "context"

// Hints go with a call's context to what is laid around a store: they never change what a call gives, only from where and
// how fast it comes.
type hint uint8

const (
	hintMetadata hint = iota + 1
	hintDirect
)

// Metadata says that the calls made with the context are about metadata, packs of trees included: worth a local copy.
// Snapshots and indexes are known to be, without a hint.
func Metadata(ctx context.Context) context.Context {
	return context.WithValue(ctx, hintMetadata, true)
}

// IsMetadata reports whether ctx came from [Metadata].
func IsMetadata(ctx context.Context) bool { return ctx.Value(hintMetadata) != nil }

// Direct says that what is loaded must come from the place itself, not from a copy of it: for checks.
func Direct(ctx context.Context) context.Context {
	return context.WithValue(ctx, hintDirect, true)
}

// IsDirect reports whether ctx came from [Direct].
func IsDirect(ctx context.Context) bool { return ctx.Value(hintDirect) != nil }

// Metered is content of which every byte read counts as one sent, for a limit. A store that reads content for another
// end, such as a checksum, reads [Source] of it.
type Metered interface {
	Content
	// Source gives the content without the meter.
	Source() Content
}

// Source is content without a meter.
func Source(c Content) Content {
	for {
		m, ok := c.(Metered)
		if !ok {
			return c
		}
		c = m.Source()
	}
}
