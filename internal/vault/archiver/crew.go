package archiver

import (
	"context"
	"sync"
	"sync/atomic"
)

// crew is the workers of a backup. There are no queues: whoever goes through a directory is joined by workers that are
// free, and each of them does all that one entry needs, be it a small file or a tree of directories.
type crew struct{ working chan struct{} }

func newCrew(n int) crew { return crew{make(chan struct{}, n)} }

// enter makes the caller a worker, when there are not too many.
func (c crew) enter() { c.working <- struct{}{} }

func (c crew) leave() { <-c.working }

// each calls do for 0 to n-1, by the caller, who is a worker, and by those that are free. The first error ends it.
func (c crew) each(ctx context.Context, n int, do func(i int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Pointer[error]
		others sync.WaitGroup
		joined atomic.Bool
		work   func()
	)
	work = func() {
		for failed.Load() == nil {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			if i+1 < n {
				select {
				case c.working <- struct{}{}:
					joined.Store(true)
					others.Go(func() {
						defer c.leave()
						work()
					})
				default:
				}
			}
			err := ctx.Err()
			if err == nil {
				err = do(i)
			}
			if err != nil {
				failed.CompareAndSwap(nil, &err)
				return
			}
		}
	}
	work()
	if joined.Load() {
		c.leave() // somebody else may work while this one waits
		others.Wait()
		c.enter()
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
