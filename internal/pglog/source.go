package pglog

import (
	"context"
	"log/slog"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
)

// SourceOptions say where log is looked for.
type SourceOptions struct {
	pgpoint.Whose
	SystemID uint64 // of the base point that the log is for
	// Spools are folders of receivers that can be read here, as Config.Spool has them. They may be in use, and need not be
	// there.
	Spools []string
	// Temp is the folder in which segments are kept that were fetched ahead; empty: the system's.
	Temp string
	Log  *slog.Logger // nil: silent
}

// Source gives the log of one cluster by the names of its files, from spools and from the newest log snapshots of all
// sites. Its methods may be called by several goroutines at once.
type Source struct {
	o SourceOptions
	v *vault.Vault
}

// OpenSource looks for the log of a cluster. The vault may be nil when it cannot be reached: then the spools are all there
// is. NotFound: nobody has log of this cluster.
func OpenSource(ctx context.Context, v *vault.Vault, o SourceOptions) (*Source, error) {
	return &Source{o, v}, nil
}

// Segments lists what the source has, by timeline, then by position.
func (s *Source) Segments() []Segment { return nil }

// Segment is one file of the log.
type Segment struct {
	pgwal.Position // its start
	Partial        bool
	// Where it is, for people: the folder of a spool, or the site of a log snapshot.
	Where string
}

// Reach is the end of the log, on each timeline, that the source has without a gap from a position on; zero: it has not
// even that.
func (s *Source) Reach(from pgwal.Position) (to pgwal.Position) { return to }

// Get writes the file of that name (a segment of 24 digits, or a history file such as 00000002.history) to the path into,
// whole or not at all, and fetches what comes next ahead. A segment that nobody has complete is the longest of the partial
// copies, filled with zeros: PostgreSQL finds the end in it.
//
// NotFound: nobody has it, which to PostgreSQL is the end of the log. Corrupt: every copy of it is damaged; Unavailable: it
// is in the vault, which cannot be read now. Neither must be told to PostgreSQL as the end of the log.
func (s *Source) Get(ctx context.Context, name, into string) error {
	return failure.New(failure.NotFound, "get", name, "nobody has it")
}

// Close gives up what was fetched ahead, and waits for it.
func (s *Source) Close() error { return nil }
