package secret_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/secret"
)

const planted = "hunter2-hunter2"

func TestParse(t *testing.T) {
	for _, good := range []string{"env:NAME", "file:/etc/key", "exec:pass show db", "exec:a:b"} {
		ref, err := secret.Parse(good)
		if err != nil || string(ref) != good {
			t.Errorf("%s: %q, %v", good, ref, err)
		}
	}
	for _, bad := range []string{planted, "", "env:", "file:", "exec:", "ENV:NAME", "vault:" + planted, ":" + planted} {
		_, err := secret.Parse(bad)
		if !errors.Is(err, failure.Invalid) || failure.HintOf(err) == "" {
			t.Errorf("%q: %v, want an invalid one with a hint", bad, err)
			continue
		}
		if strings.Contains(err.Error()+failure.HintOf(err), planted) {
			t.Errorf("the error repeats what may be the secret itself: %v", err)
		}
	}
}

func TestUnmarshal(t *testing.T) {
	var s struct {
		Password secret.Ref `json:"password"`
	}
	if err := json.Unmarshal([]byte(`{"password":"env:X"}`), &s); err != nil || s.Password != "env:X" {
		t.Errorf("%+v, %v", s, err)
	}
	if err := json.Unmarshal([]byte(`{"password":""}`), &s); err != nil || s.Password != "" {
		t.Errorf("an empty text: %+v, %v", s, err)
	}
	err := json.Unmarshal([]byte(`{"password":"`+planted+`"}`), &s)
	if err == nil || strings.Contains(err.Error(), planted) {
		t.Errorf("a secret instead of a reference: %v", err)
	}
}

func TestResolve(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(planted+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LIFEBOAT_TEST_SECRET", planted)
	for _, ref := range []secret.Ref{"env:LIFEBOAT_TEST_SECRET", secret.Ref("file:" + file), "exec:echo " + planted} {
		v, err := ref.Resolve(t.Context())
		if err != nil || v.Reveal() != planted || v.Empty() {
			t.Errorf("%s: %q, %v", ref, v.Reveal(), err)
		}
	}
	if v, err := secret.Ref("").Resolve(t.Context()); err != nil || !v.Empty() {
		t.Errorf("no reference: %q, %v", v.Reveal(), err)
	}
	for ref, kind := range map[secret.Ref]failure.Kind{
		"env:LIFEBOAT_TEST_NO_SUCH_SECRET":        failure.NotFound,
		secret.Ref("file:" + file + ".not-there"): failure.NotFound,
		"exec:exit 3":                              failure.Unavailable,
		"exec:echo " + planted + "; exit 1":        failure.Unavailable,
		"vault:" + planted:                         failure.Invalid,
		secret.Ref("plain-" + planted + "-secret"): failure.Invalid,
	} {
		v, err := ref.Resolve(t.Context())
		if err == nil || failure.KindOf(err) != kind {
			t.Errorf("%s: %v, want kind %s", ref, err, kind)
			continue
		}
		if !v.Empty() {
			t.Errorf("%s: a value besides the error", ref)
		}
		if strings.Contains(err.Error()+failure.HintOf(err), planted) {
			t.Errorf("%s: the error shows the secret: %v", ref, err)
		}
	}
}

func TestResolveIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := secret.Ref("exec:sleep 600").Resolve(ctx); err == nil || !v.Empty() {
		t.Errorf("%q, %v", v.Reveal(), err)
	}
}

// TestNothingPrints tries every way by which values usually leak.
func TestNothingPrints(t *testing.T) {
	t.Setenv("LIFEBOAT_TEST_SECRET", planted)
	v, err := secret.Ref("env:LIFEBOAT_TEST_SECRET").Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Name  string
		Value secret.Value
		Ptr   *secret.Value
		Map   map[string]secret.Value
		List  []secret.Value
		inner secret.Value // fmt cannot call the methods of what it holds unexported
	}
	h := holder{"db", v, &v, map[string]secret.Value{"a": v}, []secret.Value{v}, v}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
		for _, x := range []any{v, &v, h, &h, []any{v}, map[string]any{"x": v}} {
			args := []any{x}
			if verb == "%T %v" {
				args = append(args, x)
			}
			if got := fmt.Sprintf(verb, args...); leaks(got) {
				t.Errorf("%s of %T shows the secret: %s", verb, x, got)
			}
		}
	}
	if got := fmt.Sprint(v) + fmt.Sprintln(v, h); leaks(got) {
		t.Errorf("print shows the secret: %s", got)
	}
	text, err := json.Marshal(h)
	if err != nil || leaks(string(text)) || !strings.Contains(string(text), `"Value":"[redacted]"`) {
		t.Errorf("JSON: %s, %v", text, err)
	}
	text, err = json.Marshal(map[string]any{"x": []any{v}})
	if err != nil || leaks(string(text)) {
		t.Errorf("JSON: %s, %v", text, err)
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("connect", "password", v, "in", h, slog.Any("ptr", &v))
	}
	if leaks(log.String()) || !strings.Contains(log.String(), "[redacted]") {
		t.Errorf("the log shows the secret, or nothing at all:\n%s", &log)
	}
	if err := failure.WrapAs(failure.Denied, fmt.Errorf("login with %v", v), "connect", "db"); leaks(err.Error()) {
		t.Errorf("an error shows the secret: %v", err)
	}
}

// leaks looks for the secret as text and as the hexadecimal that %x makes of it.
func leaks(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, planted) || strings.Contains(text, fmt.Sprintf("%x", planted))
}
