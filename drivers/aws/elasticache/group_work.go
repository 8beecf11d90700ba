package elasticache

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// groupHandle is what a begin decided, so that later looks go on with the same.
type groupHandle struct {
	Action model.Action `json:"action"`
	Name   string       `json:"name"`
	// Old is when the group was made that has to go before another one of its name is created.
	Old *time.Time `json:"old,omitempty"`
	// Point is the snapshot that is restored.
	Point string `json:"point,omitempty"`
	// Unknown says why it is not known whether what is there is stale.
	Unknown string `json:"unknown,omitempty"`
}

// For is the action that was begun.
func (h groupHandle) For() model.Action { return h.Action }

// groupWork is everything about one request.
type groupWork struct {
	d    *Group
	req  driver.Request
	here *place
}

// peerWithin bounds how long a begin asks the other region, which may be the one that is lost.
const peerWithin = 4 * time.Second

func (d *Group) work(ctx context.Context, req driver.Request) (*groupWork, error) {
	here, err := d.place(ctx, req.Target, req.Site)
	if err != nil {
		return nil, err
	}
	return &groupWork{d: d, req: req, here: here}, nil
}

func (w *groupWork) subject() string { return string(w.req.Resource.ID) + " at " + string(w.req.Site) }

// Decide chooses what the work is about.
func (w *groupWork) Decide(ctx context.Context) (groupHandle, error) {
	h := groupHandle{Action: w.req.Action, Name: w.here.at.Group}
	var err error
	switch w.req.Action {
	case model.ActionPromote:
		h.Old, h.Unknown, err = w.outdated(ctx)
	case model.ActionReverse:
		h.Old, err = w.former(ctx)
	case model.ActionDrill:
		h.Name = w.apart("drill", w.req.Token)
		if w.here.at.Drill == nil {
			err = noDrill(w)
		}
	case model.ActionCapture:
		h.Name = awsbase.NameFor(w.here.at.Group, w.req.Token, snapshotName)
	case model.ActionRestore:
		err = w.decideRestore(ctx, &h)
	case model.ActionProve:
		err = w.decideProve(ctx, &h)
	}
	return h, err
}

// snapshotName is how long our names of snapshots may be.
const snapshotName = 100

// apart is the name of a group that a step makes to be looked at.
func (w *groupWork) apart(what, token string) string {
	return awsbase.NameFor(what+"-"+w.here.at.Group, token, groupName)
}

// outdated looks whether a group is there that holds what it held before the app served elsewhere. A peer that cannot be asked
// holds nothing up: what is there is served, and the evidence says so.
func (w *groupWork) outdated(ctx context.Context) (old *time.Time, unknown string, err error) {
	c, err := w.here.cache(ctx, w.here.at.Group)
	if err != nil || c == nil || w.req.Peer == "" || w.here.set.Stale == staleKeep {
		return nil, "", err
	}
	bounded, cancel := context.WithTimeout(ctx, peerWithin)
	defer cancel()
	peer, err := w.d.place(bounded, w.req.Target, w.req.Peer)
	var served *cache
	if err == nil {
		served, err = peer.cache(bounded, peer.at.Group)
	}
	switch {
	case ctx.Err() != nil:
		return nil, "", failure.Wrap(context.Cause(ctx), "look at", string(w.req.Peer))
	case err != nil:
		return nil, awsbase.OneLine(fmt.Sprintf("%s cannot be asked since when it served: %v", w.req.Peer, err)), nil
	case c.stale(served):
		return c.made(), "", nil
	}
	return nil, "", nil
}

// former looks whether the group is there that served before peer's: it makes way, as what it holds gets older from now on.
func (w *groupWork) former(ctx context.Context) (*time.Time, error) {
	peer, err := w.d.place(ctx, w.req.Target, w.req.Peer)
	if err != nil {
		return nil, err
	}
	serving, err := peer.cache(ctx, peer.at.Group)
	if err != nil {
		return nil, err
	}
	if !w.req.Force && (serving == nil || !serving.up()) {
		return nil, failure.New(failure.Conflict, "", w.subject(), "no group serves at %s, so the one at %s may be in use", peer.id, w.req.Site).
			WithHint("lifeboat status %s; if none is to serve there and the one here is not in use: lifeboat run force", w.req.App)
	}
	c, err := w.here.cache(ctx, w.here.at.Group)
	if err != nil || c == nil || w.here.set.Stale == staleKeep {
		return nil, err
	}
	if w.req.Force {
		return c.made(), nil // a person says that it is not in use
	}
	if since := serving.since(); since.IsZero() || !c.stale(serving) {
		if c.since().After(since) {
			return nil, failure.New(failure.Conflict, "", w.subject(), "it began to serve at %s, after the group at %s", c.since().Format(time.RFC3339), peer.id).
				WithHint("lifeboat status %s shows where the app serves; if this one is not in use: lifeboat run force", w.req.App)
		}
		if _, ours := awsbase.ReadOrigin(c.tags); ours || !since.IsZero() {
			return nil, nil // made after the other one began to serve: it is empty
		}
	}
	return c.made(), nil
}

// Step takes the next step of the work.
func (w *groupWork) Step(ctx context.Context, h groupHandle) (driver.Observation, error) {
	switch w.req.Action {
	case model.ActionPromote:
		return w.promote(ctx, h)
	case model.ActionReverse:
		return w.reverse(ctx, h)
	case model.ActionDrill:
		return w.drill(ctx, h)
	case model.ActionRelease:
		return w.release(ctx)
	case model.ActionCapture:
		return w.capture(ctx, h)
	case model.ActionExpire:
		return w.keeper().Expire(ctx)
	case model.ActionRestore:
		return w.restore(ctx, h)
	case model.ActionProve:
		return w.prove(ctx, h)
	}
	return driver.Observation{}, failure.New(failure.Unsupported, "", w.subject(), "%s cannot %s", KindGroup, w.req.Action)
}

// cleared looks at the group called name, and deletes it when it is the old one, or one whose creation failed for another step.
// Pending says what is waited for; else c is what is there.
func (w *groupWork) cleared(ctx context.Context, h groupHandle) (c *cache, pending string, err error) {
	c, err = w.here.cache(ctx, h.Name)
	if err != nil || c == nil {
		return nil, "", err
	}
	others := c.tags[awsbase.TagToken] != w.req.Token
	old := h.Old != nil && others && !c.made().After(*h.Old)
	switch broken := c.status() == createFailed && others; {
	case c.status() == deleting:
		return nil, fmt.Sprintf("group %s is being deleted", c.name()), nil
	case !old && !broken:
		return c, "", nil
	case !broken && c.status() != available:
		return nil, fmt.Sprintf("group %s is %s: it is deleted once it is available", c.name(), c.status()), nil
	}
	pending, err = w.remove(ctx, h.Name)
	return nil, pending, err
}

func (w *groupWork) remove(ctx context.Context, name string) (string, error) {
	_, err := w.here.api.DeleteReplicationGroup(ctx, &sdk.DeleteReplicationGroupInput{ReplicationGroupId: &name})
	if awsbase.Gone(err) {
		return fmt.Sprintf("group %s is gone", name), nil
	}
	return fmt.Sprintf("the deletion of group %s is begun", name), err
}

// size is what a group is created with, or brought to.
type size struct {
	nodeType       string
	replicas       int
	subnetGroup    string
	securityGroups []string
	from           string // a snapshot that it is created of; empty: it is created empty
}

func (w *groupWork) serving() size {
	return size{nodeType: w.here.set.NodeType, replicas: w.here.set.Replicas, subnetGroup: w.here.at.SubnetGroup, securityGroups: w.here.at.SecurityGroups}
}

// create creates a group.
func (w *groupWork) create(ctx context.Context, name string, s size) (driver.Observation, error) {
	set, at := w.here.set, w.here.at
	in := &sdk.CreateReplicationGroupInput{
		ReplicationGroupId: &name, ReplicationGroupDescription: aws.String(fmt.Sprintf("%s of %s, by Lifeboat", w.req.Resource.ID, w.req.App)),
		Engine: &set.Engine, CacheNodeType: &s.nodeType, NumNodeGroups: aws.Int32(int32(set.Shards)), ReplicasPerNodeGroup: aws.Int32(int32(s.replicas)),
		AutomaticFailoverEnabled: aws.Bool(set.automatic(s.replicas)), MultiAZEnabled: aws.Bool(set.MultiAZ && s.replicas > 0), SecurityGroupIds: s.securityGroups,
		EngineVersion: awsbase.Optional(set.EngineVersion), CacheParameterGroupName: awsbase.Optional(at.ParameterGroup), CacheSubnetGroupName: awsbase.Optional(s.subnetGroup), SnapshotName: awsbase.Optional(s.from),
		Tags: tagList(awsbase.OriginOf(w.req).Tags(map[string]string{tagMade: stamp()})),
	}
	if set.Port != 0 {
		in.Port = aws.Int32(int32(set.Port))
	}
	if set.TransitEncryption {
		in.TransitEncryptionEnabled, in.UserGroupIds = aws.Bool(true), set.UserGroups
	}
	if set.AtRestEncryption {
		in.AtRestEncryptionEnabled, in.KmsKeyId = aws.Bool(true), awsbase.Optional(at.KMSKey)
	}
	if set.AuthToken != "" {
		token, err := set.AuthToken.Resolve(ctx)
		if err != nil {
			return driver.Observation{}, failure.Wrap(err, "read", "auth_token")
		}
		in.AuthToken = aws.String(token.Reveal())
	}
	if _, err := w.here.api.CreateReplicationGroup(ctx, in); err != nil {
		return driver.Observation{}, err
	}
	return driver.Waiting("the creation of group %s is begun", name), nil
}

// stamp is now, for tags.
func stamp() string { return time.Now().UTC().Format(time.RFC3339) }

// automatic reports whether failover within the region is automatic: AWS wants a replica for it, and wants it in cluster mode.
func (s GroupSettings) automatic(replicas int) bool { return replicas > 0 || s.Shards > 1 }
