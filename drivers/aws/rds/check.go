package rds

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Check says what stands in the way of the request.
func (d *Driver) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	w, err := d.work(ctx, req)
	if err != nil {
		return nil, err
	}
	found, err := w.check(ctx)
	if err != nil && ctx.Err() == nil && failure.Classified(err) {
		return append(found, w.finding(model.Warn, "aws-not-looked-at", awsbase.OneLine(err.Error()), "what stands in the way there cannot be known", failure.HintOf(err))), nil
	}
	return found, failure.Wrap(err, "check", w.subject())
}

func (w *work) finding(severity model.Severity, code, what, why, fix string) model.Finding {
	return model.Finding{Severity: severity, Code: code, Resource: w.req.Resource.ID, Site: w.req.Site, What: what, Why: why, Fix: fix}
}

// blocked is a finding that stands in the way, from the error that the begin would end in.
func (w *work) blocked(code string, err error) []model.Finding {
	what := strings.TrimPrefix(awsbase.OneLine(err.Error()), w.subject()+": ") // which a finding says itself
	return []model.Finding{w.finding(model.Block, code, what, "the step would be refused", failure.HintOf(err))}
}

func (w *work) check(ctx context.Context) ([]model.Finding, error) {
	switch w.req.Action {
	case model.ActionFence, model.ActionQuiesce:
		if w.here.set.Fence == nil {
			return w.blocked("rds-no-fence", noFence(w)), nil
		}
		if w.req.Action == model.ActionQuiesce && w.set.replicated() {
			return w.checkLead(ctx)
		}
	case model.ActionDrill, model.ActionProve:
		if _, err := w.drillSite(); err != nil {
			return w.blocked("rds-no-drill-network", err), nil
		}
		if w.req.Action == model.ActionProve {
			if _, err := w.decideProve(ctx); err != nil {
				return w.judged("rds-prove", err)
			}
			return nil, nil
		}
		if point, err := w.drillPoint(ctx, w.name("drill")); err != nil {
			return w.judged("rds-no-copy", err)
		} else if point == w.name("drill") {
			return nil, nil
		}
		return w.checkPoint(ctx)
	case model.ActionPromote:
		return w.checkPromote(ctx)
	case model.ActionRestore:
		return w.checkRestore(ctx)
	case model.ActionReverse:
		if _, err := w.drillSite(); err != nil && w.makesWay() {
			return w.blocked("rds-no-drill-network", err), nil
		}
		if w.here.set.Fence == nil && w.makesWay() {
			return w.blocked("rds-no-fence", noFence(w)), nil
		}
	case model.ActionCapture:
		i, err := w.here.instanceByName(ctx, w.here.set.Instance)
		if err == nil && i == nil {
			return []model.Finding{w.finding(model.Block, "rds-no-instance", "there is no instance "+w.here.set.Instance+" in "+w.here.s.Region(), "there is nothing to make a point of", "")}, nil
		}
		return nil, err
	case model.ActionCopy:
		return w.checkCopy(ctx)
	}
	return nil, nil
}

// judged makes a finding of what the begin would be refused for, and gives back what only says that AWS could not be asked.
func (w *work) judged(code string, err error) ([]model.Finding, error) {
	switch failure.KindOf(err) {
	case failure.Invalid, failure.NotFound, failure.Unsupported, failure.Exists:
		return w.blocked(code, err), nil
	}
	return nil, err
}

// checkPoint looks for a snapshot to restore.
func (w *work) checkPoint(ctx context.Context) ([]model.Finding, error) {
	if _, err := w.keeper().Named(ctx, ""); err != nil {
		return w.judged("rds-no-copy", err)
	}
	return nil, nil
}

func (w *work) checkPromote(ctx context.Context) ([]model.Finding, error) {
	i, err := w.here.instanceByName(ctx, w.here.set.Instance)
	if err != nil {
		return nil, err
	}
	switch {
	case i == nil && w.req.Preview && (w.req.Mode == model.Planned || w.req.Operation == model.OpFailback):
		return nil, nil // an earlier step brings a replica or a copy
	case i == nil && w.set.replicated() && w.req.Mode != model.Planned && !w.req.Force:
		return w.blocked("rds-no-replica", noReplica(w)), nil
	case i == nil:
		return w.checkPoint(ctx)
	case i.replica() && w.set.replicated():
		return w.checkReplica(ctx, i)
	case w.ours(i), w.fencedIt(i), w.req.Force, w.req.Preview && w.req.Operation == model.OpFailback:
		return nil, nil
	}
	return w.blocked("rds-name-taken", taken(w, i)), nil
}

func (w *work) checkRestore(ctx context.Context) ([]model.Finding, error) {
	h, err := w.decideRestore(ctx)
	if err != nil {
		return w.judged("rds-restore", err)
	}
	i, err := w.here.instanceByName(ctx, h.Name)
	if err != nil {
		return nil, err
	}
	if i != nil && !w.ours(i) {
		return w.blocked("rds-name-taken", taken(w, i)), nil
	}
	return nil, nil
}

// checkCopy finds sites whose copies could not be encrypted.
func (w *work) checkCopy(ctx context.Context) ([]model.Finding, error) {
	others, err := w.others(ctx)
	if err != nil {
		return nil, err
	}
	i, err := w.here.instanceByName(ctx, w.here.set.Instance)
	if err != nil || i == nil || !aws.ToBool(i.StorageEncrypted) {
		return nil, err
	}
	var found []model.Finding
	for _, o := range others {
		if o.set.KMSKey == "" {
			found = append(found, w.finding(model.Block, "rds-no-key", "site "+string(o.id)+" names no key", "the instance is encrypted, and so are its copies: each needs a key of its region", "set sites."+string(o.id)+".kms_key"))
		}
	}
	return found, nil
}
