package pgbase_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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

// cluster is a server in a folder of its own, that archives its log there.
type cluster struct {
	t     testing.TB
	bin   string // of the server's programs: LIFEBOAT_POSTGRES_BIN, which may be of another version (test/servers/postgres-majors.sh)
	tools string // of the clients'
	major int    // of the server
	root  string // data, archive, and what tests make
	host  string
	port  int
}

// start makes a cluster and starts its server, which is gone when the test ends.
func start(t testing.TB, initdb ...string) *cluster {
	t.Helper()
	c := prepare(t)
	c.sh(`"$1/initdb" -D "$2/data" -U postgres -A trust --no-sync -E UTF8 --locale C $3 >/dev/null && mkdir "$2/archive" &&
cat >>"$2/data/postgresql.conf" <<END
unix_socket_directories = ''
max_wal_size = 256MB
archive_mode = on
archive_command = 'cp %p "$2/archive/%f"'
full_page_writes = off
END
echo 'host all,replication all 127.0.0.0/8 trust' >>"$2/data/pg_hba.conf"`, c.bin, c.root, strings.Join(initdb, " "))
	c.launch("data")
	return c
}

// prepare gives a folder for a cluster, and sees to it that nothing of it is left.
func prepare(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t, tools: pgtest.Bin(t), host: "127.0.0.4"}
	c.bin = cmp.Or(os.Getenv("LIFEBOAT_POSTGRES_BIN"), c.tools)
	version, err := exec.Command(c.bin+"/postgres", "--version").Output() // postgres (PostgreSQL) 15.18 (Debian ...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(version), "postgres (PostgreSQL) %d", &c.major); err != nil {
		t.Fatalf("%q: %v", version, err)
	}
	if c.root, err = os.MkdirTemp("", "pgbase"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.clean)
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatalf("root needs an unprivileged user for PostgreSQL: %v (apt-get install postgresql makes it)", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(c.root, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// launch starts the server of a folder of the cluster on a free port.
func (c *cluster) launch(folder string) {
	c.t.Helper()
	l, err := net.Listen("tcp", c.host+":0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.port = l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	c.sh(`"$1/pg_ctl" start -w -s -D "$2" -l "$2.log" -o "-c port=$3 -c listen_addresses=$4"`, c.bin, c.dir(folder), strconv.Itoa(c.port), c.host)
}

// matching is the folder of the clients' programs, or empty where they are of another version than the server.
func (c *cluster) matching() string {
	if c.bin == c.tools {
		return c.tools
	}
	return ""
}

func (c *cluster) stop(folder string) {
	c.t.Helper()
	c.sh(`"$1/pg_ctl" stop -w -s -m fast -D "$2"`, c.bin, c.dir(folder))
}

func (c *cluster) dir(names ...string) string {
	return filepath.Join(append([]string{c.root}, names...)...)
}

// clean ends what still runs in the cluster's folders, by its working folder, and removes them.
func (c *cluster) clean() {
	pids, _ := filepath.Glob(c.root + "/*/postmaster.pid")
	for _, name := range pids {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		pid, _ := strconv.Atoi(strings.SplitN(string(text), "\n", 2)[0])
		at, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if pid <= 1 || err != nil || !strings.HasPrefix(at, c.root) {
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGQUIT)
		for syscall.Kill(pid, 0) == nil {
			time.Sleep(2 * time.Millisecond)
		}
	}
	if c.t.Failed() {
		logs, _ := filepath.Glob(c.root + "/*.log")
		for _, name := range logs {
			if text, err := os.ReadFile(name); err == nil {
				lines := strings.Split(strings.TrimSpace(string(text)), "\n")
				c.t.Logf("%s:\n%s", name, strings.Join(lines[max(0, len(lines)-20):], "\n"))
			}
		}
	}
	if err := os.RemoveAll(c.root); err != nil {
		c.t.Errorf("clean up: %v", err)
	}
}

// sh runs a script as the servers' user.
func (c *cluster) sh(script string, args ...string) string {
	c.t.Helper()
	out, err := c.try(script, args...)
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

func (c *cluster) try(script string, args ...string) (string, error) {
	argv := append([]string{"sh", "-c", "cd / && " + script, "sh"}, args...)
	if os.Getuid() == 0 {
		argv = append([]string{"runuser", "-u", "postgres", "--"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	// A server that is started keeps the output open.
	f, err := os.CreateTemp("", "pgbase-sh")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	err = cmd.Run()
	text, _ := os.ReadFile(f.Name())
	return string(text), err
}

// login is that of an ordinary session.
func (c *cluster) login() *pgconn.Config {
	c.t.Helper()
	cfg, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres sslmode=disable application_name=pgbase_test", c.host, c.port))
	if err != nil {
		c.t.Fatal(err)
	}
	return cfg
}

func (c *cluster) connect() *pgx.Conn { return c.connectTo("postgres") }

func (c *cluster) connectTo(database string) *pgx.Conn {
	c.t.Helper()
	conn, err := pgx.Connect(context.Background(), fmt.Sprintf("host=%s port=%d user=postgres dbname=%s sslmode=disable", c.host, c.port, database))
	if err != nil {
		c.t.Fatal(err)
	}
	return conn
}

func (c *cluster) exec(statements ...string) {
	c.t.Helper()
	c.execIn("postgres", statements...)
}

func (c *cluster) execIn(database string, statements ...string) {
	c.t.Helper()
	conn := c.connectTo(database)
	defer conn.Close(context.Background())
	for _, s := range statements {
		if _, err := conn.Exec(context.Background(), s); err != nil {
			c.t.Fatalf("%s: %v", s, err)
		}
	}
}

func (c *cluster) text(query string) string {
	c.t.Helper()
	conn := c.connect()
	defer conn.Close(context.Background())
	var out string
	if err := conn.QueryRow(context.Background(), "select ("+query+")::text").Scan(&out); err != nil {
		c.t.Fatalf("%s: %v", query, err)
	}
	return out
}

func (c *cluster) wait(query string) {
	c.t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c.text(query) == "true" {
			return
		}
	}
	c.t.Fatalf("%s never came true", query)
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
	common := pgbase.Options{Whose: whose, Site: "east", Fast: true, Server: c.login()}
	local := common
	local.Folder = c.dir("data")
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
	c.wait(`not exists (select from pg_ls_archive_statusdir() where name like '%.ready' and left(name, 24) <= pg_walfile_name('` + c.stopOf(dir, sn) + `'))`)
	c.stop("data")
	restic(c.t, dir, "restore", sn.ID.String(), "--target", c.dir("restored"))
	c.adopt("restored")
	// Tablespaces lie elsewhere now.
	c.sh(`cd "$1/restored" && if [ -e data/tablespace_map ]; then sed -i "s|^\([0-9]*\) .*|\1 $1/restored/tablespaces/\1|" data/tablespace_map; fi &&
for space in tablespaces/*; do [ ! -e "$space" ] || ln -s "$1/restored/$space" "data/pg_tblspc/"; done &&
touch data/recovery.signal && cat >>data/postgresql.conf <<END
archive_command = '/bin/true'
restore_command = 'cp "$1/archive/%f" "%p"'
recovery_target = 'immediate'
recovery_target_action = 'promote'
END
[ ! -e backup_manifest ] || [ "$2" = "" ] || "$2/pg_verifybackup" --no-parse-wal --exit-on-error --ignore=recovery.signal --ignore=postgresql.conf --ignore=tablespace_map --manifest-path=backup_manifest data`,
		c.root, c.matching())
	c.launch("restored/data")
	c.wait("not pg_is_in_recovery()")
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

// adopt gives a folder to the servers' user.
func (c *cluster) adopt(folder string) {
	c.t.Helper()
	if os.Getuid() != 0 {
		return
	}
	if out, err := exec.Command("chown", "-R", "postgres", c.dir(folder)).CombinedOutput(); err != nil {
		c.t.Fatalf("%v: %s", err, out)
	}
}
