package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// proveAttempts is how often a proof is tried that came to no verdict.
const proveAttempts = 2

// prove proves points one after the other, each removed before the next comes: a site need not have room for two. A bad
// one fails the run, and the others are proved all the same.
func (b *builder) prove(m *move) (model.StepID, error) {
	b.approve(m)
	needs := m.gate
	var ends []model.StepID
	for _, p := range b.in.Prove {
		r, err := b.pointsOf(m, p.Resource, model.ActionProve)
		if err != nil {
			return "", err
		}
		step, d, err := b.resourceStep(m, r, model.ActionProve, m.to, m.peer())
		if err != nil {
			return "", err
		}
		spec := p.Spec
		step.Title = fmt.Sprintf("prove point %s of %s at %s", short(spec.Point), r.ID, m.to)
		if spec.Bisect {
			step.Title = fmt.Sprintf("find the newest state of %s that passes the checks, at %s", r.ID, m.to)
		}
		step.Prove, step.Needs, step.Attempts = &spec, slices.Clone(needs), proveAttempts
		proved := b.add(step)
		ends = append(ends, proved)
		if !driver.Can(d, model.ActionRelease) {
			needs = []model.StepID{proved}
			continue
		}
		release, _, err := b.resourceStep(m, r, model.ActionRelease, m.to, m.peer())
		if err != nil {
			return "", err
		}
		release.Needs = []model.StepID{proved}
		release.When, release.Releases, release.Attempts = model.Always, proved, releaseAttempts
		release.Title = fmt.Sprintf("remove what proving %s made at %s", r.ID, m.to)
		needs = []model.StepID{b.add(release)}
		ends = append(ends, needs...)
	}
	return b.join(m, ends), nil
}

// restore brings one resource to the state and the place that were asked for.
func (b *builder) restore(m *move) (model.StepID, error) {
	if b.in.Restore == nil {
		return "", failure.New(failure.Invalid, string(m.op), string(m.app.ID), "nothing says what is restored")
	}
	spec := b.in.Restore.Spec
	r, err := b.pointsOf(m, b.in.Restore.Resource, model.ActionRestore)
	if err != nil {
		return "", err
	}
	b.approve(m)
	step, _, err := b.resourceStep(m, r, model.ActionRestore, m.to, m.peer())
	if err != nil {
		return "", err
	}
	to, into, where := spec.To, spec.Folder, "at "+string(m.to)
	if to == "" {
		to = "latest"
	}
	if spec.Here {
		where = "on this machine"
	}
	step.Effect = fmt.Sprintf("writes into %s, %s", into, where)
	if spec.Name != "" {
		into = spec.Name
		step.Effect = fmt.Sprintf("makes %s %s", into, where)
	}
	if spec.InPlace {
		into = "its place"
		step.Effect = fmt.Sprintf("writes over what %s has %s: what differs from the restored state is lost", r.ID, where)
	}
	step.Title = fmt.Sprintf("restore %s to %s into %s %s", r.ID, to, into, where)
	step.Restore, step.Needs, step.Destructive, step.Attempts = &spec, m.gate, spec.InPlace, 1
	ids, err := b.withHooks(m, r, step)
	if err != nil {
		return "", err
	}
	return b.join(m, ids), nil
}

// peer is the other site, if there is another.
func (m *move) peer() model.SiteID {
	if m.from == m.to {
		return ""
	}
	return m.from
}

// pointsOf finds a resource whose recovery points an action works on.
func (b *builder) pointsOf(m *move, id model.ResourceID, action model.Action) (model.Resource, error) {
	r, ok := m.app.Resource(id)
	if !ok {
		return r, failure.New(failure.NotFound, string(m.op), string(m.app.ID)+"/"+string(id), "the app has no resource of this name")
	}
	d, err := b.in.Drivers.Get(r.Kind)
	if err != nil {
		return r, failure.Wrap(err, "plan", string(r.ID))
	}
	if !driver.Can(d, action) || d.Facts().Vault != driver.NoVault && r.Vault == nil {
		return r, failure.New(failure.Unsupported, string(m.op), string(m.app.ID)+"/"+string(id), "it keeps no recovery points that can be %sd", action).
			WithHint("a kind that can, and a vault for it: docs/vault.md")
	}
	return r, nil
}

// short is an id as people read it: a hash by its beginning, a name as it is.
func short(id string) string {
	if strings.Trim(id, "0123456789abcdef") != "" {
		return id
	}
	return id[:min(len(id), 8)]
}
