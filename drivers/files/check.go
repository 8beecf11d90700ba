package files

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/files/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/model"
)

// findings collects what stands in the way of one request.
type findings struct {
	req  driver.Request
	list []model.Finding
}

func (f *findings) add(severity model.Severity, code, what, why, fix string) {
	f.list = append(f.list, model.Finding{Severity: severity, Code: code, Resource: f.req.Resource.ID, Site: f.req.Site,
		What: what, Why: why, Fix: fix})
}

// Check looks at the host and, for what needs a recovery point, into the vault.
func (d *Driver) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	if err := ctx.Err(); err != nil {
		return nil, failure.Wrap(err, "check", string(req.Resource.ID))
	}
	p, err := newPlace(req.Target, req.Site)
	if err != nil {
		return nil, err
	}
	f := &findings{req: req}
	if req.Action == model.ActionRelease {
		return nil, nil
	}
	s, err := p.look(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, failure.Wrap(ctx.Err(), "check", string(req.Resource.ID))
	case err != nil:
		code, why := "host-unreachable", "nothing can be done there"
		if req.Action == model.ActionFence || req.Action == model.ActionQuiesce {
			code, why = "fence-unproven", "whether the folder is still written to cannot be seen"
		}
		f.add(model.Block, code, err.Error(), why, failure.HintOf(err))
		return f.list, nil
	}
	d.checkFolder(p, s, f)
	switch req.Action {
	case model.ActionPromote, model.ActionDrill, model.ActionReverse:
		if req.Action != model.ActionReverse || !req.Preview {
			d.checkPoint(ctx, p, f)
		}
	}
	return f.list, nil
}

// checkFolder is about what can be seen on the host.
func (d *Driver) checkFolder(p *place, s seen, f *findings) {
	folder := p.at.Folder
	switch f.req.Action {
	case model.ActionCapture:
		if !s.Live {
			f.add(model.Block, "not-live", folder+" is not there", "there is nothing to capture", "lifeboat status "+string(f.req.App))
		}
		if s.Mount {
			f.add(model.Warn, "mount-point", folder+" is a mount point", "it cannot be renamed, so it cannot be moved to another site",
				"name a folder below it")
		}
	case model.ActionFence, model.ActionQuiesce:
		if f.req.Action == model.ActionQuiesce && f.req.Preview && !s.Live {
			f.add(model.Block, "not-live", folder+" is not there", "there is nothing to carry over", "lifeboat status "+string(f.req.App))
		}
		if s.Mount {
			f.add(model.Block, "mount-point", folder+" is a mount point", "it cannot be renamed, so it cannot be fenced", "name a folder below it")
		}
	case model.ActionPromote:
		if s.Live && f.req.Preview {
			f.add(model.Block, "live-already", folder+" is there already", "it would be served instead of the newest recovery point",
				"if it is an old copy: mv "+words(folder, folder+job.Fenced)+" (what only it has is captured before it is written over)")
		}
	case model.ActionReverse:
		if s.Live && !f.req.Preview {
			f.add(model.Block, "live", folder+" is live", "a copy that serves is not written over", "lifeboat status "+string(f.req.App))
		}
	case model.ActionDrill:
		if p.at.Drill == nil {
			f.add(model.Block, "no-drill-folder", "drill.folder is not set at site "+string(p.site), "a drill restores to a folder of its own",
				fmt.Sprintf("set drill: {folder: …} at site %s", p.site))
		}
	}
	renames := map[model.Action]bool{model.ActionFence: s.Live, model.ActionQuiesce: true, model.ActionPromote: true, model.ActionReverse: true}
	if renames[f.req.Action] && !s.Writable {
		f.add(model.Block, "not-writable", "the folder above "+folder+" is not there or cannot be written", "the folder is renamed in it", "")
	}
}

// checkPoint is about what there is to bring back, and whether it can be reached when the old site is lost.
func (d *Driver) checkPoint(ctx context.Context, p *place, f *findings) {
	lost := f.req.Action == model.ActionPromote && f.req.Mode == model.Unplanned && f.req.Peer != ""
	if lost && p.vault.Site == f.req.Peer {
		elsewhere := slices.ContainsFunc(p.vault.Replicas, func(r model.Vault) bool { return r.Site != f.req.Peer })
		if !elsewhere {
			f.add(model.Block, "vault-at-lost-site", fmt.Sprintf("%s lies at %s, the site that is lost", p.vaultName(), f.req.Peer),
				"nothing can be brought back from it", "give it a replica elsewhere")
			return
		}
		f.add(model.Note, "from-replica", fmt.Sprintf("%s lies at %s: its replica is read", p.vaultName(), f.req.Peer), "", "")
	}
	points, err := d.points(ctx, p)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		f.add(model.Block, "vault", err.Error(), "nothing can be brought back", failure.HintOf(err))
	case len(points) == 0 && f.req.Mode == model.Planned && f.req.Preview && f.req.Action == model.ActionPromote:
		// An earlier step of the same plan captures the folder.
	case len(points) == 0:
		f.add(model.Block, "no-point", "there is no recovery point in "+location.Redact(p.vault.URL), "nothing can be brought back",
			"lifeboat protect "+string(f.req.App)+" --now")
	default:
		newest := points[len(points)-1]
		age := d.now().Sub(newest.Time).Round(time.Second)
		if f.req.Action == model.ActionPromote && f.req.Mode == model.Unplanned {
			f.add(model.Note, "newest-point", fmt.Sprintf("the newest recovery point is of %s, %s ago", newest.Time.UTC().Format(time.RFC3339), age),
				"what came after it is lost", "")
		}
	}
}
