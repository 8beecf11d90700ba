package vault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// twoStates has restic back up a folder, change it in every way, and back it up again.
func twoStates(t *testing.T) string {
	t.Helper()
	src := allKinds(t)
	repo := empty(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(name string, data []byte) {
		path := filepath.Join(src, name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.WriteFile(path, data, 0o644))
	}
	put("same/deep/file", prose(20, 100<<10))
	put("goes/a", prose(21, 1<<20))
	put("goes/further/b", prose(22, 10))
	put("copied", prose(23, 300<<10))
	put("becomes", []byte("a file"))
	put("decays", []byte("good"))
	restic(t, repo, "backup", src, "--host", "one")
	must(os.RemoveAll(filepath.Join(src, "goes")))
	put("comes/a", prose(24, 1<<20))
	put("comes/link", prose(25, 10))
	put("same/deep/other", prose(23, 300<<10)) // its blobs are there already
	put("text", prose(26, 3<<20))
	must(os.Chmod(filepath.Join(src, "quote\"back\\slash\nnewline"), 0o600))
	must(os.Remove(filepath.Join(src, "becomes")))
	must(os.Symlink("now a link", filepath.Join(src, "becomes")))
	must(os.Chtimes(filepath.Join(src, "odd-time"), time.Unix(2, 0), time.Unix(3, 0)))
	must(os.Remove(filepath.Join(src, "fifo")))
	restic(t, repo, "backup", src, "--host", "two")
	return repo
}

// TestDiffAgreesWithRestic compares each line and each count with restic's.
func TestDiffAgreesWithRestic(t *testing.T) {
	repo := twoStates(t)
	v := open(t, load(t, repo))
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil || len(all) != 2 {
		t.Fatal(len(all), err)
	}
	for _, metadata := range []bool{false, true} {
		args := []string{"diff", "--json", all[0].ID.String(), all[1].ID.String()}
		if metadata {
			args = append(args, "--metadata")
		}
		var wantLines []string
		var want map[string]any
		for line := range strings.Lines(restic(t, repo, args...)) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				continue // what goes to stderr
			}
			if m["message_type"] == "statistics" {
				want = m
			} else {
				wantLines = append(wantLines, fmt.Sprint(m["modifier"], " ", m["path"]))
			}
		}
		var lines []string
		report, err := v.Diff(t.Context(), *all[0].Tree, *all[1].Tree, vault.DiffOptions{Metadata: metadata}, func(c vault.Change) error {
			lines = append(lines, c.Marker+" "+strings.ToValidUTF8(c.Path, "\ufffd\ufffd"))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(lines) < 8 || want == nil {
			t.Errorf("%d lines: %v", len(lines), lines)
		}
		slices.Sort(wantLines)
		slices.Sort(lines)
		if diff := cmp.Diff(wantLines, lines); diff != "" {
			t.Errorf("metadata %v: %s", metadata, diff)
		}
		side := func(c vault.DiffCount) map[string]any {
			return map[string]any{"files": float64(c.Files), "dirs": float64(c.Dirs), "others": float64(c.Others), "data_blobs": float64(c.DataBlobs),
				"tree_blobs": float64(c.TreeBlobs), "bytes": float64(c.Bytes)}
		}
		got := map[string]any{"message_type": "statistics", "source_snapshot": all[0].ID.String(), "target_snapshot": all[1].ID.String(),
			"changed_files": float64(report.ChangedFiles), "added": side(report.Added), "removed": side(report.Removed)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("metadata %v: %s", metadata, diff)
		}
	}
	// The other way round, added and removed change places.
	there, err := v.Diff(t.Context(), *all[0].Tree, *all[1].Tree, vault.DiffOptions{}, func(vault.Change) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	back, err := v.Diff(t.Context(), *all[1].Tree, *all[0].Tree, vault.DiffOptions{}, func(vault.Change) error { return nil })
	if err != nil || back.Added != there.Removed || back.Removed != there.Added || back.ChangedFiles != there.ChangedFiles {
		t.Errorf("%+v, %+v, %v", there, back, err)
	}
	none, err := v.Diff(t.Context(), *all[0].Tree, *all[0].Tree, vault.DiffOptions{Metadata: true}, func(c vault.Change) error {
		t.Errorf("a tree differs from itself: %+v", c)
		return nil
	})
	if err != nil || *none != (vault.DiffReport{}) {
		t.Errorf("%+v, %v", none, err)
	}
	stop := errors.New("enough")
	if _, err := v.Diff(t.Context(), *all[0].Tree, *all[1].Tree, vault.DiffOptions{}, func(vault.Change) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the caller is lost: %v", err)
	}
}

// TestDecayIsMarked holds that content which changed while nothing else did is pointed out.
func TestDecayIsMarked(t *testing.T) {
	v, _ := create(t)
	s := begin(t, v)
	one, two := write(t, s, map[string][]byte{"f": []byte("good")}), write(t, s, map[string][]byte{"f": []byte("bAd!")})
	var trees [2]*snapshot.Snapshot
	for i, id := range []any{one, two} {
		sn, err := v.FindSnapshot(t.Context(), fmt.Sprint(id), snapshot.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		trees[i] = sn
	}
	var got []string
	_, err := v.Diff(t.Context(), *trees[0].Tree, *trees[1].Tree, vault.DiffOptions{}, func(c vault.Change) error {
		if c.Before.Type != tree.File || c.After == nil {
			t.Errorf("%+v", c)
		}
		got = append(got, c.Marker+c.Path)
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"M?/f"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestSizesAgreeWithRestic compares all modes with restic's stats.
func TestSizesAgreeWithRestic(t *testing.T) {
	repo := twoStates(t)
	v := open(t, load(t, repo))
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range vault.SizeModes() {
		for _, list := range [][]*snapshot.Snapshot{all, all[1:]} {
			args := []string{"stats", "--json", "--mode", string(mode)}
			for _, sn := range list {
				args = append(args, sn.ID.String())
			}
			var want struct {
				Size  uint64 `json:"total_size"`
				Files uint64 `json:"total_file_count"`
				Blobs uint64 `json:"total_blob_count"`
				Plain uint64 `json:"total_uncompressed_size"`
			}
			out := restic(t, repo, args...)
			if err := json.Unmarshal([]byte(out[:strings.Index(out, "\n")]), &want); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got, err := v.Sizes(t.Context(), list, mode)
			if err != nil {
				t.Fatal(err)
			}
			if got.Bytes != want.Size || got.Files != want.Files || got.Blobs != want.Blobs || got.Snapshots != len(list) {
				t.Errorf("%s of %d: %+v, restic says %+v", mode, len(list), got, want)
			}
			if mode == vault.RawData && (got.Plain <= got.Bytes || got.Ratio() <= 1 || got.Saving() <= 0 || got.Progress() <= 0) {
				t.Errorf("%+v", got)
			}
		}
	}
	if _, err := v.Sizes(t.Context(), all, "weight"); !errors.Is(err, failure.Invalid) {
		t.Errorf("no mode: %v", err)
	}
}
