package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// hosts is a repository in a folder on which two hosts work, one of them with restic, while a third prunes.
type hosts struct {
	dir string

	mu     sync.Mutex
	ours   map[object.ID]files // what is to be there
	theirs map[string]uint64   // restic's snapshots that are to be there, by their tags: the seed of their files
	counts map[string]int
}

func (h *hosts) count(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[what]++
}

func (h *hosts) counted(what string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts[what]
}

func (h *hosts) vault(ctx context.Context, host string) (*vault.Vault, error) {
	store, err := file.Open(h.dir)
	if err != nil {
		return nil, err
	}
	o := tiny
	o.RetryLock = time.Hour
	o.Identity = vault.Identity{Hostname: host, Username: "u", PID: os.Getpid()}
	return vault.Open(ctx, store, password, o)
}

// backup is the first host: one of ours.
func (h *hosts) backup(ctx context.Context, stop <-chan struct{}) error {
	v, err := h.vault(ctx, "first")
	if err != nil {
		return err
	}
	for over(stop) == nil {
		f := seeds(rand.Uint64N(30), 5+rand.Uint64N(20))
		id, err := keep(ctx, v, f, "first")
		if err != nil {
			return err
		}
		h.mu.Lock()
		h.ours[id] = f
		h.counts["our backups"]++
		h.mu.Unlock()
	}
	return nil
}

func over(stop <-chan struct{}) error {
	select {
	case <-stop:
		return context.Canceled
	default:
		return nil
	}
}

// source writes the files of a seed to a folder for restic.
func source(dir string, seed uint64) error {
	for name, s := range seeds(seed, 10) {
		if err := os.WriteFile(filepath.Join(dir, name), content(s), 0o600); err != nil {
			return err
		}
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	keep := seeds(seed, 10)
	for _, e := range all {
		if _, there := keep[e.Name()]; !there {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// restic is the second host. Where the vault is locked it tries again, as whoever calls restic has to.
func (h *hosts) restic(ctx context.Context, src string, stop <-chan struct{}) error {
	for n := 0; over(stop) == nil; n++ {
		seed := rand.Uint64N(30)
		if err := source(src, seed); err != nil {
			return err
		}
		tag := fmt.Sprintf("t%d", n)
		cmd := exec.CommandContext(ctx, "restic", "-r", h.dir, "--no-cache", "backup", "--host", "second", "--tag", tag, src)
		cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password, "RESTIC_PROGRESS_FPS=0")
		out, err := cmd.CombinedOutput()
		if err != nil && strings.Contains(string(out), "repository is already locked") {
			h.count("restic found it locked")
			continue
		}
		if err != nil {
			return fmt.Errorf("restic backup: %w\n%s", err, out)
		}
		h.mu.Lock()
		h.theirs[tag] = seed
		h.counts["restic's backups"]++
		h.mu.Unlock()
	}
	return nil
}

// prune is the third host: it forgets most of what the others store, and prunes.
func (h *hosts) prune(ctx context.Context, stop <-chan struct{}) error {
	v, err := h.vault(ctx, "third")
	if err != nil {
		return err
	}
	wait := vault.Waiting{For: 2 * time.Second, Drain: time.Minute}
	removed := 0
	for n := 0; over(stop) == nil || removed == 0 && n < 20; n++ {
		if err := h.forget(ctx, v, wait); err != nil {
			return err
		}
		o := vault.PruneOptions{MaxUnused: "0", Grace: []time.Duration{-1, time.Second}[rand.IntN(2)], RepackSmall: rand.IntN(2) == 0, Wait: wait}
		report, err := v.Prune(ctx, o)
		if err = unlessBusy(err); err != nil {
			return err
		}
		h.count("prunes")
		if report.Removed.Packs > 0 {
			h.count("prunes that removed")
			removed++
		}
	}
	return nil
}

func (h *hosts) forget(ctx context.Context, v *vault.Vault, wait vault.Waiting) error {
	all, err := v.Snapshots(ctx, snapshot.Filter{})
	if err != nil {
		return err
	}
	var drop []object.ID
	h.mu.Lock()
	for _, s := range all {
		if rand.IntN(4) == 0 {
			continue
		}
		if _, known := h.ours[s.ID]; known {
			drop = append(drop, s.ID)
			delete(h.ours, s.ID)
		}
		if len(s.Tags) == 1 {
			if _, known := h.theirs[s.Tags[0]]; known {
				drop = append(drop, s.ID)
				delete(h.theirs, s.Tags[0])
			}
		}
	}
	h.mu.Unlock()
	_, err = v.Forget(ctx, drop, vault.ForgetOptions{Wait: wait})
	return unlessBusy(err)
}

// TestHosts has two hosts back up, one of them with restic, while a third forgets and prunes without a break. Nothing that
// was not forgotten is lost, and restic's check is clean.
func TestHosts(t *testing.T) {
	t.Parallel()
	lasts := 6 * time.Second
	if os.Getenv("LIFEBOAT_LONG") != "" {
		lasts = 10 * time.Minute
	}
	h := &hosts{dir: filepath.Join(t.TempDir(), "repo"), ours: map[object.ID]files{}, theirs: map[string]uint64{}, counts: map[string]int{}}
	store, err := file.Open(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vault.Init(t.Context(), store, password, tiny); err != nil {
		t.Fatal(err)
	}
	src, stop := t.TempDir(), make(chan struct{})
	var errs [3]error
	var all sync.WaitGroup
	for i, host := range []func() error{
		func() error { return h.backup(t.Context(), stop) },
		func() error { return h.restic(t.Context(), src, stop) },
		func() error { return h.prune(t.Context(), stop) },
	} {
		all.Go(func() { errs[i] = host() })
	}
	timer := time.NewTimer(lasts)
	<-timer.C
	h.await(t, time.Now().Add(4*time.Minute))
	close(stop)
	all.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v; %d and %d snapshots are left", h.counts, len(h.ours), len(h.theirs))
	h.judge(t, src)
}

// await lets the hosts go on until each has done what it is there for.
func (h *hosts) await(t *testing.T, end time.Time) {
	t.Helper()
	for _, what := range []string{"our backups", "restic's backups", "prunes that removed"} {
		for h.counted(what) == 0 {
			if time.Now().After(end) {
				t.Errorf("no %s", what)
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// judge compares everything that is to be there, and leaves no garbage.
func (h *hosts) judge(t *testing.T, src string) {
	t.Helper()
	accepted(t, h.dir, "--read-data")
	v, err := h.vault(t.Context(), "judge")
	if err != nil {
		t.Fatal(err)
	}
	for id, f := range h.ours {
		if err := holdsAll(t.Context(), v, id, f); err != nil {
			t.Error(err)
		}
	}
	n := 0
	for tag, seed := range h.theirs {
		if n++; n > 20 {
			break
		}
		out := filepath.Join(t.TempDir(), "out")
		restic(t, h.dir, "restore", "latest", "--tag", tag, "--target", out)
		for name, s := range seeds(seed, 10) {
			if got, err := os.ReadFile(filepath.Join(out, src, name)); err != nil || !bytes.Equal(got, content(s)) {
				t.Errorf("%s of restic's %s: %d bytes, %v", name, tag, len(got), err)
			}
		}
	}
	if _, err := v.Prune(t.Context(), atOnce); err != nil {
		t.Fatal(err)
	}
	if out := accepted(t, h.dir, "--read-data"); strings.Contains(out, "not referenced") || strings.Contains(out, "contained in several") {
		t.Errorf("restic has hints:\n%s", out)
	}
	store, err := file.Open(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := count(t, store, blob.Lock); n > 0 {
		t.Errorf("%d locks are left", n)
	}
}
