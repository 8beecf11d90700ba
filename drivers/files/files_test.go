package files

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/files/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestMain makes this test the program that does jobs, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == job.Program {
		if err := job.Main(context.Background(), os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	east model.SiteID = "east"
	west model.SiteID = "west"
)

// world is two sites on this machine, with a vault and its replica.
type world struct {
	t        testing.TB
	root     string
	d        *Driver
	resource model.Resource
	tokens   int
	live     string // the folder's name
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, root: t.TempDir(), d: New(nil), live: "uploads"}
	t.Setenv("FILES_TEST_PASSWORD", "hunter2-not-in-any-answer")
	t.Setenv("HOME", w.root) // the cache of vaults
	at := func(name string) model.Vault {
		return model.Vault{Name: name, URL: filepath.Join(w.root, "vaults", name), Password: "env:FILES_TEST_PASSWORD", Cache: "none"}
	}
	for _, name := range []string{"main", "second"} {
		_, closer, err := location.Init(t.Context(), at(name), location.Options{Vault: vault.Options{KDF: crypto.Params{N: 1 << 4, R: 8, P: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	main := at("main")
	main.Replicas = []model.Vault{at("second")}
	w.resource = model.Resource{ID: "uploads", App: "shop", Kind: Kind, Vault: &main, Sites: map[model.SiteID]jsonText{
		east: w.site(east), west: w.site(west)}}
	for _, site := range []model.SiteID{east, west} {
		w.must(os.MkdirAll(filepath.Join(w.root, string(site)), 0o755))
	}
	w.must(os.Mkdir(w.folder(east), 0o750))
	return w
}

type jsonText = json.RawMessage

func (w *world) site(s model.SiteID) jsonText {
	return fmt.Appendf(nil, `{"folder":%q,"drill":{"folder":%q}}`, w.folder(s), filepath.Join(w.root, string(s), "drill"))
}

func (w *world) folder(s model.SiteID) string { return filepath.Join(w.root, string(s), w.live) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(path, content string) {
	w.t.Helper()
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, []byte(content), 0o640))
}

func (w *world) read(path string) string {
	w.t.Helper()
	b, err := os.ReadFile(path)
	w.must(err)
	return string(b)
}

func (w *world) target(at, peer model.SiteID) driver.Target {
	return driver.Target{App: "shop", Resource: w.resource, Site: at, Peer: peer}
}

func (w *world) request(action model.Action, at, peer model.SiteID) driver.Request {
	w.tokens++
	return driver.Request{Target: w.target(at, peer), Action: action, Run: "R", Step: model.StepID(action), Attempt: 1,
		Token: strings.ToLower(strings.Trim(string(action), "-")[:4]) + strings.Repeat("a", w.tokens)}
}

// work begins a request and waits for its end.
func (w *world) work(req driver.Request) driver.Observation {
	w.t.Helper()
	h, err := driver.Begin(w.t.Context(), w.d, req)
	w.must(err)
	return w.await(req, h)
}

func (w *world) await(req driver.Request, h driver.Handle) driver.Observation {
	w.t.Helper()
	for {
		obs, err := w.d.Observe(w.t.Context(), req, h)
		w.must(err)
		if obs.State != driver.Pending {
			return obs
		}
		select {
		case <-w.t.Context().Done():
			w.t.Fatalf("%s is still %s", req.Action, obs.Phase)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// done is work that has to end well.
func (w *world) done(action model.Action, at, peer model.SiteID) driver.Observation {
	w.t.Helper()
	obs := w.work(w.request(action, at, peer))
	if obs.State != driver.Done {
		w.t.Fatalf("%s at %s: %s %v", action, at, obs.State, obs.Err)
	}
	return obs
}

func (w *world) role(site model.SiteID, want model.Role) model.Description {
	w.t.Helper()
	got, err := w.d.Describe(w.t.Context(), w.target(site, ""))
	w.must(err)
	if got.Role != want {
		w.t.Fatalf("%s is %s (%s), want %s", site, got.Role, got.Summary, want)
	}
	return got
}

// TestThereAndBack is a life: points, a disaster, the other site, home again.
func TestThereAndBack(t *testing.T) {
	w := newWorld(t)
	w.write(w.folder(east)+"/a/one.txt", "one")
	w.write(w.folder(east)+"/two.txt", "two")
	w.role(east, model.RolePrimary)
	w.role(west, model.RoleAbsent)
	w.must(w.d.WriteMarker(t.Context(), w.target(east, west), model.Marker{Seq: 7, At: time.Unix(1_800_000_000, 5).UTC()}))
	w.done(model.ActionCapture, east, "")
	if got := fmt.Sprint(w.role(west, model.RoleStandby).Facts); !strings.Contains(got, "replica second has none of 1 points") {
		t.Errorf("before the copy: %s", got)
	}
	w.done(model.ActionCopy, east, "")
	if got := fmt.Sprint(w.role(west, model.RoleStandby).Facts); !strings.Contains(got, "replica second in step") {
		t.Errorf("after the copy: %s", got)
	}
	w.write(w.folder(east)+"/late.txt", "after the last capture")

	// The site burns down, without its folder; only the vault is left.
	w.must(os.Rename(w.folder(east), w.root+"/burnt"))
	up := w.done(model.ActionPromote, west, east)
	if got := up.Outputs["path"].Text; got != w.folder(west) {
		t.Errorf("path %q", got)
	}
	if w.read(w.folder(west)+"/a/one.txt") != "one" || w.read(w.folder(west)+"/two.txt") != "two" {
		t.Error("not what was captured")
	}
	if info, err := os.Stat(w.folder(west)); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("the folder's own mode: %v %v", info.Mode(), err)
	}
	if _, err := os.Lstat(w.folder(west) + "/" + job.Self); err == nil {
		t.Error("a file of ours is in the live folder")
	}
	marker := w.done(model.ActionReadMarker, west, east)
	if marker.Outputs["marker_seq"].Text != "7" {
		t.Errorf("marker %v", marker.Outputs)
	}
	w.role(west, model.RolePrimary)

	// East comes back with what it had, is fenced, and follows; what was only there is kept.
	w.must(os.Rename(w.root+"/burnt", w.folder(east)))
	w.done(model.ActionFence, east, west)
	w.role(east, model.RoleFenced)
	w.write(w.folder(west)+"/new.txt", "written at west")
	w.done(model.ActionCapture, west, "")
	back := w.done(model.ActionReverse, east, west)
	if !strings.Contains(fmt.Sprint(back.Evidence), "left_behind kept in the vault") {
		t.Errorf("what was left behind: %v", back.Evidence)
	}
	w.role(east, model.RoleStandby)

	// Home again, planned: nothing is lost.
	w.write(w.folder(west)+"/last.txt", "the last one")
	w.done(model.ActionQuiesce, west, east)
	w.done(model.ActionPromote, east, west)
	for file, want := range map[string]string{"a/one.txt": "one", "two.txt": "two", "new.txt": "written at west", "last.txt": "the last one"} {
		if got := w.read(filepath.Join(w.folder(east), file)); got != want {
			t.Errorf("%s: %q", file, got)
		}
	}
	if _, err := os.Lstat(w.folder(east) + "/late.txt"); !os.IsNotExist(err) {
		t.Errorf("what the recovery point did not have came back: %v", err)
	}
	w.role(east, model.RolePrimary)
	w.role(west, model.RoleFenced)
	again := w.done(model.ActionReverse, west, east)
	if strings.Contains(fmt.Sprint(again.Evidence), "left_behind") {
		t.Errorf("left behind, although all was captured: %v", again.Evidence)
	}

	points, err := w.d.Points(t.Context(), w.target(east, west))
	w.must(err)
	fromWest, err := w.d.Points(t.Context(), w.target(west, east))
	w.must(err)
	if len(points) != 1 || len(fromWest) != 2 {
		t.Errorf("%d points of east, %d of west", len(points), len(fromWest))
	}
}

// TestDrillLeavesNothing drills beside a live folder.
func TestDrillLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.write(w.folder(east)+"/one.txt", "one")
	w.done(model.ActionCapture, east, "")
	drill := w.request(model.ActionDrill, west, east)
	obs := w.work(drill)
	if obs.State != driver.Done || w.read(obs.Outputs["path"].Text+"/one.txt") != "one" || !strings.Contains(fmt.Sprint(obs.Evidence), "files read back") {
		t.Fatalf("%s %v %v", obs.State, obs.Err, obs.Evidence)
	}
	release := w.request(model.ActionRelease, west, east)
	release.Released = &driver.Released{Token: drill.Token}
	if got := w.work(release); got.State != driver.Done {
		t.Fatalf("release: %s %v", got.State, got.Err)
	}
	left, err := filepath.Glob(w.root + "/west/drill/*")
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	w.role(east, model.RolePrimary)
	w.role(west, model.RoleStandby)
}

// TestReplicaServes recovers when the vault itself is gone.
func TestReplicaServes(t *testing.T) {
	w := newWorld(t)
	w.write(w.folder(east)+"/one.txt", "one")
	w.done(model.ActionCapture, east, "")
	w.done(model.ActionCopy, east, "")
	w.must(os.RemoveAll(w.resource.Vault.URL))
	w.must(os.RemoveAll(w.folder(east)))
	w.done(model.ActionPromote, west, east)
	if got := w.read(w.folder(west) + "/one.txt"); got != "one" {
		t.Errorf("one.txt: %q", got)
	}
}

// TestForeignFolderIsNotServed: a folder that nobody brought there is neither served nor written over.
func TestForeignFolderIsNotServed(t *testing.T) {
	w := newWorld(t)
	w.write(w.folder(east)+"/one.txt", "one")
	w.done(model.ActionCapture, east, "")
	w.must(os.RemoveAll(w.folder(east)))
	w.write(w.folder(west)+"/precious.txt", "somebody's")
	obs := w.work(w.request(model.ActionPromote, west, east))
	if obs.State != driver.Failed || failure.KindOf(obs.Err) != failure.Conflict || obs.Err.Hint == "" {
		t.Fatalf("%s %v", obs.State, obs.Err)
	}
	if got := w.read(w.folder(west) + "/precious.txt"); got != "somebody's" {
		t.Errorf("precious.txt: %q", got)
	}
}

// TestExpireKeepsWhatThePolicySays removes points here and in the replica, and never the newest one or what is on hold.
func TestExpireKeepsWhatThePolicySays(t *testing.T) {
	w := newWorld(t)
	for i := range 4 {
		w.write(w.folder(east)+"/n.txt", fmt.Sprint(i))
		w.done(model.ActionCapture, east, "")
	}
	w.done(model.ActionCopy, east, "")
	w.resource.Points = &model.PointPolicy{Keep: &model.Retention{Last: 2}}
	obs := w.done(model.ActionExpire, east, "")
	if !strings.Contains(fmt.Sprint(obs.Evidence), "removed 4 points") {
		t.Errorf("evidence %v", obs.Evidence)
	}
	for _, v := range append([]model.Vault{*w.resource.Vault}, w.resource.Vault.Replicas...) {
		v.Replicas = nil
		other := *w
		other.resource.Vault = &v
		points, err := w.d.Points(t.Context(), other.target(east, ""))
		w.must(err)
		if len(points) != 2 {
			t.Errorf("%d points in %s, want 2", len(points), v.Name)
		}
	}
	w.must(os.RemoveAll(w.folder(east)))
	w.done(model.ActionPromote, west, east)
	if got := w.read(w.folder(west) + "/n.txt"); got != "3" {
		t.Errorf("the newest point holds %q, want 3", got)
	}
}

// TestNobodyWritesToAFencedFolder: who holds a file of it open for writing holds the proof up.
func TestNobodyWritesToAFencedFolder(t *testing.T) {
	w := newWorld(t)
	w.live = "up[lo]ads*" // special to find
	w.resource.Sites[east] = w.site(east)
	w.write(w.folder(east)+"/one.txt", "one")
	w.done(model.ActionCapture, east, "")
	writer, err := os.OpenFile(w.folder(east)+"/one.txt", os.O_WRONLY|os.O_APPEND, 0)
	w.must(err)
	reader, err := os.Open(w.folder(east) + "/one.txt")
	w.must(err)
	defer reader.Close()
	if _, err := driver.Begin(t.Context(), w.d, w.request(model.ActionQuiesce, east, west)); failure.KindOf(err) != failure.Conflict {
		t.Errorf("quiesced while a file is open for writing: %v", err)
	}
	fence := w.request(model.ActionFence, east, west)
	h, err := driver.Begin(t.Context(), w.d, fence)
	w.must(err)
	obs, err := w.d.Observe(t.Context(), fence, h)
	w.must(err)
	if obs.State != driver.Pending || !strings.Contains(obs.Phase, fmt.Sprint(os.Getpid())) {
		t.Errorf("while a file is open for writing: %s %s", obs.State, obs.Phase)
	}
	w.must(writer.Close())
	if obs := w.await(fence, h); obs.State != driver.Done || !strings.Contains(fmt.Sprint(obs.Evidence), "kept as") {
		t.Errorf("once it is closed: %s %v %v", obs.State, obs.Err, obs.Evidence)
	}
	w.done(model.ActionQuiesce, east, west)
}

// TestWhatIsSelected keeps some paths and leaves out some names; the marker comes along.
func TestWhatIsSelected(t *testing.T) {
	w := newWorld(t)
	list := filepath.Join(w.root, "excludes")
	w.write(list, "# of the host\n*.bak\n")
	w.resource.Settings = json.RawMessage(fmt.Sprintf(`{"paths":["keep","also/this"],"exclude":["*.tmp"],"exclude_files":[%q]}`, list))
	for _, name := range []string{"keep/a", "keep/b.tmp", "keep/c.bak", "also/this/c", "also/not/d", "e"} {
		w.write(filepath.Join(w.folder(east), name), name)
	}
	w.must(w.d.WriteMarker(t.Context(), w.target(east, west), model.Marker{Seq: 1, At: time.Now()}))
	w.done(model.ActionCapture, east, "")
	w.must(os.RemoveAll(w.folder(east)))
	w.done(model.ActionPromote, west, east)
	var got []string
	w.must(filepath.WalkDir(w.folder(west), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			got = append(got, strings.TrimPrefix(path, w.folder(west)+"/"))
		}
		return err
	}))
	if want := "[.lifeboat-marker.json also/this/c keep/a]"; fmt.Sprint(got) != want {
		t.Errorf("came back: %v, want %s", got, want)
	}
}

// TestBadSettings holds that each mistake is told by the name of its setting.
func TestBadSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{"paths":["/abs"]}`:            "paths[0]",
		`{"paths":["ok","../out"]}`:     "paths[1]",
		`{"exclude":["["]}`:             "exclude",
		`{"exclude_files":["x"]}`:       "exclude_files[0]",
		`{"exclude_larger_than":"big"}`: "exclude_larger_than",
		`{"verify":"sometimes"}`:        "verify",
		`{"foldr":"x"}`:                 "foldr",
	} {
		if _, err := driver.Decode[Settings](json.RawMessage(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one about %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		`{"folder":"rel"}`:                                "folder",
		`{"folder":"/"}`:                                  "folder",
		`{"folder":"/a","work":"b"}`:                      "work",
		`{"folder":"/a/b","drill":{"folder":"/a"}}`:       "drill.folder",
		`{"folder":"/a/b","drill":{"folder":"/a/b/c/d"}}`: "drill.folder",
		`{"folder":"/a","via":[""]}`:                      "via",
	} {
		if _, err := driver.Decode[Site](json.RawMessage(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one about %s", text, err, want)
		}
	}
}
