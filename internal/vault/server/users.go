package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// UsersFile is what the file of users is called in the server's folder, unless somebody names another; rest-server's
// name for the same.
const UsersFile = ".htpasswd"

// Bounds of checking passwords, which is slow on purpose.
const (
	checksAtOnce  = 2
	checksWaiting = 64
	maxCost       = 16 // of bcrypt: about four seconds
	maxPassword   = 72 // bytes; bcrypt takes no more
)

// User is one line of the file of users: name:hash[:role]. The hash is bcrypt's, as htpasswd -B makes it; the role is
// admin, append-only or nothing.
type User struct {
	Name string
	// Admin may use every repository, and delete also where the server is append-only: who runs forget and prune.
	Admin bool
	// AppendOnly may not delete, also where the server lets others.
	AppendOnly bool
}

// role is how a user is written down.
func (u User) role() string {
	switch {
	case u.Admin:
		return "admin"
	case u.AppendOnly:
		return "append-only"
	}
	return ""
}

// Users are those in a file, which is read again when it has changed.
type Users struct {
	path   string
	log    *slog.Logger
	slot   chan struct{} // who checks a password
	wait   chan struct{} // who waits for a slot, or has one
	key    []byte        // of the digests of passwords that were found right
	nobody []byte        // the hash that the password of an unknown user is compared with

	mu     sync.Mutex
	seen   bool // the file was looked at, and this is how it was
	state  fileState
	known  map[string]entry
	right  map[string][]byte // digests, by user; of known only
	broken error             // why the file could not be read last time
}

// entry is a user with the hash of his password.
type entry struct {
	User
	hash []byte
}

// fileState is by what a change is noticed.
type fileState struct {
	modified time.Time
	size     int64
	info     fs.FileInfo // nil: it is not there
}

func (s fileState) same(other fileState) bool {
	if s.info == nil || other.info == nil {
		return s.info == other.info
	}
	return s.modified.Equal(other.modified) && s.size == other.size && os.SameFile(s.info, other.info)
}

// OpenUsers reads the file at path. Invalid: it is not there, or not such a file. Log is told when the file has changed
// and cannot be used, which leaves in force what was known; nil: silent.
func OpenUsers(path string, log *slog.Logger) (*Users, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	u := &Users{path: path, log: log, slot: make(chan struct{}, checksAtOnce), wait: make(chan struct{}, checksWaiting), key: make([]byte, 32)}
	rand.Read(u.key) // it never fails
	var err error
	if u.nobody, err = bcrypt.GenerateFromPassword(u.key, bcrypt.DefaultCost); err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "read the users", path)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.reload(); err != nil {
		return nil, err
	}
	return u, nil
}

// List gives the users as the file has them, by name.
func (u *Users) List() ([]User, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.reload(); err != nil {
		return nil, err
	}
	all := make([]User, 0, len(u.known))
	for _, e := range u.known {
		all = append(all, e.User)
	}
	slices.SortFunc(all, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// reload reads the file where it has changed. What cannot be read leaves in force what was known, and is said once.
func (u *Users) reload() error {
	var now fileState
	info, err := os.Stat(u.path)
	if err == nil {
		now = fileState{info.ModTime(), info.Size(), info}
	}
	if u.seen && now.same(u.state) {
		return u.broken
	}
	u.state, u.seen = now, true
	var known map[string]entry
	text, err := os.ReadFile(u.path)
	if err == nil {
		known, err = parseUsers(text)
	}
	if err != nil {
		u.broken = failure.WrapAs(failure.Invalid, err, "read the users", u.path).WithHint("add one with: lifeboat vault serve user add NAME")
		u.log.Error("the file of users cannot be used; those of before stay", "error", u.broken)
		return u.broken
	}
	u.known, u.right, u.broken = known, map[string][]byte{}, nil
	return nil
}

// parseUsers reads the lines of a file.
func parseUsers(text []byte) (map[string]entry, error) {
	known, folded := map[string]entry{}, map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		wrong := func(why string) (map[string]entry, error) {
			return nil, failure.New(failure.Invalid, "", "", "line %d: %s", n, why)
		}
		name, rest, _ := strings.Cut(line, ":")
		hash, role, _ := strings.Cut(rest, ":")
		cost, err := bcrypt.Cost([]byte(hash))
		switch {
		case !validName(name):
			return wrong("a user's name has up to 64 letters, digits and ._-@+, does not begin with a dot and is not the name of a folder in a repository")
		case folded[strings.ToLower(name)]:
			return wrong("a name that differs from another one in nothing or in case: some file systems give both one folder")
		case err != nil:
			return wrong("the password is not hashed with bcrypt: use htpasswd -B")
		case cost > maxCost:
			return wrong("the hash costs too much time to be checked")
		case role != "" && role != "admin" && role != "append-only":
			return wrong("the role is neither admin nor append-only")
		}
		folded[strings.ToLower(name)] = true
		known[name] = entry{User{Name: name, Admin: role == "admin", AppendOnly: role == "append-only"}, []byte(hash)}
	}
	if err := lines.Err(); err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "", "")
	}
	return known, nil
}

// Check finds the user with this name and password. Denied: there is none; Throttled: too many passwords are being
// checked. A password that was found right is known by a keyed digest until the file changes, so that each is hashed
// once.
func (u *Users) Check(ctx context.Context, name, password string) (User, error) {
	denied := failure.New(failure.Denied, "check the password", "", "wrong user or password")
	mac := hmac.New(sha256.New, u.key)
	mac.Write([]byte(name + "\x00" + password)) // a name has no NUL
	digest := mac.Sum(nil)

	u.mu.Lock()
	u.reload() // when it fails, what was known stays in force; List says why
	e, known := u.known[name]
	right := u.right
	hit := hmac.Equal(right[name], digest)
	u.mu.Unlock()
	if known && hit {
		return e.User, nil
	}
	if !known {
		e.hash = u.nobody // so that it takes as long
	}
	select {
	case u.wait <- struct{}{}:
		defer func() { <-u.wait }()
	default:
		return User{}, failure.New(failure.Throttled, "check the password", "", "too many passwords are being checked")
	}
	select {
	case u.slot <- struct{}{}:
		defer func() { <-u.slot }()
	case <-ctx.Done():
		return User{}, failure.Wrap(ctx.Err(), "check the password", "")
	}
	if err := bcrypt.CompareHashAndPassword(e.hash, []byte(password)); err != nil || !known {
		return User{}, denied
	}
	u.mu.Lock()
	right[name] = digest // of the file as it was when this began
	u.mu.Unlock()
	return e.User, nil
}

// SetUser adds a user to the file at path, which is made if it is not there, or changes his password and his role.
// Running servers notice by themselves.
func SetUser(path string, user User, password string) error {
	switch {
	case !validName(user.Name):
		return failure.New(failure.Invalid, "add the user", "", "not a user's name: %q", user.Name).
			WithHint("up to 64 letters, digits and ._-@+, not beginning with a dot, and not the name of a folder in a repository")
	case password == "" || len(password) > maxPassword:
		return failure.New(failure.Invalid, "add the user", user.Name, "a password has 1 to %d bytes", maxPassword)
	case user.Admin && user.AppendOnly:
		return failure.New(failure.Invalid, "add the user", user.Name, "an admin is not append-only")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "add the user", user.Name)
	}
	line := user.Name + ":" + string(hash)
	if role := user.role(); role != "" {
		line += ":" + role
	}
	return edit(path, user.Name, line)
}

// RemoveUser takes a user out of the file. His repositories stay. NotFound: there is no such user.
func RemoveUser(path, name string) error {
	if u, err := OpenUsers(path, nil); err != nil {
		return err
	} else if _, known := u.known[name]; !known {
		return failure.New(failure.NotFound, "remove the user", name, "there is no such user")
	}
	return edit(path, name, "")
}

// edit replaces the line of a user, in one step, so that a server never reads half of it. Other lines stay as they are.
func edit(path, name, line string) error {
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return failure.WrapAs(failure.Denied, err, "change the users", path)
	}
	var lines []string
	for old := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(old), name+":") {
			old, line = line, ""
		}
		if old = strings.TrimRight(old, "\r\n"); old != "" {
			lines = append(lines, old)
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	made := []byte(strings.Join(append(lines, ""), "\n"))
	if _, err := parseUsers(made); err != nil {
		return failure.Wrap(err, "change the users", path)
	}
	return replace(path, made)
}

// replace writes a file of secrets whole, durably, in one step.
func replace(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".lifeboat-tmp-") // with mode 0600
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "write", path)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = failure.WrapAs(failure.Denied, err, "write", path)
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
