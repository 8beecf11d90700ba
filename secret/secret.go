// Package secret holds references to secrets, never secrets.
//
// A [Ref] is what stands in lifeboat.yaml, in a plan and in the journal: "env:NAME", "file:/path" or "exec:command".
// Its value is read where it is used, by [Ref.Resolve], and is wrapped in a [Value] that prints as "[redacted]".
package secret

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Ref says where a secret is to be read. The zero Ref means "no secret".
type Ref string

// redacted is what every secret prints as.
const redacted = "[redacted]"

// Parse accepts env:NAME, file:PATH and exec:COMMAND, and refuses anything else without repeating it: what was typed
// by mistake may be the secret itself.
func Parse(text string) (Ref, error) {
	scheme, rest, found := strings.Cut(text, ":")
	if !found || rest == "" || (scheme != "env" && scheme != "file" && scheme != "exec") {
		return "", failure.New(failure.Invalid, "", "", "a secret must be a reference, not the secret itself").
			WithHint("write env:NAME, file:/path/to/file or exec:command")
	}
	return Ref(text), nil
}

// UnmarshalText refuses what Parse refuses; an empty text is no secret.
func (r *Ref) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = ""
		return nil
	}
	ref, err := Parse(string(text))
	if err != nil {
		return err
	}
	*r = ref
	return nil
}

// Resolve reads the secret now. A trailing newline is cut. The command of exec: runs under "sh -c" and is killed when
// ctx ends. Errors are Invalid for a reference that cannot be read and NotFound where nothing is there.
func (r Ref) Resolve(ctx context.Context) (Value, error) {
	scheme, rest, _ := strings.Cut(string(r), ":")
	switch scheme {
	case "":
		return Value{}, nil
	case "env":
		text, ok := os.LookupEnv(rest)
		if !ok {
			return Value{}, failure.New(failure.NotFound, "read secret", string(r), "the variable is not set").
				WithHint("export %s before running lifeboat", rest)
		}
		return Value{&text}, nil
	case "file":
		text, err := os.ReadFile(rest)
		if err != nil {
			return Value{}, failure.WrapAs(failure.NotFound, err, "read secret", string(r))
		}
		return newValue(text), nil
	case "exec":
		var stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, "sh", "-c", rest)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			cause := fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
			return Value{}, failure.WrapAs(failure.Unavailable, cause, "read secret", "exec:…")
		}
		return newValue(out), nil
	}
	return Value{}, failure.New(failure.Invalid, "read secret", "", "unknown scheme").
		WithHint("write env:NAME, file:/path/to/file or exec:command")
}

// Value is a secret in memory. It cannot be printed or marshalled by accident: not by any verb of package fmt, and not
// as an unexported field of something else, where fmt cannot call its methods and follows no pointer.
type Value struct{ text *string }

// newValue cuts the trailing newline that files and commands end with.
func newValue(raw []byte) Value {
	text := strings.TrimRight(string(raw), "\r\n")
	return Value{&text}
}

// Reveal gives the secret itself; the caller must not print or store it.
func (v Value) Reveal() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// Empty reports whether there is no secret.
func (v Value) Empty() bool { return v.Reveal() == "" }

// Format redacts for every verb.
func (v Value) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// String redacts.
func (v Value) String() string { return redacted }

// GoString redacts.
func (v Value) GoString() string { return redacted }

// MarshalText redacts.
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }
