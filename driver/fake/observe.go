package fake

import (
	"context"
	"fmt"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// longestWait is the longest Again that the fake asks for by itself.
const longestWait = time.Second

// Observe tells what became of an effect.
func (d *Driver) Observe(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	c, err := d.open(ctx, req.Target, req.Action)
	if err != nil {
		return driver.Observation{}, err
	}
	work, err := readHandle(h)
	if err != nil {
		return driver.Observation{}, err
	}
	if err := d.pass(BeforeObserve, req); err != nil {
		return driver.Observation{}, err
	}
	now := d.world.now()
	var seen driver.Observation
	err = c.ledger.Do(func(s *State) ([]Entry, error) {
		if c.at.Unreachable || s.down[req.Site] {
			return nil, unreachable(req)
		}
		e := s.byToken[work.Token]
		if e == nil {
			return nil, failure.New(failure.NotFound, "observe", string(req.Resource.ID), "the ledger knows nothing of this work").
				WithHint("the fake's ledger was lost or is another one: see the setting ledger")
		}
		counted := []Entry{{At: now, Observed: work.Token}}
		if failed := c.script.failing(AtPoll, req.Attempt, e.Observed); failed != nil {
			return counted, about(failed, "observe", req)
		}
		seen = e.observe(req, now)
		return counted, nil
	})
	if err != nil {
		return driver.Observation{}, err
	}
	return seen, d.pass(AfterObserve, req)
}

func (e *Effect) observe(req driver.Request, now time.Time) driver.Observation {
	what := fmt.Sprintf("%s %s", e.Action, e.Resource)
	if e.Site != "" {
		what += " at " + string(e.Site)
	}
	switch {
	case !e.Canceled.IsZero():
		return driver.Observation{State: driver.Failed, Err: about(&failure.Error{Kind: failure.Canceled,
			Message: "it was cancelled"}, string(e.Action), req)}
	case e.EndsAt.IsZero():
		return driver.Observation{State: driver.Pending, Again: e.wait(longestWait),
			Phase: fmt.Sprintf("%s hangs since %s (the script says so)", what, now.Sub(e.At).Round(time.Millisecond))}
	case now.Before(e.EndsAt):
		return driver.Observation{State: driver.Pending, Again: e.wait(e.EndsAt.Sub(now)),
			Phase: fmt.Sprintf("%s: %s of %s", what, now.Sub(e.At).Round(time.Millisecond), e.EndsAt.Sub(e.At))}
	case e.Observed < e.Polls:
		return driver.Observation{State: driver.Pending, Again: e.wait(10 * time.Millisecond),
			Phase: fmt.Sprintf("%s: seen %d times of %d", what, e.Observed+1, e.Polls)}
	case e.Err != nil:
		return driver.Observation{State: driver.Failed, Err: e.Err}
	}
	done := driver.Observation{State: driver.Done, Outputs: e.Outputs,
		Evidence: []model.Fact{{Name: "ledger", Value: fmt.Sprintf("%s, landed %s", what, e.At.UTC().Format(time.RFC3339Nano))}}}
	if role, changes := becomes[e.Action]; changes {
		done.Evidence = append(done.Evidence, model.Fact{Name: "role", Value: string(role)})
	}
	return done
}

func (e *Effect) wait(left time.Duration) time.Duration {
	if e.Again > 0 {
		return e.Again.Std()
	}
	return min(max(left, time.Millisecond), longestWait)
}

// Cancel ends work that is not over.
func (d *Driver) Cancel(ctx context.Context, req driver.Request, h driver.Handle) error {
	c, err := d.open(ctx, req.Target, req.Action)
	if err != nil {
		return err
	}
	work, err := readHandle(h)
	if err != nil {
		return err
	}
	if err := d.pass(BeforeCancel, req); err != nil {
		return err
	}
	now := d.world.now()
	err = c.ledger.Do(func(s *State) ([]Entry, error) {
		if c.at.Unreachable || s.down[req.Site] {
			return nil, unreachable(req)
		}
		if failed := c.script.failing(AtCancel, req.Attempt, 0); failed != nil {
			return nil, about(failed, "cancel", req)
		}
		if e := s.byToken[work.Token]; e == nil || e.over(now) && e.Observed >= e.Polls {
			return nil, nil
		}
		return []Entry{{At: now, Canceled: work.Token}}, nil
	})
	if err != nil {
		return err
	}
	return d.pass(AfterCancel, req)
}
