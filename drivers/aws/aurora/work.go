package aurora

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// places opens a site of a resource: what differs between the kinds where they keep snapshots and restore them.
type places func(ctx context.Context, t driver.Target, site model.SiteID) (*place, error)

// work is everything about one request.
type work struct {
	req  driver.Request
	open places
	here *place
}

func (open places) work(ctx context.Context, req driver.Request) (*work, error) {
	here, err := open(ctx, req.Target, req.Site)
	if err != nil {
		return nil, err
	}
	return &work{req: req, open: open, here: here}, nil
}

// others are the resource's other sites.
func (w *work) others(ctx context.Context) ([]*place, error) {
	var out []*place
	for _, id := range w.req.Resource.SiteIDs() {
		if id == w.req.Site {
			continue
		}
		p, err := w.open(ctx, w.req.Target, id)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// keeper keeps the snapshots of the work's resource.
func (w *work) keeper(others ...*place) *snapshots.Keeper {
	k := &snapshots.Keeper{Target: w.req.Target, Here: w.here.kept(), Copies: w.here.s.Copies}
	for _, o := range others {
		k.Others = append(k.Others, o.kept())
	}
	return k
}

func (w *work) origin() awsbase.Origin { return awsbase.OriginOf(w.req) }

// name is what the step makes is called.
func (w *work) name(what string) string {
	return awsbase.NameFor(w.here.at.Cluster+"-"+what, w.req.Token, nameLimit)
}

// runKey names what is made for a run and a cluster: the same for all attempts.
func runKey(req driver.Request, arn string) string {
	sum := sha256.Sum256([]byte(string(req.Run) + "/" + string(req.App) + "/" + string(req.Resource.ID) + "/" + arn))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// begin decides what the work is about and takes its first step, as far as that is possible now.
func (open places) begin(ctx context.Context, req driver.Request) (driver.Handle, error) {
	w, err := open.work(ctx, req)
	if err != nil {
		return driver.Handle{}, err
	}
	h, err := w.decide(ctx)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, string(req.Action), w.here.subject)
	}
	seen, err := w.push(ctx, h)
	if err == nil && seen.State == driver.Failed && req.Action != model.ActionProve { // a verdict is an answer, given again
		return driver.Handle{}, seen.Err
	}
	if err != nil {
		return driver.Handle{}, err
	}
	return driver.NewHandle(handleVersion, h)
}

// observe takes the next step of the work, and says what it waits for.
func (open places) observe(ctx context.Context, req driver.Request, h handle) (driver.Observation, error) {
	req.Action = h.Action
	w, err := open.work(ctx, req)
	if err != nil {
		return driver.Observation{}, err
	}
	return w.push(ctx, h)
}

// decide chooses what the work is about. Asked again for the same token, it chooses the same where something was made of it.
func (w *work) decide(ctx context.Context) (handle, error) {
	h := handle{Action: w.req.Action}
	var err error
	switch w.req.Action {
	case model.ActionCapture:
		h.Name = w.name("point")
	case model.ActionCopy:
		var ready []*snapshots.Snapshot
		if ready, err = w.keeper().Ready(ctx, w.here.kept()); len(ready) > 0 {
			h.Until = ready[0].At // later ones are not this step's to copy
		}
	case model.ActionPromote:
		h.Name = strings.ToLower(w.here.at.Cluster)
		h.Point, err = w.chosen(ctx, h.Name)
	case model.ActionDrill:
		if err = w.here.needsDrill("drill"); err == nil {
			h.Point, err = w.chosen(ctx, w.apart("drill", "").cluster)
		}
	case model.ActionRestore:
		h, err = w.decideRestore(ctx)
	case model.ActionProve:
		h.Point, err = w.decideProve(ctx)
	case model.ActionFence, model.ActionQuiesce:
		err = w.here.needsFence()
	case model.ActionRelease:
		if w.req.Released == nil || w.req.Released.Token == "" {
			err = failure.New(failure.Invalid, "", "", "it is not said what is released")
		}
	}
	return h, err
}

// push takes the next step of the work. It may be called by several at once, and again at any time.
func (w *work) push(ctx context.Context, h handle) (driver.Observation, error) {
	seen, err := w.step(ctx, h)
	switch {
	case err == nil, ctx.Err() != nil:
	case failure.KindOf(err) == failure.Exists, failure.KindOf(err) == failure.Corrupt:
		seen, err = driver.FailedWith(failure.Wrap(err, string(w.req.Action), w.here.subject)), nil
	case failure.KindOf(err) == failure.Conflict:
		seen, err = driver.Waiting("AWS is not ready for the next step: %s", strings.Join(strings.Fields(err.Error()), " ")), nil
	}
	var said *failure.Error
	if err != nil && (!errors.As(err, &said) || said.Op != string(w.req.Action) || said.Subject != w.here.subject) {
		return seen, failure.Wrap(err, string(w.req.Action), w.here.subject)
	}
	if err != nil {
		return seen, err
	}
	if seen.State == driver.Pending && seen.Again == 0 {
		seen.Again = again
	}
	return seen, nil
}

func (w *work) step(ctx context.Context, h handle) (driver.Observation, error) {
	switch w.req.Action {
	case model.ActionCapture:
		return w.capture(ctx, w.here, h.Name, w.req.Token, nil)
	case model.ActionCopy:
		return w.copies(ctx, h)
	case model.ActionExpire:
		return w.expire(ctx)
	case model.ActionRestore:
		return w.restore(ctx, h)
	case model.ActionProve:
		return w.prove(ctx, h)
	case model.ActionRelease:
		return w.release(ctx)
	case model.ActionDrill:
		return w.drill(ctx, h)
	case model.ActionPromote:
		return w.promote(ctx, h)
	case model.ActionFence:
		return w.fence(ctx)
	case model.ActionQuiesce:
		return w.quiesce(ctx)
	case model.ActionReverse:
		return w.reverse(ctx)
	}
	return driver.Observation{}, failure.New(failure.Unsupported, "", "", "%s cannot %s", w.req.Resource.Kind, w.req.Action)
}

// capture makes a snapshot of a site's cluster, with more tags than those of its origin, and waits until it is available. The key
// is what its name was made of.
func (w *work) capture(ctx context.Context, at *place, name, key string, more map[string]string) (driver.Observation, error) {
	origin := w.origin()
	origin.Token = key
	mine := func(tags map[string]string) bool { return tags[awsbase.TagToken] == key }
	return snapshots.Capture(ctx, at.kept(), name, mine, func(ctx context.Context) (driver.Observation, error) {
		v, err := at.look(ctx)
		switch {
		case err != nil:
			return driver.Observation{}, err
		case v.cluster == nil:
			return driver.FailedWith(failure.New(failure.NotFound, "capture", at.subject, "there is no cluster %s in %s", at.at.Cluster, at.session.Region()).
				WithHint("lifeboat status %s shows where the app serves", w.req.App)), nil
		case v.status() != available:
			return driver.Waiting("cluster %s is %s: a snapshot is made once it is available", at.at.Cluster, v.status()), nil
		}
		return driver.Waiting("snapshot %s is begun", name), at.makeSnapshot(ctx, name, origin.Tags(more))
	})
}

func (w *work) copies(ctx context.Context, h handle) (driver.Observation, error) {
	others, err := w.others(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	var until *time.Time
	if !h.Until.IsZero() {
		until = &h.Until
	}
	return w.keeper(others...).Copy(ctx, until)
}

func (w *work) expire(ctx context.Context) (driver.Observation, error) {
	others, err := w.others(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	return w.keeper(others...).Expire(ctx)
}

// points lists the snapshots at a site that can be restored.
func (open places) points(ctx context.Context, t driver.Target) ([]model.Point, error) {
	w, err := open.work(ctx, driver.Request{Target: t})
	if err != nil {
		return nil, err
	}
	list, err := w.keeper().Points(ctx)
	return list, failure.Wrap(err, "list points", w.here.subject)
}
