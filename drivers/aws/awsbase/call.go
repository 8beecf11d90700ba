package awsbase

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// How attempts follow each other.
const (
	attempts   = 8                      // at most; the deadline usually comes first
	firstPause = 250 * time.Millisecond // doubled with each attempt, and shortened by chance to not less than half
	lastPause  = 5 * time.Second
)

// around is what lies around every call of a client.
type around struct {
	s       *Session
	service string
	scope   scope
}

// add puts it into the stack of a call: the outer part around everything, the inner part around signing and sending.
func (a *around) add(stack *middleware.Stack) error {
	if _, sends := stack.Finalize.Get("Retry"); !sends {
		return nil // a request that is only signed, for another region: it is sent as a part of the call that needs it
	}
	outer := middleware.InitializeMiddlewareFunc("lifeboat.Call",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (out middleware.InitializeOutput, md middleware.Metadata, err error) {
			err = a.call(ctx, func(ctx context.Context) error {
				out, md, err = next.HandleInitialize(ctx, in)
				return err
			})
			return out, md, err
		})
	if err := stack.Initialize.Add(outer, middleware.Before); err != nil {
		return err
	}
	inner := middleware.FinalizeMiddlewareFunc("lifeboat.Attempts",
		func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (out middleware.FinalizeOutput, md middleware.Metadata, err error) {
			err = a.attempts(ctx, func(ctx context.Context) error {
				again := in
				if req, ok := in.Request.(*smithyhttp.Request); ok {
					if err := req.RewindStream(); err != nil {
						return err
					}
					again.Request = req.Clone()
				}
				out, md, err = next.HandleFinalize(ctx, again)
				return err
			})
			return out, md, err
		})
	return stack.Finalize.Insert(inner, "Retry", middleware.After)
}

// changes reports whether an operation changes something at AWS. What only looks is named so in all the services we call.
func changes(operation string) bool {
	for _, prefix := range []string{"Describe", "List", "Get", "Lookup", "Head", "Simulate", "AssumeRole", "TestDNSAnswer"} {
		if strings.HasPrefix(operation, prefix) {
			return false
		}
	}
	return true
}

// call bounds a call, lets it fail at once where the service is silent, and gives its error a kind.
func (a *around) call(ctx context.Context, do func(context.Context) error) error {
	q := a.s.base.quiet(a.scope)
	if ok, since, again := q.enter(); !ok {
		return failure.New(failure.Unavailable, "", a.s.access.Region, "%s has not answered since %s", a.service, since.UTC().Format("15:04:05 MST")).
			WithHint("it is asked again in %s; nothing waits for it meanwhile", again.Round(time.Second))
	}
	limit := a.s.access.deadline()
	if a.service == "sts" {
		limit = max(limit/2, limit-a.s.access.attempt()) // it is asked within other calls, and leaves them the time for an attempt
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	operation := middleware.GetOperationName(ctx)
	if a.service != "sts" {
		if err := a.s.prove(bounded); err != nil {
			q.leave(unknown)
			return failure.Wrap(judge(err, "sts", "GetCallerIdentity").fault(""), "find out who calls "+a.service+" in", a.s.access.Region)
		}
	}
	err := do(bounded)
	if err == nil {
		q.leave(answered)
		return nil
	}
	if ctx.Err() != nil {
		q.leave(unknown)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && changes(operation) {
			return failure.WrapAs(failure.Indeterminate, ctx.Err(), "", a.s.access.Region).WithHint(hintLook)
		}
		return failure.Wrap(ctx.Err(), "", a.s.access.Region)
	}
	v := judge(err, a.service, operation)
	if q.leave(v.outcome) {
		a.s.base.opts.Log.WarnContext(ctx, "a service of AWS does not answer", "service", a.service, "site", a.s.Name(), "err", err)
	}
	return v.fault(a.s.access.Region)
}

// attempts sends a request until it is answered, where sending it again is safe.
func (a *around) attempts(ctx context.Context, send func(context.Context) error) error {
	l := a.s.base.limit(a.scope)
	operation := middleware.GetOperationName(ctx)
	var last error
	for n := range attempts {
		if err := l.wait(ctx, changes(operation)); err != nil {
			if last != nil {
				return last
			}
			return err
		}
		err := a.attempt(ctx, send)
		if err == nil {
			l.passed()
			return nil
		}
		v := judge(err, a.service, operation)
		if v.kind == failure.Throttled {
			if rate, lowered := l.throttled(); lowered {
				a.s.base.opts.Log.InfoContext(ctx, "AWS throttles: calling less often", "service", a.service, "site", a.s.Name(), "per_second", rate)
			}
		} else if v.outcome == answered {
			l.passed()
		}
		last = err
		if !v.again || n == attempts-1 || ctx.Err() != nil {
			break
		}
		pause := min(lastPause, firstPause<<n)
		pause -= time.Duration(rand.Int64N(int64(pause)/2 + 1))
		if sleep(ctx, pause) != nil {
			break
		}
	}
	return last
}

// attempt sends a request once.
func (a *around) attempt(ctx context.Context, send func(context.Context) error) error {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, a.s.access.attempt())
	defer cancel()
	err := send(bounded)
	if err != nil && bounded.Err() != nil && errors.Is(bounded.Err(), context.DeadlineExceeded) {
		return &noAnswer{fmt.Sprintf("no answer within %s", time.Since(began).Round(time.Millisecond)), err}
	}
	return err
}

// noAnswer is an attempt that took too long.
type noAnswer struct {
	text  string
	cause error
}

func (n *noAnswer) Error() string { return n.text }
func (n *noAnswer) Unwrap() error { return n.cause }
