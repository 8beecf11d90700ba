package drivertest

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

var (
	kindName   = regexp.MustCompile(`^[a-z][a-z0-9]*([.-][a-z0-9]+)*$`)
	outputName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	valueTypes = []model.ValueType{model.TypeText, model.TypeNumber, model.TypeEndpoint, model.TypeURL, model.TypeTime, model.TypeLSN}
)

// facts holds Driver.Facts to its comments.
func (s *suite) facts(t tee) {
	f := s.New().Facts()
	if !reflect.DeepEqual(f, s.New().Facts()) {
		t.Errorf("the facts differ from one driver value to the next")
	}
	if !kindName.MatchString(string(f.Kind)) {
		t.Errorf("kind %q is not like \"postgres\" or \"dns.record\"", f.Kind)
	}
	line(t, "the summary", f.Summary)
	strict(t, "Settings", f.Settings)
	strict(t, "Site", f.Site)
	for action, outputs := range f.Outputs {
		s.has(t, "Outputs", action)
		for name, typ := range outputs {
			if !outputName.MatchString(name) {
				t.Errorf("output %q of %s is not in snake_case", name, action)
			}
			if !slices.Contains(valueTypes, typ) {
				t.Errorf("output %s of %s has the unknown type %q", name, action, typ)
			}
		}
	}
	for action, verb := range f.Verbs {
		s.has(t, "Verbs", action)
		line(t, "the verb for "+string(action), verb)
	}
	for action, effect := range f.Effects {
		s.has(t, "Effects", action)
		line(t, "the effect of "+string(action), effect)
	}
	for action, timeout := range f.Timeouts {
		s.has(t, "Timeouts", action)
		if timeout <= 0 {
			t.Errorf("the timeout of %s is %v", action, timeout)
		}
	}
	for _, action := range f.Destructive {
		s.has(t, "Destructive", action)
	}
	for _, action := range Actions() {
		if s.can(action) && !s.asks(action) && action != model.ActionRun && f.Effects[action] == "" {
			t.Errorf("Effects does not say what %s changes", action)
		}
	}
	marker := map[string]model.ValueType{"marker_at": model.TypeTime, "marker_seq": model.TypeNumber}
	if s.can(model.ActionReadMarker) && !cmp.Equal(f.Outputs[model.ActionReadMarker], marker) {
		t.Errorf("outputs of read-marker are %v, want %v", f.Outputs[model.ActionReadMarker], marker)
	}
}

func (s *suite) has(t tee, table string, action model.Action) {
	t.Helper()
	if !s.can(action) {
		t.Errorf("%s speaks of %s, which the driver cannot do", table, action)
	}
}

func line(t tee, what, text string) {
	t.Helper()
	if text == "" || strings.ContainsAny(text, "\r\n") || strings.TrimSpace(text) != text {
		t.Errorf("%s is not one line of text: %q", what, text)
	}
}

// strict looks at a settings type: a pointer to a zero struct that refuses what it does not know.
func strict(t tee, what string, v any) {
	t.Helper()
	if v == nil {
		return
	}
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Struct || !p.Elem().IsZero() {
		t.Errorf("Facts.%s is a %T, want a pointer to a zero struct", what, v)
		return
	}
	st := p.Elem().Type()
	for i := range st.NumField() {
		field := st.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.IsExported() && !field.Anonymous && name == "" {
			t.Errorf("Facts.%s: field %s has no name in a json tag", what, field.Name)
		}
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(`{"no_such_field":"x"}`)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(reflect.New(st).Interface()); err == nil {
		t.Errorf("Facts.%s takes an unknown field", what)
	}
}

// describe holds Describe to: changes nothing, never fails for a site that does not answer, refuses bad settings.
func (s *suite) describe(t tee) {
	if s.Targets == nil {
		return
	}
	targets := s.Targets(t)
	if len(targets) == 0 {
		t.Fatalf("Config.Targets gives no targets")
	}
	for _, target := range targets {
		t.sub("changes nothing", func(t tee) {
			s.unchanged(t, "describe", func() { s.described(t, target) })
		})
		t.sub("strict", func(t tee) {
			for what, wrong := range misspelt(target) {
				_, err := call(t, "describe", func(ctx context.Context) (model.Description, error) { return s.New().Describe(ctx, wrong) })
				s.refuses(t, "describe with an unknown field in "+what, err, failure.Invalid)
			}
		})
		t.sub("cancelled", func(t tee) {
			_, err := callWith(t, over(t), "describe", func(ctx context.Context) (model.Description, error) { return s.New().Describe(ctx, target) })
			s.refuses(t, "describe with a cancelled context", err, failure.Canceled)
		})
		if s.Break != nil {
			t.sub("unreachable", func(t tee) {
				mend := s.Break(t, target.Site)
				defer mend()
				if got := s.described(t, target).Role; got != model.RoleUnreachable {
					t.Errorf("the role at an unreachable site is %q, want %q", got, model.RoleUnreachable)
				}
			})
		}
	}
}

func (s *suite) described(t tee, target driver.Target) model.Description {
	t.Helper()
	got, err := call(t, "describe", func(ctx context.Context) (model.Description, error) { return s.New().Describe(ctx, target) })
	if err != nil {
		s.judge(t, "describe", err)
		t.Fatalf("describe %s at %s: %v", target.Resource.ID, target.Site, err)
	}
	s.hides(t, "the description", got)
	if got.Resource != target.Resource.ID || got.Site != target.Site {
		t.Errorf("described is %s at %s, want %s at %s", got.Resource, got.Site, target.Resource.ID, target.Site)
	}
	if !slices.Contains([]model.Role{model.RolePrimary, model.RoleStandby, model.RoleStopped, model.RoleAbsent,
		model.RoleUnreachable, model.RoleFenced, model.RoleUnknown}, got.Role) {
		t.Errorf("role %q is not one", got.Role)
	}
	if got.At.IsZero() {
		t.Errorf("the description does not say as of when it is")
	}
	line(t, "the description's summary", got.Summary)
	if got.LagBytes != nil && *got.LagBytes < 0 || got.LagTime != nil && *got.LagTime < 0 {
		t.Errorf("the lag is negative: %v bytes, %v", got.LagBytes, got.LagTime)
	}
	for name, v := range got.Outputs {
		typed(t, "described output "+name, v)
	}
	return got
}

// points holds Lister to its order.
func (s *suite) points(t tee) {
	lister, ok := driver.As[driver.Lister](s.New())
	if !ok || s.Targets == nil {
		return
	}
	for _, target := range s.Targets(t) {
		s.unchanged(t, "listing points", func() {
			points, err := call(t, "points", func(ctx context.Context) ([]model.Point, error) { return lister.Points(ctx, target) })
			if err != nil {
				s.judge(t, "points", err)
				t.Fatalf("points: %v", err)
			}
			s.hides(t, "the list of points", points)
			if !slices.IsSortedFunc(points, func(a, b model.Point) int { return b.At.Compare(a.At) }) {
				t.Errorf("points are not newest first: %v", points)
			}
			for _, p := range points {
				if p.ID == "" || p.Resource != target.Resource.ID || p.Site != target.Site {
					t.Errorf("point %+v is not of %s at %s, or has no id", p, target.Resource.ID, target.Site)
				}
			}
		})
	}
}

// streams looks at what is received: that changes nothing, whoever asks, and says what it is about.
func (s *suite) streams(t tee) {
	streamer, ok := driver.As[driver.Streamer](s.New())
	if !ok || s.Targets == nil {
		return
	}
	for _, target := range s.Targets(t) {
		if !streamer.Streams(target.Resource) {
			continue
		}
		s.unchanged(t, "looking at a stream", func() {
			st, err := call(t, "look at stream", func(ctx context.Context) (model.Stream, error) { return streamer.LookAtStream(ctx, target) })
			if err != nil {
				s.judge(t, "look at stream", err)
				t.Fatalf("look at stream: %v", err)
			}
			s.hides(t, "the stream", st)
			if st.Resource != target.Resource.ID || st.Site != target.Site || st.State == "" || st.Summary == "" || st.At.IsZero() {
				t.Errorf("stream %+v is not of %s at %s, or does not say how it does as of when", st, target.Resource.ID, target.Site)
			}
		})
		_, err := callWith(t, over(t), "look at stream", func(ctx context.Context) (model.Stream, error) { return streamer.LookAtStream(ctx, target) })
		s.refuses(t, "look at stream with a cancelled context", err, failure.Canceled)
	}
}

// over gives a context that has been cancelled.
func over(t tee) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// marker writes one and reads it back.
func (s *suite) marker(t tee) {
	try := s.Actions[model.ActionReadMarker].Request
	writer, ok := driver.As[driver.MarkerWriter](s.New())
	if !ok || try == nil {
		return
	}
	req := try(t)
	want := model.Marker{Seq: time.Now().UnixMilli(), At: time.Now().UTC().Truncate(time.Microsecond)}
	_, err := call(t, "write marker", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, writer.WriteMarker(ctx, req.Target, want)
	})
	if err != nil {
		s.judge(t, "write marker", err)
		t.Fatalf("write marker: %v", err)
	}
	deadline := time.Now().Add(s.Limit)
	for { // a standby may still be replaying it
		req = fresh(req, model.ActionReadMarker)
		got := s.await(t, req, s.begin(t, s.New(), req)).Outputs
		if got["marker_seq"].Text == driver.Number(jsonNumber(want.Seq)).Text && got["marker_at"] == driver.Time(want.At) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("marker %v was written, %v was read", want, got)
		}
		select {
		case <-time.After(pollEvery):
		case <-t.Context().Done():
			t.Fatalf("read marker: %v", t.Context().Err())
		}
	}
}
