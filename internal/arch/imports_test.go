package arch

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// module is what the project's own packages are called.
const module = "github.com/lifeboat-dr/lifeboat/"

// rule is what the packages of one room may import of the project's own, besides their own room. Third is what they
// may import of others; nil: whatever no other rule reserves.
type rule struct {
	room  string // the folder; the longest one that fits a package is its room
	own   []string
	third []string
}

// std stands for "nothing but the standard library".
var std = []string{}

// leaves are what everybody but the leaves themselves may import.
var leaves = []string{"model", "failure", "secret"}

// rules hold every room that there is. A package without a room fails, so that a new one is thought about.
// A room may be listed before it exists.
var rules = []rule{
	{"model", nil, std},
	{"failure", nil, std},
	{"secret", []string{"failure"}, std},
	{"driver", leaves, std},
	{"driver/fake", with("driver"), std},
	{"driver/drivertest", with("driver", "test/leaks"), []string{"go.uber.org/goleak", "github.com/google/go-cmp"}},
	{"drivers", with("driver", "internal/hostexec", "internal/hostproc", "internal/probe"), nil},
	{"drivers/aws", with("driver", "drivers/aws/longwork", "drivers/aws/metric", "drivers/aws/snapshots", "internal/awsanswer"), nil},
	{"internal/awsanswer", nil, []string{"github.com/aws/smithy-go"}},
	{"drivers/aws/longwork", with("driver", "drivers/aws"), std},
	{"drivers/aws/metric", with("driver", "drivers/aws"), nil},
	{"drivers/aws/awslook", with("drivers/aws", "drivers/aws/awstest"), nil},
	{"drivers/aws/awstest", nil, std},
	{"drivers/aws/preflight/preflighttest", with("driver", "drivers/aws/awstest", "api", "internal/iampolicy"), std},
	{"drivers/aws/awstest/emulator", nil, std},
	{"drivers/aws/awstest/workbench", with("driver", "drivers/aws", "drivers/aws/awstest", "drivers/aws/awstest/emulator"), []string{"github.com/google/go-cmp"}},
	{"drivers/aws/awstest/awsmodel", []string{"drivers/aws/awstest/emulator"}, []string{"github.com/aws/smithy-go"}},
	{"drivers/aws/awstest/shop", with("drivers/aws/awstest"), nil},
	{"drivers/aws/snapshots", with("driver", "drivers/aws", "internal/vault/retention", "internal/vault/snapshot"), std},
	{"drivers/aws/orchestrator", with("driver", "drivers/aws", "internal/statepayload"), nil},
	{"drivers/all", with("driver", "driver/fake", "drivers", "drivers/aws", "drivers/files", "drivers/postgres"), std},
	{"api", []string{"model", "failure"}, std},
	{"internal/pgwal", []string{"failure"}, std},
	{"internal/walspool", []string{"failure", "internal/pgwal"}, nil},
	{"internal/walreceiver", []string{"failure", "internal/pgwal", "internal/pgrepl", "internal/walspool"}, nil},
	{"internal/pgrepl", []string{"failure", "internal/pgwal"}, nil},
	{"internal/pgpoint", []string{"failure", "model", "internal/pgwal", "internal/vault", "internal/vault/object", "internal/vault/snapshot", "internal/vault/tree"}, std},
	{"internal/pgbase", with("internal/pgwal", "internal/pgrepl", "internal/pgpoint", "internal/vault", "internal/vault/object", "internal/vault/snapshot",
		"internal/vault/tree", "internal/vault/fsnode"), nil},
	{"internal/pglog", with("internal/pgwal", "internal/pgrepl", "internal/pgpoint", "internal/walspool", "internal/walreceiver", "internal/vault", "internal/vault/blob",
		"internal/vault/location", "internal/vault/object", "internal/vault/snapshot", "internal/vault/tree"), nil},
	{"internal/pgrestore", with("internal/pgwal", "internal/pgpoint", "internal/pglog", "internal/walspool", "internal/vault", "internal/vault/restorer",
		"internal/vault/object", "internal/vault/snapshot", "internal/vault/tree", "internal/hostexec", "internal/term/units", "internal/pgrestore/ask"), nil},
	{"internal/pgrestore/ask", nil, std},
	{"internal/pgbackrest", with("internal/pgwal", "internal/pgpoint", "internal/vault", "internal/vault/object", "internal/vault/snapshot", "internal/vault/tree"), nil},
	{"internal/pgproof", with("internal/pgwal", "internal/pgpoint", "internal/pgrestore", "internal/term/units"), nil},
	{"internal/pgbackrest", []string{"failure", "internal/pgwal"}, nil},
	{"internal/pgbackrest/pgbackresttest", []string{"drivers/postgres", "internal/hostexec"}, std}, // pgtest is in that room
	{"internal/pgbackrest/importer", []string{"failure", "model", "internal/pgbackrest", "internal/pgpoint", "internal/pgwal", "internal/vault", "internal/vault/object",
		"internal/vault/snapshot", "internal/vault/tree"}, nil},
	{"internal/hostexec", leaves, nil},
	{"internal/hostproc", with("internal/hostexec"), nil},
	{"internal/journal", []string{"failure", "secret"}, nil},
	{"internal/engine", []string{"model", "failure", "driver", "api", "internal/journal"}, nil},
	{"internal/iampolicy", with("driver", "api"), std},
	{"internal/plan", []string{"model", "failure", "driver", "api"}, std},
	{"internal/schedule", []string{"failure"}, nil},
	{"internal/statepayload", []string{"model"}, std},
	{"internal/config", with("driver", "api", "internal/schedule", "internal/vault/retention"), nil},
	{"internal/probe", with("driver"), nil},
	{"internal/report", []string{"model", "failure", "api", "internal/term/units"}, nil},
	{"internal/service", with("driver", "driver/fake", "drivers", "api", "internal/config", "internal/iampolicy", "internal/plan", "internal/statepayload", "internal/engine",
		"internal/journal", "internal/report", "internal/probe", "internal/schedule", "internal/hostexec", "internal/hostproc"), nil},
	{"internal/term", []string{"model", "failure", "api", "internal/term/units"}, nil},
	{"internal/term/units", nil, std},
	{"internal/cli", []string{"api", "model", "failure", "internal/term", "internal/term/units"}, nil},
	{"internal/demo", with("api", "drivers/aws/awstest", "drivers/aws/awstest/shop", "examples", "internal/bubble", "internal/probe", "internal/hostexec", "internal/hostproc", "internal/term", "internal/term/units"), nil},
	{"internal/vault", []string{"failure", "internal/vault/blob", "internal/vault/object", "internal/vault/chunk", "internal/vault/crypto", "internal/vault/pack",
		"internal/vault/index", "internal/vault/tree", "internal/vault/snapshot", "internal/vault/retention"}, []string{"github.com/klauspost/compress", "github.com/restic/chunker",
		"golang.org/x/sync"}},
	{"internal/vault/blob", []string{"failure", "secret"}, nil},
	{"internal/vault/blob/s3", []string{"failure", "secret", "internal/vault/blob", "internal/awsanswer"}, nil},
	{"internal/vault/location", []string{"failure", "secret", "model", "internal/vault", "internal/vault/blob", "internal/vault/blob/s3"}, nil},
	{"internal/vault/server", []string{"failure", "secret", "internal/vault/blob"}, nil},
	{"internal/vault/retention", []string{"failure", "model", "internal/vault/object", "internal/vault/snapshot"}, std},
	{"internal/vault/filter", []string{"failure"}, nil},
	{"internal/vault/fsnode", []string{"failure", "internal/vault/tree"}, nil},
	{"internal/vault/archiver", []string{"failure", "internal/vault", "internal/vault/filter", "internal/vault/fsnode",
		"internal/vault/object", "internal/vault/snapshot", "internal/vault/tree"}, nil},
	{"internal/vault/restorer", []string{"failure", "internal/vault", "internal/vault/filter", "internal/vault/fsnode",
		"internal/vault/object", "internal/vault/snapshot", "internal/vault/tree"}, nil},
	{"internal/vault/mount", []string{"failure", "internal/vault", "internal/vault/object", "internal/vault/snapshot", "internal/vault/tree"}, nil},
	{"internal/vaultservice", with("api", "internal/vault", "internal/vault/blob", "internal/vault/location", "internal/vault/server", "internal/vault/retention",
		"internal/vault/filter", "internal/vault/archiver", "internal/vault/restorer", "internal/vault/mount", "internal/vault/object",
		"internal/vault/snapshot", "internal/vault/tree", "internal/pgbackrest", "internal/pgbackrest/importer", "internal/pgbackrest/s3", "internal/pgpoint"), nil},
	{"internal/vaultjob", with("driver", "internal/hostexec", "internal/term/units", "internal/vault", "internal/vault/location", "internal/vault/retention",
		"internal/vault/object", "internal/vault/snapshot"), std},
	{"drivers/postgres", with("test/ports", "driver", "internal/hostexec", "internal/hostproc", "internal/vaultjob", "internal/term/units", "internal/pgwal", "internal/pgpoint", "internal/pgbase",
		"internal/pglog", "internal/pgrestore", "internal/pgproof", "internal/vault", "internal/vault/location", "internal/vault/retention", "internal/vault/object",
		"internal/vault/snapshot"), nil},
	{"drivers/files", with("driver", "internal/hostexec", "internal/vaultjob", "internal/term/units", "internal/vault/fsnode", "internal/vault", "internal/vault/location",
		"internal/vault/retention", "internal/vault/filter", "internal/vault/archiver", "internal/vault/restorer", "internal/vault/object",
		"internal/vault/snapshot", "internal/vault/tree"), nil},
	{"internal/vault/chunk", nil, []string{"github.com/restic/chunker"}},
	{"internal/vault/object", []string{"failure"}, std},
	{"internal/vault/crypto", []string{"failure"}, []string{"golang.org/x/crypto"}},
	{"internal/vault/pack", []string{"failure", "internal/vault/object", "internal/vault/crypto"}, std},
	{"internal/vault/index", []string{"failure", "internal/vault/object", "internal/vault/crypto", "internal/vault/pack"}, std},
	{"internal/vault/tree", []string{"failure", "internal/vault/object"}, std},
	{"internal/vault/snapshot", []string{"failure", "internal/vault/object"}, std},
	{"internal/rehearsal", with("api", "driver", "driver/fake", "drivers/aws", "drivers/aws/awslook", "drivers/aws/awstest", "drivers/aws/orchestrator",
		"internal/bubble", "internal/config", "internal/journal",
		"internal/plan", "internal/service"), std},
	{"internal/arch", nil, std},
	{"internal/bubble", nil, std},
	{"examples", nil, std},
	{"cmd/lifeboat", with("driver", "drivers", "drivers/files", "drivers/postgres", "internal/pglog", "api", "internal/cli", "internal/config", "internal/service", "internal/demo",
		"drivers/aws/awstest", "internal/journal", "internal/pgrestore/ask", "internal/rehearsal", "internal/report", "internal/term", "internal/vaultservice"), nil},
	{"test", with("api", "driver", "driver/fake"), nil},
	{"test/leaks", nil, []string{"go.uber.org/goleak"}},
	{"test/ports", nil, std},
	{"test/bench/measured", nil, std},
	{"test/bench/postgres", []string{"test/bench/measured", "internal/pgbase", "internal/pgpoint", "internal/vault", "internal/vault/blob", "internal/vault/restorer"}, nil},
	{"test/bench/vault", []string{"test/bench/measured", "internal/vault/chunk", "internal/vault/crypto", "internal/vault/object"}, nil},
}

func with(more ...string) []string { return append(slices.Clone(leaves), more...) }

// reserved are modules that belong to certain rooms.
var reserved = map[string][]string{
	"github.com/aws/":                 {"drivers/aws", "internal/awsanswer", "internal/vault/blob/s3", "internal/pgbackrest/s3"},
	"github.com/jackc/pgx/":           {"drivers/postgres", "drivers/check", "internal/demo", "internal/pgrepl", "internal/walreceiver", "internal/pgbase", "internal/pglog", "internal/pgrestore", "internal/pgproof", "test/bench/postgres"},
	"go.etcd.io/":                     {"internal/journal/etcd"},
	"google.golang.org/grpc":          {"internal/journal/etcd"},
	"github.com/miekg/dns":            {"drivers/dns", "drivers/check", "internal/demo", "internal/probe"},
	"github.com/spf13/":               {"internal/cli", "cmd/lifeboat"},
	"github.com/charmbracelet/":       {"internal/cli", "internal/term", "internal/demo"},
	"golang.org/x/term":               {"internal/cli", "internal/term", "internal/demo"},
	"github.com/goccy/go-yaml":        {"internal/config"},
	"github.com/invopop/jsonschema":   {"internal/config"},
	"k8s.io/":                         {"drivers/kubernetes"},
	"github.com/google/go-cmp":        {"driver/drivertest", "drivers/aws/awstest/workbench", "internal/journal/journaltest", "internal/vault/blob/blobtest"},
	"go.uber.org/goleak":              {"driver/drivertest", "test/leaks"},
	"github.com/anishathalye/":        {"internal/journal/journaltest"},
	"github.com/rogpeppe/go-internal": {},
	"github.com/restic/":              {"internal/vault", "test/bench/vault"},
	"golang.org/x/crypto":             {"internal/vault/crypto", "internal/vault/server"},
	"github.com/robfig/cron":          {"internal/schedule"},
	"github.com/prometheus/":          {"internal/service"},
	"github.com/pierrec/lz4/":         {"internal/pgbackrest"},
	"github.com/hanwen/go-fuse/":      {"internal/vault/mount"},
}

// pure packages decide and do nothing: not even what they import may reach outside.
var pure = map[string][]string{
	"internal/plan": {"net", "net/http", "os", "os/exec", "syscall"},
	"model":         {"net", "net/http", "os", "os/exec", "syscall"},
	"api":           {"net", "net/http", "os", "os/exec", "syscall"},
}

// pkg is what go list says of one.
type pkg struct {
	ImportPath string
	Dir        string
	Standard   bool
	GoFiles    []string
	Imports    []string
}

// room finds the rule of a package by its path inside of the module.
func room(path string) (rule, bool) {
	var best rule
	for _, r := range rules {
		if within(path, r.room) && len(r.room) > len(best.room) {
			best = r
		}
	}
	return best, best.room != ""
}

func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// packages lists the project's own packages with what they import, tests left out. Files for every platform count.
func packages(t *testing.T) []pkg {
	t.Helper()
	listing.Lock()
	defer listing.Unlock()
	if listing.all == nil {
		listing.all = list(t)
	}
	return listing.all
}

// listing is go list's answer, which takes its time and is the same for every test here.
var listing struct {
	sync.Mutex
	all []pkg
}

func list(t *testing.T) []pkg {
	t.Helper()
	seen := map[string]*pkg{}
	for _, goos := range []string{"linux", "darwin"} {
		cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Standard,GoFiles,Imports", "./...")
		cmd.Dir = root(t)
		cmd.Env = append(cmd.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		dec := json.NewDecoder(strings.NewReader(string(out)))
		for dec.More() {
			var p pkg
			if err := dec.Decode(&p); err != nil {
				t.Fatal(err)
			}
			if had := seen[p.ImportPath]; had != nil {
				had.Imports = append(had.Imports, p.Imports...)
			} else {
				seen[p.ImportPath] = &p
			}
		}
	}
	var all []pkg
	for _, p := range seen {
		slices.Sort(p.Imports)
		p.Imports = slices.Compact(p.Imports)
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b pkg) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	if len(all) < 5 {
		t.Fatalf("go list finds %d packages: that cannot be all", len(all))
	}
	return all
}

// TestArrows holds which way imports point.
func TestArrows(t *testing.T) {
	for _, p := range packages(t) {
		for _, broken := range violations(p) {
			t.Error(broken)
		}
	}
}

// violations lists what p imports and must not.
func violations(p pkg) []string {
	path := strings.TrimPrefix(p.ImportPath, module)
	r, ok := room(path)
	if !ok {
		return []string{path + ": a room without a rule: say in internal/arch what it may import"}
	}
	var broken []string
	for _, imp := range p.Imports {
		if own, ours := strings.CutPrefix(imp, module); ours {
			if !allowed(path, own, r) {
				broken = append(broken, path+" must not import "+own+" (the rule of "+r.room+")")
			}
			continue
		}
		if !strings.Contains(strings.Split(imp, "/")[0], ".") {
			continue // the standard library
		}
		if r.third != nil && !slices.ContainsFunc(r.third, func(m string) bool { return within(imp, m) }) {
			broken = append(broken, path+" must not import "+imp+" (the rule of "+r.room+")")
		}
		for m, rooms := range reserved {
			if strings.HasPrefix(imp, m) && !slices.ContainsFunc(rooms, func(room string) bool { return within(path, room) }) {
				broken = append(broken, path+" must not import "+imp+": it is for "+strings.Join(rooms, ", "))
			}
		}
	}
	return broken
}

// allowed reports whether path may import own: what its rule lists, and its own room. Drivers know nothing of each
// other; a listed "driver" does not stand for the suite and the fake below it.
func allowed(path, own string, r rule) bool {
	to, ok := room(own)
	if !ok {
		return false
	}
	if r.room == "drivers" && to.room == "drivers" {
		return strings.Split(path, "/")[1] == strings.Split(own, "/")[1]
	}
	if to.room == r.room {
		return true
	}
	return slices.ContainsFunc(r.own, func(listed string) bool { return listed == to.room || within(to.room, listed) && listed == "drivers" })
}

// TestPure holds that what only decides cannot reach outside, by whatever way.
func TestPure(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			if slices.Contains(pure[path], imp) {
				t.Errorf("%s only decides, and must not import %s", path, imp)
			}
		}
	}
}

// TestArrowsBite shows that the rules catch what they are for.
func TestArrowsBite(t *testing.T) {
	for _, tt := range []struct {
		path, imports string
		ok            bool
	}{
		{"model", "time", true},
		{"model", module + "failure", false},
		{"model", "golang.org/x/sync/errgroup", false},
		{"secret", module + "failure", true},
		{"driver", module + "internal/engine", false},
		{"drivers/dns", module + "driver", true},
		{"drivers/dns", module + "drivers/postgres", false},
		{"drivers/dns", module + "internal/hostexec", true},
		{"drivers/dns", module + "internal/journal", false},
		{"drivers/dns", module + "driver/fake", false},
		{"drivers/aws/rds", module + "drivers/aws/awsbase", true},
		{"drivers/aws/rds", module + "drivers/aws/awstest", false},
		{"drivers/aws/rds", module + "internal/hostexec", false},
		{"drivers/aws/awstest", "github.com/aws/aws-sdk-go-v2/aws", false},
		{"drivers/dns", module + "drivers/aws/awsbase", false},
		{"drivers/all", module + "drivers/dns", true},
		{"drivers/postgres", "github.com/jackc/pgx/v5", true},
		{"drivers/command", "github.com/jackc/pgx/v5", false},
		{"internal/engine", module + "internal/journal", true},
		{"internal/engine", module + "drivers/dns", false},
		{"internal/engine", "go.etcd.io/etcd/client/v3", false},
		{"internal/journal/etcd", "go.etcd.io/etcd/client/v3", true},
		{"internal/cli", module + "api", true},
		{"internal/cli", module + "internal/service", false},
		{"internal/cli", module + "internal/journal", false},
		{"internal/cli", module + "driver", false},
		{"internal/cli", module + "secret", false},
		{"internal/cli", "github.com/spf13/cobra", true},
		{"internal/service", "github.com/spf13/cobra", false},
		{"internal/service", module + "internal/cli", false},
		{"internal/demo/world", module + "internal/service", false},
		{"internal/demo/world", module + "internal/plan", false},
		{"internal/plan", module + "internal/journal", false},
		{"internal/vault", module + "internal/vault/pack", true},
		{"internal/vault", module + "driver", false},
		{"internal/vault/tree", module + "internal/vault", false},
		{"internal/vault/pack", module + "internal/vault/index", false},
		{"internal/vault/snapshot", "golang.org/x/crypto/scrypt", false},
		{"internal/service", "github.com/restic/chunker", false},
		{"internal/vault", module + "internal/vault/blob", true},
		{"internal/vault/blob/file", module + "internal/vault/pack", false},
		{"internal/vault/blob/s3", "github.com/aws/aws-sdk-go-v2/service/s3", true},
		{"internal/vault", "github.com/aws/aws-sdk-go-v2/service/s3", false},
		{"internal/vault/blob", module + "model", false},
		{"internal/no-such-room", "time", false},
	} {
		broken := violations(pkg{ImportPath: module + tt.path, Imports: []string{tt.imports}})
		if got := len(broken) == 0; got != tt.ok {
			t.Errorf("%s imports %s: allowed %v, want %v", tt.path, tt.imports, got, tt.ok)
		}
	}
}
