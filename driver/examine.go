package driver

import (
	"context"

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

// Examination asks what an operation needs of one site, for all its resources of one kind together.
type Examination struct {
	App  model.AppID
	Site model.SiteID
	// Work is what the operation does with these resources, at whichever site; in the order of the plan.
	Work      []Request
	Objective model.Objective
}

// Examiner is implemented by drivers whose operations need more than their own resource: an identity with permissions, room
// under quotas, networks, keys, recovery points that are fresh.
type Examiner interface {
	// Examine looks for what x.Work will miss at x.Site, before anything has begun, and changes nothing. Findings say why it
	// matters, and the command that mends it; those without a resource are of the site as a whole. What could not be asked is a
	// finding too; an error means that nothing could be (bad settings, or ctx ended). Nothing of it waits for another site.
	Examine(ctx context.Context, x Examination) ([]model.Finding, error)
}
