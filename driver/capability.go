package driver

import (
	"context"
	"maps"
	"slices"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Fencer proves that the copy at the request's site accepts no more writes, making it so where it can. Done means
// proven now, with the proof as evidence; a copy that would come back as a writer by itself is not fenced. A copy that
// can be neither reached nor shut out is failure.Unavailable with the code "fence-unproven" in the message ([Unproven];
// [MovedUnproven] where the role has moved all the same), and is never reported as fenced. Implement it for everything stateful.
type Fencer interface {
	Fence(ctx context.Context, req Request) (Handle, error)
}

// Quiescer stops taking new work at the site in an orderly way. Done means: nothing more is accepted there, and all
// that was accepted has reached Peer. It can be undone by promoting Site again.
type Quiescer interface {
	Quiesce(ctx context.Context, req Request) (Handle, error)
}

// Promoter makes the copy at the site the serving one. Done means that the role changed and it takes writes.
type Promoter interface {
	Promote(ctx context.Context, req Request) (Handle, error)
}

// Reverser makes the copy at Site follow the one at Peer again, by the cheapest way that is safe, else by building it
// anew. Done means that it follows and has caught up. It refuses to touch a copy that is serving.
type Reverser interface {
	Reverse(ctx context.Context, req Request) (Handle, error)
}

// Redirector moves clients to Site. Done means that whoever asks the authority is sent there; how long others may
// still hold the old answer is in the evidence.
type Redirector interface {
	Redirect(ctx context.Context, req Request) (Handle, error)
}

// Verifier asks a question of the copy at Site. A "no" is an observation that is still Pending, with what was seen in
// Phase: it is asked again until the step's timeout.
type Verifier interface {
	Verify(ctx context.Context, req Request) (Handle, error)
}

// Driller brings up an isolated copy at Site: names, ports and folders of its own; protection goes on untouched.
// All that it makes is found again by the request's token.
type Driller interface {
	Drill(ctx context.Context, req Request) (Handle, error)
}

// Releaser removes what the step in req.Released made, all of it and nothing else, also when that step died half way
// and only its token is known. Releasing what is gone already is Done.
type Releaser interface {
	Release(ctx context.Context, req Request) (Handle, error)
}

// MarkerReader reads the newest marker in the copy at Site: outputs marker_at (time), marker_seq (number). In a drill
// the isolated copy is read. No marker at all is failure.NotFound.
type MarkerReader interface {
	ReadMarker(ctx context.Context, req Request) (Handle, error)
}

// MarkerWriter writes marker m into the serving copy, wherever it is among the resource's sites, and returns when it
// is acknowledged as durable as the resource's clients get it.
type MarkerWriter interface {
	WriteMarker(ctx context.Context, t Target, m model.Marker) error
}

// Capturer makes a recovery point of the serving copy at Site. Done leaves the point's id as output point (text) and the
// instant whose state it holds as output at (time).
type Capturer interface {
	Capture(ctx context.Context, req Request) (Handle, error)
}

// Copier brings the second copies of the resource's recovery points (a vault's replicas, another region) up to date.
// Having none is Done.
type Copier interface {
	Copy(ctx context.Context, req Request) (Handle, error)
}

// Expirer removes the recovery points that the resource's policy need not keep. It never removes the newest point, one
// that is held, or one that a kept one needs. Without a policy it removes nothing.
type Expirer interface {
	Expire(ctx context.Context, req Request) (Handle, error)
}

// Restorer brings a recovery point back at Site, as req.Restore says. It writes over nothing that is serving, and over
// nothing that is not its own unless req.Restore.InPlace says so: Check blocks that. Done means that the state was
// reached: the evidence says which one.
type Restorer interface {
	Restore(ctx context.Context, req Request) (Handle, error)
}

// Prover restores the recovery point of req.Prove at Site, apart from everything, starts it, checks it, and writes down
// where the point is kept what came of it: that is the Proof which Lister.Points gives. All that it makes is found again
// by the request's token, and is gone when the step is over or [Releaser] was called.
//
// Done means that the point is good. A point that is bad is an observation that is Failed with failure.Corrupt, and is
// written down as bad; every other kind means that nothing is known of the point, and nothing is written down. With
// req.Prove.Bisect nothing is written down; Done leaves the outputs good, bad (text, in the form of RestoreSpec.To) and
// good_at, bad_at (time), the last two as far as they are known.
type Prover interface {
	Prove(ctx context.Context, req Request) (Handle, error)
}

// Ranger says which states between recovery points a resource can be brought back to by the record of changes that was
// received, at any site: from what is kept and never from a catalog, oldest first and apart from each other. It is asked at
// one site, and at another one when that does not answer.
type Ranger interface {
	Ranges(ctx context.Context, t Target) ([]model.Range, error)
}

// Runner carries out a user's own step. The program gets the token and must be idempotent under it, or say that it is
// not (then a crash in the middle stops and asks).
type Runner interface {
	Run(ctx context.Context, req Request) (Handle, error)
}

// Canceler stops work that was begun and is not over. Done with it, the work's observation is no longer Pending.
// Cancelling what is over already is no error.
type Canceler interface {
	Cancel(ctx context.Context, req Request, h Handle) error
}

// Lister lists the recovery points that exist at a site, newest first, from the resource itself and never from a
// catalog.
type Lister interface {
	Points(ctx context.Context, t Target) ([]model.Point, error)
}

// Streamer keeps the record of a resource's changes flowing from the copy that serves to other sites, and from there into
// the vault, so that every state can be brought back and not only those of recovery points. A program at each receiving
// site does it, which outlives whoever started it; the keeper of `lifeboat protect` calls Stream for each of these sites
// every few seconds, and makes a recovery point at once when [model.Stream.NeedsPoint] says why.
//
// None of these methods waits for the flow itself. A site or a serving copy that does not answer is no error but a state
// of the stream; an error means that nothing could be asked or done (bad settings, a host that does not answer).
type Streamer interface {
	// Streams reports whether the resource has such a record: the other methods are called only then.
	Streams(r model.Resource) bool
	// Stream makes sure that req.Site receives from the copy that serves, and that this copy waits for it where it is
	// configured to. It is idempotent, and may be called by several at once. A site that serves itself receives nothing. One that a move has stopped
	// from receiving ([model.Stream.Held]) goes on only when the move is over, as req.Over says, or when the record shows
	// that what serves now is what the move brought up.
	Stream(ctx context.Context, req StreamRequest) (model.Stream, error)
	// LookAtStream says how it does and changes nothing.
	LookAtStream(ctx context.Context, t Target) (model.Stream, error)
	// StopStream ends what receives at t.Site, and what the serving copy keeps for it. What has been received stays, and is in
	// the vault as far as that can be reached. When nothing runs there it is done.
	StopStream(ctx context.Context, t Target) error
}

// StreamRequest is what a keeper asks for at one receiving site.
type StreamRequest struct {
	Target             // Peer is the site that serves, as far as the caller knows
	Over   model.RunID `json:"over,omitempty"` // a move that had the stream stopped, and is known to be over
}

// BeginFunc begins one action; see the package comment for its promises.
type BeginFunc func(ctx context.Context, req Request) (Handle, error)

// begins is the one place where actions and capabilities meet.
var begins = map[model.Action]func(Driver) BeginFunc{
	model.ActionFence:      beginner(Fencer.Fence),
	model.ActionQuiesce:    beginner(Quiescer.Quiesce),
	model.ActionPromote:    beginner(Promoter.Promote),
	model.ActionReverse:    beginner(Reverser.Reverse),
	model.ActionRedirect:   beginner(Redirector.Redirect),
	model.ActionVerify:     beginner(Verifier.Verify),
	model.ActionReadMarker: beginner(MarkerReader.ReadMarker),
	model.ActionDrill:      beginner(Driller.Drill),
	model.ActionRelease:    beginner(Releaser.Release),
	model.ActionCapture:    beginner(Capturer.Capture),
	model.ActionRestore:    beginner(Restorer.Restore),
	model.ActionProve:      beginner(Prover.Prove),
	model.ActionCopy:       beginner(Copier.Copy),
	model.ActionExpire:     beginner(Expirer.Expire),
	model.ActionRun:        beginner(Runner.Run),
}

func beginner[C any](method func(C, context.Context, Request) (Handle, error)) func(Driver) BeginFunc {
	return func(d Driver) BeginFunc {
		c, ok := As[C](d)
		if !ok {
			return nil
		}
		return func(ctx context.Context, req Request) (Handle, error) { return method(c, ctx, req) }
	}
}

// Can reports whether d can begin action.
func Can(d Driver, action model.Action) bool {
	find, ok := begins[action]
	return ok && find(d) != nil
}

// Actions are those that d can begin, in order of their names.
func Actions(d Driver) []model.Action {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(begins)), func(a model.Action) bool { return !Can(d, a) })
}

// Begin begins req.Action on d. An action that d cannot do is failure.Unsupported.
func Begin(ctx context.Context, d Driver, req Request) (Handle, error) {
	if b, ok := d.(Beginner); ok {
		return b.Begin(ctx, req)
	}
	if find, ok := begins[req.Action]; ok {
		if f := find(d); f != nil {
			return f(ctx, req)
		}
	}
	return Handle{}, failure.New(failure.Unsupported, string(req.Action), string(req.Resource.ID),
		"a resource of kind %s cannot do this", d.Facts().Kind)
}

// Beginner is implemented by wrappers that stand before every action of what they wrap, such as a rehearsal's: [Begin] asks them
// in place of the capability's own method. Which actions there are is still what the wrapped driver can do.
type Beginner interface {
	Begin(ctx context.Context, req Request) (Handle, error)
}

// As finds capability C in d or in what it wraps (a wrapper has a method Unwrap() Driver).
func As[C any](d Driver) (C, bool) {
	for d != nil {
		if c, ok := d.(C); ok {
			return c, true
		}
		w, ok := d.(interface{ Unwrap() Driver })
		if !ok {
			break
		}
		d = w.Unwrap()
	}
	var none C
	return none, false
}
