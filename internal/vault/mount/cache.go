package mount

import (
	"container/list"
	"context"
	"sync"

	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// cache keeps what was loaded last, up to a number of bytes. What several ask for at once is loaded once.
type cache[V any] struct {
	max int64

	mu    sync.Mutex
	used  int64
	slots map[object.ID]*slot[V]
	order list.List // of *slot[V] that are loaded, the one used last in front
}

// slot is one thing that is loaded, or under way.
type slot[V any] struct {
	id    object.ID
	ready chan struct{} // closed when value and err are set
	value V
	err   error
	size  int64
	place *list.Element // nil: under way
}

func newCache[V any](max int64) *cache[V] {
	return &cache[V]{max: max, slots: map[object.ID]*slot[V]{}}
}

// claim gives the slot of id, and whether the caller is to fill it.
func (c *cache[V]) claim(id object.ID) (s *slot[V], mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, there := c.slots[id]; there {
		if s.place != nil {
			c.order.MoveToFront(s.place)
		}
		return s, false
	}
	s = &slot[V]{id: id, ready: make(chan struct{})}
	c.slots[id] = s
	return s, true
}

// fill ends what claim began. What failed is not kept.
func (c *cache[V]) fill(s *slot[V], value V, size int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.value, s.size, s.err = value, size, err
	close(s.ready)
	if err != nil {
		delete(c.slots, s.id)
		return
	}
	s.place = c.order.PushFront(s)
	c.used += size
	for c.used > c.max && c.order.Len() > 1 {
		old := c.order.Remove(c.order.Back()).(*slot[V])
		delete(c.slots, old.id)
		c.used -= old.size
	}
}

// wait gives what is in a slot as soon as it is there.
func (s *slot[V]) wait(ctx context.Context) (V, error) {
	select {
	case <-s.ready:
		return s.value, s.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}
