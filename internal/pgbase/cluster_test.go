package pgbase_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbase"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

const password = "correct horse"

var whose = pgpoint.Whose{App: "shop", Resource: "db"}

// cluster is a server that archives its log beside its data folder.
type cluster struct {
	*pgtest.Server        // LIFEBOAT_POSTGRES_BIN may name one of another version (test/servers/postgres-majors.sh)
	tools          string // the folder of the clients' programs
	major          int    // of the server
	t              testing.TB
}

func TestMain(m *testing.M) { pgtest.Main(m, nil) }

// start makes a cluster and starts its server, which is gone when the test ends.
func start(t testing.TB, initdb ...string) *cluster {
	t.Helper()
	c := prepare(t)
	c.NewCluster(c.Bin, c.Path("data"), initdb...)
	c.Sh(`mkdir "$1/archive" && cat >>"$1/data/postgresql.conf" <<END
max_wal_size = 256MB
archive_mode = on
archive_command = 'cp %p "$1/archive/%f"'
full_page_writes = off
END`, c.Root)
	c.Launch("data")
	return c
}

// prepare gives a folder for a cluster.
func prepare(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t, tools: pgtest.Bin(t), Server: &pgtest.Server{Host: "127.0.0.4", Folder: pgtest.NewFolder(t)}}
	c.Bin = cmp.Or(os.Getenv("LIFEBOAT_POSTGRES_BIN"), c.tools)
	version, err := exec.Command(c.Bin+"/postgres", "--version").Output() // postgres (PostgreSQL) 15.18 (Debian ...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(version), "postgres (PostgreSQL) %d", &c.major); err != nil {
		t.Fatalf("%q: %v", version, err)
	}
	return c
}

// matching is the folder of the clients' programs, or empty where they are of another version than the server.
func (c *cluster) matching() string {
	if c.Bin == c.tools {
		return c.tools
	}
	return ""
}

func store(t testing.TB, dir string) *file.Store {
	t.Helper()
	s, err := file.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newVault makes a vault in a folder.
func newVault(t testing.TB) (*vault.Vault, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vault")
	v, err := vault.Init(t.Context(), store(t, dir), password, vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return v, dir
}

// modes are the two ways in which a cluster is captured.
func (c *cluster) modes() map[string]pgbase.Options {
	common := pgbase.Options{Whose: whose, Site: "east", Fast: true, Server: c.Login()}
	local := common
	local.Folder = c.Path("data")
	return map[string]pgbase.Options{"protocol": common, "folder": local}
}

func capture(t testing.TB, v *vault.Vault, o pgbase.Options) *pgbase.Result {
	t.Helper()
	res, err := pgbase.Capture(t.Context(), v, o)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// restic runs the real restic on the vault in dir.
func restic(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "restic", append([]string{"-r", dir, "--no-cache"}, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password, "RESTIC_PROGRESS_FPS=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("restic %s: %v\n%s (restic judges the vault: test/servers/install.sh restic)", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// restore brings a point back with plain restic into a folder of the cluster, replays the archived log up to the end of
// the backup, and starts it in the cluster's place.
func (c *cluster) restore(dir string, sn *snapshot.Snapshot) {
	c.t.Helper()
	// What was archived last says nothing: that may be the note of a backup's end, which is called after its first segment
	// and comes after the last one.
	c.WaitFor(`not exists (select from pg_ls_archive_statusdir() where name like '%.ready' and left(name, 24) <= pg_walfile_name('` + c.stopOf(dir, sn) + `'))`)
	c.Halt("data", "fast")
	restic(c.t, dir, "restore", sn.ID.String(), "--target", c.Path("restored"))
	c.Adopt(c.Path("restored"))
	// Tablespaces lie elsewhere now.
	c.Sh(`cd "$1/restored" && if [ -e data/tablespace_map ]; then sed -i "s|^\([0-9]*\) .*|\1 $1/restored/tablespaces/\1|" data/tablespace_map; fi &&
for space in tablespaces/*; do [ ! -e "$space" ] || ln -s "$1/restored/$space" "data/pg_tblspc/"; done &&
touch data/recovery.signal && cat >>data/postgresql.conf <<END
archive_command = '/bin/true'
restore_command = 'cp "$1/archive/%f" "%p"'
recovery_target = 'immediate'
recovery_target_action = 'promote'
END
[ ! -e backup_manifest ] || [ "$2" = "" ] || "$2/pg_verifybackup" --no-parse-wal --exit-on-error --ignore=recovery.signal --ignore=postgresql.conf --ignore=tablespace_map --manifest-path=backup_manifest data`,
		c.Root, c.matching())
	c.Launch("restored/data")
	c.WaitFor("not pg_is_in_recovery()")
}

// stopOf is where a point is consistent.
func (c *cluster) stopOf(dir string, sn *snapshot.Snapshot) string {
	c.t.Helper()
	v, err := vault.Open(c.t.Context(), store(c.t, dir), password, vault.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := pgpoint.ReadBase(c.t.Context(), v, sn)
	if err != nil {
		c.t.Fatal(err)
	}
	return b.Stop.String()
}
