// Package pgbackresttest makes pgBackRest repositories for tests: with a real PostgreSQL server and the real pgBackRest,
// as an unprivileged user when the test runs as root. It also starts what was restored from them, to compare.
//
// It knows nothing of how repositories are read, nor of vaults. Start with [Start].
package pgbackresttest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Options say what the repository is like. The zero Options are pgBackRest's own: gz, files by themselves, no encryption.
type Options struct {
	Program  string // pgBackRest; empty: the one that is installed
	Compress string // gz, lz4, zst, bz2, none
	Cipher   string // the passphrase; empty: not encrypted
	Bundle   bool
	Settings []string // more lines of pgbackrest.conf's [global], such as a repository in a bucket
}

// World is a server with its repository. It lives until the test ends.
type World struct {
	Root, Repo, Config, Stanza string
	Server                     *Server

	t       testing.TB
	program string
	made    []string // labels
}

// Server is a running cluster.
type Server struct {
	Folder string // the data folder
	Socket string
	t      testing.TB
}

// Newer gives the path of a pgBackRest that is newer than the one that is installed, and can back up blocks of files. The
// first call on a machine fetches it, with test/servers/pgbackrest.sh.
func Newer(t testing.TB) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.Command(filepath.Join(filepath.Dir(here), "..", "..", "..", "test", "servers", "pgbackrest.sh"))
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pgbackrest.sh: %v\n%s", err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// Bin is the folder of PostgreSQL's programs.
func Bin(t testing.TB) string {
	t.Helper()
	for v := 18; v >= 13; v-- {
		dir := fmt.Sprintf("/usr/lib/postgresql/%d/bin", v)
		if _, err := os.Stat(filepath.Join(dir, "pg_ctl")); err == nil {
			return dir
		}
	}
	t.Fatal("PostgreSQL is not installed: run test/servers/install.sh postgres")
	return ""
}

// Start makes a cluster with page checksums, a tablespace, an unlogged and an empty table and some rows, and a stanza
// that its log is archived to.
func Start(t testing.TB, o Options) *World {
	t.Helper()
	given := o.Program != ""
	if !given {
		var err error
		if o.Program, err = exec.LookPath("pgbackrest"); err != nil {
			t.Fatal("pgBackRest is not installed: run test/servers/install.sh pgbackrest")
		}
	}
	root, err := os.MkdirTemp("", "pgbackrest")
	if err != nil {
		t.Fatal(err)
	}
	w := &World{Root: root, Repo: filepath.Join(root, "repo"), Config: filepath.Join(root, "pgbackrest.conf"), Stanza: "main", t: t, program: o.Program}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		command(t, "chown", "postgres", root)
	}
	run(t, "mkdir", w.Repo, root+"/lock", root+"/log", root+"/spool", root+"/space")
	w.configure(o, given)
	pg := filepath.Join(root, "pg")
	run(t, filepath.Join(Bin(t), "initdb"), "-k", "-D", pg, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C")
	w.Server = w.Launch(pg, "archive_mode=on", fmt.Sprintf("archive_command='%s --config=%s --stanza=%s archive-push %%p'", w.program, w.Config, w.Stanza))
	w.PgBackRest("stanza-create")
	w.Server.SQL("create tablespace space location '" + root + "/space'")
	w.Server.SQL(`create table orders as select i as id, md5(i::text) as what from generate_series(1, 20000) i;
		create table away (id int primary key) tablespace space; insert into away select generate_series(1, 5000);
		create unlogged table fleeting as select generate_series(1, 1000) as id; create table empty ();
		create table "odd=name" (id int); insert into "odd=name" values (1)`)
	return w
}

func (w *World) configure(o Options, given bool) {
	lines := []string{"[global]", "start-fast=y", "repo1-retention-full=99", "process-max=2", "log-level-console=warn",
		"repo1-path=" + w.Repo, "lock-path=" + w.Root + "/lock", "log-path=" + w.Root + "/log", "spool-path=" + w.Root + "/spool"}
	if given { // it starts itself again, by this name
		lines = append(lines, "cmd="+o.Program)
	}
	if o.Compress != "" {
		lines = append(lines, "compress-type="+o.Compress)
	}
	if o.Cipher != "" {
		lines = append(lines, "repo1-cipher-type=aes-256-cbc", "repo1-cipher-pass="+o.Cipher)
	}
	if o.Bundle {
		lines = append(lines, "repo1-bundle=y")
	}
	for _, s := range o.Settings { // a later line of the same name would be a list
		name, _, _ := strings.Cut(s, "=")
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+"=") })
		lines = append(lines, s)
	}
	lines = append(lines, "["+w.Stanza+"]", "pg1-path="+w.Root+"/pg", "pg1-socket-path="+w.Root+"/pg.socket", "pg1-user=postgres", "")
	if err := os.WriteFile(w.Config, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// PgBackRest runs it for the stanza, and gives what it prints.
func (w *World) PgBackRest(args ...string) string {
	w.t.Helper()
	return run(w.t, w.program, append([]string{"--config=" + w.Config, "--stanza=" + w.Stanza}, args...)...)
}

// Backup makes a backup of a type, and gives its label.
func (w *World) Backup(kind string, args ...string) string {
	w.t.Helper()
	w.PgBackRest(append([]string{"--type=" + kind, "backup"}, args...)...)
	var all []struct {
		Backup []struct{ Label string }
	}
	if err := json.Unmarshal([]byte(w.PgBackRest("info", "--output=json")), &all); err != nil || len(all) != 1 {
		w.t.Fatalf("pgbackrest info: %v", err)
	}
	for _, b := range all[0].Backup {
		if !slices.Contains(w.made, b.Label) {
			w.made = append(w.made, b.Label)
			return b.Label
		}
	}
	w.t.Fatal("pgBackRest made no backup")
	return ""
}

// Archive has the log up to now archived, and gives the position up to which.
func (w *World) Archive() string {
	w.t.Helper()
	at := w.Server.SQL("select pg_switch_wal()")
	name := w.Server.SQL("select pg_walfile_name('" + at + "')")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if w.Server.SQL("select coalesce(last_archived_wal >= '"+name+"', false) from pg_stat_archiver") == "t" {
			return at
		}
	}
	w.t.Fatal("the log is not archived")
	return ""
}

// Restore lets pgBackRest restore a backup into a folder of its own and starts a server on it. Args say up to where, such
// as --type=immediate; nothing of the restored cluster is archived.
func (w *World) Restore(label, name string, args ...string) *Server {
	w.t.Helper()
	folder := filepath.Join(w.Root, name)
	run(w.t, "mkdir", "-m", "700", folder, folder+".space")
	w.PgBackRest(append([]string{"--set=" + label, "--pg1-path=" + folder, "--tablespace-map-all=" + folder + ".space", "restore"}, args...)...)
	return w.Launch(folder, "archive_mode=off")
}

// Launch starts a server on a data folder, which it waits for to end its recovery.
func (w *World) Launch(folder string, settings ...string) *Server {
	w.t.Helper()
	s := &Server{Folder: folder, Socket: folder + ".socket", t: w.t}
	run(w.t, "mkdir", s.Socket)
	text := fmt.Sprintf("\nlisten_addresses=''\nunix_socket_directories='%s'\nfsync=off\nmax_connections=20\nshared_buffers=16MB\n%s\n", s.Socket, strings.Join(settings, "\n"))
	f, err := os.OpenFile(filepath.Join(folder, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.stop)
	s.start()
	return s
}

// Relaunch starts a server again that was launched before.
func (w *World) Relaunch(folder string) *Server {
	w.t.Helper()
	s := &Server{Folder: folder, Socket: folder + ".socket", t: w.t}
	s.start()
	return s
}

// WALDump is what pg_waldump says of transactions in a segment, up to where it ends.
func (w *World) WALDump(segment string) string {
	out, _ := exec.Command(filepath.Join(Bin(w.t), "pg_waldump"), "--rmgr=Transaction", segment).Output() // it ends with an error where the log does
	return string(out)
}

// start starts the server and waits for the end of its recovery.
func (s *Server) start() {
	s.t.Helper()
	cmd := as(filepath.Join(Bin(s.t), "pg_ctl"), "-D", s.Folder, "-w", "-s", "-t", "120", "-l", s.Folder+".log", "start")
	if out, err := cmd.CombinedOutput(); err != nil {
		log, _ := os.ReadFile(s.Folder + ".log")
		s.t.Fatalf("the server on %s does not start: %v\n%s\n%s", s.Folder, err, out, log)
	}
	for end := time.Now().Add(2 * time.Minute); s.SQL("select pg_is_in_recovery()") != "f"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("the server on %s does not end its recovery", s.Folder)
		}
	}
}

// stop ends the server; one that does not run any more is left alone.
func (s *Server) stop() {
	if _, err := os.Stat(filepath.Join(s.Folder, "postmaster.pid")); err != nil {
		return
	}
	if out, err := as(filepath.Join(Bin(s.t), "pg_ctl"), "-D", s.Folder, "-w", "-s", "-m", "immediate", "stop").CombinedOutput(); err != nil {
		s.t.Errorf("stop the server on %s: %v\n%s", s.Folder, err, out)
	}
}

// Stop shuts the server down in an orderly way.
func (s *Server) Stop() {
	s.t.Helper()
	run(s.t, filepath.Join(Bin(s.t), "pg_ctl"), "-D", s.Folder, "-w", "-s", "-m", "fast", "stop")
}

// SQL runs statements and gives what the last one answers.
func (s *Server) SQL(statements string) string {
	s.t.Helper()
	return strings.TrimSpace(run(s.t, filepath.Join(Bin(s.t), "psql"), "-h", s.Socket, "-U", "postgres", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statements, "postgres"))
}

// Dump is all that the cluster holds, as text.
func (s *Server) Dump() string {
	s.t.Helper()
	text := run(s.t, filepath.Join(Bin(s.t), "pg_dumpall"), "-h", s.Socket, "-U", "postgres", "--restrict-key=lifeboat")
	// Where a tablespace lies is another place in each copy.
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.HasPrefix(l, "CREATE TABLESPACE ") })
	return strings.Join(lines, "\n")
}

// as is a command as the servers' user.
func as(name string, args ...string) *exec.Cmd {
	argv := append([]string{name}, args...)
	if os.Getuid() == 0 {
		argv = append([]string{"runuser", "-u", "postgres", "--"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	return cmd
}

// run runs a command as the servers' user and gives what it prints on standard output.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := as(name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}

// command runs a command as who runs the test.
func command(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
