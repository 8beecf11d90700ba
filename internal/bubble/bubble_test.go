package bubble

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEnviron: what says how to become somebody in AWS is not passed on.
func TestEnviron(t *testing.T) {
	got := Environ([]string{"PATH=/bin", "AWS_PROFILE=prod", "AWS_ACCESS_KEY_ID=AKIA", "GODEBUG=asynctimerchan=1", "HOME=/home/me"})
	if diff := cmp.Diff([]string{"PATH=/bin", "HOME=/home/me"}, got); diff != "" {
		t.Error(diff)
	}
}
