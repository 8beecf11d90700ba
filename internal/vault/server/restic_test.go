package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/server"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// resticCommand is restic on a repository as a user, whose password is pw-user.
func (s *serving) resticCommand(tb testing.TB, user, repository string, args ...string) *exec.Cmd {
	tb.Helper()
	if _, err := exec.LookPath("restic"); err != nil {
		tb.Fatal("restic judges the server and is missing: test/servers/install.sh restic")
	}
	url := strings.Replace(s.url, "https://", "rest:https://"+user+":pw-"+user+"@", 1) + repository + "/"
	cmd := exec.CommandContext(tb.Context(), "restic", append([]string{"-r", url, "--cacert", s.cert.Cert, "--no-cache"}, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD=geheim")
	return cmd
}

// restic runs it, and gives what it says.
func (s *serving) restic(tb testing.TB, user, repository string, args ...string) (string, error) {
	tb.Helper()
	cmd := s.resticCommand(tb, user, repository, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("restic %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	return said.String(), err
}

// mustRestic fails the test when restic fails.
func (s *serving) mustRestic(tb testing.TB, user, repository string, args ...string) string {
	tb.Helper()
	out, err := s.restic(tb, user, repository, args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// forbiddenRestic runs restic until the server has refused something, and interrupts it then: it would try again for most
// of a minute.
func (s *serving) forbiddenRestic(tb testing.TB, user, repository string, args ...string) {
	tb.Helper()
	cmd := s.resticCommand(tb, user, repository, args...)
	out, err := cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	cmd.Stdout = cmd.Stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	refused, said := false, ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if said += lines.Text() + "\n"; strings.Contains(lines.Text(), "403 Forbidden") && !refused {
			refused = true
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				tb.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || !refused {
		tb.Errorf("restic %s is not refused: %v\n%s", strings.Join(args, " "), err, said)
	}
}

// fill writes some files, changed by seed.
func fill(tb testing.TB, folder string, seed uint64) {
	tb.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range 20 {
		text := make([]byte, r.IntN(200_000))
		for j := range text {
			text[j] = byte(r.Uint32())
		}
		dir := filepath.Join(folder, fmt.Sprintf("d%d", i%3))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d", i)), text, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
}

// TestRestic works with plain restic over TLS and HTTP/2 on an append-only server: with the credentials of the protected
// host backups work and nothing goes, yesterday is restored, and somebody else prunes.
func TestRestic(t *testing.T) {
	s := serve(t, server.Options{AppendOnly: true, Users: users(t, "alice", "root:admin")})
	data := t.TempDir()
	fill(t, data, 1)
	yesterday := contents(t, data)

	s.mustRestic(t, "alice", "alice", "init")
	if _, err := s.restic(t, "alice", "alice", "init"); err == nil {
		t.Error("a second init succeeds")
	}
	s.mustRestic(t, "alice", "alice", "backup", data)
	fill(t, data, 2)
	s.mustRestic(t, "alice", "alice", "backup", data)

	stored := contents(t, filepath.Join(s.folder, "alice"))
	for _, args := range [][]string{{"forget", "--keep-last", "1"}, {"forget", "latest"}} {
		s.forbiddenRestic(t, "alice", "alice", args...)
	}
	if diff := cmp.Diff(stored, contents(t, filepath.Join(s.folder, "alice"))); diff != "" {
		t.Errorf("forget has changed what is stored:\n%s", diff)
	}
	fill(t, data, 3)
	s.mustRestic(t, "alice", "alice", "backup", data)
	s.mustRestic(t, "alice", "alice", "check", "--read-data")

	restore := func(user, id string, want map[string]string) {
		t.Helper()
		target := t.TempDir()
		s.mustRestic(t, user, "alice", "restore", id, "--target", target)
		if diff := cmp.Diff(want, contents(t, filepath.Join(target, data))); diff != "" {
			t.Errorf("restore of %s gives other files:\n%.2000s", id, diff)
		}
	}
	v, err := vault.Open(t.Context(), s.store(t, "alice", "alice"), "geheim", vault.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil || len(all) != 3 {
		t.Fatalf("%d snapshots, want 3, error %v", len(all), err)
	}
	restore("alice", all[0].ID.String(), yesterday)
	restore("root", all[2].ID.String(), contents(t, data))

	s.mustRestic(t, "root", "alice", "forget", "--keep-last", "2", "--prune")
	s.mustRestic(t, "root", "alice", "check", "--read-data")
	restore("alice", "latest", contents(t, data))
	report, err := v.Check(context.Background(), vault.CheckOptions{ReadData: true})
	if err != nil || len(report.Problems) != 0 || report.Snapshots != 2 {
		t.Errorf("our check: %+v, %v", report, err)
	}
	if _, err := s.restic(t, "alice", "root", "snapshots"); err == nil {
		t.Error("alice reads another's repository")
	}
	if m := s.Metrics(); m.Failed != 0 || m.Denied == 0 {
		t.Errorf("metrics: %+v", m)
	}
}
