package term

import (
	"bytes"
	"errors"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestVaultProgressLive draws in place: share, rate and time left; problems and, when asked for, files are lines that stay.
func TestVaultProgressLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out shared
		v := NewVaultProgress(&out, true, WatchOptions{Live: true, Every: 100 * time.Millisecond, Size: func() (int, int) { return 120, 24 }})
		v.Event(api.VaultEvent{Phase: "backing up", Files: 1})
		time.Sleep(150 * time.Millisecond)
		synctest.Wait()
		if got := out.String(); !strings.Contains(got, "\r") || !strings.Contains(got, "backing up  1 files") {
			t.Errorf("without totals: %q", got)
		}
		time.Sleep(4 * time.Second)
		v.Event(api.VaultEvent{Phase: "backing up", Files: 5, TotalFiles: 20, Bytes: 10 << 20, TotalBytes: 40 << 20, Current: "/a\x1b[31mred"})
		out.Reset()
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		frame := out.String()
		for _, want := range []string{"25.0 %", "5/20 files", "10 MiB of 40 MiB", "MiB/s", "s left", "/a[31mred"} {
			if !strings.Contains(frame, want) {
				t.Errorf("the frame lacks %q: %q", want, frame)
			}
		}
		if strings.Contains(frame, "\x1b[31m") {
			t.Errorf("a file's name colours the screen: %q", frame)
		}
		out.Reset()
		v.Event(api.VaultEvent{Problem: failure.New(failure.Denied, "read", "/secret", "no")})
		v.Event(api.VaultEvent{Item: &api.VaultItem{Path: "/b", Action: "new", Size: 2048}})
		if got, want := out.String(), "\r\x1b[Kproblem: read /secret: no\nnew        /b  2 KiB\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		time.Sleep(time.Second)
		v.Close()
		if got := out.String(); !strings.HasSuffix(got, "\r\x1b[K") {
			t.Errorf("the last frame stays: %q", got)
		}
	})
}

// shared is a buffer that is read while others write.
type shared struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func (s *shared) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Reset()
}

// TestVaultProgressLines writes a plain line now and then where there is no terminal, and no file unless asked to.
func TestVaultProgressLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out shared
		v := NewVaultProgress(&out, false, WatchOptions{Style: Style{Zone: time.UTC}, Still: 10 * time.Second})
		v.Event(api.VaultEvent{Phase: "verifying packs", Unit: "packs", Files: 1, TotalFiles: 4})
		v.Event(api.VaultEvent{Item: &api.VaultItem{Path: "/b", Action: "new"}})
		time.Sleep(9500 * time.Millisecond)
		synctest.Wait()
		if early := out.String(); early != "" {
			t.Errorf("too early: %q", early)
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		v.Close()
		got := out.String()
		if n := strings.Count(got, "verifying packs  25.0 %  1/4 packs"); n != 2 || strings.ContainsAny(got, "\r\x1b") {
			t.Errorf("%d lines: %q", n, got)
		}
	})
}

// TestVaultHostile holds that nothing in a vault can move the cursor or colour the screen.
func TestVaultHostile(t *testing.T) {
	evil := "a\x1b[2J\rb\u202egpj"
	one := func(yield func(*api.VaultEntry, error) bool) {
		yield(&api.VaultEntry{Path: evil, User: evil, LinkTarget: evil, Permissions: "-rw-r--r--"}, nil)
	}
	point := api.VaultPoint{ID: strings.Repeat("a", 64), ShortID: "aaaaaaaa", Hostname: evil, Tags: []string{evil}, Paths: []string{evil}}
	denied := failure.New(failure.Denied, "read", evil, "no")
	for name, draw := range map[string]func(*bytes.Buffer) error{
		"points":  func(b *bytes.Buffer) error { return VaultPoints(b, []api.VaultPoint{point}, Style{}) },
		"entries": func(b *bytes.Buffer) error { return VaultEntries(b, one, true, Style{}) },
		"matches": func(b *bytes.Buffer) error {
			return VaultMatches(b, func(yield func(*api.VaultMatch, error) bool) {
				yield(&api.VaultMatch{Point: point.ID, Entry: api.VaultEntry{Path: evil}, Blob: "b"}, nil)
			}, false, false, Style{})
		},
		"diff": func(b *bytes.Buffer) error {
			return VaultDiff(b, &api.VaultDiff{Before: point, After: point, Report: func() *api.VaultDiffReport { return &api.VaultDiffReport{} },
				Changes: iter.Seq2[*api.VaultChange, error](func(yield func(*api.VaultChange, error) bool) {
					yield(&api.VaultChange{Path: evil, Modifier: "+"}, nil)
				})}, Style{})
		},
		"check": func(b *bytes.Buffer) error {
			return VaultCheck(b, &api.VaultCheckReply{Problems: []api.VaultProblem{{Subject: evil, Error: denied,
				Affects: []api.VaultPlace{{Point: point.ID, Path: evil}}}}, Hints: []string{evil}}, Style{})
		},
		"keys": func(b *bytes.Buffer) error {
			return VaultKeys(b, []api.VaultKey{{ID: point.ID, Username: evil, Hostname: evil}}, Style{})
		},
		"unlock": func(b *bytes.Buffer) error {
			return VaultUnlock(b, &api.VaultUnlockReply{Left: []api.VaultLock{{ID: point.ID, Hostname: evil, Username: evil}}}, false, Style{})
		},
		"restore": func(b *bytes.Buffer) error {
			return VaultRestore(b, &api.VaultRestoreReply{Point: point.ID, Target: evil, DryRun: true, Entries: map[string]int64{"deleted": 1},
				Deleted: []string{evil}, Reduced: []api.VaultReduced{{What: evil, Count: 2, Example: evil, Cause: evil}},
				Differences: []api.VaultTrouble{{Path: evil, Error: denied}}}, Style{})
		},
		"forget": func(b *bytes.Buffer) error {
			return VaultForget(b, &api.VaultForgetReply{Groups: []api.VaultForgetGroup{{Host: evil, Go: []api.VaultDecision{{Point: point, Reasons: []string{evil}}}}},
				Stayed: []api.VaultStayed{{Point: "b", Error: denied}}}, Style{})
		},
		"repair": func(b *bytes.Buffer) error {
			return VaultRepair(b, &api.VaultRepairReply{What: api.RepairSnapshots, Points: []api.VaultPointRepair{{Point: point.ID,
				Losses: []api.VaultLoss{{Path: evil, What: evil}}}}}, Style{})
		},
		"copy": func(b *bytes.Buffer) error {
			return VaultCopy(b, &api.VaultCopyReply{From: evil, To: evil, Failed: []api.VaultCopyFailed{{Point: point.ID, Error: denied}}}, Style{})
		},
		"users": func(b *bytes.Buffer) error { return VaultUsers(b, []api.VaultUser{{Name: evil}}, Style{}) },
		"serving": func(b *bytes.Buffer) error {
			return VaultServing(b, &api.VaultServing{Folder: evil, URL: evil, Certificate: evil, Fingerprint: evil, Hosts: []string{evil}}, Style{})
		},
	} {
		var b bytes.Buffer
		if err := draw(&b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.ContainsAny(b.String(), "\x1b\r\u202e") || !strings.Contains(b.String(), "[2J") {
			t.Errorf("%s writes %q", name, b.String())
		}
	}
}

// TestVaultListsEnd holds that an error at the end of a list is told, after what there was before it.
func TestVaultListsEnd(t *testing.T) {
	broken := errors.New("the store is gone")
	var b bytes.Buffer
	err := VaultEntries(&b, func(yield func(*api.VaultEntry, error) bool) {
		if yield(&api.VaultEntry{Path: "/a"}, nil) {
			yield(nil, broken)
		}
	}, false, Style{})
	if err != broken || b.String() != "/a\n" {
		t.Errorf("%v, %q", err, b.String())
	}
}

// TestVaultWords holds a few sentences that people decide by.
func TestVaultWords(t *testing.T) {
	id := strings.Repeat("ab", 32)
	next := time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name string
		draw func(*bytes.Buffer) error
		want []string
	}{
		{"an incomplete backup", func(b *bytes.Buffer) error {
			return VaultBackup(b, &api.VaultBackupReply{Point: &api.VaultPoint{ShortID: "abababab"}, Errors: 2}, Style{})
		}, []string{"point abababab is made", "2 files could not be read, or changed meanwhile: the point is not complete"}},
		{"a prune with something to wait for", func(b *bytes.Buffer) error {
			return VaultPruned(b, &api.VaultPruneReply{Plan: &api.VaultPrunePlan{}, Waiting: api.VaultAmount{Packs: 1, Bytes: 1024}, Next: &next}, Style{Zone: time.UTC})
		}, []string{"1 pack (1 KiB) wait to be removed: the first at 2026-03-01 04:00:00 +00:00; prune again after that"}},
		{"a restore that holds its deletions back", func(b *bytes.Buffer) error {
			return VaultRestore(b, &api.VaultRestoreReply{Point: id, Target: "/x", Failed: 1, DeleteHeld: true, Entries: map[string]int64{"created": 3}}, Style{})
		}, []string{"3 created", "nothing was deleted because of the problems", "1 entry could not be restored"}},
		{"a restore from a replica", func(b *bytes.Buffer) error {
			return VaultRestore(b, &api.VaultRestoreReply{Point: id, Fallbacks: []api.VaultFallback{{Replica: "away", Blobs: 3, Bytes: 2048}}}, Style{})
		}, []string{"from the replica away: 3 blobs (2 KiB), which the vault itself could not give"}},
		{"a check that finds nothing", func(b *bytes.Buffer) error {
			return VaultCheck(b, &api.VaultCheckReply{OK: true, Points: 2, BytesRead: 4 << 20, Took: model.Duration(2 * time.Second)}, Style{})
		}, []string{"2 points", "read 4 MiB in 2 s (2 MiB/s)", "ok nothing is wrong"}},
		{"a pack that is gone", func(b *bytes.Buffer) error {
			gone := failure.New(failure.NotFound, "find", "data/aa", "it is not stored")
			at := []api.VaultPlace{{Point: id, Path: "/a"}}
			return VaultCheck(b, &api.VaultCheckReply{Problems: []api.VaultProblem{
				{Subject: "blob 1", Error: gone, Affects: at}, {Subject: "blob 2", Error: gone, Affects: at, More: 3}, {Subject: "x", Error: failure.New(failure.Corrupt, "", "", "odd")},
			}}, Style{})
		}, []string{"blob 1 and 1 more: find data/aa: it is not stored\n  point abababab  /a\n  and 3 more\n", "x: odd\n  no point needs it\n",
			"3 problems; what to do: lifeboat vault repair all --dry-run"}},
		{"a dry prune with nothing to do", func(b *bytes.Buffer) error {
			return VaultPrunePlan(b, &api.VaultPrunePlan{}, Style{})
		}, []string{"nothing is to be done"}},
		{"a retention that is renewed", func(b *bytes.Buffer) error {
			return VaultRetained(b, &api.VaultRetainReply{For: model.Duration(720 * time.Hour), Needed: 9, Renewed: 4, Next: &next}, Style{Zone: time.UTC})
		}, []string{"points need 9 objects", "4 renewed for 30d00h", "run it again before 2026-03-01 04:00:00 +00:00"}},
	} {
		var b bytes.Buffer
		if err := tc.draw(&b); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		for _, want := range tc.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s lacks %q:\n%s", tc.name, want, b.String())
			}
		}
	}
}
