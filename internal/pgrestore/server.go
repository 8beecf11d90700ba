package pgrestore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// settings are given to a server on its command line, where they win over every file.
type settings map[string]string

// server is a PostgreSQL that this process started. It belongs to one goroutine.
type server struct {
	pid   int
	ended bool
	code  syscall.WaitStatus // once it has ended
	log   string             // the file with its messages
	from  int64              // where in it this server's begin
	conn  *pgconn.PgConn     // nil: none yet
	login *pgconn.Config
}

// as makes a command run as the owner, in C's language: what it prints is read here.
func as(cmd *exec.Cmd, o owner) {
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LANGUAGE=C")
	cmd.Dir = "/"
	if c := o.credential(); c != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c}
	}
}

// startServer starts a server on a data folder, with a session of its own so that no terminal's signals reach it.
func startServer(bin, data string, set settings, log string, o owner, login *pgconn.Config) (*server, error) {
	args := []string{"-D", data}
	// What is emptied comes first: emptying one kind of recovery target would take back another one that was set before.
	for _, full := range []bool{false, true} {
		for _, name := range slices.Sorted(maps.Keys(set)) {
			if full == (set[name] != "") {
				args = append(args, "-c", name+"="+set[name])
			}
		}
	}
	f, err := openLog(log, o)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &server{log: log, login: login}
	info, err := f.Stat()
	if err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "look at the server's log", log)
	}
	s.from = info.Size()
	cmd := exec.Command(filepath.Join(bin, "postgres"), args...)
	as(cmd, o)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "start", cmd.Path).WithHint("are the server's programs in %s?", bin)
	}
	s.pid = cmd.Process.Pid
	return s, failure.Wrap(cmd.Process.Release(), "start", cmd.Path) // it is waited for by number: it may stay when we go
}

// openLog opens a file for what a server says. A new one is the server's, which may go on with it.
func openLog(path string, o owner) (*os.File, error) {
	there, err := isThere(path)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "open the server's log", path)
	}
	if !there {
		if err := o.give(path); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// running reports whether the server is there still.
func (s *server) running() bool {
	if s.ended {
		return false
	}
	pid, err := syscall.Wait4(s.pid, &s.code, syscall.WNOHANG, nil)
	s.ended = pid == s.pid || errors.Is(err, syscall.ECHILD)
	return !s.ended
}

// stop shuts the server down in fast mode and waits until it has ended. When ctx ends before, it is killed with all its
// processes: nothing of it may go on behind our back.
func (s *server) stop(ctx context.Context) error {
	s.hangUp()
	if !s.running() {
		return nil
	}
	err := s.signal(syscall.SIGINT)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for err == nil && s.running() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			err = failure.Wrap(ctx.Err(), "stop the server", strconv.Itoa(s.pid))
		}
	}
	if err != nil && s.running() {
		return errors.Join(err, s.kill())
	}
	return err
}

// kill ends the server at once: SIGQUIT lets its processes go without writing anything.
func (s *server) kill() error {
	s.hangUp()
	if !s.running() {
		return nil
	}
	if err := s.signal(syscall.SIGQUIT); err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); s.running(); time.Sleep(pollEvery) {
		if time.Now().After(end) {
			// Its children notice at their next step that it is gone.
			if err := s.signal(syscall.SIGKILL); err != nil {
				return err
			}
			end = end.Add(time.Hour)
		}
	}
	return nil
}

func (s *server) signal(sig syscall.Signal) error {
	if err := syscall.Kill(s.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return failure.WrapAs(failure.Denied, err, "signal the server", strconv.Itoa(s.pid))
	}
	return nil
}

// said is what the server has written to its log.
func (s *server) said() string {
	text, err := os.ReadFile(s.log)
	if err != nil || int64(len(text)) < s.from {
		return ""
	}
	return string(text[s.from:])
}

func (s *server) hangUp() {
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // the server is stopped next, or was
	s.conn = nil
}

// ask runs a query and gives its first row as text. Unavailable: the server lets nobody in yet.
func (s *server) ask(ctx context.Context, sql string) ([]string, error) {
	if s.conn == nil || s.conn.IsClosed() {
		conn, err := pgconn.ConnectConfig(ctx, s.login)
		if err != nil {
			return nil, loginFailure(err)
		}
		s.conn = conn
	}
	results, err := s.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "ask the server", sql)
	}
	last := results[len(results)-1]
	if len(last.Rows) != 1 {
		return nil, failure.New(failure.Internal, "ask the server", sql, "it answers %d rows", len(last.Rows))
	}
	row := make([]string, len(last.Rows[0]))
	for i, v := range last.Rows[0] {
		row[i] = string(v)
	}
	return row, nil
}

// loginFailure tells what time mends from what somebody must.
func loginFailure(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code != "57P03" { // cannot_connect_now
		kind := failure.Denied
		if strings.HasPrefix(pg.Code, "53") || strings.HasPrefix(pg.Code, "57") { // resources, operator
			kind = failure.Unavailable
		}
		return failure.WrapAs(kind, err, "look into the restored cluster", "").
			WithHint("name a superuser of the cluster")
	}
	return failure.WrapAs(failure.Unavailable, err, "look into the restored cluster", "")
}

// loginAt is the login of a server that listens on a socket in a folder.
func loginAt(folder string, port int, user string) (*pgconn.Config, error) {
	cfg, err := pgconn.ParseConfig("sslmode=disable connect_timeout=5 target_session_attrs=any")
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "look into the restored cluster", folder)
	}
	cfg.Host, cfg.Port, cfg.User, cfg.Database, cfg.Password = folder, uint16(port), user, "template1", ""
	cfg.Fallbacks, cfg.TLSConfig = nil, nil
	cfg.RuntimeParams = map[string]string{"application_name": "lifeboat"}
	return cfg, nil
}

// pollEvery is how often a server is looked at.
const pollEvery = 20 * time.Millisecond

// quoteSetting writes a value as a configuration file has it.
func quoteSetting(v string) string { return "'" + strings.ReplaceAll(v, "'", "''") + "'" }

// lastLines are the end of a text, for an error.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// conducts reports whether a process is a server that a restore started, by its command line, where that can be seen.
func conducts(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(text), aheadFolder)
}

// serverRuns reports whether a server runs on a data folder, by its postmaster.pid: by the process's number, and by the
// folder that it works in where that can be seen. All of PostgreSQL's work in their data folder.
func serverRuns(data string) (pid int, err error) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, failure.WrapAs(failure.Denied, err, "look whether a server runs on", data)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid == 0 {
		return 0, failure.New(failure.Corrupt, "look whether a server runs on", data, "postmaster.pid does not begin with a process's number").
			WithHint("remove the file when no server runs there")
	}
	pid = max(pid, -pid) // a single-user server writes it negative
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return 0, nil
	}
	if at, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil {
		if real, err := filepath.EvalSymlinks(data); err == nil && at != real {
			return 0, nil // the number was given to somebody else
		}
	}
	return pid, nil
}
