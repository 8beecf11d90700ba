package fake

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Settings are a fake resource's own settings.
type Settings struct {
	// Steps says what happens when an action is begun. An action without a script succeeds at once.
	Steps map[model.Action]Script `json:"steps,omitempty" jsonschema:"description=what happens when an action is begun; an action that is not listed succeeds at once"`
	// Ledger is a folder that holds the fake world, so that a rehearsal goes on over several processes. Empty: the
	// world lives in the memory of the process.
	Ledger string `json:"ledger,omitempty" jsonschema:"description=folder that keeps the fake world between processes; empty: memory"`
	// Password is resolved when an action begins and then forgotten: it rehearses secret references.
	Password secret.Ref `json:"password,omitempty" jsonschema:"description=a secret reference that is resolved at each begin and not used"`
	// Stream gives the resource a record of changes that flows to the sites that do not serve.
	Stream bool `json:"stream,omitempty" jsonschema:"description=it has a record of changes that flows to the sites that do not serve"`
	// Outputs replace the invented values of outputs of these names.
	Outputs map[string]string `json:"outputs,omitempty" jsonschema:"description=values for the outputs that steps leave"`
}

// Site is what a fake resource is at one site before anything happened to it.
type Site struct {
	Role        model.Role              `json:"role,omitempty" jsonschema:"description=the role before any step changed it,enum=primary,enum=standby,enum=stopped,enum=absent,enum=fenced,enum=unreachable,enum=unknown"`
	Healthy     *bool                   `json:"healthy,omitempty" jsonschema:"description=default: true for a primary and a standby"`
	LagBytes    *int64                  `json:"lag_bytes,omitempty" jsonschema:"description=of a standby"`
	LagTime     *model.Duration         `json:"lag_time,omitempty" jsonschema:"description=of a standby; markers younger than this are not in it"`
	Sync        bool                    `json:"sync,omitempty" jsonschema:"description=what the primary acknowledges is already here"`
	Unreachable bool                    `json:"unreachable,omitempty" jsonschema:"description=nothing at this site answers"`
	Outputs     map[string]string       `json:"outputs,omitempty" jsonschema:"description=values for the outputs that steps leave at this site"`
	Steps       map[model.Action]Script `json:"steps,omitempty" jsonschema:"description=scripts that replace the resource's own at this site"`
}

// Script is what happens when one action is begun.
type Script struct {
	Takes        model.Duration    `json:"takes,omitempty" jsonschema:"description=time from begin to done"`
	BeginTakes   model.Duration    `json:"begin_takes,omitempty" jsonschema:"description=time that the begin call itself takes before it lands"`
	Polls        int               `json:"polls,omitempty" jsonschema:"description=at least this many observations are pending"`
	Again        model.Duration    `json:"again,omitempty" jsonschema:"description=asks to be observed again after this; default: when done and at most 1s"`
	Outputs      map[string]string `json:"outputs,omitempty" jsonschema:"description=values for the outputs of this action"`
	Fail         []Fail            `json:"fail,omitempty" jsonschema:"description=attempts that fail and how"`
	Hang         bool              `json:"hang,omitempty" jsonschema:"description=the work never ends unless it is cancelled"`
	UnknownBegin bool              `json:"unknown_begin,omitempty" jsonschema:"description=the effect lands but the first begin of each attempt answers with an indeterminate error"`
	Findings     []Finding         `json:"findings,omitempty" jsonschema:"description=what stands in the way of the action"`
}

// When a Fail strikes.
const (
	AtCheck   = "check"   // Check answers with an error
	AtBegin   = "begin"   // begin answers with an error, and nothing has landed
	AtPoll    = "poll"    // Observe answers with an error; the work goes on
	AtObserve = "observe" // the work ends, after Takes, as Failed
	AtCancel  = "cancel"  // Cancel answers with an error
)

// Fail makes one attempt of an action fail.
type Fail struct {
	Attempt int          `json:"attempt,omitempty" jsonschema:"description=which attempt, from 1; 0: every one"`
	Kind    failure.Kind `json:"kind,omitempty" jsonschema:"type=string,description=the kind of failure"`
	At      string       `json:"at,omitempty" jsonschema:"description=default: begin,enum=check,enum=begin,enum=poll,enum=observe,enum=cancel"`
	Times   int          `json:"times,omitempty" jsonschema:"description=for begin and poll: only the first so many calls of an attempt; 0: all"`
	Message string       `json:"message,omitempty"`
	Hint    string       `json:"hint,omitempty"`
}

// Finding is what Check reports.
type Finding struct {
	Severity model.Severity `json:"severity" jsonschema:"enum=block,enum=warn,enum=note"`
	Code     string         `json:"code,omitempty"`
	What     string         `json:"what"`
	Why      string         `json:"why,omitempty"`
	Fix      string         `json:"fix,omitempty"`
	// Only limits the finding to the plan view ("plan") or to the moment before the begin ("run").
	Only string `json:"only,omitempty" jsonschema:"enum=plan,enum=run"`
}

// outputs declares what each action leaves. They are always all there.
var outputs = map[model.Action]map[string]model.ValueType{
	model.ActionQuiesce:    {"lsn": model.TypeLSN},
	model.ActionPromote:    {"endpoint": model.TypeEndpoint, "url": model.TypeURL},
	model.ActionDrill:      {"endpoint": model.TypeEndpoint, "url": model.TypeURL},
	model.ActionRestore:    {"endpoint": model.TypeEndpoint, "url": model.TypeURL},
	model.ActionReadMarker: {"marker_at": model.TypeTime, "marker_seq": model.TypeNumber},
	model.ActionCapture:    {"point": model.TypeText},
	model.ActionRun:        {"result": model.TypeText},
}

// actions lists what a fake resource can do, which is everything that a driver can.
var actions = []model.Action{
	model.ActionFence, model.ActionQuiesce, model.ActionPromote, model.ActionReverse, model.ActionRedirect,
	model.ActionVerify, model.ActionReadMarker, model.ActionDrill, model.ActionRelease, model.ActionCapture,
	model.ActionRestore, model.ActionProve, model.ActionRun,
}

var roles = []model.Role{"", model.RolePrimary, model.RoleStandby, model.RoleStopped, model.RoleAbsent,
	model.RoleUnreachable, model.RoleFenced, model.RoleUnknown}

// Validate checks what the types do not.
func (s *Settings) Validate() error {
	if err := validOutputs("outputs", s.Outputs, anyOutput()); err != nil {
		return err
	}
	return validScripts(s.Steps)
}

// Validate checks what the types do not.
func (s *Site) Validate() error {
	if !slices.Contains(roles, s.Role) {
		return fmt.Errorf("role: %q is not a role", s.Role)
	}
	if err := validOutputs("outputs", s.Outputs, anyOutput()); err != nil {
		return err
	}
	return validScripts(s.Steps)
}

func validScripts(scripts map[model.Action]Script) error {
	for _, action := range sorted(scripts) {
		if !slices.Contains(actions, action) {
			return fmt.Errorf("steps: %q is not an action of a fake resource", action)
		}
		s, at := scripts[action], "steps."+string(action)
		if s.Polls < 0 {
			return fmt.Errorf("%s.polls: is negative", at)
		}
		if err := validOutputs(at+".outputs", s.Outputs, outputs[action]); err != nil {
			return err
		}
		for i, f := range s.Fail {
			if !slices.Contains([]string{"", AtCheck, AtBegin, AtPoll, AtObserve, AtCancel}, f.At) {
				return fmt.Errorf("%s.fail[%d].at: %q is not one of check, begin, poll, observe, cancel", at, i, f.At)
			}
			if f.Times < 0 || f.Times > 0 && f.at() != AtBegin && f.At != AtPoll {
				return fmt.Errorf("%s.fail[%d].times: counts the calls of begin and poll only", at, i)
			}
		}
		for i, f := range s.Findings {
			if !slices.Contains([]model.Severity{model.Block, model.Warn, model.Note}, f.Severity) {
				return fmt.Errorf("%s.findings[%d].severity: %q is not one of block, warn, note", at, i, f.Severity)
			}
			if !slices.Contains([]string{"", "plan", "run"}, f.Only) {
				return fmt.Errorf("%s.findings[%d].only: %q is neither plan nor run", at, i, f.Only)
			}
		}
	}
	return nil
}

func anyOutput() map[string]model.ValueType {
	all := map[string]model.ValueType{}
	for _, named := range outputs {
		for name, t := range named {
			all[name] = t
		}
	}
	return all
}

func validOutputs(at string, given map[string]string, known map[string]model.ValueType) error {
	for _, name := range sorted(given) {
		t, ok := known[name]
		if !ok {
			return fmt.Errorf("%s: there is no output %q here; known: %s", at, name, strings.Join(sorted(known), ", "))
		}
		if strings.Contains(given[name], "${") {
			continue // not known yet
		}
		if err := validValue(t, given[name]); err != nil {
			return fmt.Errorf("%s.%s: %w", at, name, err)
		}
	}
	return nil
}

func validValue(t model.ValueType, text string) error {
	var err error
	switch t {
	case model.TypeNumber:
		_, err = strconv.ParseFloat(text, 64)
	case model.TypeEndpoint:
		_, _, err = net.SplitHostPort(text)
	case model.TypeURL:
		var u *url.URL
		if u, err = url.Parse(text); err == nil && (u.Scheme == "" || u.Host == "") {
			err = fmt.Errorf("no scheme or host")
		}
	case model.TypeTime:
		_, err = time.Parse(time.RFC3339Nano, text)
	}
	if err != nil {
		return fmt.Errorf("%q is not of type %s", text, t)
	}
	return nil
}

func (f Fail) at() string {
	if f.At == "" {
		return AtBegin
	}
	return f.At
}

// failing finds the Fail that strikes attempt at phase, given how many calls of it there were before.
func (s Script) failing(phase string, attempt, before int) *failure.Error {
	for _, f := range s.Fail {
		if f.at() == phase && (f.Attempt == 0 || f.Attempt == attempt) && (f.Times == 0 || before < f.Times) {
			message := f.Message
			if message == "" {
				message = fmt.Sprintf("the script says so (%s, attempt %d)", phase, attempt)
			}
			return &failure.Error{Kind: f.Kind, Message: message, Hint: f.Hint}
		}
	}
	return nil
}

func sorted[K ~string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
