package files

import (
	"context"
	"fmt"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/files/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Describe looks where the folder is at a site, and where it is not live, how old the newest point in the vault is.
func (d *Driver) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	p, err := newPlace(t, t.Site)
	if err != nil {
		return model.Description{}, err
	}
	out := model.Description{Resource: t.Resource.ID, Site: t.Site, At: d.now().UTC()}
	s, err := p.look(ctx)
	switch {
	case err != nil && failure.KindOf(err) == failure.Unavailable:
		out.Role, out.Summary = model.RoleUnreachable, err.Error()
		return out, nil
	case err != nil:
		return model.Description{}, err
	case s.Live:
		out.Role, out.Healthy, out.Summary = model.RolePrimary, true, p.at.Folder
		out.Outputs = map[string]model.Value{"path": driver.Text(p.at.Folder)}
		return out, nil
	}
	points, err := d.points(ctx, p)
	if err == nil {
		out.Facts = d.replicas(ctx, p)
	}
	switch {
	case err != nil:
		out.Role, out.Summary = model.RoleUnknown, err.Error()
	case len(points) == 0:
		out.Role, out.Summary = model.RoleAbsent, "no recovery point in "+location.Redact(p.vault.URL)
	default:
		newest := points[len(points)-1]
		lag := model.Duration(max(0, out.At.Sub(newest.Time)).Round(time.Millisecond))
		out.Role, out.Healthy, out.LagTime = model.RoleStandby, true, &lag
		out.Summary = fmt.Sprintf("%d recovery points in %s, the newest of %s", len(points), p.vaultName(), newest.Time.UTC().Format(time.RFC3339))
		for _, f := range out.Facts { // replicas
			if f.Value != vaultjob.InStep {
				out.Summary += "; " + f.Name + ": " + f.Value
			}
		}
		out.Facts = append(out.Facts, model.Fact{Name: "newest point", Value: newest.ID.String()})
	}
	if s.Fenced {
		out.Role = model.RoleFenced
		out.Facts = append(out.Facts, model.Fact{Name: "fenced copy", Value: p.at.Folder + job.Fenced})
	}
	if s.Standby {
		out.Facts = append(out.Facts, model.Fact{Name: "standby copy", Value: p.at.Folder + job.Standby})
	}
	return out, nil
}

// replicas says how far each replica of the vault is behind.
func (d *Driver) replicas(ctx context.Context, p *place) []model.Fact {
	var facts []model.Fact
	err := d.vaults.With(ctx, p.vault, d.open, func(v *vault.Vault) error {
		for _, r := range v.Replicas() {
			name := r.Name
			for _, known := range p.vault.Replicas {
				if known.Name != "" && location.Redact(known.URL) == r.Name {
					name = known.Name
				}
			}
			facts = append(facts, model.Fact{Name: "replica " + name, Value: vaultjob.ReplicaLag(ctx, v, r, p.whose())})
		}
		return nil
	})
	if err != nil {
		return nil // it was said of the vault itself
	}
	return facts
}

// vaultName is the vault's name, or its URL when it has none.
func (p *place) vaultName() string {
	if p.vault.Name != "" {
		return "vault " + p.vault.Name
	}
	return location.Redact(p.vault.URL)
}

// points reads the resource's points, oldest first.
func (d *Driver) points(ctx context.Context, p *place) ([]*snapshot.Snapshot, error) {
	var points []*snapshot.Snapshot
	err := d.vaults.With(ctx, p.vault, d.open, func(v *vault.Vault) error {
		var err error
		points, err = job.Points(ctx, v, p.whose(), false)
		return err
	})
	return points, failure.Wrap(err, "look into", p.vaultName())
}

// Points lists the points that were captured at a site, newest first.
func (d *Driver) Points(ctx context.Context, t driver.Target) ([]model.Point, error) {
	p, err := newPlace(t, t.Site)
	if err != nil {
		return nil, err
	}
	all, err := d.points(ctx, p)
	if err != nil {
		return nil, err
	}
	out := []model.Point{}
	for i := len(all) - 1; i >= 0; i-- {
		if s := all[i]; vaultjob.SiteOf(s) == t.Site {
			out = append(out, model.Point{ID: s.ID.String(), Resource: t.Resource.ID, Site: t.Site, At: s.Time.UTC(),
				Summary: "in " + p.vaultName()})
		}
	}
	return out, nil
}
