package config

import (
	"encoding/json"
	"path"
	"reflect"
	"regexp"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Schema describes lifeboat.yaml to editors, as JSON Schema (draft 2020-12), with the settings of every kind in reg. A
// file that Load accepts is valid under it. The other way round it is weaker: a schema cannot follow references, see a
// circle of needs or read a date, and the rules of a driver's Validator are not in it.
func Schema(reg *driver.Registry) ([]byte, error) {
	s := schemaBuilder{reg: reg, defs: jsonschema.Definitions{}}
	root := s.reflect(reflect.TypeFor[document]())
	root.Version = jsonschema.Version
	root.Title = Name
	root.Description = "The configuration of Lifeboat: sites, apps, resources, plans."
	s.document()
	s.app()
	s.work("hookStep")
	s.work("step")
	root.Definitions = s.defs
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "write", "schema")
	}
	return append(out, '\n'), nil
}

type schemaBuilder struct {
	reg  *driver.Registry
	defs jsonschema.Definitions
}

// reflect describes a type and adds the definitions that it needs.
func (s *schemaBuilder) reflect(t reflect.Type) *jsonschema.Schema {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	r := jsonschema.Reflector{Anonymous: true, RequiredFromJSONSchemaTags: true, Mapper: mapType, Namer: defName}
	schema := r.ReflectFromType(t)
	for name, def := range schema.Definitions {
		s.defs[name] = def
	}
	schema.Definitions, schema.Version = nil, ""
	return schema
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// defName names a type's definition: ours as they are, a driver's with its package.
func defName(t reflect.Type) string {
	if t.PkgPath() == reflect.TypeFor[document]().PkgPath() {
		return strings.TrimSuffix(t.Name(), "Doc")
	}
	if t.Name() == "" {
		return ""
	}
	return notInName.ReplaceAllString(path.Base(path.Dir(t.PkgPath()))+"."+path.Base(t.PkgPath())+"."+t.Name(), "_")
}

const (
	durationPattern = `^\+?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`
	secretPattern   = `^((env|file|exec):[\s\S]+)?$`
)

// mapType describes the types that are written otherwise than they are built.
func mapType(t reflect.Type) *jsonschema.Schema {
	switch {
	case t == nodeType.Elem():
		return &jsonschema.Schema{Type: "object"}
	case t == reflect.TypeFor[model.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: durationPattern, Examples: []any{"500ms", "30s", "1h30m"}}
	case t == secretType:
		return &jsonschema.Schema{Type: "string", Pattern: secretPattern,
			Examples: []any{"env:NAME", "file:/path/to/file", "exec:command"}}
	case reflect.PointerTo(t).Implements(jsonType):
		return nil // by a method of its own, or as anything
	case reflect.PointerTo(t).Implements(textType):
		return &jsonschema.Schema{Type: "string"}
	}
	return nil
}

func texts(words ...string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}

// property gives a property of one of our own definitions. Asking for one that is not there is a defect.
func (s *schemaBuilder) property(def, name string) *jsonschema.Schema {
	p, ok := s.defs[def].Properties.Get(name)
	if !ok {
		panic("config: the schema of " + def + " has no " + name)
	}
	return p
}

// names holds the keys of a mapping of named things to the form of names, and asks for at least one.
func (s *schemaBuilder) names(def, name string, atLeast uint64) {
	p := s.property(def, name)
	p.PropertyNames = &jsonschema.Schema{Pattern: identifier.String()}
	if atLeast > 0 {
		p.MinProperties = &atLeast
	}
}

// document adds what types do not say about the file as a whole.
func (s *schemaBuilder) document() {
	s.names("document", "sites", 1)
	s.names("document", "apps", 1)
	s.names("document", "plans", 0)
	s.names("document", "vaults", 0)
	if proto := (&checker{reg: s.reg}).shared("aws"); proto != nil {
		field := s.property("site", "aws")
		ref := s.reflect(reflect.TypeOf(proto))
		ref.Description = field.Description
		s.defs["site"].Properties.Set("aws", ref)
	} else {
		s.property("site", "aws").Not = &jsonschema.Schema{}
	}
	s.defs["vault"].DependentRequired = map[string][]string{
		"cert": {"key"}, "key": {"cert"}, "user": {"user_password"}, "user_password": {"user"}}
	s.property("vault", "replicas").UniqueItems = true
	s.defs["s3"].DependentRequired = map[string][]string{"access_key": {"secret_key"}, "secret_key": {"access_key"},
		"session_token": {"access_key"}, "external_id": {"role"}}
	for _, key := range []string{"sites", "kinds"} {
		s.property("limits", key).AdditionalProperties.Minimum = "1"
	}
	s.property("limits", "kinds").PropertyNames = &jsonschema.Schema{Enum: texts(kindsOf(s.reg, nil)...)}
	s.defs["journal"].DependentRequired = map[string][]string{
		"cert": {"key"}, "key": {"cert"}, "username": {"password"}, "password": {"username"}}
}

// app adds what types do not say about apps, resources, checks and hooks.
func (s *schemaBuilder) app() {
	s.names("app", "resources", 1)
	s.property("app", "recovery").UniqueItems = true
	approvals := s.property("app", "approvals")
	approvals.PropertyNames = &jsonschema.Schema{Enum: texts(operations...)}
	approvals.AdditionalProperties.Minimum = "0"

	s.property("resource", "needs").UniqueItems = true
	s.kind("resource", canRecover, true)
	s.kind("probe", canAsk, false)
	for _, def := range []string{"check", "hook"} {
		on := s.property(def, "on")
		on.UniqueItems = true
		on.Items.Enum = texts(operations...)
		if def == "hook" {
			on.Items.Enum = texts(runs...)
		}
	}
	s.kind("check", canVerify, false)
	for _, key := range []string{"before", "after"} {
		p := s.property("hook", key)
		for _, a := range hookable {
			p.Enum = append(p.Enum, string(a))
		}
	}
	s.defs["hook"].OneOf = []*jsonschema.Schema{{Required: []string{"before"}}, {Required: []string{"after"}}}
}

// work adds what a step of the user's own can be.
func (s *schemaBuilder) work(def string) {
	if def == "step" {
		s.property(def, "name").Pattern = identifier.String()
		s.property(def, "needs").UniqueItems = true
	}
	s.property(def, "operation").Enum = texts(runs...)
	s.kind(def, canRun, false)
	without := func(names ...string) *jsonschema.Schema {
		not := &jsonschema.Schema{}
		for _, n := range names {
			not.AnyOf = append(not.AnyOf, &jsonschema.Schema{Required: []string{n}})
		}
		return not
	}
	s.defs[def].OneOf = []*jsonschema.Schema{
		{Required: []string{"kind"}, Not: without("approve", "plan", "app", "operation", "to", "mode")},
		{Required: []string{"approve"}, Not: without("kind", "plan", "app", "operation", "to", "mode", "settings", "timeout")},
		{Required: []string{"plan"}, Not: without("kind", "approve", "app", "operation", "to", "mode", "settings", "timeout")},
		{Required: []string{"app", "operation"}, Not: without("kind", "approve", "plan", "settings", "timeout")},
	}
}

// kind lists the kinds that can stand in a definition, and for each its settings.
func (s *schemaBuilder) kind(def string, can func(driver.Driver) bool, sites bool) {
	kind := s.property(def, "kind")
	for _, name := range kindsOf(s.reg, can) {
		kind.Enum = append(kind.Enum, name)
		d, err := s.reg.Get(model.Kind(name))
		if err != nil {
			panic("config: a registered kind is gone: " + name)
		}
		facts := d.Facts()
		then := &jsonschema.Schema{Properties: jsonschema.NewProperties(), Description: facts.Summary}
		settings := s.settings(facts.Settings)
		then.Properties.Set("settings", settings)
		if facts.Settings != nil && s.demands(settings) {
			then.Required = append(then.Required, "settings")
		}
		if sites {
			at := &jsonschema.Schema{Type: "object", AdditionalProperties: s.settings(facts.Site)}
			if facts.Site == nil {
				at = nothing()
			} else {
				then.Required = append(then.Required, "sites")
			}
			then.Properties.Set("sites", at)
			switch facts.Vault {
			case driver.NoVault:
				then.Properties.Set("vault", jsonschema.FalseSchema)
				if !ownPoints(facts, d) {
					then.Properties.Set("protect", jsonschema.FalseSchema)
				}
			case driver.VaultRequired:
				then.Required = append(then.Required, "vault")
			}
		}
		is := jsonschema.NewProperties()
		is.Set("kind", &jsonschema.Schema{Const: name})
		s.defs[def].AllOf = append(s.defs[def].AllOf, &jsonschema.Schema{
			If:   &jsonschema.Schema{Properties: is, Required: []string{"kind"}},
			Then: then,
		})
	}
}

// settings describes a driver's settings; nil ones are an empty mapping.
func (s *schemaBuilder) settings(proto any) *jsonschema.Schema {
	if proto == nil {
		return nothing()
	}
	return s.reflect(reflect.TypeOf(proto))
}

// demands tells whether settings cannot be left out.
func (s *schemaBuilder) demands(settings *jsonschema.Schema) bool {
	def := s.defs[strings.TrimPrefix(settings.Ref, "#/$defs/")]
	return def != nil && len(def.Required) > 0
}

func nothing() *jsonschema.Schema {
	none := uint64(0)
	return &jsonschema.Schema{Type: "object", MaxProperties: &none}
}
