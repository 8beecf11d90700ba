package etcd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Names in a state folder.
const (
	dataName   = "journal"      // etcd's data
	lockName   = "journal.lock" // held by the host; says who that is
	socketName = "journal.sock" // where the host answers
)

// maxSocketPath is the longest path a unix socket can have on every platform of ours: sun_path is 104 bytes on macOS
// and 108 on Linux, with a closing zero.
const maxSocketPath = 103

// holder is what a lock file says of the host.
type holder struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
	Socket  string `json:"socket"`
}

// String names the process.
func (h holder) String() string {
	switch {
	case h.PID == 0:
		return "another process"
	case h.Command == "":
		return "pid " + strconv.Itoa(h.PID)
	}
	return fmt.Sprintf("pid %d (%s)", h.PID, h.Command)
}

// hint says what to do about a host that does not answer.
func (h holder) hint(dir string) string {
	if h.PID == 0 {
		return fmt.Sprintf("another process holds %s and does not answer", dir)
	}
	if stopped(h.PID) {
		return fmt.Sprintf("%s holds %s and is stopped: let it go on with `kill -CONT %d`, or end it with `kill -KILL %d`",
			h, dir, h.PID, h.PID)
	}
	return fmt.Sprintf("%s holds %s and does not answer: wait for it, or end it with `kill %d`", h, dir, h.PID)
}

// stopped reports whether a process is known to be stopped by a signal; it can tell where there is a /proc.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	for i := len(stat) - 1; i >= 0; i-- { // "pid (name) STATE ...", and the name may hold anything
		if stat[i] == ')' {
			return i+2 < len(stat) && (stat[i+2] == 'T' || stat[i+2] == 't')
		}
	}
	return false
}

// lock is the exclusive right to host a folder's journal. The kernel gives it back when the process ends, however that
// happens, and not while the process is merely frozen.
type lock struct{ file *os.File }

// tryLock takes the lock; nil without an error: somebody else has it.
func tryLock(dir string) (*lock, error) {
	path := filepath.Join(dir, lockName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fileError(err, "lock", path)
	}
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		return &lock{file}, nil
	}
	_ = file.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, failure.WrapAs(failure.Unsupported, err, "lock", path).
		WithHint("put the state folder on a local disk")
}

// write says who holds the lock.
func (l *lock) write(h holder) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if _, err := l.file.WriteAt(text, 0); err != nil {
		return err
	}
	return l.file.Truncate(int64(len(text)))
}

// release gives the lock back. The file stays: removing it would let two hold what they believe is the lock.
func (l *lock) release() { _ = l.file.Close() }

// readHolder reads who holds the lock; what cannot be read, or is being written, is unknown.
func readHolder(dir string) holder {
	var h holder
	text, err := os.ReadFile(filepath.Join(dir, lockName))
	if err != nil || json.Unmarshal(text, &h) != nil {
		return holder{}
	}
	return h
}

// socketPath says where a folder's socket lives: in it, or where that path is too long for a socket, in a folder of the
// user's own under the temporary one.
func socketPath(dir string) (string, error) {
	path := filepath.Join(dir, socketName)
	if len(path) <= maxSocketPath {
		return path, nil
	}
	sum := sha256.Sum256([]byte(dir))
	short := filepath.Join(os.TempDir(), fmt.Sprintf("lifeboat-%d-%s", os.Getuid(), hex.EncodeToString(sum[:8])))
	if err := os.Mkdir(short, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fileError(err, "create", short)
	}
	info, err := os.Lstat(short)
	if err != nil {
		return "", fileError(err, "create", short)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !ok || int(owner.Uid) != os.Getuid() {
		return "", failure.New(failure.Denied, "create", short, "somebody else's folder is in the way").
			WithHint("move the state folder to a shorter path, or remove %s", short)
	}
	path = filepath.Join(short, "s")
	if len(path) > maxSocketPath {
		return "", failure.New(failure.Invalid, "create", path, "the path is too long for a socket").
			WithHint("set TMPDIR to a shorter path")
	}
	return path, nil
}
