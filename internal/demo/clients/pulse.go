package clients

import (
	"context"
	"sync"
	"time"
)

// beat is how often a pulse wants to beat.
const beat = 10 * time.Millisecond

// Pulse measures how late this process comes to what it wants to do. On a machine with much else to do the clients see late what
// became of their orders, and by how much is no matter of the app.
type Pulse struct {
	cancel context.CancelFunc
	group  sync.WaitGroup
	late   time.Duration // in all
}

// StartPulse measures until Stop, or until ctx ends.
func StartPulse(ctx context.Context) *Pulse {
	ctx, cancel := context.WithCancel(ctx)
	p := &Pulse{cancel: cancel}
	p.group.Go(func() {
		for due := time.Now().Add(beat); sleep(ctx, time.Until(due)); due = time.Now().Add(beat) {
			if late := time.Since(due); late > beat { // less is the coarseness of timers
				p.late += late
			}
		}
	})
	return p
}

// Stop ends the measurement, and gives by how much this process was late in all. It may be called again.
func (p *Pulse) Stop() time.Duration {
	p.cancel()
	p.group.Wait()
	return p.late
}
