package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Bounds of calls and pauses.
const (
	callTimeout  = 2 * time.Minute        // of one call to a driver
	pollFirst    = 50 * time.Millisecond  // between the first two looks at a step
	pollMost     = 5 * time.Second        // between later ones
	retryFirst   = 500 * time.Millisecond // before the second attempt
	retryMost    = 30 * time.Second       // before later ones
	progressGap  = time.Second            // between two journalled phases of a step
	graceResumed = 30 * time.Second       // an heir watches at least this long before it calls a step timed out
	maxOutputs   = 64 << 10               // bytes of a step's outputs and evidence
)

// call is one step's work outside of the state: everything it needs was copied when it left.
type call struct {
	r        *runner
	step     *model.Step
	req      driver.Request
	driver   driver.Driver
	handle   driver.Handle
	deadline time.Time
	tries    int
	resumed  bool
}

// leave lets an effect happen. It runs on the loop's goroutine and does not wait.
func (r *runner) leave(ctx context.Context, eff Effect) {
	if eff.Kind == Wake {
		r.group.Go(func() {
			if sleep(ctx, time.Until(eff.At)) == nil {
				r.nudge()
			}
		})
		return
	}
	st := &r.state.Steps[eff.Step]
	c := &call{r: r, step: &r.state.Plan.Steps[eff.Step], tries: st.Tries, resumed: eff.Resumed}
	c.deadline = time.Now().Add(c.step.Timeout.Std())
	if eff.Kind != Begin { // it was begun, perhaps by a predecessor who then was silent for long
		c.deadline = st.BegunAt.Add(c.step.Timeout.Std())
		if grace := time.Now().Add(min(graceResumed, c.step.Timeout.Std())); st.BegunAt.Before(r.since) && c.deadline.Before(grace) {
			c.deadline = grace
		}
	}
	var err error
	if c.req, err = r.state.Request(eff.Step); err == nil {
		c.driver, err = r.e.opts.Drivers.Get(c.step.Kind)
	}
	c.req.Resumed = eff.Resumed
	if err != nil {
		token := st.Token
		r.group.Go(func() {
			r.report(ctx, Event{Kind: StepFailed, Step: c.step.ID, Token: token, Err: failure.From(err), Terminal: !eff.Resumed})
		})
		return
	}
	if st.Handle != nil {
		c.handle = *st.Handle
	}
	switch eff.Kind {
	case Begin:
		r.group.Go(func() { c.begin(ctx) })
	case Observe:
		r.watch(ctx, eff.Step, c)
	case Cancel:
		canceler, ok := driver.As[driver.Canceler](c.driver)
		stop, watching := r.calls[eff.Step]
		switch {
		case ok && watching:
			stop()
			r.group.Go(func() { c.cancel(ctx, canceler) })
		case ok:
			r.group.Go(func() { c.cancel(ctx, canceler) })
		case !watching: // it cannot be stopped: watch it to its end
			r.watch(ctx, eff.Step, c)
		}
	}
}

// watch observes a step beside the loop, until its end or a cancel.
func (r *runner) watch(ctx context.Context, step int, c *call) {
	ctx, cancel := context.WithCancel(ctx)
	r.calls[step] = cancel
	r.group.Go(func() { defer cancel(); c.observe(ctx) })
}

func (r *runner) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// report hands a fact about this step to the loop.
func (c *call) report(ctx context.Context, ev Event) {
	ev.Step, ev.Token = c.step.ID, c.req.Token
	c.r.report(ctx, ev)
}

// fail reports a failed attempt with the backoff it earns.
func (c *call) fail(ctx context.Context, err error, terminal bool) {
	c.failWith(ctx, err, terminal, nil)
}

func (c *call) failWith(ctx context.Context, err error, terminal bool, evidence []model.Fact) {
	if ctx.Err() != nil {
		return // the runner ends, not the step
	}
	pause := min(retryFirst<<min(max(c.tries-1, 0), 10), retryMost)
	c.report(ctx, Event{Kind: StepFailed, Err: failure.From(err), Terminal: terminal, Pause: model.Duration(jitter(pause)), Evidence: evidence})
}

// point passes a failpoint; false means that the runner is dead.
func (c *call) point(ctx context.Context, phase string) bool {
	if c.r.e.opts.Failpoint == nil {
		return true
	}
	err := c.r.e.fail(ctx, fmt.Sprintf("%s:%s", c.step.ID, phase))
	if err != nil {
		c.r.report(ctx, Event{Err: &failure.Error{Cause: &fatalError{err}}})
	}
	return err == nil
}

// mine says whether a call may leave. A lease that is over stops it: the runner ends by itself.
func (c *call) mine() bool { return c.r.alive() }

// begin asks the driver's findings, then begins the attempt.
func (c *call) begin(ctx context.Context) {
	callCtx, cancel := context.WithTimeout(ctx, min(callTimeout, max(time.Until(c.deadline), time.Second)))
	defer cancel()
	if !c.resumed {
		if err := c.check(callCtx); err != nil {
			c.fail(ctx, err, true)
			return
		}
	}
	if !c.mine() || !c.point(ctx, "begin:before") {
		return
	}
	h, err := driver.Begin(callCtx, c.driver, c.req)
	if !c.point(ctx, "begin:after") {
		return
	}
	if err != nil {
		if !failure.Classified(err) {
			err = failure.WrapAs(failure.Indeterminate, err, "begin", string(c.step.ID))
		}
		c.fail(ctx, err, notBegun(failure.KindOf(err)))
		return
	}
	c.report(ctx, Event{Kind: StepHandle, Handle: &h})
}

// notBegun says whether a begin that ended so certainly left nothing under way.
func notBegun(k failure.Kind) bool {
	switch k {
	case failure.Internal, failure.Unavailable, failure.Indeterminate, failure.Canceled:
		return false
	}
	return true
}

// check turns the driver's blocking findings into an error.
func (c *call) check(ctx context.Context) error {
	findings, err := c.driver.Check(ctx, c.req)
	if err != nil {
		return err
	}
	for _, f := range findings {
		if f.Severity == model.Block && !c.req.Force {
			e := failure.New(failure.Conflict, string(c.step.Action), string(c.step.ID), "%s", f.What)
			if f.Fix != "" {
				e = e.WithHint("%s", f.Fix)
			}
			return e
		}
	}
	return nil
}

// observe watches the attempt until it is over one way or the other.
func (c *call) observe(ctx context.Context) {
	var phase, told string
	toldAt := time.Now()
	for poll := pollFirst; ; poll = min(poll*3/2, pollMost) {
		if !c.mine() || !c.point(ctx, "observe:before") {
			return
		}
		obs, err := c.look(ctx)
		if !c.point(ctx, "observe:after") || ctx.Err() != nil {
			return
		}
		wait := poll
		switch {
		case err != nil && !failure.KindOf(err).Retryable() && failure.Classified(err):
			c.fail(ctx, err, false)
			return
		case err != nil:
			phase = "cannot be observed: " + err.Error()
		case obs.State == driver.Done:
			c.done(ctx, obs)
			return
		case obs.State == driver.Failed:
			c.failed(ctx, obs)
			return
		default:
			phase = obs.Phase
			if obs.Again > 0 {
				wait, poll = obs.Again, pollFirst
			}
		}
		if left := time.Until(c.deadline); left <= 0 {
			c.timedOut(ctx, phase)
			return
		} else if wait > left {
			wait = left
		}
		if phase != told && time.Since(toldAt) >= progressGap {
			told, toldAt = phase, time.Now()
			c.report(ctx, Event{Kind: StepProgress, Phase: phase})
		}
		if sleep(ctx, wait) != nil {
			return
		}
	}
}

func (c *call) look(ctx context.Context) (driver.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.driver.Observe(ctx, c.req, c.handle)
}

// done reports success, if the driver left what the plan counts on.
func (c *call) done(ctx context.Context, obs driver.Observation) {
	for name, want := range c.step.Outputs {
		if got, ok := obs.Outputs[name]; !ok || got.Type != want {
			c.fail(ctx, failure.New(failure.Internal, string(c.step.Action), string(c.step.ID), "the driver left no output %q of type %s", name, want), true)
			return
		}
	}
	if n := len(encode(obs.Outputs)) + len(encode(obs.Evidence)); n > maxOutputs {
		c.fail(ctx, failure.New(failure.Internal, string(c.step.Action), string(c.step.ID), "the driver left %d bytes of outputs; %d are the most", n, maxOutputs), true)
		return
	}
	c.report(ctx, Event{Kind: StepDone, Outputs: obs.Outputs, Evidence: obs.Evidence, Phase: obs.Phase})
}

func (c *call) failed(ctx context.Context, obs driver.Observation) {
	err := obs.Err
	if err == nil {
		err = failure.New(failure.Internal, string(c.step.Action), string(c.step.ID), "the driver says failed and not why")
	}
	evidence := obs.Evidence
	if len(encode(evidence)) > maxOutputs { // why it failed matters more, and has to get into the journal
		evidence = nil
	}
	c.failWith(ctx, err, true, evidence)
}

// timedOut ends an attempt that took too long: it is stopped where the driver can; a question leaves nothing to stop.
func (c *call) timedOut(ctx context.Context, phase string) {
	took := c.step.Timeout
	err := failure.New(failure.Unavailable, string(c.step.Action), string(c.step.ID), "not done after %s", took)
	if phase != "" {
		err = failure.New(failure.Unavailable, string(c.step.Action), string(c.step.ID), "not done after %s; last seen: %s", took, phase)
	}
	terminal := c.step.Action == model.ActionVerify || c.step.Action == model.ActionReadMarker
	if canceler, ok := driver.As[driver.Canceler](c.driver); ok && !terminal {
		callCtx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		cerr := canceler.Cancel(callCtx, c.req, c.handle)
		terminal = cerr == nil
		if cerr != nil {
			err.Cause = errors.Join(errors.New("and it could not be stopped"), cerr)
		}
	}
	c.fail(ctx, err, terminal)
}

// cancel stops the attempt, and reports what became of it: it may have been over already.
func (c *call) cancel(ctx context.Context, canceler driver.Canceler) {
	if !c.mine() || !c.point(ctx, "cancel:before") {
		return
	}
	callCtx, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	err := canceler.Cancel(callCtx, c.req, c.handle)
	if !c.point(ctx, "cancel:after") || ctx.Err() != nil {
		return
	}
	if err != nil {
		c.fail(ctx, failure.Wrap(err, "cancel", string(c.step.ID)), false)
		return
	}
	obs, err := c.look(ctx)
	if err == nil && obs.State == driver.Done {
		c.done(ctx, obs)
		return
	}
	c.report(ctx, Event{Kind: StepCanceled, Err: obs.Err})
}
