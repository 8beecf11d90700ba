//go:build !linux && !darwin

package file

import "errors"

// renameNew is not to be had here; publish links instead.
func renameNew(string, string) error { return errors.ErrUnsupported }
