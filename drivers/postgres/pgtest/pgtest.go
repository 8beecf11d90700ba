// Package pgtest starts real PostgreSQL servers for tests: a primary at site "east" (127.0.0.2) and a streaming standby
// at site "west" (127.0.0.3), each in a folder of its own, as an unprivileged user when the test runs as root.
//
// It is no way to run PostgreSQL for anything else: anybody on the machine may log in, and files are not synced when
// they are created. fsync stays on, so that what a killed server had acknowledged is really tested. Start with [Start].
package pgtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Options of a pair. The zero Options make an asynchronous pair that pg_rewind can be used on.
type Options struct {
	Synchronous bool
	NoHints     bool // without wal_log_hints: pg_rewind will not do
	Settings    map[string]any
	Site        map[model.SiteID]map[string]any // more settings of a site
}

// Pair is a primary and its standby.
type Pair struct {
	Resource model.Resource
	Root     string
	Ports    map[model.SiteID]int
	Hosts    map[model.SiteID]string
	Via      []string
	Bin      string
	t        testing.TB
}

// The sites of a pair.
const (
	East model.SiteID = "east"
	West model.SiteID = "west"
)

// Bin finds the folder of PostgreSQL's programs, or fails with what to install.
func Bin(t testing.TB) string {
	t.Helper()
	for v := 18; v >= 13; v-- {
		for _, dir := range []string{fmt.Sprintf("/usr/lib/postgresql/%d/bin", v), fmt.Sprintf("/usr/pgsql-%d/bin", v),
			fmt.Sprintf("/opt/homebrew/opt/postgresql@%d/bin", v)} {
			if _, err := os.Stat(filepath.Join(dir, "pg_ctl")); err == nil {
				return dir
			}
		}
	}
	t.Fatal("PostgreSQL is not installed: apt-get install postgresql postgresql-client (or run test/servers/postgres.sh)")
	return ""
}

// Start starts a pair that lives until the test ends; nothing of it is left then.
func Start(t testing.TB, opt Options) *Pair {
	t.Helper()
	p := &Pair{t: t, Bin: Bin(t), Ports: map[model.SiteID]int{}, Hosts: map[model.SiteID]string{East: "127.0.0.2", West: "127.0.0.3"}}
	root, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		t.Fatal(err)
	}
	p.Root = root
	t.Cleanup(func() { p.clean() })
	if os.Getuid() == 0 {
		p.Via = []string{"runuser", "-u", "postgres", "--"}
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatalf("root needs an unprivileged user for PostgreSQL: %v (apt-get install postgresql makes it)", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(root, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	for _, site := range []model.SiteID{East, West} {
		p.Ports[site] = freePort(t, p.Hosts[site])
		p.sh(`mkdir -p "$1/drill"`, p.Dir(site))
	}
	p.Resource = p.resource(opt)
	p.makePrimary(opt)
	p.makeStandby()
	if opt.Synchronous {
		p.Exec(East, `alter system set synchronous_standby_names = 'FIRST 1 ("lifeboat_west")'`)
		p.Exec(East, `select pg_reload_conf()`)
		p.WaitFor(East, `select count(*) = 1 from pg_stat_replication where sync_state = 'sync'`)
	}
	return p
}

// Dir is a site's folder; the data folder is "data" in it.
func (p *Pair) Dir(site model.SiteID) string { return filepath.Join(p.Root, string(site)) }

// Data is a site's data folder.
func (p *Pair) Data(site model.SiteID) string { return filepath.Join(p.Dir(site), "data") }

func (p *Pair) resource(opt Options) model.Resource {
	own := map[string]any{"database": "postgres", "user": "postgres", "synchronous": opt.Synchronous, "connect_timeout": "2s", "sslmode": "disable"}
	for k, v := range opt.Settings {
		own[k] = v
	}
	r := model.Resource{ID: "db", App: "shop", Kind: "postgres", Settings: p.json(own), Sites: map[model.SiteID]json.RawMessage{}}
	for _, site := range []model.SiteID{East, West} {
		at := map[string]any{
			"host": p.Hosts[site], "port": p.Ports[site], "data": p.Data(site), "bin": p.Bin,
			"drill": map[string]any{"folder": filepath.Join(p.Dir(site), "drill")},
		}
		if len(p.Via) > 0 {
			at["via"] = p.Via
		}
		for k, v := range opt.Site[site] {
			if v == nil {
				delete(at, k)
			} else {
				at[k] = v
			}
		}
		r.Sites[site] = p.json(at)
	}
	return r
}

func (p *Pair) json(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p *Pair) makePrimary(opt Options) {
	hints := "on"
	if opt.NoHints {
		hints = "off"
	}
	p.sh(`"$1/initdb" -D "$2" -U postgres -A trust --no-sync -E UTF8 --locale C >/dev/null &&
cat >>"$2/postgresql.conf" <<END
listen_addresses = '$3'
port = $4
unix_socket_directories = ''
wal_log_hints = $5
wal_retrieve_retry_interval = 200ms
max_wal_size = 128MB
END
echo 'host replication all 127.0.0.0/8 trust' >>"$2/pg_hba.conf"; echo 'host all all 127.0.0.0/8 trust' >>"$2/pg_hba.conf"`,
		p.Bin, p.Data(East), p.Hosts[East], strconv.Itoa(p.Ports[East]), hints)
	p.Launch(East)
}

func (p *Pair) makeStandby() {
	p.sh(`"$1/pg_basebackup" -D "$2" -h "$3" -p "$4" -U postgres -X stream -c fast --no-sync &&
cat >>"$2/postgresql.conf" <<END
listen_addresses = '$5'
port = $6
primary_conninfo = 'host=$3 port=$4 user=postgres application_name=lifeboat_west sslmode=disable'
END
touch "$2/standby.signal"`, p.Bin, p.Data(West), p.Hosts[East], strconv.Itoa(p.Ports[East]), p.Hosts[West], strconv.Itoa(p.Ports[West]))
	p.Launch(West)
	p.WaitFor(East, `select count(*) = 1 from pg_stat_replication where state = 'streaming'`)
}

// Launch starts the server on a site's data folder as anybody might, without Lifeboat.
func (p *Pair) Launch(site model.SiteID) {
	p.t.Helper()
	p.sh(`"$1/pg_ctl" start -w -s -D "$2" -l "$2.log"`, p.Bin, p.Data(site))
}

// Stop shuts a site's server down in an orderly way.
func (p *Pair) Stop(site model.SiteID) {
	p.t.Helper()
	p.sh(`"$1/pg_ctl" stop -w -s -m fast -D "$2"`, p.Bin, p.Data(site))
}

// Run runs a program as the servers' user.
func (p *Pair) Run(argv ...string) {
	p.t.Helper()
	p.sh(hostexec.Join(argv))
}

// Kill ends a site's server with all its processes by SIGKILL.
func (p *Pair) Kill(site model.SiteID) {
	p.t.Helper()
	var killed []int
	for left := p.processes(p.Data(site)); len(left) > 0; left = p.processes(p.Data(site)) {
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended with its parent
		}
		killed = append(killed, left...)
		time.Sleep(2 * time.Millisecond)
	}
	reaped(killed)
}

// Freeze stops a site's server with all its processes by SIGSTOP. The function it returns waits until somebody else has
// ended them all.
func (p *Pair) Freeze(site model.SiteID) (gone func()) {
	frozen := p.processes(p.Data(site))
	for _, pid := range frozen {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // it may have ended
	}
	return func() { reaped(frozen) }
}

// reaped waits until processes are gone altogether: a zombie still holds the number in postmaster.pid.
func reaped(pids []int) {
	for _, pid := range pids {
		for syscall.Kill(pid, 0) == nil {
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// processes are those whose working folder is dir: PostgreSQL's all run in their data folder.
func (p *Pair) processes(dir string) []int {
	var out []int
	all, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, link := range all {
		if at, err := os.Readlink(link); err == nil && (at == dir || strings.HasPrefix(at, dir+"/")) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
				out = append(out, pid)
			}
		}
	}
	return out
}

// Left lists the processes that still run anywhere in the pair's folders.
func (p *Pair) Left() []int { return p.processes(p.Root) }

func (p *Pair) clean() {
	for range 100 {
		left := p.Left()
		if len(left) == 0 {
			break
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL) // ours, in our folder
		}
		time.Sleep(5 * time.Millisecond)
	}
	if p.t.Failed() {
		logs, _ := filepath.Glob(p.Root + "/*/*.log")
		more, _ := filepath.Glob(p.Root + "/*/data.lifeboat/*.log")
		for _, name := range append(logs, more...) {
			if text, err := os.ReadFile(name); err == nil {
				lines := strings.Split(strings.TrimSpace(string(text)), "\n")
				p.t.Logf("%s:\n%s", strings.TrimPrefix(name, p.Root), strings.Join(lines[max(0, len(lines)-25):], "\n"))
			}
		}
	}
	if err := os.RemoveAll(p.Root); err != nil {
		p.t.Errorf("clean up: %v", err)
	}
}

// Connect opens a connection to a site; the caller closes it.
func (p *Pair) Connect(ctx context.Context, site model.SiteID) (*pgx.Conn, error) {
	return Dial(ctx, p.Hosts[site], p.Ports[site])
}

// Dial opens a connection to any of the pair's servers, such as a drill's copy.
func Dial(ctx context.Context, host string, port int) (*pgx.Conn, error) {
	return pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@%s:%d/postgres?sslmode=disable&connect_timeout=3", host, port))
}

// Exec runs a statement at a site.
func (p *Pair) Exec(site model.SiteID, sql string, args ...any) {
	p.t.Helper()
	conn, err := p.Connect(p.t.Context(), site)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(p.t.Context(), sql, args...); err != nil {
		p.t.Fatalf("%s at %s: %v", sql, site, err)
	}
}

// Text asks for one value as text.
func (p *Pair) Text(site model.SiteID, sql string) string {
	p.t.Helper()
	conn, err := p.Connect(p.t.Context(), site)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var out string
	if err := conn.QueryRow(p.t.Context(), "select ("+sql+")::text").Scan(&out); err != nil {
		p.t.Fatalf("%s at %s: %v", sql, site, err)
	}
	return out
}

// WaitFor asks until the answer is true.
func (p *Pair) WaitFor(site model.SiteID, sql string) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if p.Text(site, sql) == "true" {
			return
		}
	}
	p.t.Fatalf("at %s, %s never came true", site, sql)
}

// sh runs a script as the servers' user.
func (p *Pair) sh(script string, args ...string) string {
	p.t.Helper()
	res, err := hostexec.Host{Via: p.Via}.Script(p.t.Context(), "cd / && "+script, args...)
	if err != nil || res.Code != 0 {
		p.t.Fatalf("%s: %v, exit code %d, %s", script, err, res.Code, res.Stderr)
	}
	return res.Text()
}

// freePort finds a port that nobody listens on. Ports are taken below the ephemeral range and never twice by one
// process, since a server may be down while another test looks for a port.
func freePort(t testing.TB, host string) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for range 1000 {
		if ports.next == 0 {
			ports.next = 10000 + (os.Getpid()*37)%8000
		}
		ports.next++
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(ports.next)))
		if err != nil {
			continue
		}
		_ = l.Close()
		return ports.next
	}
	t.Fatalf("no free port at %s", host)
	return 0
}

var ports struct {
	sync.Mutex
	next int
}
