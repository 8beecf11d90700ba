package driver

import (
	"context"
	"fmt"
	"slices"

	"github.com/lifeboat-dr/lifeboat/model"
)

// Permission is a call that a driver's work makes, and what it has to be allowed on.
type Permission struct {
	Site model.SiteID `json:"site"` // whose access makes the call
	// Holder is as whom it is made there: a role's ARN, or in words what the driver's settings begin with. Account and
	// Partition are where that is; Account is empty where there are none.
	Holder    string `json:"holder"`
	Account   string `json:"account,omitempty"`
	Partition string `json:"partition,omitempty"`
	// Call is the call as policies name it, such as rds:CopyDBSnapshot.
	Call string `json:"call"`
	// On are the resources, with * for any run of characters; only "*" where the call knows no resources.
	On []string `json:"on"`
	// If are conditions that hold whenever the call is made: operator, key, value.
	If map[string]map[string]string `json:"if,omitempty"`
	// Within names the call in whose course the provider itself makes this one, so that the driver never does.
	Within string `json:"within,omitempty"`
	// Looks says that the call changes nothing.
	Looks bool   `json:"looks,omitempty"`
	Why   string `json:"why"` // what it is for, for people
}

// Permitter is implemented by drivers whose provider allows or denies each call by itself.
type Permitter interface {
	// Permissions lists the calls that beginning req, observing it to its end and checking it make, at all sites. With an
	// empty action it lists those that only look: of Describe, of Lister.Points and of Examiner.Examine. It asks nobody, and
	// leaves out nothing that a driver may come to need: a policy of these permissions is enough, and none is without use.
	Permissions(req Request) ([]Permission, error)
}

// Needed are the permissions of a request and of looking at its resource from a site, which is what an examination of it there
// asks about.
func Needed(p Permitter, req Request, site model.SiteID) ([]Permission, error) {
	looks := req
	looks.Action, looks.Site = "", site
	var out []Permission
	for _, one := range []Request{looks, req} {
		more, err := p.Permissions(one)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// Examination asks what an operation needs of one site, for all its resources of one kind together.
type Examination struct {
	App  model.AppID
	Site model.SiteID
	// Work is what the operation does with these resources, at whichever site; in the order of the plan.
	Work      []Request
	Objective model.Objective
	// Shared is what this examination shares with others; nil: nothing.
	Shared *Shared
}

// Examined is what an examination found.
type Examined struct {
	// Findings say why each matters, and the command that mends it; those without a resource are of the site as a whole.
	Findings []model.Finding
	Draws    []Draw
}

// Draw is what work takes of a quota that others may draw on too. Whoever examines an operation adds up those of all its kinds
// and sites: see Short.
type Draw struct {
	Quota string // tells quotas apart: of what, in which region of which account
	What  string // what is counted, and where, for people: "DB instances in eu-west-1"
	Site  model.SiteID
	Need  int
	Used  int
	Most  int
	Raise string // the command that asks for a higher quota, up to the figure
}

// Short are the findings of quotas that have no room for all that draws on them.
func Short(all []Draw) (found []model.Finding) {
	var sums []Draw
	for _, d := range all {
		i := slices.IndexFunc(sums, func(o Draw) bool { return o.Quota == d.Quota })
		if i < 0 {
			sums = append(sums, d)
			continue
		}
		sums[i].Need += d.Need
	}
	for _, d := range sums {
		if d.Need <= 0 || d.Used+d.Need <= d.Most {
			continue
		}
		found = append(found, model.Finding{Severity: model.Block, Code: "quota", Site: d.Site, What: fmt.Sprintf("%d %s are needed, and %d of %d are in use", d.Need, d.What, d.Used, d.Most),
			Why: "what goes over the quota is refused, in the middle of the work", Fix: fmt.Sprintf("%s %d; or remove what is not needed", d.Raise, d.Used+d.Need)})
	}
	return found
}

// Examiner is implemented by drivers whose operations need more than their own resource: an identity with permissions, room
// under quotas, networks, keys, recovery points that are fresh.
type Examiner interface {
	// Examine looks for what x.Work will miss at x.Site, before anything has begun, and changes nothing. What could not be asked
	// is a finding too; an error means that nothing could be (bad settings, or ctx ended). Nothing of it waits for another site.
	Examine(ctx context.Context, x Examination) (Examined, error)
}
