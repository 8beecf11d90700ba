package pglog

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/internal/walspool"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Patience with a vault. Nothing but folding waits for it.
const (
	vaultPatience = 2 * time.Minute  // with a call that fails for the moment
	lockPatience  = 10 * time.Minute // with somebody who has the vault to themselves
)

// folder folds the spools of one runner. It belongs to one goroutine.
type folder struct {
	r      *runner
	v      *vault.Vault
	closer io.Closer
	chains map[uint64]*chain
	looked time.Time // when the base points were looked at last
}

// run folds until ctx ends, and once more then.
func (f *folder) run(ctx context.Context) {
	defer f.close(ctx)
	tick := time.NewTicker(f.r.c.FoldEvery.Std())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.r.drainFor)
			defer cancel()
			f.all(last)
			return
		case <-tick.C:
		case <-f.r.wake:
		}
		f.all(ctx)
	}
}

// all folds the spool of every cluster, and does from time to time what else there is to do in the vault.
func (f *folder) all(ctx context.Context) {
	err := f.try(ctx)
	if err == nil {
		f.r.status.clear(FindVault)
		return
	}
	if ctx.Err() != nil {
		return
	}
	f.r.status.failed(err, f.r.now())
	f.r.status.find(model.Finding{Severity: model.Warn, Code: FindVault, What: "the log cannot be folded into the vault: the spool keeps it", Why: err.Error(), Fix: failure.HintOf(err)})
	if kind := failure.KindOf(err); kind == failure.Corrupt || kind == failure.Denied {
		f.close(ctx) // it may be another one now: it is opened anew
	}
}

func (f *folder) try(ctx context.Context) error {
	systems, err := f.systems()
	if err != nil {
		return err
	}
	for _, system := range systems {
		c, err := f.chain(system)
		if err != nil {
			return err
		}
		if err := f.fold(ctx, c); err != nil {
			return err
		}
	}
	return f.keep(ctx)
}

// systems lists the clusters that there are spools of.
func (f *folder) systems() ([]uint64, error) {
	entries, err := os.ReadDir(f.r.c.Spool)
	if err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "read", f.r.c.Spool)
	}
	var out []uint64
	for _, e := range entries {
		if id, err := strconv.ParseUint(e.Name(), 10, 64); err == nil && e.IsDir() {
			out = append(out, id)
		}
	}
	return out, nil
}

func (f *folder) chain(system uint64) (*chain, error) {
	if c := f.chains[system]; c != nil {
		return c, nil
	}
	content, err := walspool.Read(f.r.spool(system))
	if errors.Is(err, failure.NotFound) {
		return nil, nil // it is just being made
	}
	if err != nil {
		return nil, err
	}
	c := &chain{whose: f.r.c.Whose, site: f.r.c.Site, dir: f.r.spool(system), system: system, size: content.About().Segment, log: f.r.log, now: f.r.now}
	c.reset()
	f.chains[system] = c
	return c, nil
}

// open opens the vault, if it is not.
func (f *folder) open(ctx context.Context) (*vault.Vault, error) {
	if f.v != nil {
		return f.v, nil
	}
	o := f.r.location
	o.Log, o.Vault.Log, o.Vault.RetryLock, o.Patience = f.r.log, f.r.log, lockPatience, cmp.Or(o.Patience, vaultPatience)
	v, closer, err := location.Open(ctx, f.r.c.Vault, o)
	if err != nil {
		return nil, err
	}
	f.v, f.closer = v, closer
	f.unlock(ctx)
	return v, nil
}

// unlock removes from the vault the locks of receivers that ran in this folder before and were killed. That they are dead is
// sure: the folder's lock is ours.
func (f *folder) unlock(ctx context.Context) {
	before := f.r.status.get().Before
	host, err := os.Hostname()
	if len(before) == 0 || err != nil {
		return
	}
	gone, err := f.v.RemoveDeadLocks(ctx, func(l vault.LockInfo) bool {
		return l.Hostname == host && slices.Contains(before, l.PID) && errors.Is(unix.Kill(l.PID, 0), unix.ESRCH)
	})
	for _, l := range gone {
		f.r.log.WarnContext(ctx, "a receiver that was killed has left its lock in the vault: it is removed", "pid", l.PID, "exclusive", l.Exclusive)
	}
	if err == nil {
		f.r.status.set(func(s *State) { s.Before = nil })
	}
}

func (f *folder) close(ctx context.Context) {
	if f.v == nil {
		return
	}
	if err := f.closer.Close(); err != nil {
		f.r.log.WarnContext(ctx, "the vault was not closed well", "error", err)
	}
	f.v = nil
}

// fold folds one cluster's spool until nothing is left.
func (f *folder) fold(ctx context.Context, c *chain) error {
	if c == nil {
		return nil
	}
	current := f.r.status.get().SystemID == c.system
	for more := true; more; {
		begun := f.r.now()
		e := edge{}
		if current {
			e, c.marks = f.r.edge(), f.r.takeMark()
		}
		var folded bool
		var err error
		if folded, more, err = c.fold(ctx, f.open, e); err != nil {
			return err
		}
		if !current {
			continue
		}
		f.damaged(c)
		f.r.isFolded(c.folded(), begun)
		if !folded {
			continue
		}
		f.r.status.set(func(s *State) {
			s.Folded, s.Spans, s.Superseded = c.folded(), slices.Clone(c.about.Spans), len(c.superseded)
			s.Folds++
			s.FoldedTime, s.FoldTook = f.r.now().UTC(), f.r.now().Sub(begun)
		})
	}
	return nil
}

// damaged says what could not be folded.
func (f *folder) damaged(c *chain) {
	if len(c.hurt) == c.told {
		return
	}
	c.told = len(c.hurt)
	last := c.hurt[len(c.hurt)-1]
	f.r.status.find(model.Finding{Severity: model.Block, Code: FindDamaged, What: "log in the spool is damaged or missing, and cannot be restored from " + where(last.From) + " to " + where(last.To),
		Why: last.Why, Fix: "look at the spool's disk"})
}

// keep looks from time to time what is not needed any more, and whether a base point is needed.
func (f *folder) keep(ctx context.Context) error {
	c := f.chains[f.r.status.get().SystemID]
	every := f.r.c.KeepEvery.Std()
	if f.r.status.get().NeedsBase {
		every = min(every, 3*f.r.c.FoldEvery.Std())
	}
	if c == nil || f.r.now().Sub(f.looked) < every {
		return nil
	}
	if _, err := f.open(ctx); err != nil {
		return err
	}
	f.looked = f.r.now()
	needs, err := c.look(ctx, f.v, f.r.c.Margin.Std())
	if err != nil {
		f.r.status.find(model.Finding{Severity: model.Warn, Code: FindBases, What: "the base points cannot all be read: no log is dropped", Why: err.Error(), Fix: "lifeboat vault check"})
	} else {
		f.r.status.clear(FindBases)
		if err := f.needs(c, needs); err != nil {
			return err
		}
	}
	if err := c.forget(ctx, f.v); err != nil && !errors.Is(err, failure.Conflict) {
		return err
	}
	f.r.status.set(func(s *State) { s.Superseded = len(c.superseded) })
	return nil
}

// needs says whether what is received can be restored.
func (f *folder) needs(c *chain, needs bool) error {
	f.r.status.set(func(s *State) { s.NeedsBase, s.BasesSeen = needs, f.r.now().UTC() })
	if !needs {
		f.r.status.clear(FindNeedsBase, FindDamaged) // a base point lies behind it
		return nil
	}
	newest, err := c.newestSpan()
	if err == nil {
		f.r.needsBase(newest.Why)
	}
	return err
}

// needsBase says that what is received cannot be restored; why is where the last gap comes from, if there is one.
func (r *runner) needsBase(why string) {
	r.status.find(model.Finding{Severity: model.Block, Code: FindNeedsBase, What: "no base point lies within the newest log: what is received now cannot be restored",
		Why: why, Fix: "lifeboat protect " + string(r.c.App) + " --now"})
}

// spoolBytes adds up the files of all spools.
func spoolBytes(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error { // what vanishes meanwhile does not count
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}
