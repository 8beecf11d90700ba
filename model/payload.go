package model

import "fmt"

// Payload is a StatePayload document of AWS's DR Orchestrator Framework, as it was read: its layers follow each other in the
// order of the file, and the actions of a layer run at once. It may be carried out when none of its remarks blocks.
type Payload struct {
	File    string          `json:"file"`
	Layers  []PayloadLayer  `json:"layers"`
	Remarks []PayloadRemark `json:"remarks"`
}

// PayloadLayer is what runs at once.
type PayloadLayer struct {
	Number  string          `json:"number,omitempty"` // as the document has it: it decides nothing
	Actions []PayloadAction `json:"actions"`
}

// PayloadAction is one resource of a layer, and what is done to it.
type PayloadAction struct {
	Path       string             `json:"path"` // StatePayload[0].resources[1]
	Line       int                `json:"line"`
	Name       string             `json:"name"`
	Type       string             `json:"type"`              // one of the framework's six
	Written    string             `json:"written,omitempty"` // the older name of the type that the document has
	Parameters []PayloadParameter `json:"parameters"`
	Original   string             `json:"original"` // what the framework does
	Lifeboat   string             `json:"lifeboat"` // what Lifeboat does
}

// Parameter finds a parameter by its name.
func (a *PayloadAction) Parameter(name string) (PayloadParameter, bool) {
	for _, p := range a.Parameters {
		if p.Name == name {
			return p, true
		}
	}
	return PayloadParameter{}, false
}

// ValueFrom says where the value of a parameter stands.
type ValueFrom string

// Where values stand: in the document, in an export of a CloudFormation stack, in Systems Manager's parameter store. The last
// two are those of the region that the document runs in.
const (
	FromDocument  ValueFrom = ""
	FromExport    ValueFrom = "export"
	FromParameter ValueFrom = "parameter"
)

// PayloadParameter is one parameter of an action.
type PayloadParameter struct {
	Name   string    `json:"name"`
	Path   string    `json:"path"`
	Line   int       `json:"line"`
	Column int       `json:"column"`
	From   ValueFrom `json:"from,omitempty"`
	Text   string    `json:"text"` // the value, or the name of the export or the parameter (with its version, if there is one)
}

// Remark is a remark at the parameter's place.
func (p PayloadParameter) Remark(severity Severity, code, what, why, fix string) PayloadRemark {
	return PayloadRemark{Severity: severity, Code: code, Path: p.Path, Line: p.Line, Column: p.Column, What: what, Why: why, Fix: fix}
}

// PayloadRemark is something that whoever runs a document should know. Block: it cannot be run so.
type PayloadRemark struct {
	Severity Severity `json:"severity"`
	Code     string   `json:"code"`
	Path     string   `json:"path,omitempty"` // StatePayload[0].resources[1].parameters.MultiAZ
	Line     int      `json:"line,omitempty"`
	Column   int      `json:"column,omitempty"`
	What     string   `json:"what"`
	Why      string   `json:"why,omitempty"` // mostly: what the framework makes of it
	Fix      string   `json:"fix,omitempty"`
}

// Finding is the remark among the findings of a plan.
func (r PayloadRemark) Finding() Finding {
	what := r.What
	if r.Path != "" {
		what = fmt.Sprintf("%s (line %d): %s", r.Path, r.Line, what)
	}
	return Finding{Severity: r.Severity, Code: r.Code, What: what, Why: r.Why, Fix: r.Fix}
}

// PayloadPlan is how a StatePayload document is run: the document itself stays as it is.
type PayloadPlan struct {
	File string `json:"file"` // absolute
	// Site is where it runs: where the databases are brought up, or made to follow again. Peer is the other site.
	Site SiteID `json:"site"`
	Peer SiteID `json:"peer"`
	// Isolated is where the last snapshot of an old primary is restored before it is deleted; Fence are security groups that shut
	// everybody out of an old primary of RDS.
	Isolated *PayloadNetwork `json:"isolated,omitempty"`
	Fence    []string        `json:"fence,omitempty"`
}

// PayloadNetwork is a network of AWS that nothing else is reached from.
type PayloadNetwork struct {
	SubnetGroup    string   `json:"subnet_group"`
	SecurityGroups []string `json:"security_groups"`
}

// PayloadWork is one action of a document, ready to be planned: its references are resolved.
type PayloadWork struct {
	Layer    int      `json:"layer"` // from 0
	Resource Resource `json:"resource"`
	// Mode of the move that it is. Empty: it makes the copy at the site follow the one at the peer again.
	Mode Mode `json:"mode,omitempty"`
}
