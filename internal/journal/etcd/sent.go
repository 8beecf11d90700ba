package etcd

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// sentMark remembers whether anything of a call was handed to a connection. The error of a call that never was is known
// to have had no effect, whatever the error is.
type sentMark struct{ atomic.Bool }

type sentKey struct{}

// withSentMark gives a context for one call, and the mark that sentHandler sets. It works for calls over a socket only;
// an in-process call is always handed over.
func withSentMark(ctx context.Context) (context.Context, *sentMark) {
	mark := new(sentMark)
	return context.WithValue(ctx, sentKey{}, mark), mark
}

// sentHandler sets the marks.
type sentHandler struct{}

// TagRPC implements stats.Handler.
func (sentHandler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (sentHandler) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.OutHeader); !ok {
		return
	}
	if mark, ok := ctx.Value(sentKey{}).(*sentMark); ok {
		mark.Store(true)
	}
}

// TagConn implements stats.Handler.
func (sentHandler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (sentHandler) HandleConn(context.Context, stats.ConnStats) {}

var _ stats.Handler = sentHandler{}
