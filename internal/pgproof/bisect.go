package pgproof

import (
	"context"
	"fmt"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// Found is what a search found.
type Found struct {
	Good State
	// Bad is the first state known to fail; nil: the newest state passes, and there is nothing to look for.
	Bad *State
	// Adjacent says that nothing was committed between Good and Bad but the transaction that made it bad.
	Adjacent bool
	Probes   []Probe
}

// State is a state of the cluster, in the words of a restore.
type State struct {
	To  string    // latest, or lsn:X
	At  time.Time // when its last transaction was committed; of a base point, when it was complete
	LSN pgwal.LSN
	XID uint32 // of the last transaction in it; 0: not known
}

// String says it for people.
func (s State) String() string {
	text := s.To
	if s.XID != 0 {
		text += fmt.Sprintf(", the commit of transaction %d", s.XID)
	}
	if !s.At.IsZero() {
		text += " at " + s.At.UTC().Format("2006-01-02 15:04:05.999999 UTC")
	}
	return text
}

// Probe is one state that was asked.
type Probe struct {
	State
	OK     bool
	Detail string
	How    string // how the copy came to that state
	Took   time.Duration
}

// Bisect looks for the newest state that passes o.Checks: among the base points, then between two of them in the log, to the
// transaction, or until good and bad are no further apart than within. It assumes that a state is bad when an earlier one was:
// with several changes between good and bad it finds one of them. It uses one folder, o.Restore.Data, which it leaves without a
// server for the caller to remove. Told is called after each probe; it may be nil.
//
// NotFound: no state passes, or there is nothing to look in. Invalid: a check cannot be asked of some state. What was found out
// until then is given beside the error.
func Bisect(ctx context.Context, o Options, within time.Duration, told func(Probe)) (*Found, error) {
	if len(o.Checks) == 0 {
		return nil, failure.New(failure.Invalid, "search", string(o.Restore.Whose.Resource), "there is no check to search by")
	}
	log, err := pgrestore.OpenLog(ctx, o.Restore)
	if err != nil {
		return nil, err
	}
	b := &bisection{o: o, log: log, within: within, told: told, found: &Found{}}
	return b.found, b.search(ctx)
}

// bisection is a search. It belongs to one goroutine.
type bisection struct {
	o      Options
	log    *pgrestore.Log
	within time.Duration
	told   func(Probe)
	found  *Found

	// What the folder holds: the base point that its recovery began from, and up to where it went.
	base *pgpoint.BasePoint
	at   pgwal.LSN
}

// mostCommits is how many commits are in memory at once.
const mostCommits = 100_000

func (b *bisection) search(ctx context.Context) error {
	bases := b.log.Bases
	newest := bases[len(bases)-1]
	ok, err := b.probe(ctx, State{To: "latest", LSN: b.log.End}, &newest, pgrestore.Target{})
	if err != nil {
		return err
	}
	if ok {
		b.found.Good = b.found.Probes[0].State
		return nil
	}
	bad := b.found.Probes[0].State
	good := -1
	// From the newest back in growing steps: what is looked for is seldom long ago, and old points may be of another schema.
	high := len(bases)
	for step := 1; good < 0; step *= 2 {
		i := max(high-step, 0)
		if ok, err = b.probeBase(ctx, bases[i]); err != nil {
			return err
		}
		switch {
		case ok:
			good = i
		case i == 0:
			b.found.Bad = &bad
			return failure.New(failure.NotFound, "search", string(b.o.Restore.Whose.Resource), "no state passes: the oldest, of %s, fails already (%s)",
				bases[0].Ended.UTC().Format(time.RFC3339), b.found.Probes[len(b.found.Probes)-1].Detail).
				WithHint("is the check right? It must answer true on good data")
		default:
			high, bad = i, b.found.Probes[len(b.found.Probes)-1].State
		}
	}
	for high-good > 1 {
		mid := (high + good) / 2
		if ok, err = b.probeBase(ctx, bases[mid]); err != nil {
			return err
		}
		if ok {
			good = mid
		} else {
			high, bad = mid, b.found.Probes[len(b.found.Probes)-1].State
		}
	}
	b.found.Good, b.found.Bad = stateOf(bases[good]), &bad
	return b.inLog(ctx, bases[good])
}

func stateOf(p pgpoint.BasePoint) State {
	return State{To: "lsn:" + p.Stop.String(), At: p.Ended, LSN: p.Stop}
}

func (b *bisection) probeBase(ctx context.Context, p pgpoint.BasePoint) (bool, error) {
	return b.probe(ctx, stateOf(p), &p, pgrestore.Target{Kind: pgrestore.Immediate})
}

// inLog narrows good and bad down within the log that leads from one to the other.
func (b *bisection) inLog(ctx context.Context, base pgpoint.BasePoint) error {
	for {
		from, to := b.found.Good.LSN, b.found.Bad.LSN
		if b.found.Good.XID != 0 {
			from++ // it is a commit itself
		}
		b.o.phase("looking for transactions between %s and %s", from, to)
		commits, thinned, err := b.log.Commits(ctx, from, to, mostCommits)
		if err != nil {
			return err
		}
		good, bad := -1, len(commits)
		for bad-good > 1 && !b.near() {
			mid := (good + bad) / 2
			c := commits[mid]
			s := State{To: "lsn:" + c.At.String(), At: c.Time, LSN: c.At, XID: c.XID}
			ok, err := b.probe(ctx, s, &base, pgrestore.Target{Kind: pgrestore.LSN, LSN: c.At})
			if err != nil {
				return err
			}
			if ok {
				good, b.found.Good = mid, s
			} else {
				bad, b.found.Bad = mid, &s
			}
		}
		switch {
		case b.near() && bad-good > 1:
			return nil
		case !thinned:
			b.found.Adjacent = true
			return nil
		}
	}
}

// near reports whether good and bad are as close in time as was asked for.
func (b *bisection) near() bool {
	return b.within > 0 && !b.found.Bad.At.IsZero() && b.found.Bad.At.Sub(b.found.Good.At) <= b.within
}

// probe brings the folder to a state and asks the checks. A copy that is paused at an earlier state of the same base point goes
// on from there; otherwise only what differs is restored.
func (b *bisection) probe(ctx context.Context, s State, base *pgpoint.BasePoint, target pgrestore.Target) (ok bool, err error) {
	began := time.Now()
	n := len(b.found.Probes) + 1
	b.o.phase("probe %d: %s", n, s)
	ro := b.o.Restore
	ro.Base, ro.Target, ro.After, ro.Leave, ro.Overwrite = base.Snapshot.ID, target, pgrestore.Pause, pgrestore.Running, pgrestore.SameSystem
	ro.Server.Isolated, ro.Server.Port, ro.Server.Listen, ro.Server.Sockets, ro.Server.HBA = true, 0, "", "", nil
	p := Probe{State: s, How: "restored"}
	if b.base != nil && target.Kind == pgrestore.LSN && b.base.Snapshot.ID == base.Snapshot.ID && b.at < target.LSN {
		ro.Forward, p.How = true, "replayed on"
	}
	b.base = nil // until it is there
	res, err := pgrestore.Run(ctx, ro)
	if err != nil {
		return false, failure.Wrap(err, fmt.Sprintf("probe %d", n), s.To)
	}
	c := &copied{o: b.o, base: res.Base.Base, host: res.Host, port: res.Port}
	p.OK = true
	for _, sql := range b.o.Checks {
		var asked bool
		if p.OK, asked, p.Detail, err = c.ask(ctx, sql); err == nil && !asked {
			err = failure.New(failure.Invalid, "ask", oneLine(sql), "the server says: %s", p.Detail).
				WithHint("write a query that can be asked of every state since the oldest recovery point, and that only reads")
		}
		if err != nil || !p.OK {
			break
		}
	}
	if stopErr := res.Stop(context.WithoutCancel(ctx)); err == nil {
		err = stopErr
	}
	if err != nil {
		return false, failure.Wrap(err, fmt.Sprintf("probe %d", n), s.To)
	}
	b.base, b.at = base, res.Reached
	if p.At.IsZero() {
		p.At = res.LastCommit
	}
	p.Took = time.Since(began).Round(time.Millisecond)
	b.found.Probes = append(b.found.Probes, p)
	if b.told != nil {
		b.told(p)
	}
	return p.OK, nil
}
