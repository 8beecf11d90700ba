package archiver

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
)

// layout says what of the snapshot's tree comes from where. It is restic's (internal/archiver/tree.go): an absolute path
// lies in the tree where it lies in the file system, a relative one by its names without ".." in front; "." and the
// like stand for what is in them. Where two paths from different directories would meet at the top, the second one's
// first name gets a number.
type layout struct {
	below map[string]*layout
	// path is set where a target lies: what is there is taken from it. It may have targets below, too.
	path string
	// meta is the directory whose metadata a node gets that is there only for what is below.
	meta string
	// root is the directory that the first name of a path was found in; of the top nodes only.
	root string
	// named says that the caller named this path: it is not left out by patterns.
	named bool
	// device is where the target is, for OneFileSystem; of targets only.
	device uint64
	// virtual is a file that is not in the file system.
	virtual *Virtual
}

// target is a path to be put into the layout.
type target struct {
	path   string // clean
	named  bool
	device uint64
}

// components are the names of a path in the tree.
func components(path string) []string {
	return strings.FieldsFunc(filepath.Join("/", path), func(r rune) bool { return r == '/' })
}

// rootOf is the directory that the first of components is in.
func rootOf(path string) string {
	if filepath.IsAbs(path) {
		return "/"
	}
	root := "."
	for _, name := range strings.Split(path, "/") {
		if name == ".." {
			root = filepath.Join(root, name)
		}
	}
	return root
}

// resolve looks at each path. Those that are not there are given to missing; what has no name of its own ("/", "..") is
// replaced by what is in it.
func resolve(paths []string, missing func(path string, err error) error) ([]target, error) {
	var targets []target
	seen := map[string]bool{}
	for _, given := range paths {
		path := filepath.Clean(given)
		if given == "" || strings.ContainsRune(given, 0) {
			return nil, failure.New(failure.Invalid, "back up", given, "%q is no path", given)
		}
		if seen[path] {
			continue
		}
		seen[path] = true
		found, err := look(path)
		if err != nil {
			if err := missing(path, err); err != nil {
				return nil, err
			}
			continue
		}
		targets = append(targets, found...)
	}
	return targets, nil
}

// look gives the target at path, or those in it.
func look(path string) ([]target, error) {
	if len(components(path)) > 0 {
		parent, err := fsnode.OpenDir(filepath.Dir(path))
		if err != nil {
			return nil, err
		}
		defer parent.Close()
		var s fsnode.Stat
		if err := parent.Stat(filepath.Base(path), &s); err != nil {
			return nil, err
		}
		return []target{{path, true, s.Device()}}, nil
	}
	dir, err := fsnode.OpenDir(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var s fsnode.Stat
	if err := dir.Self(&s); err != nil {
		return nil, err
	}
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	var targets []target
	for _, name := range names {
		targets = append(targets, target{filepath.Join(path, name), false, s.Device()})
	}
	return targets, nil
}

// newLayout puts targets and virtual files together.
func newLayout(targets []target, virtual []Virtual) (*layout, error) {
	top := &layout{}
	for _, t := range targets {
		if err := top.addTarget(t); err != nil {
			return nil, err
		}
	}
	for i := range virtual {
		if err := top.addVirtual(&virtual[i]); err != nil {
			return nil, err
		}
	}
	return top, nil
}

// child gives the layout of name below l, which is made if it is not there.
func (l *layout) child(name string) *layout {
	if l.below == nil {
		l.below = map[string]*layout{}
	}
	c := l.below[name]
	if c == nil {
		c = &layout{}
		l.below[name] = c
	}
	return c
}

func (l *layout) addTarget(t target) error {
	names, root := components(t.path), rootOf(t.path)
	first := names[0]
	for i := 1; l.below[first] != nil && l.below[first].root != root; i++ {
		first = fmt.Sprintf("%s-%d", names[0], i)
	}
	at := l.child(first)
	at.root = root
	dir := filepath.Join(root, names[0])
	for _, name := range names[1:] {
		at.meta = dir
		at = at.child(name)
		dir = filepath.Join(dir, name)
	}
	if at.path != "" && at.path != t.path {
		return failure.New(failure.Invalid, "back up", t.path, "it would lie where %s lies", at.path)
	}
	at.path, at.named, at.device = t.path, at.named || t.named, t.device
	return nil
}

func (l *layout) addVirtual(v *Virtual) error {
	names := components(v.Path)
	if !filepath.IsAbs(v.Path) || len(names) == 0 || strings.ContainsRune(v.Path, 0) || v.Content == nil || v.Mode&^fs.ModePerm != 0 {
		return failure.New(failure.Invalid, "back up", v.Path, "a virtual file needs an absolute path, a content, and no mode but permissions")
	}
	at := l
	for _, name := range names {
		if at.virtual != nil {
			return failure.New(failure.Invalid, "back up", v.Path, "%s is a virtual file", at.virtual.Path)
		}
		at = at.child(name)
	}
	if at.virtual != nil || at.below != nil {
		return failure.New(failure.Invalid, "back up", v.Path, "the virtual file would lie where something else lies")
	}
	at.virtual, at.path = v, ""
	return nil
}

// names gives the names below l, sorted.
func (l *layout) names() []string {
	if l == nil {
		return nil
	}
	var names []string
	for name := range l.below {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// absolute gives the absolute form of paths, as snapshots list them.
func absolute(paths []string) ([]string, error) {
	var all []string
	var errs []error
	for _, path := range paths {
		abs, err := filepath.Abs(path)
		if err != nil {
			errs = append(errs, failure.WrapAs(failure.Unavailable, err, "find the working directory", ""))
		}
		all = append(all, abs)
	}
	return all, errors.Join(errs...)
}
