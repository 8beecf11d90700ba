//go:build linux

package archiver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver/archivertest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// helperVar makes the test's own binary the helper: a process that backs up, to be killed.
const helperVar = "LIFEBOAT_ARCHIVER_TEST_HELPER"

func TestMain(m *testing.M) {
	if text := os.Getenv(helperVar); text != "" {
		if err := help(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// order is what the helper is told.
type order struct {
	Repo, Source string
	Eager        bool // index files are written often: the clock runs fast
}

// help backs up, and prints a line for each item.
func help(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx := context.Background()
	v, err := openFor(ctx, o)
	if err != nil {
		return err
	}
	s, err := v.NewSession(ctx)
	if err != nil {
		return err
	}
	parent, err := archiver.FindParent(ctx, v, archiver.Options{Paths: []string{o.Source}}, archiver.Group{Host: true, Paths: true})
	if err != nil {
		return err
	}
	_, err = archiver.Run(ctx, s, archiver.Options{Paths: []string{o.Source}, Parent: parent, Item: func(i archiver.Item) { fmt.Println(i.Action) }})
	return errors.Join(err, s.Close(ctx))
}

func openFor(ctx context.Context, o order) (*vault.Vault, error) {
	store, err := file.Open(o.Repo)
	if err != nil {
		return nil, err
	}
	opts := cheap
	opts.PackSize = 256 << 10
	if o.Eager {
		var n atomic.Int64
		start := time.Now()
		opts.Now = func() time.Time { return start.Add(time.Duration(n.Add(1)) * time.Second) }
	}
	return vault.Open(ctx, store, password, opts)
}

// killAfter has a helper back up and kills it some time after it has printed so many lines. It reports whether it ended
// by itself before, which it must do without an error.
func killAfter(t *testing.T, o order, lines int, more time.Duration) (ended bool) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), helperVar+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for range lines {
		if !in.Scan() {
			break
		}
	}
	time.Sleep(more) // where in what it does then it is killed is left to chance
	_ = cmd.Process.Kill()
	for in.Scan() {
	}
	err = cmd.Wait()
	if err != nil && cmd.ProcessState.ExitCode() >= 0 {
		t.Fatalf("the helper failed: %v", err)
	}
	return err == nil
}

// TestKilledIsResumed holds that what a killed backup had stored is not stored again.
func TestKilledIsResumed(t *testing.T) {
	repo, _ := newRepo(t)
	src := t.TempDir()
	for i := range 40 {
		if err := os.WriteFile(filepath.Join(src, strconv.Itoa(100+i)), archivertest.Noise(uint64(i), 1<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o := order{Repo: repo, Source: src, Eager: true}
	if killAfter(t, o, 30, 0) {
		t.Fatal("the backup ended before it was killed")
	}
	v, err := openFor(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	listed := listedBytes(t, v, repo)
	s, err := v.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archiver.Run(t.Context(), s, archiver.Options{Paths: []string{src}}); err != nil {
		t.Fatal(err)
	}
	got := s.Stats()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got.KnownBytes != listed {
		t.Errorf("%d bytes were found again, of %d that were listed", got.KnownBytes, listed)
	}
	// Thirty files of 1 MiB had been taken. What the uploads hold comes again, and what was stored since the last index
	// file: a quarter of all that was before it, by a clock that counts packs and index files. While the kill meets the next
	// one being written, the other uploads have gone on. About 16 MiB are listed at the least.
	if listed < 12<<20 {
		t.Errorf("%d MiB of the 30 MiB before the kill are listed: index files are not written in time", listed>>20)
	}
	restic(t, repo, "", "unlock", "--remove-all")
	restic(t, repo, "", "check", "--read-data")
}

// listedBytes counts the data that the index files of a vault list.
func listedBytes(t *testing.T, v *vault.Vault, repo string) (sum int64) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(repo, "index", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		id, err := object.ParseID(filepath.Base(name))
		if err != nil {
			continue // a file that was being written
		}
		text, err := v.LoadFile(t.Context(), blob.Index, id)
		if err != nil {
			t.Fatal(err)
		}
		packs, err := index.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packs {
			for _, e := range p.Entries {
				if e.Handle.Type == object.Data {
					sum += int64(e.Size())
				}
			}
		}
	}
	return sum
}

// TestKilledAnywhere kills backups at random moments. After each the vault is whole; at the end every snapshot that was
// made is restored by restic and compared.
func TestKilledAnywhere(t *testing.T) {
	kills, files := 5, 150
	if os.Getenv("LIFEBOAT_LONG") != "" {
		kills, files = 100, 400
	}
	repo, _ := newRepo(t)
	t.Chdir(t.TempDir())
	const src = "source"
	archivertest.Small(t, src, files, 1)
	o := order{Repo: repo, Source: src}
	var states []map[string]archivertest.Entry // of each snapshot
	finish := func() {
		o.Eager = !o.Eager
		if !killAfter(t, o, 1<<30, 0) {
			t.Fatal("nobody killed the helper, and yet it was")
		}
		states = append(states, archivertest.Read(t, src))
	}
	finish()
	r := rand.New(rand.NewPCG(9, 10))
	for done, round := 0, 0; done < kills; round++ {
		if round > 5*kills {
			t.Fatalf("of %d backups only %d were killed before their end", round, done)
		}
		for range 5 { // some files change, one comes
			name := fmt.Sprintf("%s/d0/000/file-%05d.txt", src, r.IntN(100))
			if err := os.WriteFile(name, archivertest.Noise(r.Uint64(), 1+r.IntN(300<<10)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		plant(t, src, fmt.Sprintf("new/%d/file", round))
		if killAfter(t, o, 1+r.IntN(files+files/50), time.Duration(r.IntN(30))*time.Millisecond) {
			states = append(states, archivertest.Read(t, src)) // it was faster
		} else {
			done++
		}
		o.Eager = !o.Eager
		v := open(t, repo)
		report, err := v.Check(t.Context(), vault.CheckOptions{NoLock: true})
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("after %d kills: %+v, %v", done, report, err)
		}
		if n := len(snapshots(t, v)); n == len(states)+1 {
			states = append(states, archivertest.Read(t, src)) // it was killed between its snapshot and its end
		} else if n != len(states) {
			t.Fatalf("%d snapshots of %d backups that ended", n, len(states))
		}
		if done%20 == 10 {
			finish()
		}
	}
	finish()
	restic(t, repo, "", "unlock", "--remove-all")
	restic(t, repo, "", "check", "--read-data")
	all := snapshots(t, open(t, repo))
	if len(all) != len(states) {
		t.Fatalf("%d snapshots of %d backups", len(all), len(states))
	}
	for i, sn := range all {
		out := t.TempDir()
		restic(t, repo, "", "restore", sn.ID.String(), "--target", out)
		if err := archivertest.Diff(states[i], archivertest.Read(t, filepath.Join(out, src)), nil); err != nil {
			t.Errorf("snapshot %d of %d: %v", i+1, len(all), err)
		}
	}
}

func snapshots(t *testing.T, v *vault.Vault) []*snapshot.Snapshot {
	t.Helper()
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil && !errors.Is(err, failure.NotFound) {
		t.Fatal(err)
	}
	return all
}
