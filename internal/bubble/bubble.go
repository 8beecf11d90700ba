// Package bubble lets a program of the binary run in a time of its own: within a bubble of testing/synctest, where hours take
// seconds, as nobody waits for anything but one another. It is for rehearsals and for the demo, not for anything that reaches the
// world outside. Start with [Main].
package bubble

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
)

// Main calls f, which may enter bubbles one after the other. It does not return: it is run by package testing, which alone makes
// the *testing.T that a bubble is made from, and which ends the process. Until then os.Stdout is standard error, as package testing
// says there that all is well: f writes to what was os.Stdout before.
func Main(f func(enter func(func(ctx context.Context)))) {
	os.Stdout = os.Stderr
	os.Args = os.Args[:1] // package testing reads flags from there
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "bubble", F: func(t *testing.T) {
		f(func(inside func(ctx context.Context)) {
			synctest.Test(t, func(t *testing.T) { inside(t.Context()) })
		})
	}}}, nil, nil)
}

// Environ is an environment for such a program: all without what says how to become somebody in AWS, and what changes how Go keeps time.
func Environ(all []string) (out []string) {
	for _, v := range all {
		if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "GODEBUG=") {
			out = append(out, v)
		}
	}
	return out
}
