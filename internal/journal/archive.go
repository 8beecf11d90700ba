package journal

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Summary is what is known of an archived run without reading it: enough for a list.
type Summary struct {
	ID   string          `json:"id"`   // of the run: letters, digits, "-", "_" and ".", not starting with "."
	At   time.Time       `json:"at"`   // when it finished
	Meta json.RawMessage `json:"meta"` // the engine's, a few hundred bytes; nil is null
	Size int64           `json:"size"` // of the content in bytes; set by the archive
}

// Archive keeps runs that are over, one immutable record each, outside of the [Store]. Contents are opaque to it.
// Methods are safe for concurrent use, by several processes too where the archive is a folder.
type Archive interface {
	// Put stores content durably under s.ID, whole or not at all. Putting the same content again is no error, so that
	// a run whose archiver died is archived by the next; another content under that id is failure.Exists.
	Put(ctx context.Context, s Summary, content []byte) error
	// Get reads a run back. failure.NotFound: there is none; failure.Corrupt: it is not what was put.
	Get(ctx context.Context, id string) (Summary, []byte, error)
	// List gives the newest limit runs (zero: all), newest first, by At and then by ID.
	List(ctx context.Context, limit int) ([]Summary, error)
}

// MaxID is the longest id of an archived run, in bytes: ids become file names.
const MaxID = 128

// Validate refuses, with failure.Invalid, a summary that no Archive takes.
func (s Summary) Validate() error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
	}
	odd := strings.IndexFunc(s.ID, func(r rune) bool { return !plain(r) })
	switch {
	case s.ID == "" || len(s.ID) > MaxID || odd >= 0 || s.ID[0] == '.':
		return failure.New(failure.Invalid, "archive", "run", "%q is no id of a run", s.ID)
	case s.At.IsZero():
		return failure.New(failure.Invalid, "archive", "run "+s.ID, "it has no time")
	case s.Meta != nil && !json.Valid(s.Meta):
		return failure.New(failure.Invalid, "archive", "run "+s.ID, "its metadata is not JSON")
	}
	return nil
}
