// Package retry is laid around a blob store: what fails for the moment is done again.
//
// It decides by the kind of a failure alone. Unavailable, Throttled and Indeterminate are tried again, after a pause that
// doubles, with jitter; everything else is passed on. A Save whose outcome is unknown is settled by looking at what is
// stored before it is sent again; a Load that breaks goes on at the byte where it broke; a listing that breaks begins anew
// and shows nothing twice. It knows no store and makes no requests of its own. Start with Wrap.
package retry

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Options bound the trying. The zero Options are those for a store behind a network.
type Options struct {
	// Budget is how long one call is tried, from its first failure on; a Load that moved on has a new one. 0: 15 minutes.
	Budget time.Duration
	// Attempts is how often one call is made at most; 0: 100, so that Budget decides. A Load that moved on counts anew.
	Attempts int
	// First is the pause after the first failure, Longest the longest one. 0: half a second and 30 seconds. After
	// Throttled the pauses are four times as long, Longest included.
	First, Longest time.Duration
	// Random gives numbers from 0 up to 1 for the jitter: a pause is between half of itself and the whole. nil: at random.
	Random func() float64
	Log    *slog.Logger // one warning for each call that had to be tried again, and for each that was given up; nil: silent
}

func (o Options) filled() Options {
	if o.Budget <= 0 {
		o.Budget = 15 * time.Minute
	}
	if o.Attempts <= 0 {
		o.Attempts = 100
	}
	if o.First <= 0 {
		o.First = 500 * time.Millisecond
	}
	if o.Longest <= 0 {
		o.Longest = 30 * time.Second
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is a store with patience. Make one with Wrap.
type Store struct {
	inner blob.Store
	opts  Options
}

// Wrap lays retries around inner. Closing it closes inner.
func Wrap(inner blob.Store, o Options) *Store { return &Store{inner, o.filled()} }

// Unwrap gives the store within.
func (s *Store) Unwrap() blob.Store { return s.inner }

// Facts are those of the store within.
func (s *Store) Facts() blob.Facts { return s.inner.Facts() }

// Close closes the store within.
func (s *Store) Close() error { return s.inner.Close() }

// again reports whether a failure of this kind may pass by itself.
func again(k failure.Kind) bool {
	return k == failure.Unavailable || k == failure.Throttled || k == failure.Indeterminate
}

// patience is what one call has left.
type patience struct {
	s        *Store
	op       string
	subject  string
	tries    int
	since    time.Time // the first failure; zero: none yet
	reported bool
	unknown  bool // an attempt may have had its effect
}

func (s *Store) patience(op, subject string) *patience {
	return &patience{s: s, op: op, subject: subject}
}

// moved renews the patience: what was asked for comes.
func (p *patience) moved() { p.tries, p.since = 0, time.Time{} }

// wait pauses after err and returns nil when the call is to be made again; otherwise the error to end with.
func (p *patience) wait(ctx context.Context, err error) error {
	kind, o := failure.KindOf(err), p.s.opts
	p.unknown = p.unknown || kind == failure.Indeterminate
	switch {
	case !again(kind):
		return err
	case ctx.Err() != nil:
		return p.ended(ctx, err)
	}
	now := time.Now()
	if p.since.IsZero() {
		p.since = now
	}
	pause := o.First << min(p.tries, 30)
	if pause > o.Longest || pause <= 0 {
		pause = o.Longest
	}
	if kind == failure.Throttled {
		pause *= 4
	}
	pause = pause/2 + time.Duration(o.Random()*float64(pause-pause/2))
	p.tries++
	if p.tries >= o.Attempts || now.Add(pause).Sub(p.since) > o.Budget {
		return p.givenUp(ctx, err, now)
	}
	if !p.reported {
		p.reported = true
		o.Log.WarnContext(ctx, "the vault's store failed, trying again", "op", p.op, "subject", p.subject, "store", p.s.inner.Facts().Location,
			"in", pause, "error", err)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return p.ended(ctx, err)
	}
}

// ended is the context's end, with the failure that was to be got over.
func (p *patience) ended(ctx context.Context, err error) error {
	return failure.New(failure.KindOf(ctx.Err()), p.op, p.subject, "%v, while trying again after: %v", ctx.Err(), err)
}

// givenUp is err with what was done about it. What may have had its effect in one attempt is Indeterminate, however the
// last one ended.
func (p *patience) givenUp(ctx context.Context, err error, now time.Time) error {
	took := now.Sub(p.since).Round(time.Second)
	p.s.opts.Log.WarnContext(ctx, "the vault's store goes on failing, given up", "op", p.op, "subject", p.subject,
		"store", p.s.inner.Facts().Location, "attempts", p.tries, "after", took, "error", err)
	kind := failure.KindOf(err)
	if p.unknown {
		kind = failure.Indeterminate
	}
	wrapped := failure.WrapAs(kind, err, "", "")
	wrapped.Message = fmt.Sprintf("%d attempts in %s", p.tries, took)
	return wrapped
}

// do makes a call until it succeeds, fails for good, or patience ends.
func (s *Store) do(ctx context.Context, op, subject string, call func() error) error {
	p := s.patience(op, subject)
	for {
		err := call()
		if err == nil {
			return nil
		}
		if err := p.wait(ctx, err); err != nil {
			return err
		}
	}
}

// Create tries again; it is the same however often it is done.
func (s *Store) Create(ctx context.Context) error {
	return s.do(ctx, "create", s.Facts().Location, func() error { return s.inner.Create(ctx) })
}

// Save tries again. When an attempt may have had its effect, what is stored is compared with content first: if it is
// content, that counts as saved. So where several save the same bytes at once, more than one may succeed; of those who
// save different bytes (a config) one does, as the store within promises.
func (s *Store) Save(ctx context.Context, h blob.Handle, content blob.Content) error {
	p := s.patience("save", h.String())
	for maybe := false; ; {
		err := s.attempt(ctx, h, content, &maybe)
		if err == nil {
			return nil
		}
		if err := p.wait(ctx, err); err != nil {
			return err
		}
	}
}

// attempt is one attempt to save. Maybe says that an earlier one may have had its effect, and is set when this one may.
func (s *Store) attempt(ctx context.Context, h blob.Handle, content blob.Content, maybe *bool) error {
	if *maybe {
		same, err := blob.Same(ctx, s.inner, h, blob.Source(content))
		switch {
		case err == nil && same:
			return nil
		case err == nil:
			return failure.New(failure.Exists, "save", h.String(), "other content is stored under this name")
		case failure.KindOf(err) != failure.NotFound:
			return err
		}
	}
	err := s.inner.Save(ctx, h, content)
	if err == nil {
		return nil
	}
	switch kind := failure.KindOf(err); {
	case kind == failure.Exists && *maybe:
		// The earlier attempt landed only now, or somebody else was faster: the next look tells.
		return failure.WrapAs(failure.Indeterminate, err, "", "")
	case again(kind):
		// A store that says Unavailable means that nothing happened. It may be wrong about that, and looking costs one call.
		*maybe = true
	}
	return err
}

// Stat tries again.
func (s *Store) Stat(ctx context.Context, h blob.Handle) (info blob.Info, err error) {
	err = s.do(ctx, "stat", h.String(), func() error {
		info, err = s.inner.Stat(ctx, h)
		return err
	})
	return info, err
}

// Remove tries again; it is the same however often it is done.
func (s *Store) Remove(ctx context.Context, h blob.Handle) error {
	return s.do(ctx, "remove", h.String(), func() error { return s.inner.Remove(ctx, h) })
}

// List tries again from the start, and passes over what was shown.
func (s *Store) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	shown := map[string]struct{}{}
	p := s.patience("list", t.String())
	for {
		var mine error // of each: not the store's
		err := s.inner.List(ctx, t, func(i blob.Info) error {
			if _, seen := shown[i.Name]; seen {
				return nil
			}
			shown[i.Name] = struct{}{}
			p.moved()
			mine = each(i)
			return mine
		})
		if err == nil || mine != nil {
			return err
		}
		if err := p.wait(ctx, err); err != nil {
			return err
		}
	}
}

// Retain tries again. Unsupported: the store within keeps nothing.
func (s *Store) Retain(ctx context.Context, h blob.Handle, until time.Time) error {
	r, err := s.retainer(h)
	if err != nil {
		return err
	}
	return s.do(ctx, "retain", h.String(), func() error { return r.Retain(ctx, h, until) })
}

// RetainedUntil tries again. Unsupported: the store within keeps nothing.
func (s *Store) RetainedUntil(ctx context.Context, h blob.Handle) (until time.Time, err error) {
	r, err := s.retainer(h)
	if err != nil {
		return time.Time{}, err
	}
	err = s.do(ctx, "ask for the retention of", h.String(), func() error {
		until, err = r.RetainedUntil(ctx, h)
		return err
	})
	return until, err
}

func (s *Store) retainer(h blob.Handle) (blob.Retainer, error) {
	if r, ok := blob.As[blob.Retainer](s.inner); ok {
		return r, nil
	}
	return nil, failure.New(failure.Unsupported, "retain", h.String(), "%s keeps nothing from deletion", s.Facts().Location)
}

var (
	_ blob.Wrapper  = (*Store)(nil)
	_ blob.Retainer = (*Store)(nil)
)
