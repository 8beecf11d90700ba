package failure_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// TestProjections is the meaning of the taxonomy, one row a kind. A new kind without a row fails.
func TestProjections(t *testing.T) {
	type row struct {
		Retry    bool
		Status   int
		Exit     int
		Severity failure.Severity
	}
	want := map[string]row{
		"internal":      {false, 500, 70, failure.Critical},
		"not_found":     {false, 404, 4, failure.Warning},
		"exists":        {false, 409, 5, failure.Warning},
		"invalid":       {false, 400, 2, failure.Warning},
		"denied":        {false, 403, 6, failure.Critical},
		"conflict":      {true, 409, 7, failure.Warning},
		"throttled":     {true, 429, 8, failure.Info},
		"unavailable":   {true, 503, 9, failure.Critical},
		"unsupported":   {false, 501, 10, failure.Warning},
		"corrupt":       {false, 422, 11, failure.Critical},
		"indeterminate": {true, 502, 12, failure.Critical},
		"canceled":      {false, 499, 130, failure.Info},
	}
	got := map[string]row{}
	for _, k := range failure.Kinds() {
		got[k.String()] = row{k.Retryable(), k.HTTPStatus(), k.ExitCode(), k.Severity()}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("projections (-want +got):\n%s", diff)
	}
}

// TestExitCodes holds what scripts rely on: every kind has a code of its own, and none is 0 or 1.
func TestExitCodes(t *testing.T) {
	taken := map[int]failure.Kind{0: 255, 1: 255}
	for _, k := range failure.Kinds() {
		code := k.ExitCode()
		if other, dup := taken[code]; dup {
			t.Errorf("%s exits with %d, which is taken by %s", k, code, other)
		}
		if code < 0 || code > 255 {
			t.Errorf("%s exits with %d, which no process can", k, code)
		}
		taken[code] = k
	}
}

func TestUnknownKindIsLoud(t *testing.T) {
	k := failure.Kind(200)
	if k.Retryable() || k.HTTPStatus() != 500 || k.ExitCode() != 70 || k.Severity() != failure.Critical || k.String() != "kind(200)" {
		t.Errorf("kind 200 is %s: retry %v, status %d, exit %d, severity %s", k, k.Retryable(), k.HTTPStatus(), k.ExitCode(), k.Severity())
	}
	var zero failure.Kind
	if zero != failure.Internal {
		t.Errorf("the zero kind is %s, want internal", zero)
	}
}

func TestKindText(t *testing.T) {
	for _, k := range failure.Kinds() {
		text, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		var back failure.Kind
		if err := json.Unmarshal(text, &back); err != nil || back != k {
			t.Errorf("%s is written as %s and read as %s, %v", k, text, back, err)
		}
	}
	var k failure.Kind
	if err := json.Unmarshal([]byte(`"nonsense"`), &k); err == nil || err.Error() != `unknown failure kind "nonsense"` {
		t.Errorf("nonsense is read as %s, %v", k, err)
	}
}

func TestErrorText(t *testing.T) {
	cause := errors.New("connection refused")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{failure.New(failure.Invalid, "read", "lifeboat.yaml", "line %d", 3), "read lifeboat.yaml: line 3"},
		{failure.New(failure.Invalid, "", "", "too long"), "too long"},
		{failure.WrapAs(failure.Unavailable, cause, "promote", "db"), "promote db: connection refused"},
		{failure.Wrap(failure.WrapAs(failure.Unavailable, cause, "dial", "west"), "promote", "db"), "promote db: dial west: connection refused"},
		{&failure.Error{Kind: failure.NotFound}, "not found"},
		{&failure.Error{Kind: failure.NotFound, Op: "find"}, "find: not found"},
		{&failure.Error{Subject: "db", Message: "gone", Cause: cause}, "db: gone: connection refused"},
		{failure.Unsupported, "unsupported"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}

func TestKindOf(t *testing.T) {
	inner := failure.New(failure.Throttled, "call", "api", "slow down")
	for _, tt := range []struct {
		name       string
		err        error
		want       failure.Kind
		classified bool
	}{
		{"an error", inner, failure.Throttled, true},
		{"wrapped by fmt", fmt.Errorf("on the way: %w", inner), failure.Throttled, true},
		{"wrapped", failure.Wrap(inner, "promote", "db"), failure.Throttled, true},
		{"wrapped as another kind", failure.WrapAs(failure.Unavailable, inner, "promote", "db"), failure.Unavailable, true},
		{"joined", errors.Join(errors.New("first"), inner), failure.Throttled, true},
		{"a kind alone", failure.Conflict, failure.Conflict, true},
		{"a kind wrapped by fmt", fmt.Errorf("db: %w", failure.Conflict), failure.Conflict, true},
		{"cancelled", fmt.Errorf("db: %w", context.Canceled), failure.Canceled, false},
		{"timed out", fmt.Errorf("db: %w", context.DeadlineExceeded), failure.Unavailable, false},
		{"foreign", fs.ErrNotExist, failure.Internal, false},
		{"foreign, wrapped", failure.Wrap(fs.ErrNotExist, "read", "x"), failure.Internal, true},
	} {
		if got := failure.KindOf(tt.err); got != tt.want {
			t.Errorf("%s: kind %s, want %s", tt.name, got, tt.want)
		}
		if got := failure.Classified(tt.err); got != tt.classified {
			t.Errorf("%s: classified %v, want %v", tt.name, got, tt.classified)
		}
		if got := failure.From(tt.err); got.Kind != tt.want {
			t.Errorf("%s: from it comes kind %s, want %s", tt.name, got.Kind, tt.want)
		}
	}
	if failure.From(nil) != nil {
		t.Error("from nil comes an error")
	}
	defer func() {
		if recover() == nil {
			t.Error("the kind of nil does not panic")
		}
	}()
	failure.KindOf(nil)
}

func TestIsAndAs(t *testing.T) {
	err := fmt.Errorf("outer: %w", failure.WrapAs(failure.NotFound, fs.ErrNotExist, "read", "key"))
	for _, k := range failure.Kinds() {
		if got, want := errors.Is(err, k), k == failure.NotFound; got != want {
			t.Errorf("is %s: %v, want %v", k, got, want)
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
	var e *failure.Error
	if !errors.As(err, &e) || e.Op != "read" || e.Subject != "key" {
		t.Errorf("as: %+v", e)
	}
}

func TestWrapNil(t *testing.T) {
	if err := failure.Wrap(nil, "promote", "db"); err != nil {
		t.Errorf("wrapping nothing gives %v", err)
	}
}

func TestHints(t *testing.T) {
	inner := failure.New(failure.Denied, "update", "zone", "refused").WithHint("check the key %s", "k1")
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"its own", inner, "check the key k1"},
		{"kept by Wrap", failure.Wrap(inner, "redirect", "name"), "check the key k1"},
		{"kept by WrapAs", failure.WrapAs(failure.Unavailable, inner, "redirect", "name"), "check the key k1"},
		{"found below fmt", fmt.Errorf("x: %w", inner), "check the key k1"},
		{"found below an error without", &failure.Error{Op: "x", Cause: fmt.Errorf("y: %w", inner)}, "check the key k1"},
		{"the outermost wins", failure.WrapAs(failure.Denied, inner, "a", "b").WithHint("ask Ann"), "ask Ann"},
		{"none", failure.New(failure.Denied, "a", "b", "c"), ""},
		{"foreign", errors.New("x"), ""},
	} {
		if got := failure.HintOf(tt.err); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if inner.WithHint("another"); inner.Hint != "check the key k1" {
		t.Errorf("WithHint has changed the error it was called on: %q", inner.Hint)
	}
}

func TestJSON(t *testing.T) {
	err := failure.WrapAs(failure.Unavailable, errors.New("connection refused"), "promote", "db").WithHint("start it")
	err.Message = "no answer"
	text, merr := json.Marshal(err)
	if merr != nil {
		t.Fatal(merr)
	}
	want := `{"op":"promote","subject":"db","kind":"unavailable","message":"no answer: connection refused","hint":"start it"}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	var back failure.Error
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back.Error() != err.Error() || back.Kind != err.Kind || back.Hint != err.Hint {
		t.Errorf("read back: %+v", back)
	}
	again, merr := json.Marshal(&back)
	if merr != nil || string(again) != want {
		t.Errorf("written again: %s, %v", again, merr)
	}
	for _, bad := range []string{`{"kind":"nonsense","message":"x"}`, `[]`, `{"kind":3}`} {
		if err := json.Unmarshal([]byte(bad), new(failure.Error)); err == nil {
			t.Errorf("%s is read without an error", bad)
		}
	}
}
