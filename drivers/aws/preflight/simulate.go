package preflight

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// iamVersion is that of IAM's Query protocol.
const iamVersion = "2010-05-08"

// How much IAM is asked in one question: each of its calls is judged on each of its resources (IAM API Reference,
// SimulatePrincipalPolicy), and an answer has 100 results a page when nothing else is said (there, MaxItems). How many resources it
// takes is not documented: nccgroup/PMapper found that there is a limit, and stays below it with 20 (its pull request 6).
const (
	pairsAtOnce = 100
	arnsAtOnce  = 20
)

// sample stands for the * of a resource when IAM is asked about it: a name that a driver could make.
const sample = "lifeboat-lb-aaaaaaaaaaaaaaaa"

// example is what IAM is asked about in place of a pattern.
func example(on string) string {
	if on == "*" {
		return on
	}
	return strings.ReplaceAll(on, "*", sample)
}

// question is some calls, each on all of some resources, under the same conditions.
type question struct {
	calls []string
	on    []string
	given conditions
}

// conditions are a permission's: operator, key, value.
type conditions map[string]map[string]string

// text tells conditions apart.
func (c conditions) text() string {
	raw, _ := json.Marshal(c) // maps of texts are always written, in order
	return string(raw)
}

// with is the question with another one's calls and resources.
func (q question) with(o question) question {
	return question{clean(append(slices.Clone(q.calls), o.calls...)), clean(append(slices.Clone(q.on), o.on...)), q.given}
}

func (q question) pairs() int { return len(q.calls) * len(q.on) }

func (q question) fits() bool { return q.pairs() <= pairsAtOnce && len(q.on) <= arnsAtOnce }

// questions are few that cover all permissions. They ask about some calls on resources of others too, whose answers nobody reads.
// Conditions are not mixed: what is given for one call would let a policy allow another.
func questions(all []driver.Permission) (out []question) {
	var plain []question // those of the same resources and conditions
	for _, p := range all {
		same := func(q question) bool {
			return slices.Equal(q.on, p.On) && q.given.text() == conditions(p.If).text()
		}
		if i := slices.IndexFunc(plain, same); i >= 0 {
			plain[i].calls = clean(append(plain[i].calls, p.Call))
			continue
		}
		plain = append(plain, question{[]string{p.Call}, p.On, p.If})
	}
	for _, q := range plain {
		for calls := range slices.Chunk(q.calls, pairsAtOnce) {
			for on := range slices.Chunk(q.on, min(arnsAtOnce, pairsAtOnce/len(calls))) {
				out = packed(out, question{calls, on, q.given})
			}
		}
	}
	return out
}

// packed puts a question to those among which it costs least.
func packed(all []question, one question) []question {
	best, cost := -1, 0
	for i, q := range all {
		both := q.with(one)
		if grows := both.pairs() - q.pairs(); q.given.text() == one.given.text() && both.fits() && (best < 0 || grows < cost) {
			best, cost = i, grows
		}
	}
	if best < 0 {
		return append(all, one)
	}
	all[best] = all[best].with(one)
	return all
}

// contextTypes are those of the values that operators of conditions compare.
var contextTypes = map[string]string{"StringEquals": "string", "Bool": "boolean"}

// asked is what IAM judges: a call on a resource under conditions.
type asked struct{ call, on, given string }

// verdicts are IAM's.
type verdicts map[asked]bool

// of is the verdict on a permission's resource. Of calls that know no resources IAM may say what holds for all.
func (v verdicts) of(p driver.Permission, on string) (allowed, known bool) {
	given := conditions(p.If).text()
	if allowed, known = v[asked{p.Call, example(on), given}]; !known {
		allowed, known = v[asked{p.Call, "*", given}]
	}
	return allowed, known
}

// missing are the permissions of which not everything is known.
func (v verdicts) missing(all []driver.Permission) []driver.Permission {
	return slices.DeleteFunc(slices.Clone(all), func(p driver.Permission) bool {
		return !slices.ContainsFunc(p.On, func(on string) bool { _, known := v.of(p, on); return !known })
	})
}

// simulated asks IAM's policy simulator (IAM API Reference, SimulatePrincipalPolicy), together with all that examinations of the site
// share.
func (s *Site) simulated(ctx context.Context, all []driver.Permission) ([]refusal, error) {
	asks := func(all []driver.Permission) []driver.Permission { // whether it may be asked its answer shows
		return slices.DeleteFunc(slices.Clone(all), func(p driver.Permission) bool { return p.Call == simulate })
	}
	all = asks(all)
	given, err := Once(ctx, s, "what IAM allows", func(ctx context.Context) (verdicts, error) {
		return s.judged(ctx, merged(append(asks(s.mine(s.shared.Permissions)), all...)))
	})
	if err != nil {
		return nil, err
	}
	if rest := given.missing(all); len(rest) > 0 { // whoever asked did not know of these
		more, err := s.judged(ctx, rest)
		if err != nil {
			return nil, err
		}
		if rest = more.missing(rest); len(rest) > 0 {
			return nil, failure.New(failure.Unsupported, "ask", "iam", "the policy simulator said nothing of %s", rest[0].Call)
		}
		given = maps.Clone(given)
		maps.Copy(given, more)
	}
	var out []refusal
	for _, p := range all {
		on := slices.DeleteFunc(slices.Clone(p.On), func(on string) bool { allowed, _ := given.of(p, on); return allowed })
		if len(on) > 0 {
			out = append(out, refusal{p, on, "asked of IAM's policy simulator", true})
		}
	}
	return out, nil
}

// judged asks all questions.
func (s *Site) judged(ctx context.Context, all []driver.Permission) (verdicts, error) {
	allowed := verdicts{}
	for _, q := range questions(all) {
		if err := s.simulate(ctx, q, allowed); err != nil {
			return nil, err
		}
	}
	return allowed, nil
}

// principal is the ARN that IAM knows the site's identity by: of a role, not of its session.
func (s *Site) principal() string {
	if n := len(s.access.Roles); n > 0 {
		return s.access.Roles[n-1].ARN
	}
	role, ok := strings.CutPrefix(s.who.ARN, awsbase.ARN(s.s.Partition(), "sts", "", s.s.Account(), "assumed-role/"))
	if !ok {
		return s.who.ARN
	}
	name, _, _ := strings.Cut(role, "/")
	return awsbase.ARN(s.s.Partition(), "iam", "", s.s.Account(), "role/"+name)
}

// simulate asks one question, page by page, and notes what is allowed.
func (s *Site) simulate(ctx context.Context, q question, allowed verdicts) error {
	params := url.Values{"PolicySourceArn": {s.principal()}}
	for i, call := range q.calls {
		params.Set("ActionNames.member."+strconv.Itoa(i+1), call)
	}
	for i, on := range q.on {
		params.Set("ResourceArns.member."+strconv.Itoa(i+1), example(on))
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
	given := q.given.text()
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
				allowed[asked{r.Action, r.Resource, given}] = r.Decision == "allowed"
			}
			for _, one := range r.Each {
				allowed[asked{r.Action, one.Resource, given}] = one.Decision == "allowed"
			}
		}
		if !out.Truncated || out.Marker == "" {
			return nil
		}
		params.Set("Marker", out.Marker)
	}
}
