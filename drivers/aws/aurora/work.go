package aurora

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/longwork"
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

// frame is the work at such places, step by step.
func frame(open places) longwork.Frame[*work, handle] {
	return longwork.Frame[*work, handle]{Version: handleVersion, Again: again, Open: open.work}
}

// others are the resource's other sites.
func (w *work) others(ctx context.Context) ([]*place, error) {
	return awsbase.Others(ctx, w.req.Target, w.open)
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

// Decide chooses what the work is about.
func (w *work) Decide(ctx context.Context) (handle, error) {
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
	}
	return h, err
}

// Step takes the next step of the work. What is somebody else's and what is broken ends it.
func (w *work) Step(ctx context.Context, h handle) (driver.Observation, error) {
	seen, err := w.step(ctx, h)
	if err != nil && ctx.Err() == nil && (failure.KindOf(err) == failure.Exists || failure.KindOf(err) == failure.Corrupt) {
		return driver.FailedWith(longwork.About(w.req, err)), nil
	}
	return seen, err
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
		case v.means().Broken():
			return driver.FailedWith(failure.New(failure.Unavailable, "capture", at.subject, "the cluster %s is %s: AWS makes no snapshot of it", at.at.Cluster, v.status()).
				WithHint("aws rds describe-events --source-type db-cluster --source-identifier %s says why", at.at.Cluster)), nil
		case v.means() == dbstate.Stopped:
			return driver.Observation{}, v.stopped("capture", at)
		case v.means() != dbstate.Ready:
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
func points(ctx context.Context, open places, t driver.Target) ([]model.Point, error) {
	w, err := open.work(ctx, driver.Request{Target: t})
	if err != nil {
		return nil, err
	}
	list, err := w.keeper().Points(ctx)
	return list, failure.Wrap(err, "list points", w.here.subject)
}
