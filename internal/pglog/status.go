package pglog

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The codes of what a receiver finds.
const (
	FindUnreachable = "log-source-unreachable" // no server that could be streamed from answers
	FindNoPrimary   = "log-source-is-no-primary"
	FindCluster     = "log-of-another-cluster"
	FindSetBack     = "log-source-was-set-back"
	FindSlot        = "log-slot-in-use"
	FindDenied      = "log-source-denied"
	FindStream      = "log-stream-broken"
	FindSpoolFull   = "log-spool-full"
	FindSpool       = "log-spool-broken"
	FindDamaged     = "log-damaged"
	FindNeedsBase   = "log-needs-base"
	FindBases       = "log-bases-unread"
	FindVault       = "log-vault-unreachable"
	FindUnfolded    = "log-not-in-vault"
)

// status is the State that is written down, and whoever wants to change it.
type status struct {
	mu      sync.Mutex
	s       State
	found   map[string]model.Finding
	changed bool
	log     *slog.Logger
}

// set changes the state.
func (t *status) set(change func(*State)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.s)
	t.changed = true
}

// get is a copy of the state.
func (t *status) get() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.s
}

// find says that something is wrong, from now until it is cleared. It is logged when it begins, and when it becomes another.
func (t *status) find(f model.Finding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.Resource, f.Site = t.s.Resource, t.s.Site
	if t.found[f.Code] == f {
		return
	}
	t.found[f.Code], t.changed = f, true
	level := slog.LevelWarn
	if f.Severity == model.Block {
		level = slog.LevelError
	}
	t.log.Log(context.Background(), level, f.What, "code", f.Code, "why", f.Why, "fix", f.Fix)
}

// clear says that it is not so any more.
func (t *status) clear(codes ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, code := range codes {
		if f, ok := t.found[code]; ok {
			delete(t.found, code)
			t.changed = true
			t.log.Info("over: "+f.What, "code", f.Code)
		}
	}
}

// failed remembers an error.
func (t *status) failed(err error, now time.Time) {
	t.set(func(s *State) { s.LastError, s.ErrorTime = err.Error(), now.UTC() })
}

// write writes the state into the folder, if there is anything new or the last time is long ago.
func (t *status) write(folder string, now time.Time) error {
	t.mu.Lock()
	if !t.changed && now.Sub(t.s.Updated) < aliveEvery {
		t.mu.Unlock()
		return nil
	}
	t.changed, t.s.Updated = false, now.UTC()
	t.s.Findings = slices.SortedFunc(maps.Values(t.found), func(a, b model.Finding) int {
		return cmp.Or(cmp.Compare(rank(a.Severity), rank(b.Severity)), cmp.Compare(a.Code, b.Code))
	})
	text, err := json.MarshalIndent(t.s, "", " ")
	t.mu.Unlock()
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write", stateFile)
	}
	// Not flushed: whoever reads it lives on the same machine, and after a crash of that nobody believes it.
	path := filepath.Join(folder, stateFile)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return failure.WrapAs(failure.Denied, err, "write", path)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return failure.WrapAs(failure.Denied, err, "write", path)
	}
	return nil
}

// How often the state is written, when something in it changes and when nothing does.
const (
	writeEvery = time.Second
	aliveEvery = 3 * time.Second
)

func rank(s model.Severity) int {
	return slices.Index([]model.Severity{model.Block, model.Warn, model.Note}, s)
}
