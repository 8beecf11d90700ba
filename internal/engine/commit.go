package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// commit makes a batch durable, in as many chunks as it takes; the first consumes the signals. When it returns nil,
// all events are written; otherwise the runner is over.
func (r *runner) commit(ctx context.Context, b *batch) error {
	consume := b.consume
	for events := b.events; len(events) > 0 || len(consume) > 0; {
		n, value := chunk(events)
		ops := make([]journal.Op, 0, len(consume)+4)
		next := *r.h
		if n > 0 {
			next.Chunk++
			next.Seq = events[n-1].Seq
			next.Summary = r.state.Summary()
			next.Final = r.state.Final() && n == len(events)
			ops = append(ops, journal.Op{Key: chunkKey(r.state.Run, next.Chunk), Value: value})
		}
		for _, key := range consume {
			ops = append(ops, journal.Op{Key: key, Delete: true})
		}
		if next.Final {
			for _, name := range r.h.Locks {
				ops = append(ops, journal.Op{Key: lockKey(name), Delete: true})
			}
		}
		if err := r.points(ctx, "before", events[:n]); err != nil {
			return err
		}
		if err := r.write(ctx, &next, ops); err != nil {
			return err
		}
		if err := r.points(ctx, "after", events[:n]); err != nil {
			return err
		}
		events, consume = events[n:], nil
	}
	return nil
}

// chunk encodes as many events as one record holds.
func chunk(events []Event) (int, []byte) {
	if len(events) == 0 {
		return 0, nil
	}
	n := min(len(events), chunkEvents)
	for {
		value := encode(events[:n])
		if len(value) <= pageBytes || n == 1 {
			return n, value
		}
		n /= 2
	}
}

// points passes the failpoints of a durable write, one for each event in it.
func (r *runner) points(ctx context.Context, phase string, events []Event) error {
	if r.e.opts.Failpoint == nil {
		return nil
	}
	for _, ev := range events {
		if err := r.e.fail(ctx, fmt.Sprintf("write:%s:%s:%s", ev.Step, ev.Kind, phase)); err != nil {
			return err
		}
	}
	return nil
}

// write replaces the header and applies ops in one transaction that compares the header. A write whose outcome is not
// known is settled by reading the header: it says who wrote it last, and as which chunk.
func (r *runner) write(ctx context.Context, next *header, ops []journal.Op) error {
	key := headerKey(r.state.Run)
	txn := journal.Txn{
		If:   []journal.Cond{{Key: key, Mod: r.mod}},
		Then: append([]journal.Op{{Key: key, Value: encode(next)}}, ops...),
	}
	for {
		rev, ok, err := r.e.opts.Store.Commit(ctx, txn)
		if err == nil && ok {
			r.h, r.mod = next, rev
			return nil
		}
		if errors.Is(err, failure.Invalid) {
			return err
		}
		// Refused or unknown. A refusal, too, may be that of a second try after a first one that landed.
		landed, mod, rerr := r.settle(ctx, next)
		if rerr != nil {
			return rerr
		}
		if landed {
			r.h, r.mod = next, mod
			return nil
		}
		if mod != r.mod {
			return errFenced
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return context.Cause(ctx)
		}
	}
}

// settle reads the header until it can be read: landed says that next stands there, mod is its revision.
func (r *runner) settle(ctx context.Context, next *header) (landed bool, mod int64, err error) {
	for {
		h, kv, err := readHeader(ctx, r.e.opts.Store, r.state.Run)
		switch {
		case err == nil:
			return h.sameWrite(next) && h.Seq == next.Seq && kv.Mod != r.mod, kv.Mod, nil
		case errors.Is(err, failure.NotFound):
			return false, 0, errFenced // it was finished and archived by another owner
		case !failure.KindOf(err).Retryable():
			return false, 0, err
		case !r.alive():
			return false, 0, errLost
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return false, 0, context.Cause(ctx)
		}
	}
}
