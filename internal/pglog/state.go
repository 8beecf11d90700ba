package pglog

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// State is how a receiver does, as it wrote it down last. Positions are exclusive ends.
type State struct {
	pgpoint.Whose
	Site    model.SiteID `json:"site"`
	Pid     int          `json:"pid"`
	Started time.Time    `json:"started"`
	// Before are the processes of receivers that ran here before, and whose locks in the vault may not be removed yet.
	Before  []int     `json:"before,omitempty"`
	Updated time.Time `json:"updated"` // it is written at least every few seconds while the receiver lives

	// Running reports whether a receiver holds the folder's lock now; ReadState finds it out.
	Running bool `json:"-"`

	SystemID uint64            `json:"system_id,string,omitempty"`
	Segment  pgwal.SegmentSize `json:"segment_size,omitempty"`
	// Streaming reports whether the log is arriving; From is the server, Since when.
	Streaming bool         `json:"streaming"`
	From      model.SiteID `json:"from,omitempty"`
	Address   string       `json:"address,omitempty"`
	Since     time.Time    `json:"since,omitzero"`
	// Flushed is up to where the log is safe in the spool, as it was acknowledged. Server is how far the server's was when
	// it said so last, at ServerTime by its own clock.
	Flushed    pgwal.Position `json:"flushed"`
	Server     pgwal.LSN      `json:"server"`
	ServerTime time.Time      `json:"server_time,omitzero"`
	// LagBytes is what the server had and the spool had not. LagSince is the last time, by this host's clock, at which the
	// spool had all that the server was known to have: what was committed since may be lost with the server when it does
	// not wait for us. Heard is when the server said anything.
	LagBytes int64     `json:"lag_bytes"`
	LagSince time.Time `json:"lag_since,omitzero"`
	Heard    time.Time `json:"heard,omitzero"`

	SpoolBytes int64 `json:"spool_bytes"` // of files in the spool
	DiskFree   int64 `json:"disk_free"`
	// Folded is up to where the log is safe in the vault; FoldedTime when the last fold ended, Unfolded the bytes that are
	// in the spool alone, UnfoldedSince since when the oldest of them waits.
	Folded        pgwal.Position `json:"folded"`
	FoldedTime    time.Time      `json:"folded_time,omitzero"`
	Unfolded      int64          `json:"unfolded"`
	UnfoldedSince time.Time      `json:"unfolded_since,omitzero"`
	Folds         int64          `json:"folds"`
	FoldTook      time.Duration  `json:"fold_took"`
	// Superseded counts the log snapshots in the vault that newer ones replaced and that are not removed yet.
	Superseded int `json:"superseded"`

	Spans []pgpoint.Span `json:"spans"`
	// NeedsBase reports whether no base point is connected with the newest log: until one is made, what is received cannot
	// be restored. It is as of the last look into the vault, at BasesSeen.
	NeedsBase bool      `json:"needs_base"`
	BasesSeen time.Time `json:"bases_seen,omitzero"`

	// Findings are what is wrong now, the worst first.
	Findings []model.Finding `json:"findings,omitempty"`
	// LastError is what went wrong last, at ErrorTime; it may be over.
	LastError string    `json:"last_error,omitempty"`
	ErrorTime time.Time `json:"error_time,omitzero"`
}

// ReadState reads what the receiver in folder wrote down last. NotFound: none ever ran there.
func ReadState(folder string) (State, error) {
	var s State
	path := filepath.Join(folder, stateFile)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, failure.New(failure.NotFound, "read", path, "no receiver ever ran here")
	case err != nil:
		return s, failure.WrapAs(failure.Denied, err, "read", path)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, failure.WrapAs(failure.Corrupt, err, "understand", path)
	}
	s.Running = held(folder)
	s.Streaming = s.Streaming && s.Running // one that was killed could not say so
	return s, nil
}

// held reports whether a receiver has the folder's lock.
func held(folder string) bool {
	f, err := os.OpenFile(filepath.Join(folder, lockFile), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Lag is for how long, at most, what was committed at the server is not in the spool: the recovery point objective that
// holds at the moment now of this host's clock.
func (s State) Lag(now time.Time) time.Duration {
	if s.LagSince.IsZero() { // it never had everything
		return max(0, now.Sub(s.Started))
	}
	return max(0, now.Sub(s.LagSince))
}

// Drained reports whether everything up to a position is in the spool and in the vault.
func (s State) Drained(to pgwal.LSN) bool { return s.Flushed.At >= to && s.Folded.At >= to }

// Drain asks the receiver in folder to fold without delay once it has everything up to a position, as before a planned
// move. It does not wait: [State.Drained] says when it is done. It may be asked again.
func Drain(folder string, to pgwal.LSN) error {
	text, err := json.Marshal(to)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write", drainFile)
	}
	return replace(filepath.Join(folder, drainFile), text)
}
