package snapshots

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Latest stands in [Restored.Point], and in handles, for the latest state that AWS's own backups reach.
const Latest = "latest"

// Restored is what a restore brings back: a state, and what the copy is called.
type Restored struct {
	Name  string    // in lower case
	Point string    // a snapshot, or Latest; empty with Until
	Until time.Time // the instant that AWS's own backups are restored to; zero with Point
}

// Backups are those that AWS keeps by itself of what serves at a site.
type Backups struct {
	Of          string     // what it is called
	First, Last *time.Time // the instants that can be restored to; First may be unknown
}

// Names are what a restored copy may be called.
type Names struct {
	Own   string // what is called so at the site is the app's
	Limit int    // how long a name may be
}

// AskedRestore decides what the restore of spec brings back at Here. Unless a snapshot is named, backups says what AWS keeps by itself:
// that reaches further than the newest snapshot. It gives nil where there is nothing of the kind, and is nil for services that keep none.
func (k *Keeper) AskedRestore(ctx context.Context, spec *model.RestoreSpec, names Names, backups func(context.Context) (*Backups, error)) (Restored, error) {
	no := func(kind failure.Kind, format string, args ...any) *failure.Error {
		return failure.New(kind, "", k.subject(), format, args...)
	}
	var out Restored
	if spec == nil || spec.Name == "" {
		return out, no(failure.Invalid, "nothing says what the copy is called").WithHint("lifeboat restore %s/%s --as NAME", k.Target.App, k.Target.Resource.ID)
	}
	if err := awsbase.ValidID("--as", spec.Name, names.Limit); err != nil {
		return out, no(failure.Invalid, "%v", err).WithHint("--as NAME")
	}
	if out.Name = strings.ToLower(spec.Name); out.Name == strings.ToLower(names.Own) {
		return out, no(failure.Exists, "%s is what the app's own is called at site %s", spec.Name, k.Here.ID).WithHint("--as another name")
	}
	var err error
	if spec.To != "" && spec.To != Latest && spec.To != "immediate" {
		if backups == nil {
			return out, no(failure.Unsupported, "there are snapshots only: it cannot be brought to %s", spec.To).
				WithHint("leave --to out, or name a point: lifeboat points %s", k.Target.App)
		}
		if out.Until, err = time.Parse(time.RFC3339, spec.To); err != nil {
			return out, no(failure.Unsupported, "%s can be restored to latest or to an instant such as 2026-05-01T10:00:00Z, not to %q", k.Target.Resource.Kind, spec.To).
				WithHint("--to latest, --to INSTANT, or name a point: lifeboat points %s", k.Target.App)
		}
	}
	var kept *Backups
	switch {
	case spec.Point != "" && !out.Until.IsZero():
		return out, no(failure.Invalid, "a snapshot holds one state: it cannot be brought to another time").WithHint("leave --to or the point out")
	case spec.Point == "" && backups != nil:
		if kept, err = backups(ctx); err != nil {
			return out, err
		}
	}
	switch {
	case !out.Until.IsZero() && kept == nil:
		return out, no(failure.NotFound, "AWS keeps no backups in %s that could be restored to a time", k.Here.Region).
			WithHint("restore where the app serves, or name a point: lifeboat points %s", k.Target.App)
	case !out.Until.IsZero() && out.Until.After(*kept.Last):
		return out, no(failure.Invalid, "the latest time that %s can be restored to is %s", kept.Of, kept.Last.UTC().Format(time.RFC3339)).WithHint("an earlier time, or latest")
	case !out.Until.IsZero() && kept.First != nil && out.Until.Before(*kept.First):
		return out, no(failure.Invalid, "the earliest time that %s can be restored to is %s", kept.Of, kept.First.UTC().Format(time.RFC3339)).
			WithHint("a later time, or an older point: lifeboat points %s", k.Target.App)
	case !out.Until.IsZero():
	case kept != nil && spec.To != "immediate":
		out.Point = Latest
	default:
		out.Point, err = k.Named(ctx, spec.Point)
	}
	return out, err
}

// AskedProof finds the snapshot at Here that the proof of spec is about. What is inside of it is not asked: that needs a copy that
// somebody can reach.
func (k *Keeper) AskedProof(ctx context.Context, spec *model.ProveSpec) (string, error) {
	switch {
	case spec == nil || spec.Point == "" && !spec.Bisect:
		return "", failure.New(failure.Invalid, "", k.subject(), "nothing says which snapshot is proved")
	case spec.Bisect || len(spec.Checks) > 0:
		return "", failure.New(failure.Unsupported, "", k.subject(), "checks of what a snapshot holds cannot be asked by %s", k.Target.Resource.Kind).
			WithHint("drill the app: its checks are asked of the copy; or restore the point, and ask that")
	}
	return k.Named(ctx, spec.Point)
}

// DescribeAbsent says of a site without a what (such as "instance") which snapshot could be brought up there, newest first.
func DescribeAbsent(desc *model.Description, what, region string, ready []*Snapshot) {
	desc.Role = model.RoleAbsent
	if len(ready) == 0 {
		desc.Summary = fmt.Sprintf("no %s and no snapshot in %s", what, region)
		return
	}
	age := max(0, desc.At.Sub(ready[0].At).Round(time.Second)) // our clock may be behind AWS's
	behind := model.Duration(age)
	desc.Healthy, desc.LagTime = true, &behind
	desc.Summary = fmt.Sprintf("no %s; the newest of %d snapshots in %s is %s old", what, len(ready), region, age)
	desc.Facts = []model.Fact{driver.Fact("newest snapshot", "%s", ready[0].ID), driver.Fact("age", "%s", age), driver.Fact("snapshots", "%d", len(ready))}
}
