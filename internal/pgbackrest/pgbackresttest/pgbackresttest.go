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

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
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
	*pgtest.Folder
	Repo, Config, Stanza string
	Server               *Server

	t       testing.TB
	bin     string   // of PostgreSQL's programs
	program string   // pgBackRest
	made    []string // labels
}

// Server is a running cluster.
type Server struct {
	Folder string // the data folder
	Socket string
	w      *World
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
	w := &World{Folder: pgtest.NewFolder(t), bin: pgtest.Bin(t), Stanza: "main", t: t, program: o.Program}
	root := w.Root
	w.Repo, w.Config = w.Path("repo"), w.Path("pgbackrest.conf")
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	w.Run("mkdir", w.Repo, root+"/lock", root+"/log", root+"/spool", root+"/space")
	w.configure(o, given)
	pg := w.Path("pg")
	w.NewCluster(w.bin, pg, "-k")
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
	return w.run(append([]string{w.program, "--config=" + w.Config, "--stanza=" + w.Stanza}, args...)...)
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
	for end := time.Now().Add(4 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
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
	w.Run("mkdir", "-m", "700", folder, folder+".space")
	w.PgBackRest(append([]string{"--set=" + label, "--pg1-path=" + folder, "--tablespace-map-all=" + folder + ".space", "restore"}, args...)...)
	return w.Launch(folder, "archive_mode=off")
}

// Launch starts a server on a data folder, which it waits for to end its recovery.
func (w *World) Launch(folder string, settings ...string) *Server {
	w.t.Helper()
	s := &Server{Folder: folder, Socket: folder + ".socket", w: w}
	w.Run("mkdir", s.Socket)
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
	s.start()
	return s
}

// Relaunch starts a server again that was launched before.
func (w *World) Relaunch(folder string) *Server {
	w.t.Helper()
	s := &Server{Folder: folder, Socket: folder + ".socket", w: w}
	s.start()
	return s
}

// WALDump is what pg_waldump says of transactions in a segment, up to where it ends.
func (w *World) WALDump(segment string) string {
	out, _ := exec.Command(filepath.Join(w.bin, "pg_waldump"), "--rmgr=Transaction", segment).Output() // it ends with an error where the log does
	return string(out)
}

// start starts the server and waits for the end of its recovery.
func (s *Server) start() {
	s.w.t.Helper()
	s.w.Run(filepath.Join(s.w.bin, "pg_ctl"), "-D", s.Folder, "-w", "-s", "-t", "300", "-l", s.Folder+".log", "start")
	pgtest.Wait(s.w.t, "the end of the recovery of "+s.Folder, func() bool { return s.SQL("select pg_is_in_recovery()") == "f" })
}

// Stop shuts the server down in an orderly way.
func (s *Server) Stop() {
	s.w.t.Helper()
	s.w.run(filepath.Join(s.w.bin, "pg_ctl"), "-D", s.Folder, "-w", "-s", "-m", "fast", "stop")
}

// SQL runs statements and gives what the last one answers.
func (s *Server) SQL(statements string) string {
	s.w.t.Helper()
	return strings.TrimSpace(s.w.run(filepath.Join(s.w.bin, "psql"), "-h", s.Socket, "-U", "postgres", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statements, "postgres"))
}

// Dump is all that the cluster holds, as text.
func (s *Server) Dump() string {
	s.w.t.Helper()
	text := s.w.run(filepath.Join(s.w.bin, "pg_dumpall"), "-h", s.Socket, "-U", "postgres", "--restrict-key=lifeboat")
	// Where a tablespace lies is another place in each copy.
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.HasPrefix(l, "CREATE TABLESPACE ") })
	return strings.Join(lines, "\n")
}

// run runs a program as the servers' user and gives what it prints on standard output.
func (w *World) run(argv ...string) string {
	w.t.Helper()
	return w.Sh(hostexec.Join(argv))
}
