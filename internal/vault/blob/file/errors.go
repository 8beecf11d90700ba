package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"syscall"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// fault gives an error of the operating system its kind. It is the only place that looks at one.
func fault(err error, op, subject string) error {
	if err == nil {
		return nil
	}
	if failure.Classified(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return failure.Wrap(err, op, subject)
	}
	kind, hint := failure.Unavailable, ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = failure.NotFound
	case errors.Is(err, fs.ErrExist):
		kind = failure.Exists
	case errors.Is(err, syscall.EROFS):
		kind, hint = failure.Denied, "the file system is mounted read-only"
	case errors.Is(err, fs.ErrPermission):
		kind, hint = failure.Denied, "run as the owner of the folder, or give this user the right to read and write it"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind, hint = failure.Denied, "the file system or the quota is full: make room, then try again"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENAMETOOLONG):
		kind = failure.Invalid
	case errors.Is(err, io.ErrUnexpectedEOF):
		kind, hint = failure.Internal, "the content ended before its size"
	}
	wrapped := failure.WrapAs(kind, err, op, subject)
	if hint != "" {
		return wrapped.WithHint("%s", hint)
	}
	return wrapped
}

// exists is the answer to a Save of what is there.
func exists(h blob.Handle) error {
	return failure.New(failure.Exists, "save", h.String(), "stored already")
}

// unsupported reports whether the file system does not know how to do what was asked.
func unsupported(err error) bool {
	for _, e := range []error{syscall.EINVAL, syscall.ENOSYS, syscall.ENOTSUP, syscall.EOPNOTSUPP, errors.ErrUnsupported} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
