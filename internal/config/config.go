// Package config reads lifeboat.yaml: what a person wrote becomes a [model.Config] in which every reference resolves, or
// a list of everything that is wrong with it, each with its line, the line itself and a hint.
//
// It is strict: what it does not know, it refuses, down into the settings of each driver, whose types it gets from the
// driver's Facts. It reads one file and touches nothing else: no secret is resolved, no site is asked, no name is looked
// up. What only the world can answer is asked by the plan.
//
// Start with [Load]; [Find] looks for the file, [Init] writes a commented one, [Schema] describes it to editors.
package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Name is what the file is called.
const Name = "lifeboat.yaml"

// Find looks for lifeboat.yaml in the folder start and in those above it. None is failure.NotFound.
func Find(start string) (string, error) {
	folder, err := filepath.Abs(start)
	if err != nil {
		return "", failure.WrapAs(failure.NotFound, err, "find", Name)
	}
	for dir := folder; ; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, Name)
		info, err := os.Stat(path)
		switch {
		case err == nil && !info.IsDir():
			return path, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", unreadable(err, path)
		case dir == filepath.Dir(dir):
			return "", failure.New(failure.NotFound, "find", Name, "there is none in %s or above it", folder).
				WithHint("write one with: lifeboat init")
		}
	}
}

// Load reads and checks a configuration, whole. A file that can be read and is wrong gives an *Error with all that is
// wrong; its kind is failure.Invalid. A file that is not there is failure.NotFound.
//
// The config's apps, sites and plans are in the order of their names; an app's resources are each after what it needs,
// else in the order of the file. The state folder and the journal's files are absolute. A text in a driver's settings
// that begins with ./ or ../ names a file beside lifeboat.yaml and is made absolute too, since the process that takes
// up a run may start in another folder.
func Load(path string, reg *driver.Registry) (*model.Config, error) {
	content, err := read(path)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, failure.WrapAs(failure.NotFound, err, "read", path)
	}
	return decode(content, path, abs, reg)
}

// decode checks a file's content. File is its name in problems, abs its absolute path.
func decode(content []byte, file, abs string, reg *driver.Registry) (*model.Config, error) {
	p := newProblems(file, content)
	root := parse(content, p)
	if root == nil {
		return nil, p.err()
	}
	if v := root.get("version"); v != nil && v.kind == number && v.text != "1" {
		p.add(v.at, "this build reads version 1; is there a newer lifeboat?", "version %s is not known", quote(v.text))
		return nil, p.err()
	}
	var doc document
	b := binder{p}
	b.bind(root, reflect.ValueOf(&doc).Elem(), &where{what: theFile})
	c := checker{p: p, b: b, reg: reg, doc: &doc, folder: filepath.Dir(abs)}
	cfg := c.config(abs)
	if err := p.err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// read reads at most a byte more than a configuration may have.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(err, path)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, unreadable(err, path)
	}
	return content, nil
}

func unreadable(err error, path string) error {
	var cause *fs.PathError
	if errors.As(err, &cause) {
		err = cause.Err // the path is the subject
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failure.WrapAs(failure.NotFound, err, "read", path).WithHint("write one with: lifeboat init")
	case errors.Is(err, fs.ErrPermission):
		return failure.WrapAs(failure.Denied, err, "read", path).WithHint("let the user who runs lifeboat read it")
	}
	return failure.WrapAs(failure.Invalid, err, "read", path).WithHint("name the file itself, such as " + Name)
}
