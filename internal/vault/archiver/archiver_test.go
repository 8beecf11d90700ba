//go:build linux

package archiver_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver/archivertest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

func pathsOf(t testing.TB, v *vault.Vault, sn *snapshot.Snapshot) []string {
	t.Helper()
	return paths(t, v, *sn.Tree)
}

// TestParentIsUsed holds what is read again after each sort of change, and what is not.
func TestParentIsUsed(t *testing.T) {
	_, v := newRepo(t)
	src := t.TempDir()
	plant(t, src, "dir/file", "dir/other", "still/x")
	file := src + "/dir/file"
	at := time.Unix(1e9, 0)
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
	parent := backup(t, v, archiver.Options{Paths: []string{src}}).Snapshot
	replace := func() error { // the same content and time in another inode
		if err := os.WriteFile(src+"/new", []byte("dir/file"), 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(src+"/new", at, at); err != nil {
			return err
		}
		return os.Rename(src+"/new", file)
	}
	for _, test := range []struct {
		name      string
		change    func() error
		o         archiver.Options
		unchanged uint64 // files that are not read
		changed   uint64
	}{
		{"nothing", func() error { return nil }, archiver.Options{}, 3, 0},
		{"nothing, forced", func() error { return nil }, archiver.Options{Parent: &snapshot.Snapshot{}}, 0, 0},
		{"mode", func() error { return os.Chmod(file, 0o600) }, archiver.Options{}, 2, 1},
		{"mode, ctime ignored", func() error { return os.Chmod(file, 0o640) }, archiver.Options{IgnoreCtime: true}, 3, 0},
		{"inode", replace, archiver.Options{}, 2, 1},
		{"inode, ctime ignored", replace, archiver.Options{IgnoreCtime: true}, 2, 1},
		{"inode ignored", replace, archiver.Options{IgnoreInode: true}, 3, 0},
		{"content", func() error { return os.WriteFile(file, []byte("changed!"), 0o644) }, archiver.Options{IgnoreInode: true}, 2, 1},
	} {
		if err := test.change(); err != nil {
			t.Fatal(err)
		}
		var read []string
		o := test.o
		o.Paths = []string{src}
		if o.Parent == nil {
			o.Parent = parent
		} else {
			o.Parent = nil
		}
		o.Item = func(i archiver.Item) {
			if !i.Dir && i.Action != archiver.Unchanged {
				read = append(read, strings.TrimPrefix(i.Path, src+"/"))
			}
		}
		r := backup(t, v, o)
		if r.Summary.FilesUnmodified != test.unchanged || r.Summary.FilesChanged != test.changed {
			t.Errorf("%s: %q were changed or new: %+v", test.name, read, r.Summary)
		}
		if len(read) == 1 && read[0] != "dir/file" {
			t.Errorf("%s: %q", test.name, read)
		}
		parent = r.Snapshot
	}
}

// TestSummary holds what a snapshot says of itself, by the names that restic 0.17 reads.
func TestSummary(t *testing.T) {
	repo, v := newRepo(t)
	t.Chdir(t.TempDir())
	const src = "src"
	plant(t, src, "a", "b/c")
	abs, err := filepath.Abs(src)
	if err != nil {
		t.Fatal(err)
	}
	o := archiver.Options{Paths: []string{src}, Host: "elsewhere", Tags: []string{"x", "y"}, Time: time.Unix(1.5e9, 0), Program: "lifeboat test"}
	r := backup(t, v, o)
	sn, err := v.Snapshot(t.Context(), r.Snapshot.ID)
	if err != nil {
		t.Fatal(err)
	}
	var sum map[string]any
	if err := json.Unmarshal(sn.Summary, &sum); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"files_new": 2, "files_changed": 0, "files_unmodified": 0, "dirs_new": 2, "dirs_changed": 0, "dirs_unmodified": 0,
		"data_blobs": 2, "tree_blobs": 3, "total_files_processed": 2, "total_bytes_processed": 4} {
		if sum[name] != want {
			t.Errorf("%s: %v, want %v", name, sum[name], want)
		}
	}
	if sum["data_added"].(float64) < 4 || sum["data_added_packed"].(float64) < 4 || len(sum) != 14 {
		t.Errorf("%v", sum)
	}
	if sn.Hostname != "elsewhere" || !slices.Equal(sn.Tags, o.Tags) || !sn.Time.Equal(o.Time) || sn.ProgramVersion != "lifeboat test" || sn.Parent != nil || !slices.Equal(sn.Paths, []string{abs}) {
		t.Errorf("%+v", sn)
	}
	o.Parent, o.SkipIfUnchanged = sn, true
	again := backup(t, v, o)
	if !again.Skipped || !again.Snapshot.ID.IsZero() || again.Summary.FilesUnmodified != 2 {
		t.Errorf("%+v", again)
	}
	plant(t, src, "new")
	if again = backup(t, v, o); again.Skipped || *again.Snapshot.Parent != sn.ID {
		t.Errorf("%+v", again)
	}
	if out := restic(t, repo, "", "snapshots", "--host", "elsewhere", "--tag", "x,y"); strings.Count(out, "elsewhere") != 2 {
		t.Errorf("%s", out)
	}
}

// TestFindParent holds which snapshot is taken, as restic takes it.
func TestFindParent(t *testing.T) {
	_, v := newRepo(t)
	src := t.TempDir()
	plant(t, src, "a/x", "b/y")
	day := func(n int) time.Time { return time.Date(2022, 3, n, 0, 0, 0, 0, time.UTC) }
	made := map[string]object.ID{}
	for name, o := range map[string]archiver.Options{
		"a":         {Paths: []string{src + "/a"}, Host: "one", Time: day(1)},
		"a later":   {Paths: []string{src + "/a"}, Host: "one", Time: day(5)},
		"a tagged":  {Paths: []string{src + "/a"}, Host: "one", Time: day(3), Tags: []string{"t"}},
		"both":      {Paths: []string{src + "/a", src + "/b"}, Host: "one", Time: day(7)},
		"elsewhere": {Paths: []string{src + "/a"}, Host: "two", Time: day(9)},
	} {
		made[name] = backup(t, v, o).Snapshot.ID
	}
	for _, test := range []struct {
		want string
		o    archiver.Options
		g    archiver.Group
	}{
		{"both", archiver.Options{Paths: []string{src + "/a"}, Host: "one"}, archiver.Group{Host: true, Paths: true}}, // it has all that is asked for
		{"a later", archiver.Options{Paths: []string{src + "/a"}, Host: "one", Time: day(6)}, archiver.Group{Host: true, Paths: true}},
		{"a tagged", archiver.Options{Paths: []string{src + "/a"}, Host: "one", Time: day(4)}, archiver.Group{Host: true, Paths: true}},
		{"a tagged", archiver.Options{Paths: []string{src + "/a"}, Host: "one", Tags: []string{"t"}}, archiver.Group{Host: true, Tags: true}},
		{"both", archiver.Options{Paths: []string{src + "/b"}, Host: "one"}, archiver.Group{Host: true, Paths: true}},
		{"elsewhere", archiver.Options{Paths: []string{"/nowhere"}, Host: "three"}, archiver.Group{}},
		{"", archiver.Options{Paths: []string{src + "/a"}, Host: "three"}, archiver.Group{Host: true, Paths: true}},
		{"", archiver.Options{Paths: []string{"/nowhere"}, Host: "one"}, archiver.Group{Host: true, Paths: true}},
	} {
		sn, err := archiver.FindParent(t.Context(), v, test.o, test.g)
		if err != nil {
			t.Fatal(err)
		}
		if got := sn; got == nil && test.want != "" || got != nil && got.ID != made[test.want] {
			t.Errorf("%+v by %+v: %+v, want %q", test.o, test.g, got, test.want)
		}
	}
}

// TestProgress holds that the end is told, with everything.
func TestProgress(t *testing.T) {
	_, v := newRepo(t)
	src := t.TempDir()
	archivertest.Small(t, src, 300, 1)
	if err := os.WriteFile(src+"/large", archivertest.Noise(1, 3<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	var last archiver.Progress
	files, dirs := 0, 0
	r := backup(t, v, archiver.Options{Paths: []string{src}, Progress: func(p archiver.Progress) { last = p }, Item: func(i archiver.Item) {
		if i.Dir {
			dirs++
		} else {
			files++
		}
	}})
	if last.Files != 301 || last.Bytes != r.Summary.TotalBytesProcessed || len(last.Current) != 0 || files != 301 || uint64(dirs) != r.Summary.DirsNew {
		t.Errorf("%+v, %d files, %d directories, %+v", last, files, dirs, r.Summary)
	}
}

// TestRehearsal holds that a rehearsal finds out the same and leaves nothing.
func TestRehearsal(t *testing.T) {
	repo, v := newRepo(t)
	src := t.TempDir()
	archivertest.Small(t, src, 100, 1)
	count := func() int {
		n := 0
		err := filepath.WalkDir(repo, func(_ string, _ os.DirEntry, err error) error { n++; return err })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	s, err := v.NewRehearsal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dry, err := archiver.Run(t.Context(), s, archiver.Options{Paths: []string{src}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := count(); after != before || !dry.Snapshot.ID.IsZero() {
		t.Errorf("%d files in the repository, before it were %d; %+v", after, before, dry)
	}
	real := backup(t, v, archiver.Options{Paths: []string{src}})
	for _, sum := range []*snapshot.Summary{&dry.Summary, &real.Summary} {
		sum.BackupStart, sum.BackupEnd = time.Time{}, time.Time{}
		sum.DataAddedPacked = 0 // directories above src may have changed meanwhile
		sum.DataAdded = 0
	}
	if diff := cmp.Diff(dry.Summary, real.Summary); diff != "" {
		t.Errorf("-rehearsal +real\n%s", diff)
	}
}

// TestFixedBlocks holds that changed pages of a file that is cut in blocks cost little.
func TestFixedBlocks(t *testing.T) {
	repo, v := newRepo(t)
	src := t.TempDir()
	image := src + "/data.ibd"
	data := archivertest.Noise(1, 20<<20+5000)
	if err := os.WriteFile(image, data, 0o644); err != nil {
		t.Fatal(err)
	}
	o := archiver.Options{Paths: []string{src}, FixedBlocks: []string{"*.ibd"}}
	r := backup(t, v, o)
	n, err := v.Find(t.Context(), *r.Snapshot.Tree, image)
	if err != nil || len(n.Content) != 81 || n.Size != uint64(len(data)) {
		t.Fatalf("%d blobs, %v", len(n.Content), err)
	}
	for _, at := range []int{0, 5 << 20, len(data) - 1} {
		data[at]++
	}
	if err := os.WriteFile(image, data, 0o644); err != nil {
		t.Fatal(err)
	}
	o.Parent = r.Snapshot
	if r = backup(t, v, o); r.Summary.DataBlobs != 3 {
		t.Errorf("%d blobs are new: three were changed", r.Summary.DataBlobs)
	}
	restic(t, repo, "", "check", "--read-data")
	if out := restic(t, repo, "", "dump", r.Snapshot.ID.String(), image); !bytes.Equal([]byte(out), data) {
		t.Error("restic dumps other bytes")
	}
}

// TestHardLinksAreReadOnce holds that several names of a file cost one reading.
func TestHardLinksAreReadOnce(t *testing.T) {
	_, v := newRepo(t)
	src := t.TempDir()
	if err := os.WriteFile(src+"/0", archivertest.Noise(1, 2<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1", "2", "3"} {
		if err := os.Link(src+"/0", src+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	s, err := v.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archiver.Run(t.Context(), s, archiver.Options{Paths: []string{src}, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.KnownBytes != 0 {
		t.Errorf("%d bytes were read for nothing", got.KnownBytes)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestChangedWhileParentWasMade holds that a file which changed while the parent was made is read again once, though it
// looks the same: it may have changed twice in one step of the file system's clock.
func TestChangedWhileParentWasMade(t *testing.T) {
	_, v := newRepo(t)
	t.Chdir(t.TempDir()) // the folders above change at any time
	const src = "src"
	plant(t, src, "a", "z")
	settled := time.Now().Add(-time.Hour) // a parent that says when it read, long after "a" changed
	parent := backup(t, v, archiver.Options{Paths: []string{src}}).Snapshot
	again := func(start, end time.Time) int {
		t.Helper()
		text, err := json.Marshal(snapshot.Summary{BackupStart: start, BackupEnd: end})
		if err != nil {
			t.Fatal(err)
		}
		from := *parent
		from.Summary = text
		s, err := v.NewSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r, err := archiver.Run(t.Context(), s, archiver.Options{Paths: []string{src}, Parent: &from})
		if err != nil || r.Summary.FilesUnmodified != 2 {
			t.Fatalf("%+v, %v", r, err)
		}
		read := s.Stats().Known
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		return read
	}
	if n := again(settled, time.Now()); n != 2 {
		t.Errorf("%d of 2 files that changed meanwhile were read", n)
	}
	if n := again(time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)); n != 0 {
		t.Errorf("%d of files that changed before were read", n)
	}
	if n := again(settled, settled.Add(time.Minute)); n != 0 {
		t.Errorf("%d of files whose change time is of the future were read", n)
	}
}
