package snapshots

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Copy takes the next step towards copies of all that the other sites keep, up to the instant until (nil: of nothing). It is done
// when all of it is available there. A site that does not answer holds up none of the others.
func (k *Keeper) Copy(ctx context.Context, until *time.Time) (driver.Observation, error) {
	list, err := k.Ready(ctx, k.Here)
	if err != nil {
		return driver.Observation{}, err
	}
	var have []*Snapshot
	for _, s := range list {
		if until != nil && !s.At.After(*until) {
			have = append(have, s)
		}
	}
	var evidence []model.Fact
	var phases []string
	var failures []error
	for _, to := range k.Others {
		state, err := k.copyMissing(ctx, to, have)
		switch {
		case err != nil && !awsbase.Busy(err):
			failures = append(failures, failure.Wrap(err, "copy to", string(to.ID)))
		case err != nil:
			phases = append(phases, fmt.Sprintf("%s: %v", to.ID, err))
		case state != "":
			phases = append(phases, string(to.ID)+": "+state)
		default:
			evidence = append(evidence, driver.Fact("copies at "+string(to.ID), "up to date with %s", k.Here.ID))
		}
	}
	switch {
	case len(failures) > 0 && len(phases) == 0:
		return driver.Observation{}, errors.Join(failures...)
	case len(failures) > 0:
		phases = append(phases, strings.Join(strings.Fields(errors.Join(failures...).Error()), " "))
		fallthrough
	case len(phases) > 0:
		return driver.Waiting("%s", strings.Join(phases, "; ")), nil
	}
	return driver.Succeeded(evidence...), nil
}

// copyMissing brings the newest snapshot that a site should have and has not under way, one at a time. It says what is waited
// for; nothing when all is there.
func (k *Keeper) copyMissing(ctx context.Context, to *Site, have []*Snapshot) (string, error) {
	wanted, err := kept(have, k.keepAt(to.ID), time.Now())
	if err != nil {
		return "", err
	}
	there, err := k.Own(ctx, to)
	if err != nil {
		return "", err
	}
	state := map[string]*Snapshot{}
	for _, s := range there {
		state[s.ID] = s
	}
	for _, s := range have { // newest first
		if !wanted[s.ID] {
			continue
		}
		phase, err := k.copyOne(ctx, s, to, state[s.ID])
		if err != nil || phase != "" {
			return phase, err
		}
	}
	return "", nil
}

// copyOne takes the next step towards a copy of s at another site, where there is what is there of it. It says what is waited for;
// nothing when the copy is available.
func (k *Keeper) copyOne(ctx context.Context, s *Snapshot, to *Site, there *Snapshot) (string, error) {
	switch {
	case there == nil:
	case there.Available():
		return "", nil
	case there.failed():
		if err := to.Store.Delete(ctx, s.ID); err != nil && failure.KindOf(err) != failure.NotFound {
			return "", err
		}
		return "the copy of " + s.ID + " failed and is made again", nil
	default:
		return fmt.Sprintf("the copy of %s is %s, %d %%", s.ID, there.Status, there.Percent), nil
	}
	n, err := underWay(ctx, to)
	if err != nil {
		return "", err
	}
	if n >= to.Store.AtOnce() {
		return fmt.Sprintf("%d copies to %s are under way, as many as AWS makes at once", n, to.Region), nil
	}
	key := ""
	if s.Encrypted {
		if key = to.Key; key == "" {
			return "", failure.New(failure.Invalid, "", s.ID, "it is encrypted, and site %s names no key for its copy", to.ID).WithHint("set sites.%s.kms_key to a key of %s", to.ID, to.Region)
		}
	}
	o, _ := awsbase.ReadOrigin(s.Tags) // whose it is, but not what a restore of the other one said
	tags := o.Tags(map[string]string{TagAt: s.At.UTC().Format(time.RFC3339Nano)})
	region := k.Here.Region
	if _, _, in, _, _, ok := awsbase.SplitARN(s.ARN); ok {
		region = in
	}
	if err := to.Store.Copy(ctx, s, region, key, tags); err != nil {
		if failure.KindOf(err) != failure.Denied {
			return "", err
		}
		// Others may have begun copies since we counted: AWS then refuses one as beyond a quota.
		if more, lookErr := underWay(ctx, to); lookErr != nil || more < to.Store.AtOnce() {
			return "", err
		}
		return "others were first to begin the copies that AWS makes at once to " + to.Region, nil
	}
	return "a copy of " + s.ID + " is begun", nil
}

// underWay counts the copies from other regions that AWS is making at a site, whoever began them.
func underWay(ctx context.Context, at *Site) (n int, err error) {
	all, err := at.Store.List(ctx)
	for _, s := range all {
		if s.From != "" && !s.Available() && !s.failed() {
			n++
		}
	}
	return n, err
}

// Expire deletes what the retention of the sites does not keep. At Here, what another site is still to get a copy of stays; a site
// that does not answer may lack all of them.
func (k *Keeper) Expire(ctx context.Context) (driver.Observation, error) {
	home, err := k.Own(ctx, k.Here)
	if err != nil {
		return driver.Observation{}, err
	}
	evidence := []model.Fact{}
	var failures []error
	needed := map[string]bool{}
	for _, at := range k.Others {
		there, err := k.Own(ctx, at)
		if err == nil {
			var n int
			n, err = k.drop(ctx, at, there, nil)
			evidence = append(evidence, driver.Fact("deleted at "+string(at.ID), "%d", n))
		}
		if err != nil {
			failures = append(failures, failure.Wrap(err, "expire at", string(at.ID)))
		}
		wanted, err := kept(available(home), k.keepAt(at.ID), time.Now())
		if err != nil {
			return driver.Observation{}, err
		}
		for _, s := range available(there) {
			delete(wanted, s.ID)
		}
		for id := range wanted {
			needed[id] = true
		}
	}
	n, err := k.drop(ctx, k.Here, home, needed)
	if err != nil {
		return driver.Observation{}, err
	}
	if len(failures) > 0 {
		return driver.Observation{}, errors.Join(failures...)
	}
	return driver.Succeeded(append(evidence, driver.Fact("deleted at "+string(k.Here.ID), "%d", n), driver.Fact("waiting for a copy elsewhere", "%d", len(needed)))...), nil
}

// drop deletes at one site what its policy does not keep: never the newest that can be restored, the newest that a restore has
// proved, what is being made, or what is needed.
func (k *Keeper) drop(ctx context.Context, at *Site, list []*Snapshot, needed map[string]bool) (int, error) {
	keep := k.keepAt(at.ID)
	if keep == nil {
		return 0, nil
	}
	ready := available(list)
	stay, err := kept(ready, keep, time.Now())
	if err != nil {
		return 0, err
	}
	for _, s := range ready {
		if p := s.proof(at.ID); p != nil && p.OK {
			stay[s.ID] = true
			break
		}
	}
	n := 0
	for _, s := range list {
		if !s.Available() && !s.failed() || s.old() || stay[s.ID] || needed[s.ID] {
			continue
		}
		if err := at.Store.Delete(ctx, s.ID); err != nil && failure.KindOf(err) != failure.NotFound {
			return n, failure.Wrap(err, "delete snapshot", s.ID)
		}
		n++
	}
	return n, nil
}
