package rds

import (
	"context"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// handleVersion is the version of the handles that this build writes. It reads only this one.
const handleVersion = 1

// handle is what a begin decided, so that later looks go on with the same.
type handle struct {
	Action model.Action `json:"action"`
	// Name is that of the instance or the snapshot that is made.
	Name string `json:"name,omitempty"`
	// Point is the snapshot that is restored; Until the newest one that is copied.
	Point string     `json:"point,omitempty"`
	Until *time.Time `json:"until,omitempty"`
}

// For is the action that was begun.
func (h handle) For() model.Action { return h.Action }

// place is a site with a client for it.
type place struct {
	id  model.SiteID
	own Settings // the resource's, the same at all sites
	set Site
	s   *awsbase.Session
	api *sdk.Client
}

// work is everything about one request.
type work struct {
	d    *Driver
	req  driver.Request
	set  Settings
	here *place
}

// place opens a site of a resource.
func (d *Driver) place(ctx context.Context, t driver.Target, id model.SiteID) (*place, error) {
	p, err := awsbase.PlaceOf[Settings, Site](ctx, d.base, t, id)
	if err != nil {
		return nil, err
	}
	return &place{id: id, own: p.Settings, set: p.At, s: p.Session, api: sdk.NewFromConfig(p.Session.Config("rds"))}, nil
}

func (d *Driver) work(ctx context.Context, req driver.Request) (*work, error) {
	here, err := d.place(ctx, req.Target, req.Site)
	if err != nil {
		return nil, err
	}
	return &work{d: d, req: req, set: here.own, here: here}, nil
}

// others are the resource's other sites.
func (w *work) others(ctx context.Context) ([]*place, error) {
	return awsbase.Others(ctx, w.req.Target, w.d.place)
}

// name is what the step makes is called.
func (w *work) name(what string) string { return w.nameBy(what, w.req.Token) }

// nameBy is what the step makes is called, or made in an earlier attempt with a token of its own.
func (w *work) nameBy(what, token string) string {
	prefix := w.here.set.Instance
	if what != "" {
		prefix = what + "-" + prefix
	}
	return awsbase.NameFor(prefix, token, nameLimit)
}

// subject names the resource at the site for errors.
func (w *work) subject() string { return string(w.req.Resource.ID) + " at " + string(w.req.Site) }

// Decide chooses what the work is about.
func (w *work) Decide(ctx context.Context) (handle, error) {
	h := handle{Action: w.req.Action}
	var err error
	switch w.req.Action {
	case model.ActionCapture:
		h.Name = w.name("")
	case model.ActionCopy:
		h.Until, err = w.newest(ctx)
	case model.ActionPromote:
		h.Name = w.here.set.Instance
		h.Point, err = w.chosen(ctx, h.Name)
	case model.ActionDrill:
		h.Name = w.name("drill")
		if _, err = w.drillSite(); err == nil {
			h.Point, err = w.drillPoint(ctx, h.Name)
		}
	case model.ActionRestore:
		h, err = w.decideRestore(ctx)
	case model.ActionProve:
		h.Name = w.name("prove")
		h.Point, err = w.decideProve(ctx)
	case model.ActionFence, model.ActionQuiesce:
		if w.here.set.Fence == nil {
			err = noFence(w)
		}
	}
	return h, err
}

// Step takes the next step of the work.
func (w *work) Step(ctx context.Context, h handle) (driver.Observation, error) {
	switch w.req.Action {
	case model.ActionCapture:
		return w.capture(ctx, w.here, h.Name, nil)
	case model.ActionCopy:
		return w.copies(ctx, h)
	case model.ActionExpire:
		return w.expire(ctx)
	case model.ActionPromote:
		return w.promote(ctx, h)
	case model.ActionDrill:
		return w.drill(ctx, h)
	case model.ActionRestore:
		return w.restore(ctx, h)
	case model.ActionRelease:
		return w.release(ctx)
	case model.ActionProve:
		return w.prove(ctx, h)
	case model.ActionFence:
		return w.fence(ctx)
	case model.ActionQuiesce:
		return w.quiesce(ctx)
	case model.ActionReverse:
		return w.reverse(ctx)
	}
	return driver.Observation{}, failure.New(failure.Unsupported, "", w.subject(), "%s cannot %s", Kind, w.req.Action)
}

// tagList makes RDS's tags of ours.
func tagList(tags []awsbase.Tag) []types.Tag {
	return awsbase.TagsAs(tags, func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
}

func tagMap(tags []types.Tag) map[string]string {
	return awsbase.TagMap(tags, func(t types.Tag) (*string, *string) { return t.Key, t.Value })
}

// tag adds tags to a thing of RDS.
func (p *place) tag(ctx context.Context, arn string, more map[string]string) error {
	_, err := p.api.AddTagsToResource(ctx, &sdk.AddTagsToResourceInput{ResourceName: &arn, Tags: tagList(awsbase.Origin{}.Tags(more))})
	return err
}
