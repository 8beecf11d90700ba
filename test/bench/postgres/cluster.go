package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// cluster is a PostgreSQL server with pgbench's tables, in a folder of its own.
type cluster struct {
	options
	root, bin string
	port      int
	self      string // this program, where the server's user may run it
	who       *syscall.Credential
}

// newCluster makes the folder, the server and its data.
func newCluster(ctx context.Context, o options) (_ *cluster, err error) {
	c := &cluster{options: o}
	if c.bin, err = programs(); err != nil {
		return nil, err
	}
	if c.rest, err = exec.LookPath(o.rest); err != nil {
		return nil, fmt.Errorf("%w (./test/servers/install.sh pgbackrest)", err)
	}
	if c.root, err = os.MkdirTemp(o.dir, "lifeboat-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.remove())
		}
	}()
	if err := c.owned(); err != nil {
		return nil, err
	}
	if c.port, err = freePort(); err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "making pgbench's tables at scale", o.scale, "in", c.root)
	return c, c.make(ctx)
}

// programs finds the folder of the newest PostgreSQL's.
func programs() (string, error) {
	for v := 18; v >= 13; v-- {
		dir := fmt.Sprintf("/usr/lib/postgresql/%d/bin", v)
		if _, err := os.Stat(filepath.Join(dir, "pg_ctl")); err == nil {
			return dir, nil
		}
	}
	path, err := exec.LookPath("pg_ctl")
	if err != nil {
		return "", fmt.Errorf("%w (./test/servers/install.sh postgres)", err)
	}
	return filepath.Dir(path), nil
}

// owned gives the folder, and a copy of this program, to the user that the server runs as: root may not run one.
func (c *cluster) owned() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	c.self = filepath.Join(c.root, "bench-postgres")
	if err := os.WriteFile(c.self, text, 0o755); err != nil || os.Getuid() != 0 {
		return err
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	c.who = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return errors.Join(err1, err2, os.Chown(c.root, uid, gid))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

func (c *cluster) path(name string) string { return filepath.Join(c.root, name) }

// make makes the server and its data. Nothing changes by itself later.
func (c *cluster) make(ctx context.Context) error {
	if err := c.run(ctx, c.bin+"/initdb", "-D", c.path("data"), "-U", "postgres", "-A", "trust", "--no-sync", "--data-checksums", "--locale", "C"); err != nil {
		return err
	}
	settings := fmt.Sprintf(`
port = %d
listen_addresses = '127.0.0.1'
unix_socket_directories = '%s'
autovacuum = off
shared_buffers = 256MB
max_wal_size = 4GB
checkpoint_timeout = 1h
fsync = off
archive_mode = on
archive_command = 'true'
`, c.port, c.root)
	f, err := os.OpenFile(filepath.Join(c.path("data"), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(settings); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := c.run(ctx, c.bin+"/pg_ctl", "start", "-w", "-s", "-D", c.path("data"), "-l", c.path("server.log")); err != nil {
		return err
	}
	if err := c.pgbench(ctx, "-i", "-q", "-s", strconv.Itoa(c.scale)); err != nil {
		return err
	}
	if err := c.sql(ctx, "alter system set fsync = on", "select pg_reload_conf()", "vacuum analyze", "checkpoint"); err != nil {
		return err
	}
	config := fmt.Sprintf(`[global]
repo1-path=%[1]s/pgbackrest
repo1-bundle=y
process-max=%[2]d
compress-type=zst
start-fast=y
archive-check=n
log-path=%[1]s
lock-path=%[1]s
spool-path=%[1]s
log-level-console=warn
[demo]
pg1-path=%[1]s/data
pg1-port=%[3]d
pg1-socket-path=%[1]s
pg1-user=postgres
`, c.root, runtime.NumCPU(), c.port)
	return os.WriteFile(c.path("pgbackrest.conf"), []byte(config), 0o644)
}

func (c *cluster) pgbench(ctx context.Context, args ...string) error {
	return c.run(ctx, c.bin+"/pgbench", append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(c.port), "-U", "postgres"}, append(args, "postgres")...)...)
}

func (c *cluster) sql(ctx context.Context, statements ...string) error {
	args := []string{"-h", "127.0.0.1", "-p", strconv.Itoa(c.port), "-U", "postgres", "-q", "-v", "ON_ERROR_STOP=1"}
	for _, s := range statements {
		args = append(args, "-c", s)
	}
	return c.run(ctx, c.bin+"/psql", append(args, "postgres")...)
}

// command is a program that runs as the server's user.
func (c *cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.root
	cmd.Env = append(os.Environ(), "HOME="+c.root, "PGBACKREST_CONFIG="+c.path("pgbackrest.conf"))
	if c.who != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.who}
	}
	return cmd
}

// run runs a program to its end.
func (c *cluster) run(ctx context.Context, name string, args ...string) error {
	cmd := c.command(ctx, name, args...)
	// A server that is started keeps the output open: it is a file, which nobody waits for.
	out, err := os.CreateTemp(c.root, "output-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name()) // it only explains
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, strings.TrimSpace(string(text)))
	}
	return nil
}

// remove stops the server and removes the folder.
func (c *cluster) remove() error {
	var err error
	if _, there := os.Stat(filepath.Join(c.path("data"), "postmaster.pid")); there == nil {
		err = c.run(context.Background(), c.bin+"/pg_ctl", "stop", "-w", "-s", "-m", "immediate", "-D", c.path("data"))
	}
	return errors.Join(err, os.RemoveAll(c.root))
}
