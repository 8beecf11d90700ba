//go:build linux || darwin || freebsd

package mount

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// TestAble holds what is said on a machine that cannot mount.
func TestAble(t *testing.T) {
	none := func(string) (string, error) { return "", exec.ErrNotFound }
	old := func(name string) (string, error) {
		if name == "fusermount" {
			return "/bin/fusermount", nil
		}
		return "", exec.ErrNotFound
	}
	for _, test := range []struct {
		m    machine
		hint string // "": able
	}{
		{machine{"/dev/null", true, none}, ""},
		{machine{"/dev/null", false, old}, ""},
		{machine{"/dev/null", false, none}, "apt install fuse3"},
		{machine{"/dev/no-fuse", true, old}, "modprobe fuse"},
	} {
		err := test.m.able()
		if test.hint == "" && err != nil || test.hint != "" && (!errors.Is(err, failure.Unsupported) || !strings.Contains(failure.HintOf(err), test.hint)) {
			t.Errorf("%+v: %v, %s", test.m, err, failure.HintOf(err))
		}
	}
}
