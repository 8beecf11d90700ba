package snapshots

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Capture takes the next step towards an available snapshot at a site, of a name that nobody else gives. When there is none,
// begin asks for it, and says what is waited for. Done leaves the outputs of a capture.
func Capture(ctx context.Context, at *Site, name string, mine func(tags map[string]string) bool, begin func(context.Context) (driver.Observation, error)) (driver.Observation, error) {
	s, err := at.Store.Get(ctx, name)
	switch {
	case err != nil:
		return driver.Observation{}, err
	case s == nil:
		return begin(ctx)
	case !mine(s.Tags):
		return driver.FailedWith(failure.New(failure.Exists, "capture", name, "a snapshot of this name is not ours").WithHint("delete or rename it")), nil
	case s.failed():
		return driver.FailedWith(failure.New(failure.Unavailable, "capture", name, "AWS says that the snapshot failed").WithHint("look at the database's events; the next attempt makes another one")), nil
	case !s.Available():
		return driver.Waiting("snapshot %s is %s, %d %%", name, s.Status, s.Percent), nil
	}
	seen := driver.Succeeded(driver.Fact("snapshot", "%s", name), driver.Fact("at", "%s", s.At.UTC().Format(time.RFC3339)), driver.Fact("region", "%s", at.Region))
	seen.Outputs = map[string]model.Value{"point": driver.Text(name), "at": driver.Time(s.At)}
	return seen, nil
}

// Carry takes the next step towards a copy at to of the snapshot called name at from, which is available there.
func (k *Keeper) Carry(ctx context.Context, from, to *Site, name string) (driver.Observation, error) {
	s, err := from.Store.Get(ctx, name)
	if err != nil {
		return driver.Observation{}, err
	}
	there, err := to.Store.Get(ctx, name)
	if err != nil {
		return driver.Observation{}, err
	}
	if s == nil {
		return driver.Waiting("snapshot %s is not to be seen", name), nil
	}
	phase, err := k.copyOne(ctx, s, to, there)
	switch {
	case err != nil:
		return driver.Observation{}, err
	case phase != "":
		return driver.Waiting("%s: %s", to.ID, phase), nil
	}
	return driver.Succeeded(driver.Fact("copy", "available in %s", to.Region)), nil
}

// Trial is how a snapshot is restored apart, and how what was made for that is removed.
type Trial struct {
	// Up takes the next step towards a copy that is up, which began when it says. bad is what speaks against the snapshot: an
	// observation that failed without it says nothing about the snapshot.
	Up func(ctx context.Context) (seen driver.Observation, began time.Time, bad string, err error)
	// Remove takes the next step towards nothing left of it, and says what is waited for; nothing once it is gone.
	Remove func(ctx context.Context) (phase string, err error)
}

// Prove takes the next step towards a verdict about s, written into its tags. A token that is written there has been judged:
// what was made for it is removed, and the verdict given: Done, or Failed with Corrupt.
func Prove(ctx context.Context, req driver.Request, token string, at *Site, s *Snapshot, t Trial) (driver.Observation, error) {
	if s.Tags[TagProvedToken] == token {
		return proved(ctx, req, at, s, t)
	}
	seen, began, bad, err := t.Up(ctx)
	if err != nil || seen.State == driver.Pending || seen.State == driver.Failed && bad == "" {
		return seen, err
	}
	now := time.Now()
	verdict := map[string]string{TagProvedAt: now.UTC().Format(time.RFC3339), TagProvedBy: string(req.Run), TagProvedOK: "true", TagProvedToken: token, TagProvedWhat: bad}
	if !began.IsZero() {
		verdict[TagProvedTook] = now.Sub(began).Round(time.Second).String()
	}
	if bad != "" {
		verdict[TagProvedOK] = "false"
	}
	if err := at.Store.Tag(ctx, s.ARN, awsbase.Origin{}.Tags(verdict)); err != nil {
		return driver.Observation{}, err
	}
	return driver.Waiting("what came of snapshot %s is written down; what was restored is removed", s.ID), nil
}

func proved(ctx context.Context, req driver.Request, at *Site, s *Snapshot, t Trial) (driver.Observation, error) {
	phase, err := t.Remove(ctx)
	switch {
	case err != nil:
		return driver.Observation{}, err
	case phase != "":
		return driver.Waiting("%s", phase), nil
	}
	p := s.proof(at.ID)
	if p == nil || !p.OK {
		return driver.FailedWith(failure.New(failure.Corrupt, "prove", s.ID, "%s", s.Tags[TagProvedWhat]).WithHint("make another point, and prove that: lifeboat protect %s", req.App)), nil
	}
	return driver.Succeeded(driver.Fact("proved", "snapshot %s was restored, and came up", s.ID), driver.Fact("at", "%s", p.At.Format(time.RFC3339))), nil
}
