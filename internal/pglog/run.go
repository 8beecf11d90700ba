package pglog

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/internal/walreceiver"
	"github.com/lifeboat-dr/lifeboat/internal/walspool"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Options are what a receiver is run with.
type Options struct {
	Config Config
	Folder string       // for its state and its lock
	Log    *slog.Logger // nil: silent
	// DrainFor is for how long, at the end, it is tried to fold what is left; 0: 8 s. The spool keeps the rest.
	DrainFor time.Duration
	// LookAround is how often the other servers are asked whether one was promoted, while one is streamed from; 0: 10 s.
	LookAround time.Duration
	// Location is how the vault is opened; the zero one is right outside of tests.
	Location location.Options
	Now      func() time.Time // nil: time.Now
}

// drainFor is Options.DrainFor's default.
const drainFor = 8 * time.Second

// runner is one run.
type runner struct {
	c          Config
	folder     string
	log        *slog.Logger
	now        func() time.Time
	location   location.Options
	drainFor   time.Duration
	lookAround time.Duration
	status     *status
	wake       chan struct{} // the folder has something to do before its time

	flow     sync.Mutex // guards what follows: what the stream brings, dozens of times a second
	open     bool       // somebody may be writing to the spool
	received *walreceiver.Progress
	from     *candidate
	since    time.Time
	heard    time.Time
	caughtUp time.Time
	skew     time.Duration // from the server's clock to ours, and what the fastest message took
	pending  pgpoint.Mark
	passed   pgpoint.Mark
	last     pgwal.Position // the furthest that was flushed
	foldedAt pgwal.LSN
	waiting  time.Time // since when something waits to be folded
}

// Run receives and folds until ctx ends; then it flushes, folds what is left and returns nil. Whatever the server, the
// network or the vault does, it goes on and says so in its state. Errors: Invalid for a configuration that cannot be,
// Conflict when another receiver runs in the folder, Denied when the folder or the spool cannot be written.
func Run(ctx context.Context, o Options) error {
	r, err := newRunner(o)
	if err != nil {
		return err
	}
	unlock, err := lock(o.Folder)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.MkdirAll(r.c.Spool, 0o700); err != nil {
		return failure.WrapAs(failure.Denied, err, "make", r.c.Spool)
	}
	r.status.set(func(s *State) { s.Pid, s.Started = os.Getpid(), r.now().UTC() })
	if err := r.status.write(o.Folder, r.now()); err != nil {
		return err
	}
	// The three end in turn, so that each sees what the one before left.
	var receiving, folding, telling sync.WaitGroup
	foldCtx, stopFolding := context.WithCancel(context.WithoutCancel(ctx))
	tellCtx, stopTelling := context.WithCancel(context.WithoutCancel(ctx))
	receiving.Go(func() { r.receive(ctx) })
	folding.Go(func() { (&folder{r: r, chains: map[uint64]*chain{}}).run(foldCtx) })
	telling.Go(func() { r.tell(tellCtx) })
	receiving.Wait()
	r.status.set(func(s *State) { s.Streaming = false })
	stopFolding()
	folding.Wait()
	stopTelling()
	telling.Wait()
	return nil
}

func newRunner(o Options) (*runner, error) {
	r := &runner{c: o.Config.WithDefaults(), folder: o.Folder, log: o.Log, now: o.Now, location: o.Location, drainFor: o.DrainFor, lookAround: o.LookAround, wake: make(chan struct{}, 1)}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.drainFor == 0 {
		r.drainFor = drainFor
	}
	if r.lookAround == 0 {
		r.lookAround = lookAround
	}
	if err := r.c.Validate(); err != nil {
		return nil, err
	}
	if err := r.c.unseal(); err != nil {
		return nil, err
	}
	r.status = &status{found: map[string]model.Finding{}, log: r.log}
	// What the one before us knew is where we begin.
	before, err := ReadState(o.Folder)
	if err != nil && !errors.Is(err, failure.NotFound) {
		r.log.Warn("the state that was left cannot be read", "error", err)
	}
	r.status.s = State{Whose: r.c.Whose, Site: r.c.Site, SystemID: before.SystemID, Segment: before.Segment, Flushed: before.Flushed,
		Server: before.Server, ServerTime: before.ServerTime, Heard: before.Heard, LagSince: before.LagSince, LagBytes: before.LagBytes,
		Folded: before.Folded, FoldedTime: before.FoldedTime, Spans: before.Spans, NeedsBase: before.NeedsBase, BasesSeen: before.BasesSeen}
	if before.Pid != 0 {
		r.status.s.Before = append(before.Before, before.Pid)
	}
	r.caughtUp, r.heard, r.last, r.foldedAt = before.LagSince, before.Heard, before.Flushed, before.Folded.At
	return r, nil
}

// lock makes this process the only receiver of the folder.
func lock(folder string) (unlock func(), err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "make", folder)
	}
	f, err := os.OpenFile(filepath.Join(folder, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "lock", folder)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(failure.New(failure.Conflict, "receive in", folder, "a receiver runs there already"), f.Close())
	}
	return func() { _ = f.Close() }, nil // nothing was written to it
}

// wakeFolder makes the folder look now.
func (r *runner) wakeFolder() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// edge is up to where the spool may be read now.
func (r *runner) edge() edge {
	r.flow.Lock()
	defer r.flow.Unlock()
	e := edge{live: r.open}
	if r.received != nil {
		e.flushed = r.received.Position
	}
	return e
}

// takeMark gives the newest mark that was passed, if there is one.
func (r *runner) takeMark() []pgpoint.Mark {
	r.flow.Lock()
	defer r.flow.Unlock()
	if r.passed.At == 0 {
		return nil
	}
	return []pgpoint.Mark{r.passed}
}

// isFolded takes down up to where the log is in the vault, by a fold that began at a time.
func (r *runner) isFolded(p pgwal.Position, begun time.Time) {
	r.flow.Lock()
	defer r.flow.Unlock()
	r.foldedAt = p.At
	r.waiting = time.Time{}
	if walspool.Before(p, r.last) {
		r.waiting = begun
	}
}

// tell writes the state down until ctx ends, and says what can be seen without asking anybody.
func (r *runner) tell(ctx context.Context) {
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	var last, told time.Time
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-tick.C:
		}
		r.drain()
		now := r.now()
		if !done && now.Sub(last) < writeEvery {
			continue
		}
		last = now
		r.flowing()
		r.disk()
		r.unfolded(now)
		if err := r.status.write(r.folder, now); err != nil && now.Sub(told) > time.Minute {
			told = now
			r.log.Error("the state cannot be written", "error", err)
		}
	}
}

// drainEvery is how often it is looked whether somebody waits for a position to be folded.
const drainEvery = 200 * time.Millisecond

// drain folds at once when somebody waits for that, and everything has come.
func (r *runner) drain() {
	path := filepath.Join(r.folder, drainFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	var to pgwal.LSN
	if err := to.UnmarshalText([]byte(trimQuotes(text))); err != nil {
		r.log.Warn("what is waited for cannot be understood", "file", path, "error", err)
		_ = os.Remove(path)
		return
	}
	r.flow.Lock()
	flushed := r.last
	r.flow.Unlock()
	switch folded := r.status.get().Folded; {
	case folded.At >= to:
		_ = os.Remove(path)
	case flushed.At >= to:
		r.wakeFolder()
	}
}

func trimQuotes(text []byte) string {
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		return string(text[1 : n-1])
	}
	return string(text)
}

// disk looks at the spool's size and its disk.
func (r *runner) disk() {
	free, err := walspool.Free(r.c.Spool)
	if err != nil {
		r.status.find(model.Finding{Severity: model.Block, Code: FindSpool, What: "the spool's disk cannot be looked at", Why: err.Error()})
		return
	}
	r.status.clear(FindSpool)
	used := spoolBytes(r.c.Spool)
	r.status.set(func(s *State) { s.DiskFree, s.SpoolBytes = free, used })
}

// unfolded says what is in the spool alone, and when that is too much or too long.
func (r *runner) unfolded(now time.Time) {
	r.flow.Lock()
	last, since := r.last, r.waiting
	r.flow.Unlock()
	folded := r.status.get().Folded
	n := int64(0)
	if walspool.Before(folded, last) {
		n = max(0, int64(last.At)-int64(folded.At))
	}
	r.status.set(func(s *State) { s.Unfolded, s.UnfoldedSince = n, since.UTC() })
	if since.IsZero() || n < r.c.AlarmBytes && now.Sub(since) < r.c.AlarmAge.Std() {
		r.status.clear(FindUnfolded)
		return
	}
	r.status.find(model.Finding{Severity: model.Block, Code: FindUnfolded, What: "log is in the spool alone since " + since.UTC().Format(time.RFC3339),
		Why: "the vault has not taken it: if this host is lost too, so is what was committed since", Fix: "look at the vault, and at the room on the spool's disk"})
}
