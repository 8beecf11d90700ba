// Package cluster sets up and runs PostgreSQL servers of the demo's own, in folders of its own, with the programs that
// the distribution installed.
//
// It makes a world in which something can be lost: it knows nothing of failover. Servers run under an unprivileged
// user when the caller is root. Clusters that a distribution's package made are never touched.
//
// Start with [Find], then [Installation.Init] and [Cluster.Start].
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Installation is where PostgreSQL's programs are, and as whom they are run.
type Installation struct {
	Bin   string   // folder of initdb, pg_ctl and the others
	Major int      // version
	As    []string // what stands before a command to run it as User; empty when the caller itself may run it
	User  string   // empty: the caller
	UID   int
	GID   int
	Env   []string // added to the environment of everything that is run
}

// MinMajor is the oldest PostgreSQL that the demo runs with.
const MinMajor = 13

// folders are where distributions put the server's programs, apart from PATH.
var folders = []string{
	"/usr/lib/postgresql/*/bin",           // Debian, Ubuntu
	"/usr/pgsql-*/bin",                    // PGDG on Red Hat and its kin
	"/usr/libexec/postgresql*",            // Alpine
	"/opt/homebrew/opt/postgresql@*/bin",  // Homebrew
	"/usr/local/opt/postgresql@*/bin",     // Homebrew on Intel
	"/opt/homebrew/bin", "/usr/local/bin", //
	"/usr/local/pgsql/bin", // from source
}

// programs are those that the demo and the postgres driver need.
var programs = []string{"initdb", "pg_ctl", "postgres", "pg_basebackup", "pg_controldata", "pg_rewind"}

// Find looks for the newest PostgreSQL on PATH and in the usual folders. Without one it is failure.NotFound, and the
// hint says what to install.
func Find(ctx context.Context) (*Installation, error) {
	var candidates []string
	for _, pattern := range folders {
		found, _ := filepath.Glob(pattern) // the patterns are well formed
		candidates = append(candidates, found...)
	}
	candidates = append(candidates, filepath.SplitList(os.Getenv("PATH"))...)
	best := &Installation{}
	for _, folder := range candidates {
		major := majorIn(ctx, folder)
		if major > best.Major {
			best.Bin, best.Major = folder, major
		}
	}
	if best.Major < MinMajor {
		err := failure.New(failure.NotFound, "find", "PostgreSQL", "no server of version %d or later is installed", MinMajor)
		return nil, err.WithHint("%s", installHint())
	}
	if os.Geteuid() != 0 {
		best.UID, best.GID = os.Getuid(), os.Getgid()
		return best, nil
	}
	return best, best.unprivileged()
}

func majorIn(ctx context.Context, folder string) int {
	for _, name := range programs {
		if _, err := exec.LookPath(filepath.Join(folder, name)); err != nil {
			return 0
		}
	}
	out, err := exec.CommandContext(ctx, filepath.Join(folder, "postgres"), "--version").Output()
	if err != nil {
		return 0
	}
	// "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"
	_, version, _ := strings.Cut(string(out), ") ")
	digits := version[:len(version)-len(strings.TrimLeft(version, "0123456789"))]
	major, _ := strconv.Atoi(digits)
	return major
}

func installHint() string {
	if runtime.GOOS == "darwin" {
		return "install it: brew install postgresql@17"
	}
	for _, p := range []struct{ program, command string }{
		{"apt-get", "sudo apt-get install postgresql"},
		{"dnf", "sudo dnf install postgresql-server postgresql-contrib"},
		{"apk", "sudo apk add postgresql postgresql-contrib"},
		{"pacman", "sudo pacman -S postgresql"},
		{"zypper", "sudo zypper install postgresql-server postgresql-contrib"},
	} {
		if _, err := exec.LookPath(p.program); err == nil {
			return "install it: " + p.command
		}
	}
	return "install PostgreSQL's server programs (initdb, pg_ctl, pg_basebackup, pg_rewind) and put them on PATH"
}

// unprivileged finds the user that the servers run as when the caller is root, which PostgreSQL refuses to run as.
func (i *Installation) unprivileged() error {
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if errors.Join(err1, err2) != nil || uid == 0 {
			continue
		}
		i.User, i.UID, i.GID = name, uid, gid
		if _, err := exec.LookPath("runuser"); err == nil {
			i.As = []string{"runuser", "-u", name, "--"}
			return nil
		}
		if _, err := exec.LookPath("sudo"); err == nil {
			i.As = []string{"sudo", "-n", "-E", "-u", name, "--"}
			return nil
		}
		return failure.New(failure.Unsupported, "run PostgreSQL as", name, "neither runuser nor sudo is installed").
			WithHint("run the demo as an ordinary user")
	}
	return failure.New(failure.Unsupported, "run PostgreSQL as", "root", "PostgreSQL refuses to run as root, and there is no user postgres or nobody").
		WithHint("run the demo as an ordinary user")
}

// Own gives a folder to the user that the servers run as.
func (i *Installation) Own(folder string) error {
	if i.User == "" {
		return nil
	}
	if err := os.Chown(folder, i.UID, i.GID); err != nil {
		return failure.WrapAs(failure.Denied, err, "give to "+i.User, folder)
	}
	return nil
}

// Reachable reports, as failure.Denied, when the servers' user cannot enter a folder, such as one below /root.
func (i *Installation) Reachable(ctx context.Context, folder string) error {
	if i.User == "" {
		return nil
	}
	if _, err := i.run(ctx, "/", nil, "test", "-x", folder); err != nil {
		return failure.New(failure.Denied, "enter", folder, "the user %s, whom PostgreSQL runs as, may not", i.User).
			WithHint("choose a folder that everybody can enter: lifeboat demo --dir /var/tmp/lifeboat-demo")
	}
	return nil
}

// run runs a command as the servers' user and gives what it printed. The whole process group is killed when ctx ends.
func (i *Installation) run(ctx context.Context, folder string, env []string, args ...string) (string, error) {
	args = slices.Concat(i.As, args)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &out, folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PG") { // a user's PGDATA or PGHOST is not meant for these servers
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = slices.Concat(cmd.Env, i.Env, []string{"LC_ALL=C"}, env)
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", failure.WrapAs(failure.Canceled, context.Cause(ctx), "run", filepath.Base(args[len(i.As)]))
	}
	if err != nil {
		cause := fmt.Errorf("%w: %s", err, strings.TrimSpace(out.String()))
		return "", failure.WrapAs(failure.Unavailable, cause, "run", filepath.Base(args[len(i.As)]))
	}
	return out.String(), nil
}

// Cluster is one PostgreSQL server: a data folder and the address that it listens on.
type Cluster struct {
	Installation *Installation
	Data         string
	Log          string
	Host         string
	Port         int
}

// Admin is the name of the superuser of every cluster.
const Admin = "lifeboat"

// Addr is host:port.
func (c *Cluster) Addr() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// Init makes a new cluster with data checksums, with a superuser [Admin] whose password is in passwordFile, and with
// settings appended to its postgresql.conf. Only signed-in users get in (scram-sha-256), and only over TCP.
func (c *Cluster) Init(ctx context.Context, passwordFile string, settings ...string) error {
	own := filepath.Join(filepath.Dir(c.Data), ".password")
	text, err := os.ReadFile(passwordFile)
	if err == nil {
		err = os.WriteFile(own, text, 0o600)
	}
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "prepare", c.Data)
	}
	defer os.Remove(own)
	if err := c.Installation.Own(own); err != nil {
		return err
	}
	_, err = c.Installation.run(ctx, filepath.Dir(c.Data), nil, c.program("initdb"), "--pgdata", c.Data, "--username", Admin,
		"--pwfile", own, "--auth", "scram-sha-256", "--data-checksums", "--encoding", "UTF8", "--locale", "C")
	if err != nil {
		return err
	}
	access := "host all all 127.0.0.0/8 scram-sha-256\nhost replication all 127.0.0.0/8 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(c.Data, "pg_hba.conf"), []byte(access), 0o600); err != nil {
		return failure.WrapAs(failure.Denied, err, "write", "pg_hba.conf")
	}
	return c.Configure("postgresql.conf", settings...)
}

// Configure appends settings to a file of the data folder.
func (c *Cluster) Configure(file string, settings ...string) error {
	path := filepath.Join(c.Data, file)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "write", path)
	}
	_, err = f.WriteString("\n" + strings.Join(settings, "\n") + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return failure.WrapAs(failure.Denied, err, "write", path)
	}
	return c.Installation.Own(path)
}

// BaseBackup makes the cluster a copy of source, as it is while it runs.
func (c *Cluster) BaseBackup(ctx context.Context, source *Cluster, password string) error {
	_, err := c.Installation.run(ctx, filepath.Dir(c.Data), []string{"PGPASSWORD=" + password}, c.program("pg_basebackup"),
		"--pgdata", c.Data, "--host", source.Host, "--port", strconv.Itoa(source.Port), "--username", Admin, "--no-password",
		"--wal-method", "stream", "--checkpoint", "fast")
	return err
}

// Start starts the server and returns when it accepts connections. The server leaves the caller's session.
func (c *Cluster) Start(ctx context.Context) error {
	_, err := c.Installation.run(ctx, filepath.Dir(c.Data), nil, c.program("pg_ctl"), "start", "--pgdata", c.Data,
		"--wait", "--timeout", "240", "--silent", "--log", c.Log)
	if err == nil || ctx.Err() != nil {
		return err
	}
	log, _ := os.ReadFile(c.Log) // what there is of it helps
	return failure.WrapAs(failure.Unavailable, fmt.Errorf("%w\n%s", err, tail(log, 2000)), "start PostgreSQL", c.Addr())
}

// Stop stops the server in one of pg_ctl's modes and waits for its end.
func (c *Cluster) Stop(ctx context.Context, mode string) error {
	_, err := c.Installation.run(ctx, filepath.Dir(c.Data), nil, c.program("pg_ctl"), "stop", "--pgdata", c.Data, "--mode", mode, "--wait")
	return err
}

// Promote makes a standby a primary and waits until it takes writes.
func (c *Cluster) Promote(ctx context.Context) error {
	_, err := c.Installation.run(ctx, filepath.Dir(c.Data), nil, c.program("pg_ctl"), "promote", "--pgdata", c.Data, "--wait")
	return err
}

func (c *Cluster) program(name string) string { return filepath.Join(c.Installation.Bin, name) }

func tail(text []byte, most int) string {
	return strings.TrimSpace(string(text[max(0, len(text)-most):]))
}
