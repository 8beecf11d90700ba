package etcd

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// refused lists the answers of etcd that prove that a request was not applied, with what they mean to us. All are given
// before the request is proposed, or by the applier instead of applying it. Whatever is not listed may have been
// applied. Two that look as if they belonged here do not: "no space" is also what the applier answers after it applied
// the transaction that crossed the quota, and "no leader" is not said before proposing only.
// Source: etcd server v3.7.3, etcdserver/{v3_server,api/v3rpc,apply,txn}.
var refused = []struct {
	err  error
	kind failure.Kind
	hint string
}{
	{rpctypes.ErrEmptyKey, failure.Invalid, ""},
	{rpctypes.ErrKeyNotFound, failure.Invalid, ""},
	{rpctypes.ErrValueProvided, failure.Invalid, ""},
	{rpctypes.ErrLeaseProvided, failure.Invalid, ""},
	{rpctypes.ErrTooManyOps, failure.Invalid, "raise --max-txn-ops of your etcd to 128 or more"},
	{rpctypes.ErrDuplicateKey, failure.Invalid, ""},
	{rpctypes.ErrRequestTooLarge, failure.Invalid, "raise --max-request-bytes of your etcd to 1572864 or more"},
	{rpctypes.ErrLeaseTTLTooLarge, failure.Invalid, ""},
	{rpctypes.ErrLeaseNotFound, failure.NotFound, ""},
	{rpctypes.ErrTooManyRequests, failure.Unavailable, ""},
	{rpctypes.ErrNotCapable, failure.Unavailable, ""},
	{rpctypes.ErrCorrupt, failure.Corrupt, "etcd raised its CORRUPT alarm: see `etcdctl alarm list` and restore the member"},
	{rpctypes.ErrUserEmpty, failure.Denied, loginHint},
	{rpctypes.ErrAuthFailed, failure.Denied, loginHint},
	{rpctypes.ErrPermissionDenied, failure.Denied, "grant the user read and write on the journal's prefix"},
	{rpctypes.ErrPermissionNotGranted, failure.Denied, "grant the user read and write on the journal's prefix"},
	{rpctypes.ErrInvalidAuthToken, failure.Denied, loginHint},
	{rpctypes.ErrAuthOldRevision, failure.Unavailable, ""},
}

const loginHint = "check journal.username and journal.password in lifeboat.yaml"

// refusal finds the row of refused that err is.
func refusal(err error) (kind failure.Kind, hint string, ok bool) {
	plain := rpctypes.Error(err)
	for _, row := range refused {
		if errors.Is(plain, row.err) {
			return row.kind, row.hint, true
		}
	}
	return 0, "", false
}

// staleLogin reports whether err only says that the login has to be renewed, which the client has done meanwhile. The
// request was not applied.
func staleLogin(err error) bool {
	plain := rpctypes.Error(err)
	return errors.Is(plain, rpctypes.ErrInvalidAuthToken) || errors.Is(plain, rpctypes.ErrAuthOldRevision) ||
		errors.Is(plain, rpctypes.ErrUserEmpty)
}

// readError maps the error of a call that changes nothing, or whose repetition changes nothing more.
func readError(ctx context.Context, err error, op, subject, hint string) error {
	if ctx.Err() != nil {
		return withHint(failure.WrapAs(failure.KindOf(ctx.Err()), ctx.Err(), op, subject), hint)
	}
	if kind, own, ok := refusal(err); ok {
		return withHint(failure.WrapAs(kind, rpctypes.Error(err), op, subject), own)
	}
	if failure.Classified(err) {
		return failure.Wrap(err, op, subject)
	}
	return withHint(failure.WrapAs(failure.Unavailable, err, op, subject), hint)
}

// commitError maps the error of a transaction that was handed to a connection. Unless etcd said that it refused it,
// nobody knows.
func commitError(err error, hint string) error {
	if kind, own, ok := refusal(err); ok {
		return withHint(failure.WrapAs(kind, rpctypes.Error(err), "commit", "journal"), own)
	}
	if errors.Is(rpctypes.Error(err), rpctypes.ErrNoSpace) {
		hint = "the journal's database reached its quota: archive or remove finished runs; with an etcd of yours, " +
			"compact and defragment it and run `etcdctl alarm disarm`"
	}
	return withHint(failure.WrapAs(failure.Indeterminate, err, "commit", "journal"), hint)
}

// fileError maps an error of the file system.
func fileError(err error, op, path string) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return failure.WrapAs(failure.Denied, err, op, path).
			WithHint("run lifeboat as the user who owns %s", path)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return failure.WrapAs(failure.Unavailable, err, op, path).WithHint("free some disk space at %s", path)
	case errors.Is(err, syscall.EROFS):
		return failure.WrapAs(failure.Denied, err, op, path).WithHint("put the state folder on a writable disk")
	}
	return failure.WrapAs(failure.Unavailable, err, op, path)
}

func withHint(err *failure.Error, hint string) error {
	if hint == "" || err.Hint != "" {
		return err
	}
	return err.WithHint("%s", hint)
}

// closedError is what every call after Close ends in.
func closedError(op string) error {
	return failure.New(failure.Unavailable, op, "journal", "the journal is closed")
}
