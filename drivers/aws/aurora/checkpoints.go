package aurora

import (
	"context"
	"fmt"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Check says what stands in the way of the request.
func (d *Cluster) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	w, err := places(d.place).work(ctx, req)
	if err != nil {
		return nil, err
	}
	f := &findings{req: req, site: req.Site}
	err = w.checked(ctx, f, w.checkMove)
	return f.list, err
}

// checked asks a question that may add findings; that AWS could not be asked is a finding too.
func (w *work) checked(ctx context.Context, f *findings, ask func(context.Context, *findings) error) error {
	err := ask(ctx, f)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil || !failure.Classified(err):
		return failure.Wrap(err, "check", w.here.subject)
	}
	f.add(model.Warn, "aws-not-looked-at", awsbase.OneLine(err.Error()), "what stands in the way there cannot be known", failure.HintOf(err))
	return nil
}

// refused adds what a begin would be refused for, and gives back what only says that AWS could not be asked.
func (f *findings) refused(code string, err error) error {
	if err == nil {
		return nil
	}
	switch failure.KindOf(err) {
	case failure.Invalid, failure.NotFound, failure.Unsupported, failure.Exists:
		f.add(model.Block, code, awsbase.OneLine(err.Error()), failure.HintOf(err), "")
		return nil
	}
	return err
}

// checkMove looks at what moves a cluster, and at what checkPoints does.
func (w *work) checkMove(ctx context.Context, f *findings) error {
	p := w.here
	switch w.req.Action {
	case model.ActionFence, model.ActionQuiesce:
		return f.refused("aurora-no-fence", p.needsFence())
	case model.ActionDrill:
		if err := p.needsDrill("drill"); err != nil {
			return f.refused("aurora-no-drill", err)
		}
		_, err := w.keeper().Named(ctx, "")
		return f.refused("aurora-no-copy", err)
	case model.ActionPromote:
		return w.checkPromote(ctx, f)
	case model.ActionReverse:
		if !w.makesWay() {
			return nil
		}
		if err := f.refused("aurora-no-drill", p.needsDrill("prove the old cluster's last state")); err != nil {
			return err
		}
		return f.refused("aurora-no-fence", p.needsFence())
	}
	return w.checkPoints(ctx, f)
}

func (w *work) checkPromote(ctx context.Context, f *findings) error {
	v, err := w.here.look(ctx)
	if err != nil {
		return err
	}
	switch {
	case v.cluster == nil && w.req.Preview && w.req.Mode == model.Planned:
		return nil // the quiesce brings a copy
	case v.cluster == nil:
		_, err := w.keeper().Named(ctx, "")
		return f.refused("aurora-no-copy", err)
	}
	tags := tagMap(v.cluster.TagList)
	if ours(w.origin(), tags) || w.fencedIt(tags) || w.req.Force || w.req.Preview && w.req.Operation == model.OpFailback {
		return nil
	}
	return f.refused("aurora-name-taken", taken(w.here, w.here.at.Cluster))
}

// checkPoints looks at what makes, copies, restores or proves snapshots: the same for both kinds.
func (w *work) checkPoints(ctx context.Context, f *findings) error {
	p := w.here
	switch w.req.Action {
	case model.ActionCapture:
		v, err := p.look(ctx)
		if err == nil && v.cluster == nil {
			f.add(model.Block, "aurora-no-cluster", fmt.Sprintf("there is no cluster %s in %s", p.at.Cluster, p.session.Region()), "there is nothing to make a point of", "")
		}
		return err
	case model.ActionCopy:
		if p.session.Partition() == "aws-cn" && len(w.req.Resource.Sites) > 1 {
			f.add(model.Block, "aurora-no-copies", "AWS copies no snapshots of clusters between its regions in China", "nothing could be restored at another site", "")
		}
	case model.ActionProve:
		_, err := w.decideProve(ctx)
		return f.refused("aurora-prove", err)
	case model.ActionRestore:
		h, err := w.decideRestore(ctx)
		if err != nil {
			return f.refused("aurora-restore", err)
		}
		c, err := p.cluster(ctx, h.Name)
		if err != nil {
			return err
		}
		if c != nil && !ours(w.origin(), tagMap(c.TagList)) {
			return f.refused("aurora-name-taken", taken(p, h.Name))
		}
	}
	return nil
}
