package pgtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
)

// Folder is a folder of the servers' user. It lives until the test ends, and whatever runs in it ends with it.
type Folder struct {
	Root string
	Via  []string // what commands of the servers' user begin with
	t    testing.TB
}

// NewFolder makes one. The last lines of the logs in it are told when the test has failed.
func NewFolder(t testing.TB) *Folder {
	t.Helper()
	root, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		t.Fatal(err)
	}
	f := &Folder{Root: root, t: t}
	t.Cleanup(f.clean)
	if os.Getuid() == 0 {
		f.Via = []string{"runuser", "-u", "postgres", "--"}
		f.own(root)
	}
	return f
}

// own gives a file to the servers' user.
func (f *Folder) own(path string) {
	f.t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		f.t.Fatalf("root needs an unprivileged user for PostgreSQL: %v (apt-get install postgresql makes it)", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Lchown(path, uid, gid); err != nil {
		f.t.Fatal(err)
	}
}

// Adopt gives a folder in it, with all that is in that, to the servers' user.
func (f *Folder) Adopt(path string) {
	f.t.Helper()
	if os.Getuid() != 0 {
		return
	}
	err := filepath.WalkDir(path, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			f.own(path)
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// Path is that of a file or folder in it.
func (f *Folder) Path(names ...string) string {
	return filepath.Join(append([]string{f.Root}, names...)...)
}

// Sh runs a script as the servers' user, and gives what it printed.
func (f *Folder) Sh(script string, args ...string) string {
	f.t.Helper()
	out, err := f.Try(script, args...)
	if err != nil {
		f.t.Fatalf("%s: %v", script, err)
	}
	return out
}

// Try is Sh of what may fail. It goes on until the script ends, also when the test is over.
func (f *Folder) Try(script string, args ...string) (string, error) {
	argv := hostexec.Host{Via: f.Via}.Argv(hostexec.Command{Argv: append([]string{"sh", "-c", "cd / && " + script, "sh"}, args...)})
	// A server that is started keeps its output open: a pipe would not end.
	var files [2]*os.File
	for i := range files {
		file, err := os.CreateTemp("", "pgtest-sh")
		if err != nil {
			return "", err
		}
		defer os.Remove(file.Name())
		defer file.Close()
		files[i] = file
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	err := cmd.Run()
	var said [2]string
	for i, file := range files {
		text, readErr := os.ReadFile(file.Name())
		err = errors.Join(err, readErr)
		said[i] = string(text)
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(said[1]))
	}
	return said[0], err
}

// Run runs a program as the servers' user.
func (f *Folder) Run(argv ...string) {
	f.t.Helper()
	f.Sh(hostexec.Join(argv))
}

// Program is the test program where the servers' user may run it: go test makes it in a folder of its own user's.
func (f *Folder) Program() string {
	f.t.Helper()
	to := f.Path("lifeboat")
	if _, err := os.Stat(to); err == nil {
		return to
	}
	self, err := os.Executable()
	if err == nil && os.Link(self, to) == nil {
		return to
	}
	var in, out *os.File
	if err == nil {
		in, err = os.Open(self)
	}
	if err == nil {
		defer in.Close()
		out, err = os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	}
	if err == nil {
		_, err = io.Copy(out, in)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return to
}

// Left lists the processes that run anywhere in it.
func (f *Folder) Left() []int { return f.processes(f.Root) }

// processes are those whose working folder is dir: PostgreSQL's all run in their data folder.
func (f *Folder) processes(dir string) []int {
	var out []int
	all, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		f.t.Fatal(err)
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

// kill ends by SIGKILL what runs in a folder.
func (f *Folder) kill(dir string) {
	f.t.Helper()
	var killed []int
	for left := f.processes(dir); len(left) > 0; left = f.processes(dir) {
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended with its parent
		}
		killed = append(killed, left...)
		time.Sleep(2 * time.Millisecond)
	}
	reaped(killed)
}

// reaped waits until processes are gone altogether: a zombie still holds the number in postmaster.pid. Children of the test
// itself, whom nobody else waits for, are waited for.
func reaped(pids []int) {
	for _, pid := range pids {
		for syscall.Kill(pid, 0) == nil {
			var status syscall.WaitStatus
			_, _ = syscall.Wait4(pid, &status, syscall.WNOHANG, nil) // most are no children
			time.Sleep(2 * time.Millisecond)
		}
	}
}

func (f *Folder) clean() {
	// A server that is asked takes its shared memory with it; one that is stopped, or does not heed, is killed.
	for _, pid := range f.processes(f.Root) {
		_ = syscall.Kill(pid, syscall.SIGQUIT) // ours, in our folder
	}
	for end := time.Now().Add(3 * time.Second); len(f.Left()) > 0 && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	f.kill(f.Root)
	if f.t.Failed() {
		for _, pattern := range []string{"/*.log", "/*/*.log", "/*/data.lifeboat/*.log"} {
			logs, _ := filepath.Glob(f.Root + pattern)
			for _, name := range logs {
				if text, err := os.ReadFile(name); err == nil {
					lines := strings.Split(strings.TrimSpace(string(text)), "\n")
					f.t.Logf("%s:\n%s", strings.TrimPrefix(name, f.Root), strings.Join(lines[max(0, len(lines)-30):], "\n"))
				}
			}
		}
	}
	if err := os.RemoveAll(f.Root); err != nil {
		f.t.Errorf("clean up: %v", err)
	}
}

// conf writes lines behind a cluster's settings.
func (f *Folder) conf(data string, lines ...string) {
	f.t.Helper()
	f.Sh(`d=$1; shift; printf '%s\n' "$@" >>"$d/postgresql.conf"`, append([]string{data}, lines...)...)
}

func setting(name string, value any) string { return fmt.Sprintf("%s = '%v'", name, value) }
