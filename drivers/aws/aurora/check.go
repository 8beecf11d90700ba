package aurora

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// findings collects what a check finds.
type findings struct {
	req  driver.Request
	site model.SiteID
	list []model.Finding
}

func (f *findings) add(s model.Severity, code, what, why, fix string) {
	f.list = append(f.list, model.Finding{Severity: s, Code: code, Resource: f.req.Resource.ID, Site: f.site, Step: f.req.Step, What: what, Why: why, Fix: fix})
}

// Check looks at the regions that the work needs.
func (d *Driver) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	site := req.Site
	if req.Action == model.ActionFence && req.Peer != "" {
		site = req.Peer
	}
	for _, s := range []model.SiteID{req.Site, req.Peer} {
		if s == "" {
			continue
		}
		if _, err := d.place(ctx, req.Target, s); err != nil {
			return nil, err
		}
	}
	p, err := d.place(ctx, req.Target, site)
	if err != nil {
		return nil, err
	}
	f := &findings{req: req, site: site}
	v, err := p.look(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, failure.Wrap(ctx.Err(), "check", p.subject)
	case err != nil:
		f.add(model.Block, "aurora-unreachable", err.Error(), "nothing can be done there, or be known of it", failure.HintOf(err))
		return f.list, nil
	}
	switch req.Action {
	case model.ActionFence, model.ActionPromote:
		d.checkRole(p, v, f)
	case model.ActionDrill:
		if err := p.needsDrill("drill"); err != nil {
			f.add(model.Block, "aurora-no-drill", err.Error(), "a copy beside the database would not be apart from it", failure.HintOf(err))
		} else if _, err := p.drillClass(v); err != nil {
			f.add(model.Block, "aurora-no-class", err.Error(), "", failure.HintOf(err))
		}
		if v.status() != available {
			f.add(model.Block, "aurora-status", fmt.Sprintf("the cluster %s is %s", p.at.Cluster, v.status()), "no snapshot can be made of it", "")
		}
	case model.ActionCapture, model.ActionCopy, model.ActionProve, model.ActionRestore:
		w, err := places(d.place).work(ctx, req)
		if err != nil {
			return nil, err
		}
		err = w.checked(ctx, f, w.checkPoints)
		return f.list, err
	case model.ActionReverse:
		if !req.Preview || req.Prepare {
			return d.checkReverse(ctx, req, f)
		}
	}
	return f.list, nil
}

// checkRole looks at the cluster that is to take the role.
func (d *Driver) checkRole(p *place, v *view, f *findings) {
	here, err := arriving(p, v)
	switch {
	case err != nil:
		f.add(model.Block, "aurora-target", err.Error(), "the role cannot come to it", failure.HintOf(err))
		return
	case here && v.alone():
		f.add(model.Note, "aurora-detached", fmt.Sprintf("the cluster %s takes writes already, outside of any global database", p.at.Cluster), "AWS cannot take the role from another one", "")
		return
	case here:
		f.add(model.Note, "aurora-already", fmt.Sprintf("the cluster %s is the writer of %s already, or about to be", p.at.Cluster, p.s.Global), "", "")
		return
	}
	unplanned := f.req.Mode == model.Unplanned
	lacks := model.Block
	if f.req.Preview && f.req.Operation == model.OpFailback {
		lacks = model.Warn // the failback first waits until it follows
	}
	if v.up() == 0 {
		f.add(lacks, "aurora-no-instance", fmt.Sprintf("the cluster %s has %d instances, none of them available", p.at.Cluster, len(v.instances)), "AWS gives the role to a cluster with an instance only",
			"aws rds create-db-instance --db-cluster-identifier "+p.at.Cluster+" …")
	}
	if m := v.member(p.arn); !following(m) {
		s := lacks
		if unplanned && f.req.Force {
			s = model.Warn
		}
		f.add(s, "aurora-behind", fmt.Sprintf("the cluster %s is %s", p.at.Cluster, sync(m)), "AWS gives the role to a synchronized cluster only; forced and unplanned, it is detached instead", "")
	}
	if own, writers := aws.ToString(v.cluster.EngineVersion), aws.ToString(v.global.EngineVersion); release(own) != release(writers) && own != "" && writers != "" {
		f.add(model.Warn, "aurora-version", fmt.Sprintf("the cluster %s has version %s, and the global database %s", p.at.Cluster, own, writers),
			"AWS moves the role between clusters of the same major and minor version", "upgrade the older one: aws rds modify-db-cluster --engine-version …")
	}
	if v.status() != available {
		f.add(model.Warn, "aurora-status", fmt.Sprintf("the cluster %s is %s", p.at.Cluster, v.status()), "AWS moves roles between available clusters", "")
	}
	if unplanned && !p.s.lossy() && !f.req.Force {
		f.add(model.Warn, "aurora-no-loss", "the settings allow no loss of data: a switchover is tried", "it needs the old region too",
			"force the step, or set allow_data_loss")
	}
}

// release is the major and the minor part of an engine's version, of Aurora's own where it has one: "15.4" of "15.4.1", "3.05" of
// "8.0.mysql_aurora.3.05.2".
func release(version string) string {
	if _, own, ok := strings.Cut(version, "mysql_aurora."); ok {
		version = own
	}
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// checkReverse says whether the old cluster has to be made again, and what that lacks.
func (d *Driver) checkReverse(ctx context.Context, req driver.Request, f *findings) ([]model.Finding, error) {
	w, err := d.pair(ctx, req)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, failure.Wrap(ctx.Err(), "check", string(req.Resource.ID))
	case err != nil:
		f.add(model.Block, "aurora-unreachable", err.Error(), "", failure.HintOf(err))
		return f.list, nil
	}
	err = w.refuses()
	if err == nil {
		err = w.mayRebuild()
	}
	if err != nil {
		f.add(model.Block, "aurora-reverse", err.Error(), "the old cluster cannot be made to follow", failure.HintOf(err))
		return f.list, nil
	}
	if w.rebuilds() {
		f.add(model.Warn, "aurora-rebuild", fmt.Sprintf("the cluster %s has left the global database: it is deleted and made again", w.here.at.Cluster),
			fmt.Sprintf("what was written to it and nowhere else is kept in the snapshot %s, which is restored once before anything is deleted", w.final()), "")
		if aws.ToBool(w.hv.cluster.DeletionProtection) {
			f.add(model.Warn, "aurora-protection", "its deletion protection is taken off for that", "", "")
		}
	}
	return f.list, nil
}
