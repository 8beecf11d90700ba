package statepayload

import (
	"strings"

	"github.com/lifeboat-dr/lifeboat/model"
)

// parameter reads one parameter of an action; false when nothing is to be made of it.
func (r *reader) parameter(k *kind, a *model.PayloadAction, f field, path string) (model.PayloadParameter, bool) {
	p := model.PayloadParameter{Name: f.key, Path: path, Line: f.value.line, Column: f.value.column}
	is, known := k.parameter(f.key)
	switch {
	case !known:
		fix := "remove it"
		if like := Nearest(f.key, namesOf(k)); like != "" {
			fix = sprint("did you mean %q?", like)
		}
		r.add(&node{line: f.line, column: f.column}, path, model.Warn, "payload-parameter", "the framework reads it neither", fix, "%s has no parameter %q, and nothing comes of it", k.name, f.key)
		return p, false
	case is.use == unread:
		r.add(&node{line: f.line, column: f.column}, path, model.Note, "payload-unread", "the framework reads it neither", "", "nothing comes of %s", f.key)
	case is.name == "DeletionProtection" && k.name == CreateRDSReadReplica, is.name == "BackupRetentionPeriod" && k.name == CreateRDSReadReplica:
		r.add(&node{line: f.line, column: f.column}, path, model.Note, "payload-kept", "the framework takes it and does not set it", "", "%s is set on the replica", f.key)
	case is.use == copied:
		r.add(&node{line: f.line, column: f.column}, path, model.Note, "payload-copied", "", "", "%s is that of the database that serves", f.key)
	}
	switch f.value.form {
	case text:
		p.Text = f.value.text
	case boolean, number:
		p.Text = f.value.text
		r.add(f.value, path, model.Note, "payload-string", "the framework fails on it: it takes strings only", "", "%s is %s, and taken for %q", f.key, f.value.form, p.Text)
	case array:
		if !r.list(&p, is, f, path) {
			return p, false
		}
	default:
		r.add(f.value, path, model.Block, "payload-form", "the framework fails on it: it takes strings only", "write a string", "%s is %s", f.key, f.value.form)
		return p, false
	}
	if is.use == unread {
		return p, true
	}
	return p, r.reference(a, &p, f.value)
}

// list takes an array of strings for one value with commas.
func (r *reader) list(p *model.PayloadParameter, is parameter, f field, path string) bool {
	var all []string
	for _, item := range f.value.items {
		if item.form != text || strings.ContainsAny(item.text, ",!") || strings.HasPrefix(item.text, "resolve:") {
			r.add(item, path, model.Block, "payload-form", "the framework fails on it: it takes strings only", "write one string with commas, or one reference", "an item of %s is not a plain string", f.key)
			return false
		}
		all = append(all, item.text)
	}
	if is.shape != several || len(all) == 0 {
		r.add(f.value, path, model.Block, "payload-form", "the framework fails on it: it takes strings only", "write a string", "%s is an array", f.key)
		return false
	}
	p.Text = strings.Join(all, ",")
	r.add(f.value, path, model.Note, "payload-string", "the framework fails on it: it takes strings only", "", "%s is an array, and taken for %q", f.key, p.Text)
	return true
}

// reference finds out where a value stands. What stands in the document is checked.
func (r *reader) reference(a *model.PayloadAction, p *model.PayloadParameter, at *node) bool {
	block := func(why, fix, format string, args ...any) bool {
		r.add(at, p.Path, model.Block, "payload-reference", why, fix, format, args...)
		return false
	}
	value := p.Text
	switch {
	case strings.HasPrefix(value, "!Import"):
		return r.imported(p, at)
	case strings.HasPrefix(value, "resolve:ssm:"):
		name := strings.TrimPrefix(value, "resolve:ssm:")
		if !parameterName.MatchString(name) {
			return block("", "write resolve:ssm:NAME or resolve:ssm:NAME:VERSION", "%q names no parameter of Systems Manager", value)
		}
		p.From, p.Text = model.FromParameter, name
		r.add(at, p.Path, model.Note, "payload-ssm", "the framework's role may not read parameters, so there it always fails", "", "%s is read from Systems Manager", p.Name)
		return true
	case strings.HasPrefix(value, "resolve:"), strings.Contains(value, "{{resolve:"):
		return block("the framework sends it to AWS as it is", "write resolve:ssm:NAME; secrets have no place in a document", "%q is no reference that a document can have", value)
	case strings.HasPrefix(strings.TrimSpace(value), "!"), strings.Contains(value, "${"), strings.Contains(value, "Fn::"):
		return block("the framework sends it to AWS as it is", "write !Import NAME", "%q looks like a reference and is none", value)
	}
	for _, m := range CheckValue(*a, *p, value) {
		r.doc.Remarks = append(r.doc.Remarks, m)
		if m.Severity == model.Block {
			return false
		}
	}
	return true
}

// imported reads a reference to an export. The framework takes what stands between the first two spaces, whatever the word
// before it is.
func (r *reader) imported(p *model.PayloadParameter, at *node) bool {
	word, rest, _ := strings.Cut(p.Text, " ")
	names := strings.Fields(rest)
	if len(names) == 0 {
		r.add(at, p.Path, model.Block, "payload-reference", "the framework fails on it, and waits for ever", "write !Import NAME", "%q names no export", p.Text)
		return false
	}
	if !exportName.MatchString(names[0]) {
		r.add(at, p.Path, model.Block, "payload-reference", "the framework finds none, and sends null to AWS", "write !Import NAME, with the name of an export", "%q cannot be the name of an export", names[0])
		return false
	}
	switch {
	case strings.HasPrefix(rest, " ") || strings.HasPrefix(rest, "\t"):
		r.add(at, p.Path, model.Warn, "payload-reference", "the framework looks for an export without a name, and sends null to AWS", "write one space", "%q is taken for !Import %s", p.Text, names[0])
	case len(names) > 1:
		r.add(at, p.Path, model.Block, "payload-reference", "the framework takes the first word and ignores the others", "write one name", "%q names more than one export", p.Text)
		return false
	case word != "!Import" && word != "!ImportValue":
		r.add(at, p.Path, model.Warn, "payload-reference", "the framework takes every word that begins with !Import", "write !Import "+names[0], "%q is taken for !Import %s", p.Text, names[0])
	}
	p.From, p.Text = model.FromExport, names[0]
	return true
}
