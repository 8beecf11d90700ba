package server_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/rest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/server"
)

// serving is a server for the test, over TLS.
type serving struct {
	*server.Server
	folder, url string
	cert        server.Certificate
}

// serve starts a server on loopback and ends it with the test.
func serve(tb testing.TB, o server.Options) *serving {
	tb.Helper()
	if o.Folder == "" {
		o.Folder = tb.TempDir()
	}
	s, err := server.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l, nil) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
	return &serving{Server: s, folder: o.Folder, url: "http://" + l.Addr().String() + "/"}
}

// TestSuite runs the suite of all stores against this server.
func TestSuite(t *testing.T) {
	s := serve(t, server.Options{})
	blobtest.Run(t, func(tb testing.TB) blobtest.Place {
		url := s.url + strings.ReplaceAll(filepath.Base(tb.Name()), "#", "-") + "/"
		return func() (blob.Store, error) { return rest.Open(rest.Options{URL: url}) }
	})
}
