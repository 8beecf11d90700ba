package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
)

func TestMajorIn(t *testing.T) {
	for answer, want := range map[string]int{
		"postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)": 15, "postgres (PostgreSQL) 18beta1": 18, "postgres (PostgreSQL) 9.6.24": 9,
		"something else": 0,
	} {
		folder := t.TempDir()
		for _, name := range programs {
			if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\necho '"+answer+"'\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if got := majorIn(t.Context(), folder); got != want {
			t.Errorf("%s: got %d, want %d", answer, got, want)
		}
		if err := os.Remove(filepath.Join(folder, "pg_rewind")); err != nil {
			t.Fatal(err)
		}
		if got := majorIn(t.Context(), folder); got != 0 {
			t.Errorf("%s, without pg_rewind: got %d, want 0", answer, got)
		}
	}
}

func TestWithoutPostgreSQLTheHintSaysWhatToInstall(t *testing.T) {
	was := folders
	folders = nil
	t.Cleanup(func() { folders = was })
	t.Setenv("PATH", t.TempDir())
	_, err := Find(t.Context())
	if failure.KindOf(err) != failure.NotFound || !strings.Contains(failure.HintOf(err), "install") {
		t.Errorf("got %v, hint %q", err, failure.HintOf(err))
	}
}

func TestAFolderThatTheServersUserCannotEnter(t *testing.T) {
	inst, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	got := inst.Reachable(t.Context(), closed)
	if want := inst.User != ""; (failure.KindOf(orNil(got)) == failure.Denied) != want {
		t.Errorf("with the servers as %q: got %v", inst.User, got)
	}
	if err := inst.Reachable(t.Context(), "/"); err != nil {
		t.Errorf("the root folder: %v", err)
	}
}

// orNil makes a kind of no error: Internal.
func orNil(err error) error {
	if err == nil {
		return failure.Internal
	}
	return err
}
