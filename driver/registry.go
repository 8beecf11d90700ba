package driver

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Registry is the set of drivers of one process, by kind. It is built once, explicitly, and only read afterwards.
type Registry struct{ byKind map[model.Kind]Driver }

// NewRegistry registers drivers. Two of one kind are a programming error and panic.
func NewRegistry(drivers ...Driver) *Registry {
	r := &Registry{byKind: map[model.Kind]Driver{}}
	for _, d := range drivers {
		kind := d.Facts().Kind
		if _, dup := r.byKind[kind]; dup {
			panic("driver: two drivers of kind " + string(kind))
		}
		r.byKind[kind] = d
	}
	return r
}

// Get finds the driver of a kind, or fails with failure.Invalid and the kinds there are.
func (r *Registry) Get(kind model.Kind) (Driver, error) {
	if d, ok := r.byKind[kind]; ok {
		return d, nil
	}
	return nil, failure.New(failure.Invalid, "", string(kind), "there is no driver of this kind").
		WithHint("known kinds: %s", strings.Join(r.names(), ", "))
}

// Kinds lists the registered kinds in order.
func (r *Registry) Kinds() []model.Kind {
	kinds := make([]model.Kind, 0, len(r.byKind))
	for k := range r.byKind {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return kinds
}

func (r *Registry) names() []string {
	var out []string
	for _, k := range r.Kinds() {
		out = append(out, string(k))
	}
	return out
}

// Decode reads a driver's settings strictly: an unknown field is failure.Invalid. Empty settings give the zero T.
// A T or *T that is a Validator is asked too.
func Decode[T any](raw json.RawMessage) (T, error) {
	var v T
	if len(raw) > 0 {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&v); err != nil {
			return v, failure.WrapAs(failure.Invalid, err, "read settings", "")
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return v, failure.New(failure.Invalid, "read settings", "", "more than one JSON value")
		}
	}
	if val, ok := any(&v).(Validator); ok {
		if err := val.Validate(); err != nil {
			return v, failure.WrapAs(failure.Invalid, err, "read settings", "")
		}
	}
	return v, nil
}

// SettingsOf decodes a resource's own settings and those at one site.
func SettingsOf[R, S any](t Target, site model.SiteID) (R, S, error) {
	own, err := Decode[R](t.Resource.Settings)
	var at S
	if err != nil {
		return own, at, failure.Wrap(err, "", string(t.Resource.ID))
	}
	at, err = Decode[S](t.Resource.Sites[site])
	if err != nil {
		return own, at, failure.Wrap(err, "", string(t.Resource.ID)+" at "+string(site))
	}
	return own, at, nil
}
