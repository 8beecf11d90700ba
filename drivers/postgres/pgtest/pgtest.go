// Package pgtest starts real PostgreSQL servers for tests, each in a folder of its own that is gone when the test ends, as
// an unprivileged user when the test runs as root: single ones ([NewServer]), or a primary at site "east" (127.0.0.2) with a
// streaming standby at site "west" (127.0.0.3) ([Start]).
//
// It is no way to run PostgreSQL for anything else: anybody on the machine may log in, and files are not synced when
// they are created. fsync stays on, so that what a killed server had acknowledged is really tested.
//
// New clusters are copies of one that initdb has made once for each test program, where its TestMain is [Main].
package pgtest

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience bounds every wait for something that has to come true, on a machine that has much else to do.
const Patience = 3 * time.Minute

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

// Programs are what a test program is, too, by the first word of its command line: what runs on hosts, and what PostgreSQL
// asks for log with. Each gets the other words, and gives the exit code.
type Programs map[string]func(args []string, stderr io.Writer) int

// Ends makes a program of one that ends with an error or without.
func Ends(run func(context.Context, []string) error) func([]string, io.Writer) int {
	return func(args []string, stderr io.Writer) int {
		if err := run(context.Background(), args); err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		return 0
	}
}

// Main is TestMain for tests with servers.
func Main(m *testing.M, programs Programs) {
	if len(os.Args) > 1 {
		if run, ok := programs[os.Args[1]]; ok {
			os.Exit(run(os.Args[2:], os.Stderr))
		}
	}
	root, err := os.MkdirTemp("", "pgtest-new")
	if err == nil {
		err = os.Chmod(root, 0o777) // the servers' user fills it
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	templates.root = root
	code := m.Run()
	_ = os.RemoveAll(root) // a temporary folder
	os.Exit(code)
}

// templates are clusters that were never started, by what initdb was told.
var templates struct {
	sync.Mutex
	root string // empty: there are none
	made map[string]string
}

// NewCluster puts a cluster that was never started into the folder data, which is not there yet: as initdb of the programs in
// bin makes it. Clusters of the same words may have the same system identifier.
func (f *Folder) NewCluster(bin, data string, initdb ...string) {
	f.t.Helper()
	templates.Lock()
	defer templates.Unlock()
	make := func(data string) {
		f.Sh(`d=$1 bin=$2; shift 2; "$bin/initdb" -D "$d" -U postgres -A trust --no-sync -E UTF8 --locale C "$@" >/dev/null &&
echo 'host all,replication all 127.0.0.0/8 trust' >>"$d/pg_hba.conf" && 
printf '%s\n' "unix_socket_directories = ''" 'dynamic_shared_memory_type = mmap' >>"$d/postgresql.conf"`,
			append([]string{data, bin}, initdb...)...)
	}
	if templates.root == "" {
		make(data)
		return
	}
	key := strings.Join(append([]string{bin}, initdb...), " ")
	from, ok := templates.made[key]
	if !ok {
		from = filepath.Join(templates.root, strconv.Itoa(len(templates.made)))
		make(from)
		if templates.made == nil {
			templates.made = map[string]string{}
		}
		templates.made[key] = from
	}
	f.Sh(`cp -a "$1" "$2"`, from, data)
}
