package pglog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/walreceiver"
	"github.com/lifeboat-dr/lifeboat/internal/walspool"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Waiting between attempts to stream: at first so long, then twice as long each time up to the most.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// lookAround is how often the other servers are asked whether one was promoted, while one is streamed from.
const lookAround = 10 * time.Second

// silences is how many times in a row the server may leave a status without an answer.
const silences = 10

// receive streams until ctx ends, whatever happens.
func (r *runner) receive(ctx context.Context) {
	wait := retryFirst
	for ctx.Err() == nil {
		began := r.now()
		streamed, err := r.stream(ctx)
		if ctx.Err() != nil {
			return
		}
		r.trouble(err)
		if streamed && r.now().Sub(began) > retryMost {
			wait = retryFirst
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
		wait = min(2*wait, retryMost)
	}
}

// stream finds the server and streams from it until that fails, or another one is to be streamed from. It reports whether
// anything was flushed.
func (r *runner) stream(ctx context.Context) (flushed bool, err error) {
	known := r.status.get().SystemID
	from, err := r.c.pick(r.c.probe(ctx), known)
	if err != nil {
		return false, err
	}
	r.status.clear(FindUnreachable, FindNoPrimary, FindCluster)
	o := walreceiver.Options{Server: from.login, Slot: r.c.Slot, Dir: r.spool(from.system.ID), Reserve: r.c.Reserve, From: r.end(from),
		Status: r.c.Status.Std(), Silence: silences * r.c.Status.Std(), Log: r.log, Progress: func(p walreceiver.Progress) {
			flushed = true
			r.progress(from, p)
		}}
	if known != 0 && known != from.system.ID {
		why := fmt.Sprintf("the cluster was made anew: it was %d, and the server at %s is of %d", known, from.server.Site, from.system.ID)
		if err := r.anew(ctx, o, why); err != nil {
			return false, err
		}
	}
	if known != from.system.ID {
		r.forgetPlace()
		r.status.set(func(s *State) {
			s.SystemID, s.Segment, s.Folded, s.Flushed, s.Spans = from.system.ID, from.size, pgwal.Position{}, pgwal.Position{}, nil
		})
	}
	r.wakeFolder()

	ctx, cancel := context.WithCancelCause(ctx)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		r.watch(ctx, cancel, from)
	}()
	r.writing(true)
	err = walreceiver.Run(ctx, o)
	r.writing(false)
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		err = cause
	}
	cancel(nil)
	<-watching
	r.status.set(func(s *State) { s.Streaming = false })
	var gap *walreceiver.Gap
	if errors.As(err, &gap) {
		return flushed, errors.Join(err, r.anew(context.WithoutCancel(ctx), o, gap.Error()))
	}
	return flushed, err
}

// forgetPlace begins with another cluster, whose positions have nothing to do with those before.
func (r *runner) forgetPlace() {
	r.flow.Lock()
	defer r.flow.Unlock()
	r.last, r.foldedAt, r.pending, r.passed, r.waiting = pgwal.Position{}, 0, pgpoint.Mark{}, pgpoint.Mark{}, time.Time{}
}

// writing says whether somebody may be writing to the spool.
func (r *runner) writing(is bool) {
	r.flow.Lock()
	defer r.flow.Unlock()
	r.open, r.received = is, nil
}

// anew begins the log anew behind a gap.
func (r *runner) anew(ctx context.Context, o walreceiver.Options, why string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	at, err := walreceiver.BeginAnew(ctx, o, why)
	if err != nil {
		return failure.Wrap(err, "begin the log anew at", o.Server.Host)
	}
	r.log.ErrorContext(ctx, "the log has a gap, and goes on behind it", "from", where(at), "why", why)
	r.status.set(func(s *State) { s.NeedsBase = true })
	r.needsBase(why)
	r.wakeFolder()
	return nil
}

// watch looks whether another server is to be streamed from, and ends the streaming then.
func (r *runner) watch(ctx context.Context, cancel context.CancelCauseFunc, from candidate) {
	if len(r.c.Servers) < 2 || r.c.From != "" {
		return
	}
	tick := time.NewTicker(r.lookAround)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		best, err := r.c.pick(r.c.probe(ctx), from.system.ID)
		if err == nil && best.server.Site != from.server.Site && best.system.Timeline > from.system.Timeline {
			cancel(failure.New(failure.Unavailable, "stream the log of", string(from.server.Site), "the server at %s was promoted to timeline %d", best.server.Site, best.system.Timeline))
			return
		}
	}
}

// spool is the folder for the log of a cluster.
func (r *runner) spool(system uint64) string {
	return filepath.Join(r.c.Spool, strconv.FormatUint(system, 10))
}

// end is where an empty spool begins: what was folded up to there, as far as that is known without the vault.
func (r *runner) end(from candidate) walspool.Position {
	s := r.status.get()
	if s.SystemID != from.system.ID {
		return walspool.Position{}
	}
	return s.Folded
}

// progress takes down what was flushed. It is called after each flush and does not wait.
func (r *runner) progress(from candidate, p walreceiver.Progress) {
	now := r.now()
	r.flow.Lock()
	defer r.flow.Unlock()
	// Messages may wait, here or on their way: when the server had no more is told by its own clock, which differs from ours by
	// at most what the fastest message took.
	if skew := now.Sub(p.Sent); !p.Sent.IsZero() && (r.received == nil || skew < r.skew) {
		r.skew = skew
	}
	if p.At >= p.Server && !p.Sent.IsZero() {
		r.caughtUp = p.Sent.Add(r.skew)
	}
	// A mark is passed once all is flushed that the server had when it said so.
	if r.pending.At != 0 && (p.Timeline > r.pending.Timeline || p.Timeline == r.pending.Timeline && p.At >= r.pending.At) {
		r.passed = r.pending
		r.pending = pgpoint.Mark{}
	}
	if r.pending.At == 0 && !p.Sent.IsZero() && p.Server != 0 {
		r.pending = pgpoint.Mark{Position: pgwal.Position{Timeline: p.Timeline, At: p.Server}, Time: p.Sent.UTC()}
		if p.At >= p.Server {
			r.passed, r.pending = r.pending, pgpoint.Mark{}
		}
	}
	if r.received == nil {
		r.since = now
	}
	r.received, r.from, r.heard = &p, &from, now
	if walspool.Before(r.last, p.Position) { // a segment that is not complete is received once more after an interruption
		r.last = p.Position
	}
	if r.waiting.IsZero() && p.At > r.foldedAt {
		r.waiting = now
	}
	if int64(p.At)-int64(r.foldedAt) >= r.c.FoldBytes {
		r.wakeFolder()
	}
}

// flowing puts what progress took down into the state.
func (r *runner) flowing() {
	r.flow.Lock()
	p, from, heard, caughtUp, since, last := r.received, r.from, r.heard, r.caughtUp, r.since, r.last
	r.flow.Unlock()
	if last.At != 0 {
		r.status.set(func(s *State) { s.Flushed, s.Heard, s.LagSince = last, heard.UTC(), caughtUp.UTC() })
	}
	if p == nil {
		return
	}
	r.well()
	r.status.set(func(s *State) {
		s.Server, s.ServerTime = p.Server, p.Sent.UTC()
		s.LagBytes = max(0, int64(p.Server)-int64(last.At))
		s.From, s.Since = from.server.Site, since.UTC()
		s.Address = net.JoinHostPort(from.login.Host, strconv.Itoa(int(from.login.Port)))
		s.Streaming = true
	})
}

// trouble says what keeps the log from arriving.
func (r *runner) trouble(err error) {
	r.status.set(func(s *State) { s.Streaming = false })
	r.status.failed(err, r.now())
	var n *none
	if errors.As(err, &n) {
		r.status.find(n.Finding)
		return
	}
	f := model.Finding{Severity: model.Warn, Code: FindStream, What: "the log does not arrive", Why: err.Error(), Fix: failure.HintOf(err)}
	var diverged *walspool.Diverged
	var gap *walreceiver.Gap
	switch {
	case errors.As(err, &diverged):
		f.Severity, f.Code, f.What = model.Block, FindSetBack, "the server was set back to an earlier state: it writes other log than what was received from it"
		f.Fix = "nothing more is received: protect it as a resource of another name, and keep this log, which has what the server lost"
	case errors.As(err, &gap):
		return // it goes on at once, and anew said it
	case errors.Is(err, failure.Throttled):
		f.Severity, f.Code, f.What = model.Block, FindSpoolFull, "the spool has no room: nothing is received or acknowledged, and the server keeps its log"
	case errors.Is(err, failure.Conflict):
		f.Code, f.What = FindSlot, "the slot, the spool or the server is in use otherwise"
	case errors.Is(err, failure.Denied):
		f.Severity, f.Code, f.What = model.Block, FindDenied, "the server, or the spool, does not let the receiver in"
	}
	r.status.find(f)
}

// well clears what trouble said.
func (r *runner) well() {
	r.status.clear(FindStream, FindSetBack, FindSpoolFull, FindSlot, FindDenied, FindUnreachable, FindNoPrimary, FindCluster)
}
