// Package longwork is the frame of the drivers of AWS whose work takes many calls, and minutes or hours: it is begun, and each look
// at it takes its next step.
//
// A driver says what its work on one request is about and which step comes next ([Work]), and what has to outlast the process
// ([Handle]). A [Frame] makes the driver's capabilities of that: it writes the handle and reads it, takes a step at the begin and at each
// look, waits where AWS is not ready for one, and says of an error what it is about.
//
// It asks AWS nothing itself. Work that a single call carries out has no steps, and needs no frame: its begin makes the call, and its
// Observe judges what came of it. Roles that AWS exchanges and records that are replaced are like that.
//
// To start, embed the capabilities in the driver's type as one interface, and give it a Frame:
//
//	type Driver struct {
//		base *awsbase.Base
//		stepwise
//	}
//
//	// stepwise is what is done step by step.
//	type stepwise interface {
//		driver.Capturer
//		driver.Promoter
//		longwork.Observer
//	}
//
//	func New(base *awsbase.Base) *Driver {
//		d := &Driver{base: base}
//		d.stepwise = longwork.Frame[*work, handle]{Version: 1, Again: 10 * time.Second, Open: d.work}
//		return d
//	}
package longwork

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Handle is what a begin decided, so that every look goes on with the same. What the work has made so far is not in it: that is found in
// AWS, by names that follow from the step's token.
//
// Its JSON form is in journals. A field may be added that may be missing; another change needs another Frame.Version.
type Handle interface {
	// For is the action that was begun; empty in what is no handle.
	For() model.Action
}

// Work is a driver's work on one request, at one look.
type Work[H Handle] interface {
	// Decide chooses what the work is about, and refuses what cannot be done. Asked again for the same token it chooses the same where
	// something was made of it. Its errors are those of the begin.
	Decide(ctx context.Context) (H, error)
	// Step looks at what is there and takes the next step, if there is one to take. It judges by roles and states, and remembers
	// nothing: it may be called by several at once, and again at any time. An error that [awsbase.Busy] knows means that the
	// step comes too early, or that somebody else has just taken it; others are those of the look.
	Step(ctx context.Context, h H) (driver.Observation, error)
}

// Observer is the part of [driver.Driver] that a Frame is.
type Observer interface {
	Observe(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error)
}

// Frame is the capabilities of a driver whose work is a W. Which of them the driver has is said by the interface that it embeds.
type Frame[W Work[H], H Handle] struct {
	Version int           // of the handles that are written, and the only one that is read
	Again   time.Duration // between two looks, where a step says no other time
	// Open gives the work on a request. At a look, the request's action is the one that was begun; a release says what is released.
	Open func(ctx context.Context, req driver.Request) (W, error)
}

// begin decides what the work is about and takes its first step. A step that fails at once is the begin's error; but the verdict of a
// proof is an answer, which is given again to whoever begins the proof again.
func (f Frame[W, H]) begin(ctx context.Context, req driver.Request) (driver.Handle, error) {
	w, err := f.open(ctx, req)
	if err != nil {
		return driver.Handle{}, err
	}
	h, err := w.Decide(ctx)
	if err != nil {
		return driver.Handle{}, About(req, err)
	}
	seen, err := f.step(ctx, req, w, h)
	if err != nil {
		return driver.Handle{}, err
	}
	if seen.State == driver.Failed && req.Action != model.ActionProve {
		return driver.Handle{}, seen.Err
	}
	return driver.NewHandle(f.Version, h)
}

// Observe takes the next step of the work if there is one to take, and says what it waits for.
func (f Frame[W, H]) Observe(ctx context.Context, req driver.Request, dh driver.Handle) (driver.Observation, error) {
	h, err := Read[H](f.Version, req, dh)
	if err != nil {
		return driver.Observation{}, err
	}
	req.Action = h.For()
	w, err := f.open(ctx, req)
	if err != nil {
		return driver.Observation{}, err
	}
	return f.step(ctx, req, w, h)
}

// open opens the work on a request that says all that its action needs.
func (f Frame[W, H]) open(ctx context.Context, req driver.Request) (w W, err error) {
	if req.Action == model.ActionRelease && (req.Released == nil || req.Released.Token == "") {
		return w, failure.New(failure.Invalid, "release", string(req.Resource.ID), "nothing says what is released")
	}
	return f.Open(ctx, req)
}

func (f Frame[W, H]) step(ctx context.Context, req driver.Request, w W, h H) (driver.Observation, error) {
	seen, err := w.Step(ctx, h)
	switch {
	case err != nil && ctx.Err() == nil && awsbase.Busy(err):
		seen = driver.Waiting("AWS is not ready for the next step: %s", awsbase.OneLine(err.Error()))
	case err != nil:
		return seen, About(req, err)
	}
	if seen.State == driver.Pending && seen.Again == 0 {
		seen.Again = f.Again
	}
	return seen, nil
}

// Read reads the handle that a begin of req left. One of another version is failure.Unsupported, what is none failure.Corrupt.
func Read[H Handle](version int, req driver.Request, dh driver.Handle) (H, error) {
	h, err := driver.ReadHandle[H](version, dh)
	if err == nil && h.For() == "" {
		err = failure.New(failure.Corrupt, "observe", string(req.Resource.ID), "this is no handle of %s", req.Resource.Kind)
	}
	return h, err
}

// About says of an error which action on which resource at which site it is about, once.
func About(req driver.Request, err error) error {
	op, subject := string(req.Action), string(req.Resource.ID)+" at "+string(req.Site)
	if own, ok := err.(*failure.Error); ok && own.Subject == subject && (own.Op == "" || own.Op == op) {
		said := *own
		said.Op = op
		return &said
	}
	return failure.Wrap(err, op, subject)
}
