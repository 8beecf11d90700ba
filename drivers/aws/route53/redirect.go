package route53

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// handle is what a redirect leaves for its observation.
type handle struct {
	Zone   string   `json:"zone"`
	Change string   `json:"change,omitempty"` // the change's id; empty: there was nothing to change
	OldTTL int64    `json:"old_ttl"`          // seconds, the longest of the records before; aliases count with that of their target: see aliasTTL
	Before []string `json:"before,omitempty"` // the records before, for people; at most shown
}

const (
	// aliasTTL is how long answers of an alias live, in seconds: it has its target's TTL, which is 60 s for load balancers and
	// what else of AWS an alias can stand for ("Choosing between alias and non-alias records").
	aliasTTL = 60
	// shown is how many records the handle and the evidence hold.
	shown = 20
)

// Redirect changes the records of all names in one batch, in which each record is deleted exactly as it was read and created as it
// is to be: when somebody changed one in between, nothing happens and the error is Conflict.
//
// Records that are as they are to be need no change, except when an earlier begin may have made it: then its change has an id that
// nobody knows, and the same records are written once more to have one to wait for.
func (d *Driver) Redirect(ctx context.Context, req driver.Request) (driver.Handle, error) {
	w, err := d.work(ctx, req.Target)
	if err != nil {
		return driver.Handle{}, err
	}
	return w.redirect(ctx, req, req.Resumed || req.Attempt > 1)
}

func (w *work) redirect(ctx context.Context, req driver.Request, confirm bool) (driver.Handle, error) {
	h, err := w.change(ctx, req, confirm)
	switch kind := failure.KindOf(orNil(err)); {
	case err == nil:
		return driver.NewHandle(handleVersion, h)
	case ctx.Err() != nil || kind != failure.Indeterminate && kind != failure.Conflict:
		return driver.Handle{}, failure.Wrap(err, "redirect", string(w.t.Resource.ID))
	}
	// The answer was lost, or somebody was faster, perhaps we ourselves in another process. Only what is there tells.
	seen, lookErr := w.look(ctx)
	if lookErr != nil {
		return driver.Handle{}, failure.Wrap(err, "redirect", string(w.t.Resource.ID))
	}
	steps, wayErr := w.steps(seen)
	if wayErr != nil || !allDone(steps) {
		return driver.Handle{}, failure.Wrap(err, "redirect", string(w.t.Resource.ID))
	}
	before := h
	if h, err = w.send(ctx, req, steps); err != nil {
		return driver.Handle{}, failure.Wrap(err, "redirect", string(w.t.Resource.ID))
	}
	h.OldTTL, h.Before = before.OldTTL, before.Before
	return driver.NewHandle(handleVersion, h)
}

// orNil gives KindOf something to look at.
func orNil(err error) error {
	if err == nil {
		return failure.Internal
	}
	return err
}

func allDone(steps []step) bool {
	for _, s := range steps {
		if !s.done() {
			return false
		}
	}
	return true
}

// change looks and sends the batch, if there is anything to send.
func (w *work) change(ctx context.Context, req driver.Request, confirm bool) (handle, error) {
	seen, err := w.look(ctx)
	if err != nil {
		return handle{}, err
	}
	steps, err := w.steps(seen)
	if err != nil {
		return handle{}, err
	}
	if allDone(steps) && !confirm {
		h := w.handleOf(steps)
		return h, nil
	}
	if !allDone(steps) {
		var todo []step
		for _, s := range steps {
			if !s.done() {
				todo = append(todo, s)
			}
		}
		steps = todo
	}
	h, err := w.send(ctx, req, steps)
	if err == nil || failure.KindOf(err) != failure.Invalid {
		return h, err
	}
	// Refused: because the records are not what they were, or because of what is wanted?
	after, lookErr := w.look(ctx)
	if lookErr != nil {
		return h, err
	}
	if now, wayErr := w.steps(after); wayErr == nil && !sameOld(steps, now) {
		return h, failure.WrapAs(failure.Conflict, err, "", strings.Join(w.s.Names, ", ")).
			WithHint("somebody else is changing the records: find out who before you retry")
	}
	return h, err
}

// sameOld reports whether all that was there before is still there.
func sameOld(before, now []step) bool {
	for _, b := range before {
		found := false
		for _, n := range now {
			if *n.want.Name == *b.want.Name && aws.ToString(n.want.SetIdentifier) == aws.ToString(b.want.SetIdentifier) {
				found = b.old == nil && n.old == nil || b.old != nil && n.old != nil && same(b.old, n.old)
			}
		}
		if !found {
			return false
		}
	}
	return true
}

func (w *work) handleOf(steps []step) handle {
	h := handle{Zone: w.zone}
	for _, s := range steps {
		if s.old == nil {
			continue
		}
		ttl := aws.ToInt64(s.old.TTL)
		if s.old.AliasTarget != nil {
			ttl = aliasTTL
		}
		h.OldTTL = max(h.OldTTL, ttl)
	}
	for _, s := range steps {
		if len(h.Before) == shown {
			h.Before = append(h.Before, fmt.Sprintf("and %d more", len(steps)-shown))
			break
		}
		h.Before = append(h.Before, plain(*s.want.Name)+": "+show(s.old))
	}
	return h
}

// send sends one batch: what was read is deleted, and what is wanted created. All deletions come first, as there cannot be two
// primaries of a failover record in between.
func (w *work) send(ctx context.Context, req driver.Request, steps []step) (handle, error) {
	h := w.handleOf(steps)
	var deletions, creations []types.Change
	for _, s := range steps {
		if s.old != nil {
			deletions = append(deletions, types.Change{Action: types.ChangeActionDelete, ResourceRecordSet: s.old})
		}
		creations = append(creations, types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: s.want})
	}
	out, err := w.client.ChangeResourceRecordSets(ctx, &sdk.ChangeResourceRecordSetsInput{
		HostedZoneId: &w.zone,
		ChangeBatch:  &types.ChangeBatch{Changes: append(deletions, creations...), Comment: aws.String(comment(req))},
	})
	if err != nil {
		return h, err
	}
	h.Change = strings.TrimPrefix(aws.ToString(out.ChangeInfo.Id), "/change/")
	return h, nil
}

// comment says in the zone's history who made the change: at most 256 characters.
func comment(req driver.Request) string {
	text := fmt.Sprintf("lifeboat: %s/%s to %s, run %s, step %s", req.App, req.Resource.ID, req.Site, req.Run, req.Step)
	return text[:min(len(text), 256)]
}

// Observe is Done when Route 53 says that all its name servers have the change, and the records are still as wanted.
func (d *Driver) Observe(ctx context.Context, req driver.Request, dh driver.Handle) (driver.Observation, error) {
	h, err := driver.ReadHandle[handle](handleVersion, dh)
	if err != nil {
		return driver.Observation{}, err
	}
	w, err := d.work(ctx, req.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	w.zone = h.Zone
	sync := "not asked: the records were so already"
	if h.Change != "" {
		out, err := w.client.GetChange(ctx, &sdk.GetChangeInput{Id: &h.Change})
		switch {
		case err != nil && failure.KindOf(err) == failure.NotFound:
			sync = "not known any more: Route 53 has forgotten the change " + h.Change
		case err != nil:
			return driver.Observation{}, failure.Wrap(err, "observe", string(req.Resource.ID))
		case out.ChangeInfo.Status != types.ChangeStatusInsync:
			return driver.Observation{State: driver.Pending, Again: again,
				Phase: fmt.Sprintf("change %s is %s: Route 53's name servers are taking it up", h.Change, out.ChangeInfo.Status)}, nil
		default:
			sync = "change " + h.Change + " is INSYNC"
		}
	}
	seen, err := w.look(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "observe", string(req.Resource.ID))
	}
	steps, err := w.steps(seen)
	if err != nil {
		return driver.Observation{State: driver.Failed, Err: failure.From(err)}, nil
	}
	for _, s := range steps {
		if !s.done() {
			return driver.Observation{State: driver.Failed, Err: failure.New(failure.Conflict, "redirect", plain(*s.want.Name),
				"the change was made, and now it is %s instead of %s", show(s.old), show(s.want)).
				WithHint("somebody else is changing the records: find out who before you retry")}, nil
		}
	}
	return driver.Observation{State: driver.Done, Evidence: w.evidence(h, steps, sync)}, nil
}

// evidence says what the names stand for, and how long others may still hold the old answer: counted from now, since until a
// moment ago a name server may have given it.
func (w *work) evidence(h handle, steps []step, sync string) []model.Fact {
	old := time.Duration(h.OldTTL) * time.Second
	facts := []model.Fact{{Name: "zone", Value: w.s.Zone + " (" + h.Zone + ")"}, {Name: "name servers", Value: sync}}
	for i, s := range steps {
		if i == shown {
			facts = append(facts, model.Fact{Name: "records", Value: fmt.Sprintf("and %d more", len(steps)-shown)})
			break
		}
		facts = append(facts, model.Fact{Name: "record " + plain(*s.want.Name), Value: show(s.old)})
	}
	if h.Change == "" {
		return facts
	}
	for _, text := range h.Before {
		facts = append(facts, model.Fact{Name: "before", Value: text})
	}
	safe := time.Now().Add(old).UTC()
	within := "within"
	if old > w.s.stale() {
		within = "longer than"
	}
	return append(facts, model.Fact{Name: "ttl before", Value: fmt.Sprintf("%s, %s the %s that settings.stale allows of the RTO", old, within, w.s.stale())},
		model.Fact{Name: "ttl", Value: w.s.ttl().String()},
		model.Fact{Name: "caches", Value: "may hold the old answer until " + safe.Format(time.RFC3339)})
}
