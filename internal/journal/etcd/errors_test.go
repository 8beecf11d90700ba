package etcd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lifeboat-dr/lifeboat/failure"
)

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		err          error
		commit, read failure.Kind
	}{
		{rpctypes.ErrGRPCTooManyOps, failure.Invalid, failure.Invalid},
		{rpctypes.ErrGRPCRequestTooLarge, failure.Invalid, failure.Invalid},
		{rpctypes.ErrGRPCLeaseNotFound, failure.NotFound, failure.NotFound},
		{rpctypes.ErrGRPCPermissionDenied, failure.Denied, failure.Denied},
		{rpctypes.ErrTooManyRequests, failure.Unavailable, failure.Unavailable},
		{rpctypes.ErrGRPCCorrupt, failure.Corrupt, failure.Corrupt},
		{rpctypes.ErrGRPCNoSpace, failure.Indeterminate, failure.Unavailable},
		{rpctypes.ErrGRPCNoLeader, failure.Indeterminate, failure.Unavailable},
		{rpctypes.ErrGRPCLeaderChanged, failure.Indeterminate, failure.Unavailable},
		{rpctypes.ErrGRPCTimeout, failure.Indeterminate, failure.Unavailable},
		{rpctypes.ErrGRPCStopped, failure.Indeterminate, failure.Unavailable},
		{status.Error(codes.Unavailable, "error reading from server: EOF"), failure.Indeterminate, failure.Unavailable},
		{status.Error(codes.Canceled, "grpc: the client connection is closing"), failure.Indeterminate, failure.Unavailable},
		{context.DeadlineExceeded, failure.Indeterminate, failure.Unavailable},
		{errors.New("anything else"), failure.Indeterminate, failure.Unavailable},
	} {
		for _, err := range []error{tt.err, rpctypes.Error(tt.err)} { // as sent, and as the client gives it
			if got := failure.KindOf(commitError(err, "")); got != tt.commit {
				t.Errorf("Commit ending in %v: got kind %v, want %v", err, got, tt.commit)
			}
			if got := failure.KindOf(readError(context.Background(), err, "get", "k", "")); got != tt.read {
				t.Errorf("Get ending in %v: got kind %v, want %v", err, got, tt.read)
			}
		}
	}
	for err, want := range map[error]failure.Kind{
		fs.ErrPermission: failure.Denied, syscall.ENOSPC: failure.Unavailable,
		syscall.EROFS: failure.Denied, syscall.EIO: failure.Unavailable,
	} {
		if got := failure.KindOf(fileError(fmt.Errorf("wrapped: %w", err), "open", "dir")); got != want {
			t.Errorf("%v: got kind %v, want %v", err, got, want)
		}
	}
}
