package config

import (
	_ "embed"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/lifeboat-dr/lifeboat/failure"
)

//go:embed template.yaml
var template []byte

// Template is a commented lifeboat.yaml to begin with. It loads without a problem; the secrets and servers in it are
// examples.
func Template() []byte { return slices.Clone(template) }

// Init writes the template to path. It never overwrites: what is there already is failure.Exists.
func Init(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	switch {
	case errors.Is(err, fs.ErrExist):
		return failure.New(failure.Exists, "write", path, "it is there already").
			WithHint("check it with: lifeboat validate, or move it away")
	case errors.Is(err, fs.ErrPermission):
		return failure.WrapAs(failure.Denied, err, "write", path)
	case err != nil:
		return failure.WrapAs(failure.Invalid, err, "write", path).WithHint("is the folder there?")
	}
	defer func() {
		if e := f.Close(); err == nil && e != nil {
			err = failure.WrapAs(failure.Unavailable, e, "write", path)
		}
	}()
	if _, err := f.Write(template); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "write", path)
	}
	return nil
}
