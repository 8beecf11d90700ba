package vaultservice

import (
	"context"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// Forget removes points.
func (s *Service) Forget(ctx context.Context, req api.VaultForgetRequest, watch api.VaultWatch) (*api.VaultForgetReply, error) {
	if !req.DryRun {
		if err := writable(req.VaultAccess, "forget"); err != nil {
			return nil, err
		}
	}
	decide, err := s.decider(req)
	if err != nil {
		return nil, err
	}
	reply := &api.VaultForgetReply{DryRun: req.DryRun, Groups: []api.VaultForgetGroup{}}
	err = s.with(ctx, req.VaultAccess, func(v *vault.Vault) error {
		list, err := points(ctx, v, req.VaultPointFilter, req.Points)
		if err != nil {
			return err
		}
		groups, err := decide(list)
		if err != nil {
			return err
		}
		var ids []object.ID
		for _, g := range groups {
			out := api.VaultForgetGroup{Host: g.Host, Paths: g.Paths, Tags: g.Tags, Keep: []api.VaultDecision{}, Go: []api.VaultDecision{}}
			for _, d := range g.Decisions {
				one := api.VaultDecision{Point: pointOf(d.Snapshot), Reasons: d.Reasons}
				if one.Reasons == nil {
					one.Reasons = []string{}
				}
				if d.Keep || req.Only != nil && !slices.Contains(req.Only, one.Point.ID) {
					out.Keep = append(out.Keep, one)
					continue
				}
				out.Go = append(out.Go, one)
				ids = append(ids, d.Snapshot.ID)
			}
			reply.Groups = append(reply.Groups, out)
		}
		if len(ids) == 0 {
			return nil
		}
		gone, err := v.Forget(ctx, ids, vault.ForgetOptions{
			DryRun: req.DryRun, Wait: vault.Waiting{For: max(req.Wait.Std(), req.RetryLock.Std())},
			Progress: func(done, of int) {
				if watch != nil {
					watch(api.VaultEvent{Phase: "forgetting", Unit: "points", Files: int64(done), TotalFiles: int64(of)})
				}
			},
		})
		for _, f := range gone {
			if f.Err == nil {
				reply.Removed++
				continue
			}
			reply.Stayed = append(reply.Stayed, stayed(f.ID, f.Err, f.NotBefore))
		}
		return err
	})
	if err != nil && reply.Removed == 0 {
		return nil, err
	}
	return reply, err
}

// stayed is why a point is still there.
func stayed(id object.ID, err error, notBefore time.Time) api.VaultStayed {
	out := api.VaultStayed{Point: id.String(), Error: failure.From(err)}
	if !notBefore.IsZero() {
		out.NotBefore = &notBefore
	}
	return out
}

// decider says what is to become of the points: with names they go, with a policy it is asked.
func (s *Service) decider(req api.VaultForgetRequest) (func([]*snapshot.Snapshot) ([]retention.Decided, error), error) {
	named := len(req.Points) > 0
	switch {
	case named && req.Policy != nil:
		return nil, failure.New(failure.Invalid, "forget", "", "points are named, and a policy is given").
			WithHint("leave one of them out: a policy decides on all points that --host, --tag and --path mean")
	case named:
		return func(list []*snapshot.Snapshot) ([]retention.Decided, error) {
			d := retention.Decided{}
			for _, sn := range list {
				d.Decisions = append(d.Decisions, retention.Decision{Snapshot: sn, Reasons: []string{"named"}})
			}
			return []retention.Decided{d}, nil
		}, nil
	case req.Policy == nil:
		return nil, failure.New(failure.Invalid, "forget", "", "nothing says what goes").
			WithHint("name points, or say what stays: --keep-last 7 --keep-daily 14")
	}
	policy, err := retention.Parse(*req.Policy)
	if err != nil {
		return nil, err
	}
	if policy.Empty() {
		return nil, failure.New(failure.Invalid, "forget", "", "the policy keeps nothing: nothing says what stays").
			WithHint("say what stays: --keep-last 7 --keep-daily 14")
	}
	by, err := retention.ParseGroupBy(req.GroupBy)
	if err != nil {
		return nil, err
	}
	return func(list []*snapshot.Snapshot) ([]retention.Decided, error) {
		return retention.Decide(list, policy, by, retention.Options{Now: s.opts.Now(), AllowNone: req.AllowNone})
	}, nil
}

// Tag changes tags.
func (s *Service) Tag(ctx context.Context, req api.VaultTagRequest) (*api.VaultTagReply, error) {
	change := vault.TagChange{Set: req.Clear || len(req.Set) > 0, Add: req.Add, Remove: req.Remove}
	switch {
	case change.Set && len(req.Add)+len(req.Remove) > 0:
		return nil, failure.New(failure.Invalid, "tag", "", "--set excludes --add and --remove").WithHint("leave one of them out")
	case change.Set:
		change.Add = req.Set
	case len(req.Add)+len(req.Remove) == 0:
		return nil, failure.New(failure.Invalid, "tag", "", "nothing is to be changed").WithHint("write --add, --remove or --set and tags")
	}
	return s.retag(ctx, req.VaultAccess, req.VaultPointFilter, req.Points, func(v *vault.Vault, ids []object.ID, w vault.Waiting) ([]vault.Tagged, error) {
		w.For = max(w.For, req.Wait.Std())
		return v.Tag(ctx, ids, change, w)
	})
}

// Hold puts points on legal hold, or takes them off it.
func (s *Service) Hold(ctx context.Context, req api.VaultHoldRequest) (*api.VaultTagReply, error) {
	hold, err := retention.ParseHold(req.Until, req.Reason)
	if err != nil {
		return nil, err
	}
	return s.retag(ctx, req.VaultAccess, req.VaultPointFilter, req.Points, func(v *vault.Vault, ids []object.ID, w vault.Waiting) ([]vault.Tagged, error) {
		w.For = max(w.For, req.Wait.Std())
		if req.End {
			return v.EndHold(ctx, ids, w)
		}
		return v.Hold(ctx, ids, hold, w)
	})
}

// retag runs a change of tags over the points that are meant.
func (s *Service) retag(ctx context.Context, a api.VaultAccess, f api.VaultPointFilter, names []string,
	change func(*vault.Vault, []object.ID, vault.Waiting) ([]vault.Tagged, error)) (*api.VaultTagReply, error) {
	if err := writable(a, "change tags"); err != nil {
		return nil, err
	}
	if len(names) == 0 && f.Empty() {
		return nil, failure.New(failure.Invalid, "change tags", "", "no points are named").
			WithHint("name points, or say which are meant with --host, --tag or --path")
	}
	reply := &api.VaultTagReply{Changed: []api.VaultTagged{}}
	err := s.with(ctx, a, func(v *vault.Vault) error {
		list, err := points(ctx, v, f, names)
		if err != nil || len(list) == 0 {
			return err
		}
		var ids []object.ID
		for _, sn := range list {
			ids = append(ids, sn.ID)
		}
		done, err := change(v, ids, vault.Waiting{For: a.RetryLock.Std()})
		for _, t := range done {
			switch {
			case t.Err != nil:
				reply.Failed = append(reply.Failed, stayed(t.Old, t.Err, t.NotBefore))
			case t.New == t.Old:
				reply.Unchanged++
			}
			if t.New != t.Old && !t.New.IsZero() {
				reply.Changed = append(reply.Changed, api.VaultTagged{Old: t.Old.String(), New: t.New.String()})
			}
		}
		return err
	})
	if err != nil && len(reply.Changed) == 0 {
		return nil, err
	}
	return reply, err
}
