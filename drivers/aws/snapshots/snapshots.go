// Package snapshots keeps recovery points as snapshots that AWS makes and copies between regions: those of RDS's instances and of
// Aurora's clusters, which differ in their calls alone.
//
// A [Keeper] copies what the other sites of a resource should have, removes what need not be kept, and lists points; [Capture] and
// [Prove] take the steps towards a snapshot that is made and one that a restore has judged. What a point is, whose it is and what a
// restore of it came to is said by the snapshots themselves and their tags: there is no catalog. The package restores nothing, and
// knows no service: a driver gives it a [Store] for each site.
package snapshots

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	vaultsnapshot "github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The tags that say what a real restore of a snapshot came to, and of what instant a copy is.
const (
	TagProvedAt    = "lifeboat:proved-at"
	TagProvedBy    = "lifeboat:proved-by"
	TagProvedOK    = "lifeboat:proved-ok"
	TagProvedTook  = "lifeboat:proved-took"
	TagProvedWhat  = "lifeboat:proved-what"
	TagProvedToken = "lifeboat:proved-token"
	// TagAt is on copies: services that forget when the original was made are told by it.
	TagAt = "lifeboat:at"
	// TagOld is on the last snapshot of a database that made way for a failback. It holds what was written there and never reached
	// the site that served on, and is younger than points that hold more of what was written since: so no move takes it for the
	// newest, and no retention deletes it. People can restore it by its name.
	TagOld = "lifeboat:old"
	// TagPassing is on a snapshot that is made to be restored once and deleted with what was restored: it is no point.
	TagPassing = "lifeboat:passing"
)

// Snapshot is one at one site.
type Snapshot struct {
	ID, ARN   string
	Status    string // of all services: available, failed, or a word for being made
	Percent   int32
	At        time.Time // the instant whose state it holds, the same for all its copies; zero while it is made
	Encrypted bool
	From      string // the region that it is a copy from; empty: it is none
	Of        string // what it is of, for people
	Bytes     int64
	Tags      map[string]string
}

// Available reports whether it can be restored and copied.
func (s *Snapshot) Available() bool { return s.Status == "available" }

// failed reports whether it will never be available.
func (s *Snapshot) failed() bool { return s.Status == "failed" }

// old reports whether it is the last one of a database that made way.
func (s *Snapshot) old() bool { return s.Tags[TagOld] != "" }

// proof is what the last real restore of it said; nil: there was none.
func (s *Snapshot) proof(site model.SiteID) *model.Proof {
	at, err := time.Parse(time.RFC3339, s.Tags[TagProvedAt])
	if err != nil {
		return nil
	}
	took, _ := time.ParseDuration(s.Tags[TagProvedTook]) // unreadable: not known
	return &model.Proof{OK: s.Tags[TagProvedOK] == "true", At: at, By: model.RunID(s.Tags[TagProvedBy]), Site: site, Took: model.Duration(took), What: s.Tags[TagProvedWhat]}
}

// Copies are a resource's setting of what its other sites keep.
type Copies struct {
	Keep *model.Retention `json:"keep" jsonschema:"required,description=Which copies stay at each other site, in the words of protect.keep"`
}

// Validate checks what can be known without asking anybody. No setting at all is right.
func (c *Copies) Validate() error {
	if c == nil {
		return nil
	}
	if c.Keep == nil {
		return fmt.Errorf("copies.keep: is missing")
	}
	switch p, err := retention.Parse(*c.Keep); {
	case err != nil:
		return fmt.Errorf("copies.keep: %s", failure.From(err).Message)
	case p.Empty():
		return fmt.Errorf("copies.keep: says nothing about what stays; write what does, as in {last: 3}, or leave copies out")
	}
	return nil
}

// Store is a service's manual snapshots in one region. Its errors are those of awsbase's sessions.
type Store interface {
	// List gives all of them, whoever made them.
	List(ctx context.Context) ([]*Snapshot, error)
	// Get gives one by its name, nil when there is none. It may see what List does not see yet.
	Get(ctx context.Context, id string) (*Snapshot, error)
	// Copy begins a copy of s, which may be in another region, under the same name. The key is empty for what is not encrypted.
	Copy(ctx context.Context, s *Snapshot, region, key string, tags []awsbase.Tag) error
	// Delete deletes one; one that is gone is NotFound.
	Delete(ctx context.Context, id string) error
	// Tag adds tags to one.
	Tag(ctx context.Context, arn string, tags []awsbase.Tag) error
	// AtOnce is how many copies from other regions the service makes at once in a region.
	AtOnce() int
}

// Site is a place of a resource's snapshots.
type Site struct {
	ID     model.SiteID
	Region string
	Key    string // of this region, for copies of what is encrypted
	Store  Store
}

// Keeper keeps the snapshots of one resource.
type Keeper struct {
	Target driver.Target
	Here   *Site   // where the app serves
	Others []*Site // the resource's other sites
	Copies *Copies // what the other sites keep; nil: the same as Here, by the resource's own policy
}

// Own lists the resource's snapshots at a site, newest first; those that are being made have no instant yet and come first.
func (k *Keeper) Own(ctx context.Context, at *Site) ([]*Snapshot, error) {
	all, err := at.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []*Snapshot
	for _, s := range all {
		if o, ok := awsbase.ReadOrigin(s.Tags); ok && s.Tags[TagPassing] == "" && o.App == string(k.Target.App) && o.Resource == string(k.Target.Resource.ID) {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b *Snapshot) int {
		if a.At.IsZero() != b.At.IsZero() {
			if a.At.IsZero() {
				return -1
			}
			return 1
		}
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	return out, nil
}

// Last lists the snapshots at Here in which a step of a run kept the last state of what made way, newest first. Each attempt may have
// kept one.
func (k *Keeper) Last(ctx context.Context, req driver.Request) ([]*Snapshot, error) {
	list, err := k.Own(ctx, k.Here)
	return slices.DeleteFunc(list, func(s *Snapshot) bool {
		return !s.old() || s.Tags[awsbase.TagRun] != string(req.Run) || s.Tags[awsbase.TagStep] != string(req.Step)
	}), err
}

// Kept is evidence of a snapshot that keeps the last state of what made way, and of the restore that proved it.
func (s *Snapshot) Kept() model.Fact {
	said := "its restore has not been tried"
	switch p := s.proof(""); {
	case p == nil:
	case p.OK && p.Took > 0:
		said = fmt.Sprintf("proved at %s: restored apart, it came up after %s, and what was restored is removed", p.At.Format(time.RFC3339), p.Took)
	case p.OK:
		said = fmt.Sprintf("proved at %s: restored apart, it came up, and what was restored is removed", p.At.Format(time.RFC3339))
	default:
		said = fmt.Sprintf("bad, says a restore at %s: %s", p.At.Format(time.RFC3339), p.What)
	}
	return driver.Fact("old state kept", "snapshot %s of %s, made at %s; %s", s.ID, s.Of, s.At.UTC().Format(time.RFC3339), said)
}

// Ready lists the resource's snapshots at a site that can be restored and go on where the app stopped, newest first.
func (k *Keeper) Ready(ctx context.Context, at *Site) ([]*Snapshot, error) {
	list, err := k.Own(ctx, at)
	return available(list), err
}

// available are those that can be restored and go on where the app stopped.
func available(list []*Snapshot) []*Snapshot {
	return slices.DeleteFunc(restorable(list), (*Snapshot).old)
}

func restorable(list []*Snapshot) []*Snapshot {
	return slices.DeleteFunc(slices.Clone(list), func(s *Snapshot) bool { return !s.Available() })
}

// kept are those of a list, newest first, that a policy keeps. The newest always stays; without a policy all do.
func kept(list []*Snapshot, keep *model.Retention, now time.Time) (map[string]bool, error) {
	out := map[string]bool{}
	if keep == nil {
		for _, s := range list {
			out[s.ID] = true
		}
		return out, nil
	}
	policy, err := retention.Parse(*keep)
	if err != nil {
		return nil, err
	}
	by := map[*vaultsnapshot.Snapshot]string{}
	var group []*vaultsnapshot.Snapshot
	for _, s := range list {
		v := &vaultsnapshot.Snapshot{Time: s.At}
		by[v] = s.ID
		group = append(group, v)
	}
	for n, decided := range policy.Apply(group, now, retention.Restic) {
		if decided.Keep || n == 0 {
			out[by[decided.Snapshot]] = true
		}
	}
	return out, nil
}

// keepAt is the policy of a site: what protect says where the app serves, and Copies elsewhere.
func (k *Keeper) keepAt(id model.SiteID) *model.Retention {
	if id != k.Here.ID && k.Copies != nil {
		return k.Copies.Keep
	}
	if k.Target.Resource.Points == nil {
		return nil
	}
	return k.Target.Resource.Points.Keep
}

// Points are the resource's points at Here that can be restored, newest first.
func (k *Keeper) Points(ctx context.Context) ([]model.Point, error) {
	list, err := k.Own(ctx, k.Here)
	if err != nil {
		return nil, err
	}
	out := []model.Point{}
	for _, s := range restorable(list) {
		p := model.Point{ID: s.ID, Resource: k.Target.Resource.ID, Site: k.Here.ID, At: s.At, Proof: s.proof(k.Here.ID), Bytes: s.Bytes, Summary: "snapshot of " + s.Of}
		if s.From != "" {
			p.Summary = "copy from " + s.From + " of a " + p.Summary
		}
		if s.old() {
			p.Summary = "last " + p.Summary + " before it made way for a failback; stays until you delete it"
		}
		if p.Proof != nil && p.Proof.OK {
			p.ProvedAt, p.ProvedBy = &p.Proof.At, p.Proof.By
		}
		out = append(out, p)
	}
	return out, nil
}

// Named finds a snapshot at Here by its id or the beginning of it; the newest for the empty id.
func (k *Keeper) Named(ctx context.Context, id string) (string, error) {
	list, err := k.Own(ctx, k.Here)
	if err != nil {
		return "", err
	}
	var found []string
	if ready := available(list); id == "" && len(ready) > 0 {
		return ready[0].ID, nil
	}
	for _, s := range restorable(list) {
		if s.ID == id {
			return s.ID, nil
		}
		if id != "" && strings.HasPrefix(s.ID, id) {
			found = append(found, s.ID)
		}
	}
	app := k.Target.App
	switch {
	case id == "":
		return "", failure.New(failure.NotFound, "", k.subject(), "there is no snapshot in %s that could be restored", k.Here.Region).
			WithHint("lifeboat points %s shows what there is; lifeboat protect %s makes and copies one", app, app)
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", failure.New(failure.Invalid, "", k.subject(), "%d snapshots begin with %s", len(found), id).WithHint("write more of the id: %s", strings.Join(found, ", "))
	}
	return "", failure.New(failure.NotFound, "", k.subject(), "no snapshot in %s is called %s", k.Here.Region, id).WithHint("lifeboat points %s shows what there is", app)
}

func (k *Keeper) subject() string { return string(k.Target.Resource.ID) + " at " + string(k.Here.ID) }
