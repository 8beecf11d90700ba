package api

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/model"
)

// DoctorRequest asks whether an app's operations would find what they need.
type DoctorRequest struct {
	App       model.AppID     `json:"app"`
	Site      model.SiteID    `json:"site,omitempty"`      // empty: all of the app's
	Operation model.Operation `json:"operation,omitempty"` // empty: all that the app can do
}

// DoctorWatch is told what is asked. It is called by one goroutine at a time, never after the call has returned, and must be quick.
// Nil: nobody watches.
type DoctorWatch func(DoctorAsking)

// DoctorAsking is a question that is put to a site, or that is over: answered, or given up.
type DoctorAsking struct {
	Site model.SiteID // empty: to all of the app's
	What string       // what it is about, for people
	Over bool
}

// DoctorReply is what was found, with the operations that were tried.
type DoctorReply struct {
	App        model.AppID       `json:"app"`
	At         time.Time         `json:"at"`
	Serving    model.SiteID      `json:"serving,omitempty"`
	Operations []DoctorOperation `json:"operations"`
	Findings   []Diagnosis       `json:"findings"` // worst first
	Blocked    bool              `json:"blocked"`  // one of the findings blocks an operation
}

// DoctorOperation is one operation that was tried on paper.
type DoctorOperation struct {
	Operation model.Operation `json:"operation"`
	Mode      model.Mode      `json:"mode,omitempty"`
	From      model.SiteID    `json:"from,omitempty"`
	To        model.SiteID    `json:"to,omitempty"`
	Steps     int             `json:"steps"`
	// Later says that it cannot be done as things stand, such as a failback of what is at home: what it needs was examined, and
	// its steps were not checked.
	Later  bool   `json:"later,omitempty"`
	Blocks int    `json:"blocks"`           // findings that block it
	Warns  int    `json:"warns"`            // findings that people should know
	Cannot string `json:"cannot,omitempty"` // why there is no plan of it at all
}

// Diagnosis is a finding with the operations that it is about.
type Diagnosis struct {
	model.Finding
	Operations []string `json:"operations,omitempty"` // such as "failover unplanned"; empty: the app as it is
}

// PolicyRequest asks for the permissions that an app's operations need, or with Custom for those of a user's own plan. The StatePayload
// documents of a plan are resolved for that, which asks their sites.
type PolicyRequest struct {
	App    model.AppID  `json:"app,omitempty"`
	Site   model.SiteID `json:"site,omitempty"` // empty: all of the app's, or of the plan's
	Custom string       `json:"custom,omitempty"`
	// Payload is a StatePayload document that is the plan Custom, in place of one of lifeboat.yaml.
	Payload *PayloadAsk `json:"payload,omitempty"`
	// Import asks for what resolving the plan's documents needs, and nothing else. Nobody is asked then.
	Import bool `json:"import,omitempty"`
}

// PolicyReply are the policies of an app or a plan, one for each identity that works for it.
type PolicyReply struct {
	App    model.AppID `json:"app,omitempty"`
	Custom string      `json:"custom,omitempty"`
	Grants []Grant     `json:"grants"`
}

// Grant is what one identity is to be allowed. Documents are split where AWS takes no longer ones.
type Grant struct {
	Holder    string           `json:"holder"` // a role's ARN, or in words what the site's access begins with
	Account   string           `json:"account,omitempty"`
	Partition string           `json:"partition,omitempty"`
	Sites     []model.SiteID   `json:"sites"`
	Operate   []PolicyDocument `json:"operate"` // all operations
	Look      []PolicyDocument `json:"look"`    // status, plan and doctor alone
}

// PolicyDocument is a policy of AWS IAM.
type PolicyDocument struct {
	Version   string            `json:"Version"`
	Statement []PolicyStatement `json:"Statement"`
}

// PolicyStatement is one of its statements.
type PolicyStatement struct {
	Sid       string                       `json:"Sid"`
	Effect    string                       `json:"Effect"`
	Action    []string                     `json:"Action"`
	Resource  []string                     `json:"Resource"`
	Condition map[string]map[string]string `json:"Condition,omitempty"`
}
