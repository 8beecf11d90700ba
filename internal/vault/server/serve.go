package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Serve answers on l until ctx ends, then lets requests finish for Options.Grace and returns nil. It closes l. Secure
// is from [TLS]; nil serves without TLS, which is for loopback, for sockets and behind a proxy only: passwords go over
// the wire as they are.
func (s *Server) Serve(ctx context.Context, l net.Listener, secure *tls.Config) error {
	h := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       3 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		TLSConfig:         secure,
		ErrorLog:          slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() {
		if secure != nil {
			ended <- h.ServeTLS(l, "", "")
		} else {
			ended <- h.Serve(l)
		}
	}()
	select {
	case err := <-ended:
		return failure.WrapAs(failure.Unavailable, err, "serve", l.Addr().String())
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Grace)
	defer cancel()
	err := h.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		s.opts.Log.Warn("requests are cut off", "active", s.counts.active.Load())
		err = h.Close()
	}
	<-ended
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "end", l.Addr().String())
	}
	return nil
}
