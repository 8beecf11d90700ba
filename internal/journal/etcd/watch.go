package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// Watch implements journal.Store. It goes on from where it was when the way to etcd changes.
func (s *store) Watch(ctx context.Context, prefix string, after int64) <-chan []journal.Change {
	out := make(chan []journal.Change)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.Err() != nil {
		close(out)
		return out
	}
	s.watches.Add(1)
	go func() {
		defer s.watches.Done()
		defer close(out)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.life, cancel)()
		w := watch{prefix: prefix, after: max(after, 0), out: out}
		for {
			l, err := s.src.link(ctx)
			if err != nil { // ctx or the store is over
				return
			}
			if lost := w.follow(ctx, l); lost || !s.pause(ctx, l) {
				return
			}
		}
	}()
	return out
}

// watch is one watch and how far it got.
type watch struct {
	prefix string
	after  int64
	out    chan<- []journal.Change
}

// follow sends changes from one link until that or ctx ends; lost is true when the position is compacted away.
func (w *watch) follow(ctx context.Context, l *link) (lost bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if l.leader {
		ctx = clientv3.WithRequireLeader(ctx)
	}
	responses := l.etcd.Watch(ctx, l.key(w.prefix), clientv3.WithPrefix(), clientv3.WithRev(w.after+1))
	for {
		select {
		case resp, ok := <-responses:
			switch {
			case !ok:
				return false
			case resp.CompactRevision != 0:
				return true
			case resp.Err() != nil:
				return false
			}
			if !w.send(ctx, l, resp.Events) {
				return false
			}
		case <-l.down:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// send passes events on, those of one revision together; etcd never spreads a revision over two responses. False: ctx
// ended.
func (w *watch) send(ctx context.Context, l *link, events []*clientv3.Event) bool {
	for len(events) > 0 {
		rev := events[0].Kv.ModRevision
		var group []journal.Change
		for len(events) > 0 && events[0].Kv.ModRevision == rev {
			e := events[0]
			group = append(group, journal.Change{
				KV:      l.kv(e.Kv.Key, e.Kv.Value, e.Kv.ModRevision, e.Kv.CreateRevision),
				Deleted: e.Type == clientv3.EventTypeDelete,
			})
			events = events[1:]
		}
		select {
		case w.out <- group:
			w.after = rev
		case <-ctx.Done():
			return false
		}
	}
	return true
}
