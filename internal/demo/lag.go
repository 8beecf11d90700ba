package demo

import (
	"context"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
)

// stage is when a lag was seen, as seen from an operation.
type stage int

const (
	before stage = iota
	during
	after
	stages
)

// lagWatch looks several times a second how far the standby is behind.
type lagWatch struct {
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu    sync.Mutex
	stage stage
	worst [stages]*int64
}

// watchLag watches the standby of whichever site has the primary, until stop.
func watchLag(ctx context.Context, w *world.World, sites ...string) *lagWatch {
	ctx, cancel := context.WithCancel(ctx)
	l := &lagWatch{cancel: cancel}
	l.group.Go(func() {
		for {
			for _, site := range sites {
				if bytes, err := w.Lag(ctx, site); err == nil { // else no primary there, or no standby of it
					l.see(bytes)
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	return l
}

func (l *lagWatch) see(bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if worst := l.worst[l.stage]; worst == nil || *worst < bytes {
		l.worst[l.stage] = &bytes
	}
}

// phase says that what is seen from now on belongs to another stage.
func (l *lagWatch) phase(s stage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stage = s
}

// stop ends the watch and gives the worst of each stage. It may be called again.
func (l *lagWatch) stop() Phases[*int64] {
	l.cancel()
	l.group.Wait()
	return Phases[*int64]{l.worst[before], l.worst[during], l.worst[after]}
}
