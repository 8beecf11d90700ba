package preflight

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// simulate is the call that asks IAM.
const simulate = "iam:SimulatePrincipalPolicy"

// iamVersion is that of IAM's Query protocol.
const iamVersion = "2010-05-08"

// resourcesAtOnce bounds one question to IAM, whose answer has a part for each call on each resource.
const resourcesAtOnce = 25

// sample stands for the * of a resource when IAM is asked about it: a name that a driver could make.
const sample = "lifeboat-lb-aaaaaaaaaaaaaaaa"

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
	var mine []driver.Permission
	for _, p := range all {
		if p.Site == s.id && p.Holder == s.access.Holder() {
			mine = append(mine, p)
		}
	}
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
	return model.Finding{Severity: severity, Code: "aws-permission", What: what, Why: why + "; " + r.how, Fix: fmt.Sprintf("allow it to %s: lifeboat aws policy %s --site %s prints what is needed", s.access.Holder(), s.app, s.id)}
}

// question is some calls on the same resources under the same conditions.
type question struct {
	calls []string
	on    []string
	given map[string]map[string]string
}

// questions are those that cover all permissions.
func questions(all []driver.Permission) []question {
	var out []question
	for _, p := range all {
		same := func(q question) bool { return slices.Equal(q.on, p.On) && maps.EqualFunc(q.given, p.If, maps.Equal) }
		i := slices.IndexFunc(out, same)
		if i < 0 {
			out = append(out, question{on: p.On, given: p.If})
			i = len(out) - 1
		}
		if !slices.Contains(out[i].calls, p.Call) {
			out[i].calls = append(out[i].calls, p.Call)
		}
	}
	return out
}

// contextTypes are those of the values that operators of conditions compare.
var contextTypes = map[string]string{"StringEquals": "string", "Bool": "boolean"}

// simulated asks IAM's policy simulator (IAM API Reference, SimulatePrincipalPolicy).
func (s *Site) simulated(ctx context.Context, all []driver.Permission) ([]refusal, error) {
	principal, err := s.principal(ctx)
	if err != nil {
		return nil, err
	}
	var out []refusal
	all = slices.DeleteFunc(slices.Clone(all), func(p driver.Permission) bool { return p.Call == simulate }) // its answer shows it
	for _, q := range questions(all) {
		denied := map[string][]string{}
		for on := range slices.Chunk(q.on, resourcesAtOnce) {
			if err := s.simulate(ctx, principal, question{q.calls, on, q.given}, denied); err != nil {
				return nil, err
			}
		}
		for _, p := range all {
			if on := denied[p.Call]; len(on) > 0 && slices.Equal(p.On, q.on) && maps.EqualFunc(p.If, q.given, maps.Equal) {
				out = append(out, refusal{p, on, "asked of IAM's policy simulator", true})
			}
		}
	}
	return out, nil
}

// principal is the ARN that IAM knows the site's identity by: of a role, not of its session.
func (s *Site) principal(ctx context.Context) (string, error) {
	if n := len(s.access.Roles); n > 0 {
		return s.access.Roles[n-1].ARN, nil
	}
	who, err := s.s.Identity(ctx)
	if err != nil {
		return "", err
	}
	role, ok := strings.CutPrefix(who.ARN, awsbase.ARN(s.s.Partition(), "sts", "", s.s.Account(), "assumed-role/"))
	if !ok {
		return who.ARN, nil
	}
	name, _, _ := strings.Cut(role, "/")
	return awsbase.ARN(s.s.Partition(), "iam", "", s.s.Account(), "role/"+name), nil
}

// simulate asks one question, page by page, and notes what is denied: resources by call.
func (s *Site) simulate(ctx context.Context, principal string, q question, denied map[string][]string) error {
	params := url.Values{"PolicySourceArn": {principal}}
	for i, call := range q.calls {
		params.Set("ActionNames.member."+strconv.Itoa(i+1), call)
	}
	asked := map[string]string{}
	for i, on := range q.on {
		example := strings.ReplaceAll(on, "*", sample)
		if on == "*" {
			example = on
		}
		asked[example] = on
		params.Set("ResourceArns.member."+strconv.Itoa(i+1), example)
	}
	n := 0
	for _, operator := range slices.Sorted(maps.Keys(q.given)) {
		for _, key := range slices.Sorted(maps.Keys(q.given[operator])) {
			n++
			at := "ContextEntries.member." + strconv.Itoa(n)
			params.Set(at+".ContextKeyName", key)
			params.Set(at+".ContextKeyType", contextTypes[operator])
			params.Set(at+".ContextKeyValues.member.1", q.given[operator][key])
		}
	}
	type result struct {
		Action   string `xml:"EvalActionName"`
		Resource string `xml:"EvalResourceName"`
		Decision string `xml:"EvalDecision"`
		Each     []struct {
			Resource string `xml:"EvalResourceName"`
			Decision string `xml:"EvalResourceDecision"`
		} `xml:"ResourceSpecificResults>member"`
	}
	note := func(call, resource, decision string) {
		if decision != "allowed" && decision != "" && !slices.Contains(denied[call], asked[resource]) && asked[resource] != "" {
			denied[call] = append(denied[call], asked[resource])
		}
	}
	for {
		var out struct {
			Results   []result `xml:"SimulatePrincipalPolicyResult>EvaluationResults>member"`
			Truncated bool     `xml:"SimulatePrincipalPolicyResult>IsTruncated"`
			Marker    string   `xml:"SimulatePrincipalPolicyResult>Marker"`
		}
		if err := s.s.Query(ctx, "iam", iamVersion, "SimulatePrincipalPolicy", params, &out); err != nil {
			return err
		}
		if len(out.Results) == 0 {
			return failure.New(failure.Unsupported, "ask", "iam", "the policy simulator gave no results")
		}
		for _, r := range out.Results {
			if len(r.Each) == 0 {
				note(r.Action, r.Resource, r.Decision)
			}
			for _, one := range r.Each {
				note(r.Action, one.Resource, one.Decision)
			}
		}
		if !out.Truncated || out.Marker == "" {
			return nil
		}
		params.Set("Marker", out.Marker)
	}
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
		err := probe(ctx, s.s, service, action)
		switch {
		case ctx.Err() != nil:
			s.unasked(failure.Wrap(ctx.Err(), "examine", "permissions"))
			return out
		case err == nil, failure.KindOf(err) != failure.Denied && failure.KindOf(err) != failure.Unavailable && failure.KindOf(err) != failure.Indeterminate:
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
			f.Fix = fmt.Sprintf("ask for less at once, which has more time: lifeboat doctor %s --site %s --operation NAME", s.app, s.id)
		}
		s.found.add(f)
	}
	return out
}
