package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// simulate is the call that asks IAM.
const simulate = "iam:SimulatePrincipalPolicy"

// refusal is a call that is not allowed, on some of its resources.
type refusal struct {
	permission driver.Permission
	on         []string
	how        string // how it was found out
	sure       bool
}

// permitted asks which of the site's calls are allowed; those of other sites are left out.
func (s *Site) permitted(ctx context.Context, all []driver.Permission) {
	if s.dark {
		return
	}
	mine := s.mine(all)
	bounded, cancel := half(ctx)
	refused, err := s.simulated(bounded, mine)
	cancel()
	if err != nil {
		if ctx.Err() == nil && failure.KindOf(err) == failure.Denied {
			s.found.add(s.refused(refusal{permission: permissionOf(mine, simulate), on: []string{"itself"}, how: "the call was refused", sure: true}, model.Warn))
		}
		refused = s.probed(ctx, mine, err)
	}
	for _, r := range refused {
		severity := model.Block
		if !r.sure {
			severity = model.Warn
		}
		s.found.add(s.refused(r, severity))
	}
}

// mine are those that the site's identity has to have.
func (s *Site) mine(all []driver.Permission) (mine []driver.Permission) {
	for _, p := range all {
		if p.Site == s.id && p.Holder == s.access.Holder() && p.Account == s.access.Account {
			mine = append(mine, p)
		}
	}
	return mine
}

// half gives a context half of the time that is left: IAM is in one region of its partition, which may be the one that is lost.
func half(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/2)
}

func permissionOf(all []driver.Permission, call string) driver.Permission {
	if i := slices.IndexFunc(all, func(p driver.Permission) bool { return p.Call == call }); i >= 0 {
		return all[i]
	}
	return driver.Permission{Call: call}
}

// refused is what people are told of a call that is not allowed.
func (s *Site) refused(r refusal, severity model.Severity) model.Finding {
	what := fmt.Sprintf("%s is not allowed", r.permission.Call)
	if !r.sure {
		what = fmt.Sprintf("%s seems not to be allowed", r.permission.Call)
	}
	if len(r.on) > 0 && r.on[0] != "*" {
		what += " on " + r.on[0]
		if n := len(r.on) - 1; n > 0 {
			what += fmt.Sprintf(" and %d more", n)
		}
	}
	why := "it is needed " + r.permission.Why
	if r.permission.Within != "" {
		why += ", within " + r.permission.Within
	}
	return model.Finding{Severity: severity, Code: "aws-permission", What: what, Why: why + "; " + r.how, Fix: fmt.Sprintf("allow it to %s: %s prints what is needed", s.access.Holder(), s.policy())}
}

// policy is the command that prints what is to be allowed.
func (s *Site) policy() string {
	if s.shared.Policy != "" {
		return s.shared.Policy
	}
	return fmt.Sprintf("lifeboat aws policy %s --site %s", s.app, s.id)
}

// probed finds out by calls, as IAM could not be asked because of cause. What no harmless call tells is not found out, and said so once.
func (s *Site) probed(ctx context.Context, all []driver.Permission, cause error) []refusal {
	var out []refusal
	var unknown []string
	seen := map[string]bool{}
	for _, p := range all {
		if seen[p.Call] || p.Call == simulate {
			continue
		}
		seen[p.Call] = true
		service, action, _ := strings.Cut(p.Call, ":")
		probe, ok := probes[p.Call]
		switch {
		case !ok && p.Call != "sts:AssumeRole":
			unknown = append(unknown, p.Call)
			continue
		case !ok:
			continue // the identity shows it
		}
		_, err := Once(ctx, s, "whether "+p.Call+" is allowed", func(ctx context.Context) (bool, error) { return true, probe(ctx, s.s, service, action) })
		switch {
		case ctx.Err() != nil:
			s.unasked(failure.Wrap(ctx.Err(), "examine", "permissions"))
			return out
		case err == nil, !slices.Contains([]failure.Kind{failure.Denied, failure.Unavailable, failure.Indeterminate, failure.Unsupported}, failure.KindOf(err)):
		case failure.KindOf(err) == failure.Denied && p.Looks && !aside[p.Call]:
			out = append(out, refusal{p, nil, "the call was refused", true})
		case failure.KindOf(err) == failure.Denied:
			out = append(out, refusal{p, nil, "a call about a thing that does not exist was refused; a policy that is narrower than that may allow it all the same", false})
		default:
			unknown = append(unknown, p.Call)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		f := model.Finding{Severity: model.Note, Code: "aws-permission-unknown", What: "whether these are allowed is not known: " + strings.Join(unknown, ", "),
			Why: "IAM's policy simulator was not to be asked, and no harmless call tells", Fix: "allow " + simulate + " to " + s.access.Holder()}
		if failure.KindOf(cause) != failure.Denied {
			f.Why = "IAM's policy simulator did not answer all questions in time, and no harmless call tells"
			f.Fix = "look again"
			if s.shared.Policy == "" {
				f.Fix = fmt.Sprintf("ask for less at once, which has more time: lifeboat doctor %s --site %s --operation NAME", s.app, s.id)
			}
		}
		s.found.add(f)
	}
	return out
}
