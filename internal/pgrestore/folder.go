package pgrestore

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Names in a data folder.
const (
	// unfinished is the marker of a folder that is being restored: the next restore goes on with it. PG_VERSION is not there
	// meanwhile, but for the moment in which the server that conducts the recovery looks for it, so that PostgreSQL's programs
	// do not take the folder for a cluster.
	unfinished  = "lifeboat-restore.json"
	versionFile = "PG_VERSION"
	mapFile     = "tablespace_map"
	autoConf    = "postgresql.auto.conf"
	recovery    = "recovery.signal"
	standby     = "standby.signal"
	lostFound   = "lost+found" // of a file system's own root
)

// marker is what the marker says.
type marker struct {
	Whose  pgpoint.Whose     `json:"whose"`
	Base   object.ID         `json:"base"`
	Target Target            `json:"target"`
	Spaces map[string]string `json:"tablespaces,omitempty"` // where they are restored to, by OID
	Keep   []string          `json:"keep,omitempty"`        // files that stay as they were
	Begun  time.Time         `json:"begun"`
	// Server is the process of the server that conducts the recovery; 0: none was started yet.
	Server int `json:"server,omitempty"`
	// Scratch is the folder of that server's socket.
	Scratch string `json:"scratch"`
	// Done says that the cluster is whole: only the marker was not removed yet.
	Done bool `json:"done,omitempty"`
}

// found is what lies in the folder that is to be restored to.
type found string

// What may lie there.
const (
	nothing found = ""         // it is not there, or empty
	ours    found = "ours"     // what an unfinished restore of the same resource left
	same    found = "same"     // the same cluster's data folder
	other   found = "other"    // something else
	foreign found = "anothers" // another cluster's data folder, or another resource's unfinished restore
)

// readMarker reads the marker in a folder. NotFound: there is none, or the folder is a cluster's for all that.
func readMarker(data string) (marker, error) {
	var m marker
	text, err := readOwn(filepath.Join(data, unfinished))
	if errors.Is(err, fs.ErrNotExist) {
		return m, failure.New(failure.NotFound, "look for an unfinished restore in", data, "there is none")
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return m, failure.WrapAs(failure.Corrupt, err, "look for an unfinished restore in", data)
	}
	return m, nil
}

func (m marker) write(data string, o owner) error {
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "mark as unfinished", data)
	}
	return replaceFile(filepath.Join(data, unfinished), append(text, '\n'), o)
}

// makeFile makes a file anew, whatever is in its place: nothing is written through a link, for the folder is the server's user's
// and this process may be root.
func makeFile(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, failure.WrapAs(failure.Denied, err, "write", path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "write", path)
	}
	return f, nil
}

// readOwn reads a file that is no link, for the same reason.
func readOwn(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// replaceFile writes a file whole and durably.
func replaceFile(path string, content []byte, o owner) error {
	f, err := makeFile(path + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close(), o.give(path+".new"))
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "write", path)
	}
	return syncFolder(filepath.Dir(path))
}

// removeFile removes a file durably, if it is there.
func removeFile(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "remove", path)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "flush", dir)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "flush", dir)
	}
	return nil
}

// isThere reports whether anything has that name.
func isThere(path string) (bool, error) {
	_, err := os.Lstat(path)
	if err == nil {
		return true, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return false, failure.WrapAs(failure.Denied, err, "look at", path)
}

// isEmpty reports whether a folder holds nothing, or is not there.
func isEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, failure.WrapAs(failure.Denied, err, "look into", dir)
	}
	// A marker that was not written to its end is from before anything was touched.
	return !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() != lostFound && e.Name() != unfinished+".new" }), nil
}

// lockFolder keeps two restores from one folder. The caller closes the file.
func lockFolder(data string) (*os.File, error) {
	f, err := os.Open(data)
	if err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "open", data)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(failure.New(failure.Conflict, "restore to", data, "another restore into it is under way"), f.Close())
	}
	return f, nil
}

// spacesOf says where each tablespace goes, by its OID. Invalid: two to one place, or one that is no absolute path.
func spacesOf(b pgpoint.Base, o Options) (map[string]string, error) {
	out := map[string]string{}
	taken := map[string]string{}
	used := map[string]bool{}
	for _, s := range b.Spaces {
		to := s.Location
		for _, key := range []string{s.OID, s.Location} {
			if v, ok := o.Spaces[key]; ok {
				to = v
				used[key] = true
				break
			}
		}
		if !filepath.IsAbs(to) || strings.ContainsAny(to, "'\n\r") { // PostgreSQL has no locations with quotes
			return nil, failure.New(failure.Invalid, "restore the tablespace", s.OID, "%q is no absolute path without quotes", to)
		}
		to = filepath.Clean(to)
		if rel, err := filepath.Rel(o.Data, to); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return nil, failure.New(failure.Invalid, "restore the tablespace", s.OID, "%s is within the data folder", to)
		}
		if before := taken[to]; before != "" {
			return nil, failure.New(failure.Invalid, "restore the tablespace", s.OID, "%s is where tablespace %s goes", to, before)
		}
		taken[to] = s.OID
		out[s.OID] = to
	}
	for key := range o.Spaces {
		if !used[key] {
			return nil, failure.New(failure.Invalid, "restore the tablespace", key, "the base point has none of that OID or location").
				WithHint("it has: %s", describeSpaces(b))
		}
	}
	return out, nil
}

func describeSpaces(b pgpoint.Base) string {
	if len(b.Spaces) == 0 {
		return "none"
	}
	var all []string
	for _, s := range b.Spaces {
		all = append(all, s.OID+" ("+s.Location+")")
	}
	return strings.Join(all, ", ")
}

// mapOf is the tablespace_map of a cluster whose tablespaces lie in spaces: the server makes its links by it.
func mapOf(spaces map[string]string) []byte {
	var text []byte
	oids := make([]string, 0, len(spaces))
	for oid := range spaces {
		oids = append(oids, oid)
	}
	slices.Sort(oids)
	for _, oid := range oids {
		text = append(text, oid+" "+strings.ReplaceAll(spaces[oid], `\`, `\\`)+"\n"...)
	}
	return text
}

// free is how many bytes the file system that path is on, or would be, has room for, and which file system that is.
func free(path string) (bytes int64, device uint64, err error) {
	for dir := path; ; dir = filepath.Dir(dir) {
		var fs unix.Statfs_t
		var st unix.Stat_t
		err := unix.Stat(dir, &st)
		if err == nil {
			if err = unix.Statfs(dir, &fs); err == nil {
				return int64(fs.Bavail) * int64(fs.Bsize), uint64(st.Dev), nil
			}
		}
		if !errors.Is(err, unix.ENOENT) || dir == filepath.Dir(dir) {
			return 0, 0, failure.WrapAs(failure.Denied, err, "look for room in", path)
		}
	}
}

// bytesIn is how many bytes of files lie in a folder: of what is overwritten nothing more is needed.
func bytesIn(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	if err != nil {
		return 0, failure.WrapAs(failure.Denied, err, "look into", dir)
	}
	return sum, nil
}
