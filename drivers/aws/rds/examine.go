package rds

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/model"
)

// certificateSoon is how long before its end a certificate is told of: rotating one takes a reboot, and clients that trust the next.
const certificateSoon = 30 * 24 * time.Hour

// examination is one of a resource at a site.
type examination struct {
	*preflight.Site
	d      *Driver
	x      driver.Examination
	newest string // snapshot
}

// Examine looks for what work will miss at a site.
func (d *Driver) Examine(ctx context.Context, x driver.Examination) (driver.Examined, error) {
	return preflight.Examine(ctx, d.base, x, d, func(ctx context.Context, s *preflight.Site, work []driver.Request) error {
		e := &examination{Site: s, d: d, x: x}
		for i, req := range work {
			p, err := d.place(ctx, req.Target, x.Site)
			if err != nil {
				return err
			}
			if i == 0 {
				e.copies(ctx, req.Target, p, p.own)
			}
			if p.own.replicated() {
				e.replicas(ctx, req, p)
			}
			e.work(ctx, req, p, p.own)
		}
		return nil
	})
}

// instance is the site's, once for all steps.
func (e *examination) instance(ctx context.Context, p *place) (*instance, error) {
	return preflight.Once(ctx, e.Site, "instance "+p.set.Instance, func(ctx context.Context) (*instance, error) { return p.instanceByName(ctx, p.set.Instance) })
}

// copies looks at the instance and the snapshots that are there.
func (e *examination) copies(ctx context.Context, t driver.Target, p *place, own Settings) {
	id := t.Resource.ID
	e.Ask(ctx, func(ctx context.Context) error {
		i, err := e.instance(ctx, p)
		if err != nil || i == nil {
			return err
		}
		if c := i.CertificateDetails; c != nil && c.ValidTill != nil && time.Until(*c.ValidTill) < certificateSoon {
			e.Find(model.Finding{Severity: model.Warn, Code: "rds-certificate", Resource: id, What: fmt.Sprintf("the certificate %s of %s ends at %s", aws.ToString(c.CAIdentifier), i.name(), c.ValidTill.UTC().Format(time.RFC3339)),
				Why: "clients that check it are refused from then on",
				Fix: fmt.Sprintf("aws rds modify-db-instance --db-instance-identifier %s --ca-certificate-identifier rds-ca-rsa2048-g1 --region %s", i.name(), p.s.Region())})
		}
		secret := i.MasterUserSecret
		switch {
		case secret != nil && aws.ToString(secret.SecretStatus) == "impaired":
			e.Find(model.Finding{Severity: model.Warn, Code: "rds-secret", Resource: id, What: fmt.Sprintf("the secret of the master password of %s is impaired", i.name()),
				Why: "nobody reads or rotates the password with it", Fix: "aws rds describe-events --source-type db-instance --source-identifier " + i.name() + " --region " + p.s.Region()})
		case secret == nil && p.set.ManagePassword:
			e.Find(model.Finding{Severity: model.Note, Code: "rds-secret", Resource: id, What: fmt.Sprintf("%s has no secret with its master password yet", i.name()),
				Why: "the settings say that AWS manages it, which begins with a restore"})
		}
		return nil
	})
	e.Ask(ctx, func(ctx context.Context) error {
		ready, err := preflight.Once(ctx, e.Site, "snapshots of "+string(id), func(ctx context.Context) ([]*snapshots.Snapshot, error) {
			return (&snapshots.Keeper{Target: t}).Ready(ctx, p.kept())
		})
		if err != nil || len(ready) == 0 {
			return err // that there is none, the check of the steps that need one says
		}
		if !own.replicated() {
			e.Fresh(id, e.x, ready[0].At)
		}
		e.newest = ready[0].ID
		return nil
	})
}

// work looks for what one step of the work needs at the site.
func (e *examination) work(ctx context.Context, req driver.Request, p *place, own Settings) {
	id, here := req.Resource.ID, req.Site == e.x.Site
	set := p.set
	switch req.Action {
	case model.ActionCapture:
		if here {
			e.Makes(preflight.Snapshots, 1)
		}
	case model.ActionCopy:
		if !here {
			e.Makes(preflight.Snapshots, 1)
			e.Key(ctx, id, set.KMSKey, "copies of snapshots are encrypted with it")
		}
	case model.ActionQuiesce, model.ActionReverse:
		e.Makes(preflight.Snapshots, 1)
		if here == (req.Action == model.ActionReverse) {
			e.Key(ctx, id, set.KMSKey, "copies of snapshots are encrypted with it")
		}
		if (&work{req: req}).makesWay() && here && set.Drill != nil {
			e.launch(ctx, req, p, true)
		}
	case model.ActionPromote, model.ActionRestore:
		if here && (req.Action == model.ActionRestore || !own.replicated()) {
			e.launch(ctx, req, p, false)
		}
	case model.ActionDrill, model.ActionProve:
		if here && set.Drill != nil {
			e.launch(ctx, req, p, true)
		}
	}
	if here && (req.Action == model.ActionFence || req.Action == model.ActionQuiesce) && set.Fence != nil {
		e.Security(ctx, id, set.Fence.SecurityGroups)
	}
}

// replicas looks for what a replica needs that a step would make here, where one is to be.
func (e *examination) replicas(ctx context.Context, req driver.Request, p *place) {
	id, set, here := req.Resource.ID, p.set, req.Site == e.x.Site
	switch {
	case req.Action == model.ActionCopy && !here, req.Action == model.ActionReverse && here:
		e.Key(ctx, id, set.KMSKey, "the replica is encrypted with it")
		e.Ask(ctx, func(ctx context.Context) error {
			i, err := e.instance(ctx, p)
			if err == nil && i == nil {
				e.Makes(preflight.Instances, 1)
			}
			return err
		})
		e.Network(ctx, id, set.SubnetGroup, set.SecurityGroups)
		e.Group(ctx, id, preflight.ParameterGroup, set.ParameterGroup)
		e.Group(ctx, id, preflight.OptionGroup, set.OptionGroup)
	case req.Action == model.ActionCapture && here:
		e.Ask(ctx, func(ctx context.Context) error {
			i, err := e.instance(ctx, p)
			if err != nil || i == nil || i.replica() {
				return err
			}
			if why, fix := i.cannotLead(); why != "" {
				e.Find(model.Finding{Severity: model.Warn, Code: "rds-no-replica-possible", Resource: id, What: "instance " + i.name() + ": " + why, Why: "recovery is said to be by replica", Fix: fix})
			}
			return nil
		})
	}
}

// launch looks for what a restore needs.
func (e *examination) launch(ctx context.Context, req driver.Request, p *place, apart bool) {
	id, set := req.Resource.ID, p.set
	w := &work{d: e.d, req: req, here: p}
	if apart {
		var err error
		if set, err = w.drillSite(); err != nil {
			return // its step says so
		}
	}
	e.Makes(preflight.Instances, 1)
	e.Network(ctx, id, set.SubnetGroup, set.SecurityGroups)
	e.Group(ctx, id, preflight.ParameterGroup, set.ParameterGroup)
	e.Group(ctx, id, preflight.OptionGroup, set.OptionGroup)
	if set.Class == "" {
		return
	}
	e.Ask(ctx, func(ctx context.Context) error {
		newest := e.newest
		if newest == "" {
			return nil
		}
		out, err := preflight.Once(ctx, e.Site, "snapshot "+newest, func(ctx context.Context) (*sdk.DescribeDBSnapshotsOutput, error) {
			return p.api.DescribeDBSnapshots(ctx, &sdk.DescribeDBSnapshotsInput{DBSnapshotIdentifier: &newest})
		})
		if err != nil || len(out.DBSnapshots) == 0 {
			return err
		}
		e.Offered(ctx, id, aws.ToString(out.DBSnapshots[0].Engine), aws.ToString(out.DBSnapshots[0].EngineVersion), set.Class)
		return nil
	})
}

var _ driver.Examiner = (*Driver)(nil)
