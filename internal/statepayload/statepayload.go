// Package statepayload reads the documents of AWS's DR Orchestrator Framework: a StatePayload says, layer by layer, which
// databases are failed over or failed back, and with which parameters.
//
// It reads what the framework's state machines read, and says what they silently do wrong with it: each remark has its place in
// the document, what the framework makes of it, and what to do. It asks AWS nothing: references to exports and parameters stay
// references here; drivers/aws/orchestrator resolves them, and says which resources the actions are of.
//
// Start with [Read].
package statepayload

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/model"
)

// MaxSize is how long a document may be, in bytes: Step Functions takes no larger input (AWS Step Functions Developer Guide,
// "Quotas related to state machine executions").
const MaxSize = 256 << 10

func sprint(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// Read reads a document. File is its name for people. What is wrong with it is in the remarks: those that block mean that it
// cannot be run so.
func Read(file string, content []byte) *model.Payload {
	r := &reader{doc: &model.Payload{File: file, Layers: []model.PayloadLayer{}, Remarks: []model.PayloadRemark{}}}
	if len(content) > MaxSize {
		r.add(nil, "", model.Block, "payload-size", "Step Functions takes no larger input", "is this the right file? else split it",
			"the document has %d bytes, and may have %d", len(content), MaxSize)
		return r.doc
	}
	root, twice, err := readTree(content)
	var wrong *mistake
	if errors.As(err, &wrong) {
		r.add(&node{line: wrong.line, column: wrong.column}, "", model.Block, wrong.code, "", "mend the JSON there", "%s", wrong.what)
		return r.doc
	}
	for _, f := range twice {
		r.add(&node{line: f.line, column: f.column}, "", model.Block, "payload-twice", "the framework takes the last one and says nothing", "remove one of them", "%q stands twice in one object", f.key)
	}
	r.document(root)
	slices.SortStableFunc(r.doc.Remarks, func(a, b model.PayloadRemark) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return r.doc
}

// Blocked reports whether a remark says that a document cannot be run.
func Blocked(remarks []model.PayloadRemark) bool {
	return slices.ContainsFunc(remarks, func(r model.PayloadRemark) bool { return r.Severity == model.Block })
}

type reader struct {
	doc *model.Payload
}

func (r *reader) add(at *node, path string, s model.Severity, code, why, fix, format string, args ...any) {
	m := model.PayloadRemark{Severity: s, Code: code, Path: path, What: sprint(format, args...), Why: why, Fix: fix}
	if at != nil {
		m.Line, m.Column = at.line, at.column
	}
	r.doc.Remarks = append(r.doc.Remarks, m)
}

// is reports whether a value has a form, and remarks on it if not.
func (r *reader) is(n *node, want form, path string) bool {
	if n.form == want {
		return true
	}
	r.add(n, path, model.Block, "payload-form", "", "", "%s is %s, and should be %s", path, n.form, want)
	return false
}

// strangers remarks on fields that nobody reads.
func (r *reader) strangers(n *node, path string, known ...string) {
	for _, f := range n.fields {
		if slices.Contains(known, f.key) {
			continue
		}
		fix := "remove it"
		if like := Nearest(f.key, known); like != "" {
			fix = sprint("did you mean %q?", like)
		}
		r.add(&node{line: f.line, column: f.column}, join(path, f.key), model.Warn, "payload-field", "the framework reads it neither", fix, "%q is no field of a document, and nobody reads it", f.key)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (r *reader) document(root *node) {
	if root.form != object {
		r.add(root, "", model.Block, "payload-form", "", "write {\"StatePayload\": [ ... ]}", "the document is %s, and should be an object", root.form)
		return
	}
	r.strangers(root, "", "StatePayload")
	layers := root.get("StatePayload")
	if layers == nil {
		r.add(root, "", model.Block, "payload-missing", "", "write {\"StatePayload\": [ ... ]}", "the document has no StatePayload")
		return
	}
	if !r.is(layers, array, "StatePayload") {
		return
	}
	if len(layers.items) == 0 {
		r.add(layers, "StatePayload", model.Block, "payload-empty", "the framework does nothing, and succeeds", "add a layer", "the document has no layers")
	}
	last := 0
	for i, n := range layers.items {
		last = r.layer(n, i, last)
	}
	r.machines()
	r.again()
}

// layer reads one, and gives its number, or the last one before it.
func (r *reader) layer(n *node, i, last int) int {
	path := sprint("StatePayload[%d]", i)
	layer := model.PayloadLayer{Actions: []model.PayloadAction{}}
	defer func() { r.doc.Layers = append(r.doc.Layers, layer) }()
	if !r.is(n, object, path) {
		return last
	}
	r.strangers(n, path, "layer", "resources")
	if at := n.get("layer"); at != nil {
		layer.Number = at.text
		n, err := strconv.Atoi(at.text)
		switch {
		case at.form != text && at.form != number, err != nil:
			r.add(at, path+".layer", model.Warn, "payload-layer", "the framework never reads it", "write a number", "the layer's number is none; this layer is the %s that runs", ordinal(i))
		case n <= last:
			r.add(at, path+".layer", model.Warn, "payload-layer", "the framework never reads the numbers: layers run in the order of the file",
				"put the layers into the order in which they are to run", "this is layer %d, after layer %d; it is the %s that runs", n, last, ordinal(i))
			last = n
		default:
			last = n
		}
	}
	resources := n.get("resources")
	if resources == nil {
		r.add(n, path, model.Block, "payload-missing", "the framework fails there, after earlier layers have run", "add \"resources\": [ ... ]", "%s has no resources", path)
		return last
	}
	if !r.is(resources, array, path+".resources") {
		return last
	}
	if len(resources.items) == 0 {
		r.add(resources, path+".resources", model.Warn, "payload-empty", "the framework does nothing here", "remove the layer", "the layer has no resources, and does nothing")
	}
	for j, item := range resources.items {
		if a, ok := r.action(item, sprint("%s.resources[%d]", path, j)); ok {
			layer.Actions = append(layer.Actions, a)
		}
	}
	return last
}

func ordinal(i int) string {
	words := []string{"first", "second", "third", "fourth", "fifth", "sixth"}
	if i < len(words) {
		return words[i]
	}
	return sprint("%dth", i+1)
}

// action reads a resource of a layer.
func (r *reader) action(n *node, path string) (model.PayloadAction, bool) {
	a := model.PayloadAction{Path: path, Line: n.line, Parameters: []model.PayloadParameter{}}
	if !r.is(n, object, path) {
		return a, false
	}
	r.strangers(n, path, "resourceType", "resourceName", "parameters")
	switch name := n.get("resourceName"); {
	case name == nil:
		r.add(n, path, model.Warn, "payload-name", "the framework fails when the action is over, and waits for ever", "add a resourceName", "it has no resourceName; Lifeboat does without")
	case name.form != text || name.text == "":
		r.add(name, path+".resourceName", model.Warn, "payload-name", "", "write a text for people", "the resourceName says nothing")
	default:
		a.Name = name.text
		if strings.HasPrefix(name.text, "!Import") || strings.HasPrefix(name.text, "resolve:ssm:") {
			r.add(name, path+".resourceName", model.Note, "payload-name", "the framework does not resolve it either", "write a text for people", "the resourceName is taken as it is")
		}
	}
	k := r.kind(n, path, &a)
	parameters := n.get("parameters")
	if parameters == nil {
		r.add(n, path, model.Block, "payload-missing", "the framework fails, and waits for ever", "add \"parameters\": { ... }", "it has no parameters")
		return a, false
	}
	if !r.is(parameters, object, path+".parameters") || k == nil {
		return a, false
	}
	for _, f := range parameters.fields {
		if p, ok := r.parameter(k, &a, f, path+".parameters."+f.key); ok {
			a.Parameters = append(a.Parameters, p)
		}
	}
	r.incomplete(k, &a, parameters)
	return a, true
}

// kind finds the action's type.
func (r *reader) kind(n *node, path string, a *model.PayloadAction) *kind {
	at := n.get("resourceType")
	if at == nil {
		r.add(n, path, model.Block, "payload-missing", "the framework fails there", "add a resourceType: "+strings.Join(typeNames(), ", "), "it has no resourceType")
		return nil
	}
	if !r.is(at, text, path+".resourceType") {
		return nil
	}
	k := kindOf(at.text)
	if k == nil {
		fix := "the types are " + strings.Join(typeNames(), ", ")
		if like := Nearest(at.text, Types()); like != "" {
			fix = sprint("did you mean %q?", like)
		}
		r.add(at, path+".resourceType", model.Block, "payload-type", "the framework does nothing for it, and succeeds", fix, "there is no type %q", at.text)
		return nil
	}
	a.Type, a.Original, a.Lifeboat = k.name, k.original, k.lifeboat
	if at.text != k.name {
		a.Written = at.text
		r.add(at, path+".resourceType", model.Note, "payload-older", "the framework's present version does nothing for it, and succeeds", "", "%s is the name that %s had in the framework's first version", at.text, k.name)
	}
	return k
}

func typeNames() []string {
	var out []string
	for _, k := range kinds {
		out = append(out, k.name)
	}
	return out
}

// incomplete remarks on parameters that are not there, and on those that nothing comes of.
func (r *reader) incomplete(k *kind, a *model.PayloadAction, parameters *node) {
	var none, missed []string
	for _, p := range k.parameters {
		n := parameters.get(p.name)
		switch {
		case n == nil && p.use == needed:
			r.add(parameters, a.Path+".parameters", model.Block, "payload-missing", "the framework fails, and waits for ever", "add it: the type's parameters are "+strings.Join(namesOf(k), ", "), "the parameter %s is missing", p.name)
		case n == nil && p.wanted:
			missed = append(missed, p.name)
		case n != nil && p.use == unset:
			none = append(none, p.name)
		}
	}
	if len(missed) > 0 {
		r.add(parameters, a.Path+".parameters", model.Note, "payload-incomplete", "the framework fails without them", "", "it does without %s", strings.Join(missed, ", "))
	}
	if len(none) > 0 {
		r.add(parameters, a.Path+".parameters", model.Warn, "payload-unset", "what is made again has what AWS gives it there", "set it afterwards if you need it: aws rds modify-db-instance", "Lifeboat sets no %s on what it makes", strings.Join(none, ", "))
	}
}

func namesOf(k *kind) []string {
	var out []string
	for _, p := range k.parameters {
		if p.use != unread {
			out = append(out, p.name)
		}
	}
	return out
}

// machines remarks on a document for both of the framework's machines.
func (r *reader) machines() {
	var over, back *model.PayloadAction
	for i := range r.doc.Layers {
		for j := range r.doc.Layers[i].Actions {
			a := &r.doc.Layers[i].Actions[j]
			if kindOf(a.Type).back {
				back = a
			} else {
				over = a
			}
		}
	}
	if over == nil || back == nil {
		return
	}
	r.add(&node{line: back.Line, column: 1}, back.Path, model.Block, "payload-machines", "each of the framework's two machines does nothing for the other's types, and succeeds",
		"split the document: one file for the failover, one for the failback", "%s is for the FAILBACK machine, and %s in line %d for the FAILOVER machine", back.Type, over.Type, over.Line)
}

// again remarks on a database that stands in the document twice.
func (r *reader) again() {
	seen := map[string]model.PayloadAction{}
	for _, layer := range r.doc.Layers {
		for _, a := range layer.Actions {
			key := a.Type
			for _, name := range []string{"GlobalClusterIdentifier", "DBClusterIdentifier", "RDSInstanceIdentifier", "GlobalReplicationGroupId"} {
				if p, ok := a.Parameter(name); ok {
					key += "\x00" + string(p.From) + p.Text
				}
			}
			if first, ok := seen[key]; ok && key != a.Type {
				r.add(&node{line: a.Line, column: 1}, a.Path, model.Block, "payload-again", "the framework does it twice, at once or one after the other, and the second time fails and waits for ever",
					"remove one of them", "the same is done to the same database in line %d", first.Line)
				continue
			}
			seen[key] = a
		}
	}
}

var words = regexp.MustCompile(`[^a-z0-9]+`)

// Nearest finds the name that was probably meant, or "".
func Nearest(name string, all []string) string {
	bare := func(s string) string { return words.ReplaceAllString(strings.ToLower(s), "") }
	best, distance := "", 4
	for _, candidate := range slices.Sorted(slices.Values(all)) {
		if d := edits(bare(name), bare(candidate)); d < distance && d < len(candidate)/2 {
			best, distance = candidate, d
		}
	}
	return best
}

// edits is how many letters have to be put in, taken out or changed to make b of a, up to 64 letters of each.
func edits(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
