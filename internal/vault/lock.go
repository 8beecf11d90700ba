package vault

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// The times of restic's locks, which every program that works on the repository keeps.
const (
	lockSettles   = 200 * time.Millisecond // between creating a lock and looking for others: listings may lag
	lockRefreshes = 5 * time.Minute
	lockStale     = 30 * time.Minute // from here on others ignore the lock
	// lockGivesUp is how long after the last refresh work stops: before anybody may ignore the lock, with a margin for
	// clocks that differ and for calls that still run.
	lockGivesUp   = lockStale - lockRefreshes*3/2
	lockRelease   = time.Minute // how long removing a lock may take once work has ended
	lockReadTries = 3
	// Options.RetryLock waits so long at first, then twice as long each time up to the most, as restic does.
	lockRetryFirst = 5 * time.Second
	lockRetryMost  = time.Minute
)

// LockInfo is what a lock file says.
type LockInfo struct {
	ID        object.ID `json:"-"`
	Time      time.Time `json:"time"`
	Exclusive bool      `json:"exclusive"`
	Hostname  string    `json:"hostname"`
	Username  string    `json:"username"`
	PID       int       `json:"pid"`
	UID       uint32    `json:"uid,omitempty"`
	GID       uint32    `json:"gid,omitempty"`
}

// Stale reports whether the lock's owner has promised to have stopped: every program stops before its lock has not been
// refreshed for half an hour.
func (l LockInfo) Stale(now time.Time) bool { return now.Sub(l.Time) > lockStale }

// Lock is held on a vault: shared for reading and adding, exclusive for deleting what others may use.
type Lock struct {
	v    *Vault
	info LockInfo

	stop func()
	done chan struct{}

	files sync.Mutex   // held while the lock's file is replaced by a newer one; guards info
	since atomic.Int64 // when info.Time was, in ns of the Unix epoch

	mu  sync.Mutex
	end error
}

// Lock takes a lock, and refreshes it until Release. The context that comes with it ends when the lock is released or
// could not be refreshed in time, with that as its cause: work under the lock takes this context. Conflict: somebody
// else's lock stands in the way. Locks that nobody has refreshed for half an hour do not count, as with restic; those of
// dead processes do until then.
func (v *Vault) Lock(ctx context.Context, exclusive bool) (context.Context, *Lock, error) {
	start, wait := v.opts.Now(), lockRetryFirst
	for {
		held, l, err := v.lockOnce(ctx, exclusive)
		if err == nil || failure.KindOf(err) != failure.Conflict {
			return held, l, err
		}
		left := v.opts.RetryLock - v.opts.Now().Sub(start)
		if left <= 0 {
			return nil, nil, err
		}
		v.opts.Log.InfoContext(ctx, "waiting for somebody else's lock", "vault", v.Location(), "error", err)
		if err := pause(ctx, min(wait, left)); err != nil {
			return nil, nil, err
		}
		wait = min(2*wait, lockRetryMost)
	}
}

func (v *Vault) lockOnce(ctx context.Context, exclusive bool) (context.Context, *Lock, error) {
	v.removeLeft(ctx)
	l := &Lock{v: v, done: make(chan struct{})}
	me := v.opts.Identity
	l.info = LockInfo{Exclusive: exclusive, Hostname: me.Hostname, Username: me.Username, PID: me.PID, UID: me.UID, GID: me.GID}
	if err := v.othersLock(ctx, l.info); err != nil {
		return nil, nil, err
	}
	if err := l.write(ctx); err != nil {
		return nil, nil, failure.Wrap(err, "lock", v.Location())
	}
	err := pause(ctx, lockSettles)
	if err == nil {
		err = v.othersLock(ctx, l.info)
	}
	if err != nil {
		l.remove(ctx, l.info.ID)
		return nil, nil, err
	}
	return l.hold(ctx), l, nil
}

// hold begins to refresh a lock whose file is written, and gives what work under it takes.
func (l *Lock) hold(ctx context.Context) context.Context {
	held, cancel := context.WithCancelCause(ctx)
	refreshing, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go func() {
		defer close(l.done)
		cancel(l.keep(refreshing))
	}()
	return held
}

// Stands is nil while nobody may ignore the lock, by the wall clock. Work that must not outlive its lock asks before each
// step: after a machine has slept, its context may end a moment late.
func (l *Lock) Stands() error {
	if l.v.opts.Now().Sub(time.Unix(0, l.since.Load())) > lockGivesUp {
		return l.v.lockLost()
	}
	return nil
}

func (v *Vault) lockLost() error {
	return failure.New(failure.Conflict, "hold the lock", v.Location(), "the lock could not be refreshed in time").
		WithHint("what was stored so far is kept: look at the store's errors, and start again")
}

// Release ends the lock, and waits for that. It may be called again. What else there is to be said was said by the
// lock's context: an error here is only that the file could not be removed, and others will have to wait for it.
func (l *Lock) Release(ctx context.Context) error {
	l.stop()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.info.ID.IsZero() {
		return l.end
	}
	l.end = l.remove(ctx, l.info.ID)
	l.info.ID = object.ID{}
	return failure.Wrap(l.end, "unlock", l.v.Location())
}

// remove deletes a lock file, also when the work's context has ended.
func (l *Lock) remove(ctx context.Context, id object.ID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockRelease)
	defer cancel()
	err := l.v.store.Remove(ctx, blob.Handle{Type: blob.Lock, Name: id.String()})
	if err != nil {
		l.v.left.add(id)
	}
	return err
}

// leftLocks are locks of this Vault that were given up and could not be removed, because the store was away. They are
// removed before the next one is taken: else a process that goes on would wait half an hour for itself.
type leftLocks struct {
	mu  sync.Mutex
	ids []object.ID
}

func (l *leftLocks) add(id object.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, id)
}

// removeLeft tries again to remove them. What cannot be removed now is tried the next time.
func (v *Vault) removeLeft(ctx context.Context) {
	v.left.mu.Lock()
	defer v.left.mu.Unlock()
	v.left.ids = slices.DeleteFunc(v.left.ids, func(id object.ID) bool {
		return v.store.Remove(ctx, blob.Handle{Type: blob.Lock, Name: id.String()}) == nil
	})
}

// write creates the lock file with the present time.
func (l *Lock) write(ctx context.Context) error {
	l.info.Time = l.v.opts.Now()
	text, err := json.Marshal(l.info)
	if err != nil {
		return err
	}
	if l.info.ID, err = l.v.saveFile(ctx, blob.Lock, text); err == nil {
		l.since.Store(l.info.Time.UnixNano())
	}
	return err
}

// keep refreshes the lock until ctx ends, or until it is too old to be refreshed. It returns why it stopped.
func (l *Lock) keep(ctx context.Context) error {
	tick := time.NewTicker(lockRefreshes)
	defer tick.Stop()
	for {
		// The wall clock decides, for it goes on while the machine sleeps; the timer is there to look at it.
		deadline := time.NewTimer(max(0, lockGivesUp-l.v.opts.Now().Sub(l.info.Time)))
		select {
		case <-ctx.Done():
			deadline.Stop()
			return failure.New(failure.Canceled, "hold the lock", l.v.Location(), "the lock was released")
		case <-deadline.C:
			return l.v.lockLost()
		case <-tick.C:
			deadline.Stop()
			if err := l.refresh(ctx); err != nil {
				l.v.opts.Log.WarnContext(ctx, "the vault's lock was not refreshed", "vault", l.v.Location(), "error", err)
			}
		}
	}
}

// refresh writes a new file, then removes the old one. When writing fails the old one goes on to count.
func (l *Lock) refresh(ctx context.Context) error {
	l.files.Lock()
	defer l.files.Unlock()
	old := l.info
	if l.v.opts.Now().Sub(old.Time) > lockGivesUp {
		return nil // too late: the deadline ends the work
	}
	writing, cancel := context.WithTimeout(ctx, lockRefreshes)
	defer cancel()
	if err := l.write(writing); err != nil {
		l.info = old
		return err
	}
	return l.v.store.Remove(writing, blob.Handle{Type: blob.Lock, Name: old.ID.String()})
}

// othersLock is Conflict when another lock stands in the way of mine.
func (v *Vault) othersLock(ctx context.Context, mine LockInfo) error {
	locks, err := v.Locks(ctx)
	if err != nil {
		return err
	}
	for _, l := range locks {
		if l.ID == mine.ID || l.Stale(v.opts.Now()) || !l.Exclusive && !mine.Exclusive {
			continue
		}
		how := "is locked"
		if l.Exclusive {
			how = "is exclusively locked"
		}
		return failure.New(failure.Conflict, "lock", v.Location(), "it %s by process %d of %s on %s, since %s", how, l.PID, l.Username,
			l.Hostname, l.Time.Format(time.RFC3339)).WithHint("wait for it, such as with --retry-lock 10m; the lock of a dead process counts until half an hour after its last refresh, " +
			"or, when nobody is at work on the vault on any machine, until: lifeboat vault unlock --remove-all")
	}
	return nil
}

// Locks lists the locks that there are, stale ones too. One that cannot be read is an error, since it may be exclusive;
// one that goes away meanwhile is none.
func (v *Vault) Locks(ctx context.Context) ([]LockInfo, error) {
	var locks []LockInfo
	var err error
	for range lockReadTries {
		locks = nil
		var ids map[object.ID]int64
		if ids, err = v.list(ctx, blob.Lock); err != nil {
			return nil, err
		}
		for id := range ids {
			var l LockInfo
			if l, err = v.loadLock(ctx, id); err == nil {
				locks = append(locks, l)
			} else if failure.KindOf(err) == failure.NotFound {
				err = nil
			} else {
				break
			}
		}
		if err == nil {
			return locks, nil
		}
		if perr := pause(ctx, lockSettles); perr != nil {
			return nil, perr
		}
	}
	return nil, failure.WrapAs(failure.KindOf(err), err, "read the locks", v.Location()).
		WithHint("a lock that stays unreadable is removed by: restic unlock --remove-all, when nobody works on the vault")
}

func (v *Vault) loadLock(ctx context.Context, id object.ID) (LockInfo, error) {
	plain, err := v.loadFile(ctx, blob.Lock, id)
	if err != nil {
		return LockInfo{}, err
	}
	var l LockInfo
	if err := json.Unmarshal(plain, &l); err != nil {
		return LockInfo{}, failure.WrapAs(failure.Corrupt, err, "read the lock", id.Short())
	}
	l.ID = id
	return l, nil
}

// RemoveStaleLocks removes the locks that do not count any more, and gives them.
func (v *Vault) RemoveStaleLocks(ctx context.Context) ([]LockInfo, error) {
	return v.RemoveDeadLocks(ctx, func(l LockInfo) bool { return l.Stale(v.opts.Now()) })
}

// RemoveDeadLocks removes the locks whose owner is dead, as the caller knows, and gives them: they would count until half an
// hour after their last refresh.
func (v *Vault) RemoveDeadLocks(ctx context.Context, dead func(LockInfo) bool) ([]LockInfo, error) {
	locks, err := v.Locks(ctx)
	if err != nil {
		return nil, err
	}
	var gone []LockInfo
	for _, l := range locks {
		if !dead(l) {
			continue
		}
		if err := v.store.Remove(ctx, blob.Handle{Type: blob.Lock, Name: l.ID.String()}); err != nil {
			return gone, err
		}
		gone = append(gone, l)
	}
	return gone, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return failure.Wrap(ctx.Err(), "wait", "")
	case <-t.C:
		return nil
	}
}
