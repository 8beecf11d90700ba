package fake

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Ledger keeps a fake world: what was asked for and what landed. Drivers that share a Ledger share the world.
// Implementations are safe for concurrent use.
type Ledger interface {
	// Do calls f, alone, with the world as it is. The entries that f returns are appended and folded into the world
	// before Do returns, also when f fails; f's error is returned as it is. f changes nothing by itself, keeps no
	// pointer into the State, and does not block.
	Do(f func(*State) ([]Entry, error)) error
}

// Entry is one line of a ledger. Exactly one of the pointers is set, or Observed, or Canceled, or Released.
type Entry struct {
	Call     *Call        `json:"call,omitempty"`
	Effect   *Effect      `json:"effect,omitempty"`
	Observed string       `json:"observed,omitempty"` // the token of an effect that was observed
	Canceled string       `json:"canceled,omitempty"` // the token of an effect that was cancelled before its end
	Released string       `json:"released,omitempty"` // the token of an effect whose leavings were removed
	Marker   *MarkerEntry `json:"marker,omitempty"`
	Site     *SiteEntry   `json:"site,omitempty"`
	At       time.Time    `json:"at"`
}

// Call is one call of a begin, whatever became of it.
type Call struct {
	Token    string           `json:"token"`
	Run      model.RunID      `json:"run"`
	Step     model.StepID     `json:"step"`
	Action   model.Action     `json:"action"`
	Attempt  int              `json:"attempt"`
	Resumed  bool             `json:"resumed,omitempty"`
	App      model.AppID      `json:"app"`
	Resource model.ResourceID `json:"resource"`
	Site     model.SiteID     `json:"site,omitempty"`
	At       time.Time        `json:"at"`
	Known    bool             `json:"known,omitempty"` // the token's effect had landed already: nothing was done
	Err      *failure.Error   `json:"err,omitempty"`   // what the call answered
}

// Effect is what a begin did to the fake world. There is at most one for each token.
type Effect struct {
	Token    string                 `json:"token"`
	Run      model.RunID            `json:"run"`
	Step     model.StepID           `json:"step"`
	Action   model.Action           `json:"action"`
	Attempt  int                    `json:"attempt"`
	App      model.AppID            `json:"app"`
	Resource model.ResourceID       `json:"resource"`
	Site     model.SiteID           `json:"site,omitempty"`
	At       time.Time              `json:"at"`
	EndsAt   time.Time              `json:"ends_at,omitzero"` // when its work is over; zero: never by itself
	Polls    int                    `json:"polls,omitempty"`  // observations that are pending at least
	Again    model.Duration         `json:"again,omitempty"`
	Outputs  map[string]model.Value `json:"outputs,omitempty"`
	Err      *failure.Error         `json:"err,omitempty"` // what its work ends in; nil: success
	Observed int                    `json:"observed,omitempty"`
	Canceled time.Time              `json:"canceled,omitzero"`
	Released time.Time              `json:"released,omitzero"`
	Point    string                 `json:"point,omitempty"` // of a proof
	Apart    bool                   `json:"apart,omitempty"` // it changes no role: a restore into a folder of its own
}

// MarkerEntry is a marker that was written.
type MarkerEntry struct {
	App      model.AppID      `json:"app"`
	Resource model.ResourceID `json:"resource"`
	Marker   model.Marker     `json:"marker"`
}

// SiteEntry takes a site down or brings it back, or with Role set changes what one resource is there.
type SiteEntry struct {
	Site     model.SiteID     `json:"site"`
	Down     bool             `json:"down,omitempty"`
	App      model.AppID      `json:"app,omitempty"`
	Resource model.ResourceID `json:"resource,omitempty"`
	Role     model.Role       `json:"role,omitempty"`
}

// place is one resource at one site.
type place struct {
	app      model.AppID
	resource model.ResourceID
	site     model.SiteID
}

// State is a fake world: the fold of a ledger's entries.
type State struct {
	Calls   []Call
	Effects []*Effect // in the order in which they landed

	byToken map[string]*Effect
	begun   map[string]int // calls by token
	at      map[place][]*Effect
	roles   map[place]roleAt
	markers map[place][]model.Marker // site is empty
	down    map[model.SiteID]bool
}

type roleAt struct {
	role model.Role
	at   time.Time
}

// keptMarkers bounds how many markers of one resource a world remembers.
const keptMarkers = 4096

// NewState is the world in which nothing has happened.
func NewState() *State {
	return &State{
		byToken: map[string]*Effect{}, begun: map[string]int{}, at: map[place][]*Effect{},
		roles: map[place]roleAt{}, markers: map[place][]model.Marker{}, down: map[model.SiteID]bool{},
	}
}

// Apply folds one entry in. An effect of a token that has landed already is an error: the driver never does that.
func (s *State) Apply(e Entry) error {
	switch {
	case e.Call != nil:
		s.Calls = append(s.Calls, *e.Call)
		s.begun[e.Call.Token]++
	case e.Effect != nil:
		if _, twice := s.byToken[e.Effect.Token]; twice {
			return fmt.Errorf("the ledger has token %s twice", e.Effect.Token)
		}
		effect := *e.Effect
		s.Effects = append(s.Effects, &effect)
		s.byToken[effect.Token] = &effect
		p := place{effect.App, effect.Resource, effect.Site}
		s.at[p] = append(s.at[p], &effect)
	case e.Observed != "":
		if effect := s.byToken[e.Observed]; effect != nil {
			effect.Observed++
		}
	case e.Canceled != "":
		if effect := s.byToken[e.Canceled]; effect != nil && effect.Canceled.IsZero() {
			effect.Canceled = e.At
		}
	case e.Released != "":
		if effect := s.byToken[e.Released]; effect != nil && effect.Released.IsZero() {
			effect.Released = e.At
		}
	case e.Marker != nil:
		p := place{e.Marker.App, e.Marker.Resource, ""}
		s.markers[p] = append(s.markers[p], e.Marker.Marker)
		if n := len(s.markers[p]); n > keptMarkers {
			s.markers[p] = append(s.markers[p][:0:0], s.markers[p][n-keptMarkers/2:]...)
		}
	case e.Site != nil && e.Site.Role != "":
		s.roles[place{e.Site.App, e.Site.Resource, e.Site.Site}] = roleAt{e.Site.Role, e.At}
	case e.Site != nil:
		s.down[e.Site.Site] = e.Site.Down
	default:
		return errors.New("the ledger has an empty entry")
	}
	return nil
}

func (s *State) apply(entries []Entry) error {
	for _, e := range entries {
		if err := s.Apply(e); err != nil {
			return err
		}
	}
	return nil
}

// memory is a Ledger that dies with its process.
type memory struct {
	mu    sync.Mutex
	state *State
}

func (m *memory) Do(f func(*State) ([]Entry, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	entries, err := f(m.state)
	if broken := m.state.apply(entries); broken != nil {
		return failure.WrapAs(failure.Internal, broken, "write fake ledger", "")
	}
	return err
}

// file is a Ledger in a folder: one JSON entry a line, appended under an exclusive lock. It outlives processes that
// are killed, not machines that lose power. A line that was cut short is dropped by the next writer.
type file struct {
	path string

	mu     sync.Mutex
	state  *State
	offset int64 // how much of the file is in state
}

func openFile(folder string) (*file, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "open fake ledger", folder).
			WithHint("ledger: must name a folder that can be made and written")
	}
	return &file{path: filepath.Join(folder, "ledger.jsonl"), state: NewState()}, nil
}

func (l *file) Do(f func(*State) ([]Entry, error)) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "open fake ledger", l.path)
	}
	defer h.Close()
	if err := syscall.Flock(int(h.Fd()), syscall.LOCK_EX); err != nil { // given back by the close
		return failure.WrapAs(failure.Unavailable, err, "lock fake ledger", l.path)
	}
	if err := l.catchUp(h); err != nil {
		return err
	}
	entries, ferr := f(l.state)
	if len(entries) == 0 {
		return ferr
	}
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, e := range entries {
		if err := enc.Encode(e); err != nil {
			return failure.WrapAs(failure.Internal, err, "write fake ledger", l.path)
		}
	}
	if _, err := h.WriteAt(lines.Bytes(), l.offset); err != nil {
		return failure.WrapAs(failure.Indeterminate, err, "write fake ledger", l.path)
	}
	l.offset += int64(lines.Len())
	if broken := l.state.apply(entries); broken != nil {
		return failure.WrapAs(failure.Internal, broken, "write fake ledger", l.path)
	}
	return ferr
}

// catchUp folds in what other processes appended, and cuts off what a dead one left half written.
func (l *file) catchUp(h *os.File) error {
	info, err := h.Stat()
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "read fake ledger", l.path)
	}
	if info.Size() < l.offset { // somebody began a new world
		l.state, l.offset = NewState(), 0
	}
	if _, err := h.Seek(l.offset, io.SeekStart); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "read fake ledger", l.path)
	}
	r := bufio.NewReader(h)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				err = h.Truncate(l.offset)
			} else {
				err = nil
			}
			if err != nil {
				return failure.WrapAs(failure.Unavailable, err, "mend fake ledger", l.path)
			}
			return nil
		}
		if err != nil {
			return failure.WrapAs(failure.Unavailable, err, "read fake ledger", l.path)
		}
		var e Entry
		if err = json.Unmarshal(line, &e); err == nil {
			err = l.state.Apply(e)
		}
		if err != nil {
			return failure.WrapAs(failure.Corrupt, err, "read fake ledger", l.path).
				WithHint("move the file away to begin a new world")
		}
		l.offset += int64(len(line))
	}
}
