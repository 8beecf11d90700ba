// Package model holds Lifeboat's nouns: site, app, resource, objective, check, plan, step, value.
//
// It is a leaf: it imports the standard library only, does nothing, and can be written down as JSON without loss, since
// plans are frozen into the journal and read back by another process, perhaps by a later version. What a driver's
// settings mean is the driver's business: here they are raw JSON.
package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Identifiers are distinct types so that one cannot stand for another.
type (
	// SiteID names a failure domain: an AWS account and region, a cluster, a group of hosts.
	SiteID string
	// AppID names what the business wants back.
	AppID string
	// ResourceID names one resource inside its app.
	ResourceID string
	// RunID names one durable execution of a plan. Run ids sort by their start.
	RunID string
	// StepID names a step inside its plan; a step of a sub-plan carries the caller's id and a slash before its own.
	StepID string
	// Kind names what a driver handles, such as "postgres" or "dns.record".
	Kind string
)

// Operation is what is done to an app as a whole.
type Operation string

// The operations. OpCustom runs a plan that the user wrote.
const (
	OpProtect  Operation = "protect"
	OpDrill    Operation = "drill"
	OpFailover Operation = "failover"
	OpFailback Operation = "failback"
	OpRelease  Operation = "release"
	OpProve    Operation = "prove"   // of recovery points: each is restored apart, and checked
	OpRestore  Operation = "restore" // of one resource, to a state and a place that a person names
	OpCustom   Operation = "custom"
)

// Mode says whether the home site still cooperates.
type Mode string

// Planned moves lose nothing and need both sites; unplanned ones start from the loss of a site.
const (
	Planned   Mode = "planned"
	Unplanned Mode = "unplanned"
)

// Duration is a time.Duration that is written as text, such as "1m30s".
type Duration time.Duration

// Std gives the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes it as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes "1m30s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads; a negative duration is an error.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 500ms, 30s or 1h30m", text)
	}
	if v < 0 {
		return fmt.Errorf("%q is negative", text)
	}
	*d = Duration(v)
	return nil
}

// Config is the whole of what a user declared, checked: every reference in it resolves.
type Config struct {
	Path    string        `json:"path"`  // the file it was read from, absolute
	State   string        `json:"state"` // the state folder, absolute
	Journal JournalConfig `json:"journal"`
	Limits  Limits        `json:"limits"`
	Sites   []Site        `json:"sites"`
	Vaults  []Vault       `json:"vaults,omitempty"` // each with its replicas
	Apps    []App         `json:"apps"`
	Plans   []CustomPlan  `json:"plans,omitempty"`
}

// App finds an app by its id.
func (c *Config) App(id AppID) (App, bool) {
	for _, a := range c.Apps {
		if a.ID == id {
			return a, true
		}
	}
	return App{}, false
}

// Vault finds a vault by its name.
func (c *Config) Vault(name string) (Vault, bool) {
	for _, v := range c.Vaults {
		if v.Name == name {
			return v, true
		}
	}
	return Vault{}, false
}

// Plan finds a user's plan by its name.
func (c *Config) Plan(name string) (CustomPlan, bool) {
	for _, p := range c.Plans {
		if p.Name == name {
			return p, true
		}
	}
	return CustomPlan{}, false
}

// JournalConfig says where runs are recorded: in the state folder when Endpoints is empty, else in that etcd.
type JournalConfig struct {
	Endpoints []string `json:"endpoints,omitempty"`
	Prefix    string   `json:"prefix,omitempty"` // key prefix in a shared etcd
	CA        string   `json:"ca,omitempty"`     // files, for TLS to an outside etcd
	Cert      string   `json:"cert,omitempty"`
	Key       string   `json:"key,omitempty"`
	Username  string   `json:"username,omitempty"`
	Password  string   `json:"password,omitempty"` // a secret reference
}

// Limits bound how many steps run at once. Zero means no bound.
type Limits struct {
	Steps int            `json:"steps,omitempty"` // in one run
	Sites map[SiteID]int `json:"sites,omitempty"`
	Kinds map[Kind]int   `json:"kinds,omitempty"`
}

// Site is a failure domain.
type Site struct {
	ID          SiteID `json:"id"`
	Description string `json:"description,omitempty"`
	// AWS is where it is in AWS, in the words of awsbase.Access, if it is there; checked when the configuration was read.
	AWS json.RawMessage `json:"aws,omitempty"`
}

// Objective is what the business accepts to lose: RTO in time without service, RPO in time of lost writes.
// A nil pointer means that no objective was set, which is not the same as zero.
type Objective struct {
	RTO *Duration `json:"rto,omitempty"`
	RPO *Duration `json:"rpo,omitempty"`
}

// App is what the business wants back.
type App struct {
	ID        AppID             `json:"id"`
	Home      SiteID            `json:"home"`
	Recovery  []SiteID          `json:"recovery"`
	Objective Objective         `json:"objective"`
	Protect   Protection        `json:"protect"`
	Probe     *Check            `json:"probe,omitempty"` // what a client of the app asks; measures the RTO
	Approvals map[Operation]int `json:"approvals,omitempty"`
	Resources []Resource        `json:"resources"` // each after what it needs
	Checks    []Check           `json:"checks,omitempty"`
}

// Resource finds a resource of the app.
func (a *App) Resource(id ResourceID) (Resource, bool) {
	for _, r := range a.Resources {
		if r.ID == id {
			return r, true
		}
	}
	return Resource{}, false
}

// Protection is how an app is kept recoverable between operations.
type Protection struct {
	Marker Duration `json:"marker,omitempty"` // interval between markers; zero: only on `lifeboat protect`
	Probe  Duration `json:"probe,omitempty"`  // interval between probes
}

// Resource is one thing of one kind. Settings and Sites hold the driver's own settings as JSON, already checked
// against the driver's types when the configuration was read.
type Resource struct {
	ID       ResourceID                 `json:"id"`
	App      AppID                      `json:"app"`
	Kind     Kind                       `json:"kind"`
	Settings json.RawMessage            `json:"settings,omitempty"`
	Sites    map[SiteID]json.RawMessage `json:"sites,omitempty"`
	Needs    []ResourceID               `json:"needs,omitempty"`
	Checks   []Check                    `json:"checks,omitempty"`
	Hooks    []Hook                     `json:"hooks,omitempty"`
	Timeout  Duration                   `json:"timeout,omitempty"` // for each of its steps; zero: the driver's
	// Vault is where its recovery points are kept, if its kind keeps any there.
	Vault *Vault `json:"vault,omitempty"`
	// Points says when recovery points are made and which stay; nil: only when asked, and all stay.
	Points *PointPolicy `json:"points,omitempty"`
}

// SiteIDs are the sites that the resource has settings at, in order.
func (r Resource) SiteIDs() []SiteID { return slices.Sorted(maps.Keys(r.Sites)) }

// PointPolicy says when recovery points of a resource are made, and which stay.
type PointPolicy struct {
	// Schedule is a cron expression of five fields in UTC, or @hourly, @daily, @every 15m; empty: only when asked.
	Schedule string `json:"schedule,omitempty"`
	// Keep is which points stay; nil: all.
	Keep *Retention `json:"keep,omitempty"`
	// Prove is which are proved by a real restore, and when; nil: only when asked.
	Prove *ProvePolicy `json:"prove,omitempty"`
}

// Check is a question asked of a recovered app. It is asked again until it passes or Within has gone by.
type Check struct {
	Name     string          `json:"name"`
	Kind     Kind            `json:"kind"` // http, tcp, sql, exec
	Settings json.RawMessage `json:"settings,omitempty"`
	Within   Duration        `json:"within,omitempty"`
	On       []Operation     `json:"on,omitempty"` // empty: all operations
}

// Hook is a step of the user's own, before or after an action of a resource.
type Hook struct {
	Before Action      `json:"before,omitempty"` // exactly one of Before and After is set
	After  Action      `json:"after,omitempty"`
	On     []Operation `json:"on,omitempty"`
	Step   CustomStep  `json:"step"`
}

// CustomPlan is a plan that the user wrote: Steps, or a StatePayload document.
type CustomPlan struct {
	Name    string       `json:"name"`
	Steps   []CustomStep `json:"steps,omitempty"`
	Payload *PayloadPlan `json:"payload,omitempty"`
}

// CustomStep is a step of the user's own: exactly one of Kind (a driver that can run it), Approve, Plan (another of
// the user's plans) and Operation (of App) is set.
type CustomStep struct {
	Name      string          `json:"name"`
	Needs     []string        `json:"needs,omitempty"`
	Kind      Kind            `json:"kind,omitempty"`
	Settings  json.RawMessage `json:"settings,omitempty"`
	Approve   int             `json:"approve,omitempty"` // this many different people
	Plan      string          `json:"plan,omitempty"`
	Operation Operation       `json:"operation,omitempty"`
	App       AppID           `json:"app,omitempty"`
	To        SiteID          `json:"to,omitempty"`
	Mode      Mode            `json:"mode,omitempty"`
	Timeout   Duration        `json:"timeout,omitempty"`
}
