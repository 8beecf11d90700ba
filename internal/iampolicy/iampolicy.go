// Package iampolicy writes the permissions that drivers say they need as policy documents of AWS IAM, one set for each identity. It
// asks nobody, and decides nothing about what is needed. Start with [Grants].
package iampolicy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/model"
)

// version is that of IAM's policy language (IAM User Guide, "IAM JSON policy elements: Version").
const version = "2012-10-17"

// longest is how many characters a managed policy has at most, white space left out (IAM User Guide, "IAM and AWS STS quotas").
const longest = 6144

// Grants are the policies that all permissions need, by holder, in order of their names.
func Grants(all []driver.Permission) []api.Grant {
	byHolder := map[string][]driver.Permission{}
	for _, p := range all {
		key := p.Account + " " + p.Holder
		byHolder[key] = append(byHolder[key], p)
	}
	grants := []api.Grant{}
	for _, key := range slices.Sorted(maps.Keys(byHolder)) {
		mine := byHolder[key]
		g := api.Grant{Holder: mine[0].Holder, Account: mine[0].Account, Partition: mine[0].Partition}
		var looks []driver.Permission
		for _, p := range mine {
			if !slices.Contains(g.Sites, p.Site) {
				g.Sites = append(g.Sites, p.Site)
			}
			if p.Looks {
				looks = append(looks, p)
			}
		}
		slices.Sort(g.Sites)
		g.Operate, g.Look = documents(mine), documents(looks)
		grants = append(grants, g)
	}
	return grants
}

// documents writes permissions down: calls on the same resources under the same conditions are one statement.
func documents(all []driver.Permission) []api.PolicyDocument {
	out := []api.PolicyDocument{}
	size := 0
	for _, s := range statements(all) {
		s.Sid = "Lifeboat999" // as long as the one that it gets
		n := length(s) + 1
		if len(out) == 0 || size+n > longest {
			out = append(out, api.PolicyDocument{Version: version})
			size = length(out[len(out)-1])
		}
		last := &out[len(out)-1]
		s.Sid = fmt.Sprintf("Lifeboat%d", len(last.Statement)+1)
		last.Statement = append(last.Statement, s)
		size += n
	}
	return out
}

func length(v any) int {
	raw, err := json.Marshal(v)
	if err != nil {
		return longest // what cannot be written does not occur
	}
	return len(raw)
}

// conditions tells statements apart that cannot be one.
func conditions(given map[string]map[string]string) string {
	raw, _ := json.Marshal(given) // maps of texts are always written, in order
	return string(raw)
}

// statements groups permissions: first what one call needs, then the calls that need the same.
func statements(all []driver.Permission) []api.PolicyStatement {
	var calls []api.PolicyStatement
	for _, p := range all {
		i := slices.IndexFunc(calls, func(s api.PolicyStatement) bool {
			return s.Action[0] == p.Call && conditions(s.Condition) == conditions(p.If)
		})
		if i < 0 {
			calls = append(calls, api.PolicyStatement{Effect: "Allow", Action: []string{p.Call}, Condition: p.If})
			i = len(calls) - 1
		}
		calls[i].Resource = append(calls[i].Resource, p.On...)
	}
	var out []api.PolicyStatement
	for _, c := range calls {
		c.Resource = widest(c.Resource)
		i := slices.IndexFunc(out, func(s api.PolicyStatement) bool {
			return slices.Equal(s.Resource, c.Resource) && conditions(s.Condition) == conditions(c.Condition)
		})
		if i < 0 {
			out = append(out, c)
			continue
		}
		out[i].Action = append(out[i].Action, c.Action...)
	}
	for i := range out {
		slices.Sort(out[i].Action)
	}
	slices.SortFunc(out, func(a, b api.PolicyStatement) int {
		return strings.Compare(a.Action[0]+" "+a.Resource[0]+conditions(a.Condition), b.Action[0]+" "+b.Resource[0]+conditions(b.Condition))
	})
	return out
}

// widest leaves out resources that a pattern among them covers.
func widest(on []string) []string {
	on = slices.Compact(slices.Sorted(slices.Values(on)))
	return slices.DeleteFunc(slices.Clone(on), func(one string) bool {
		return slices.ContainsFunc(on, func(other string) bool {
			return other != one && strings.HasSuffix(other, "*") && strings.Count(other, "*") == 1 && strings.HasPrefix(one, strings.TrimSuffix(other, "*"))
		})
	})
}

// Needs are the permissions of everything that an app's resources can be asked for at its sites: looking, and each action that a
// resource's kind knows, between any two sites.
func Needs(app model.App, drivers *driver.Registry) ([]driver.Permission, error) {
	var out []driver.Permission
	for _, r := range app.Resources {
		d, err := drivers.Get(r.Kind)
		if err != nil {
			return nil, err
		}
		who, ok := driver.As[driver.Permitter](d)
		if !ok {
			continue
		}
		for _, req := range requests(d, r) {
			more, err := who.Permissions(req)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
	}
	return out, nil
}

// requests are all that can be asked of a resource. Reverses are those before a failback, which do most.
func requests(d driver.Driver, r model.Resource) []driver.Request {
	sites := slices.Sorted(maps.Keys(r.Sites))
	var out []driver.Request
	for _, site := range sites {
		target := driver.Target{App: r.App, Resource: r, Site: site}
		out = append(out, driver.Request{Target: target})
		peers := slices.DeleteFunc(slices.Clone(sites), func(other model.SiteID) bool { return other == site })
		if len(peers) == 0 {
			peers = []model.SiteID{""}
		}
		for _, action := range driver.Actions(d) {
			for _, target.Peer = range peers {
				out = append(out, driver.Request{Target: target, Action: action, Operation: model.OpFailback, Mode: model.Unplanned, Prepare: action == model.ActionReverse})
			}
		}
	}
	return out
}
