package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	tls         *tls.Config // trusts the server
	client      *http.Client
}

// serve starts a server on loopback and ends it with the test.
func serve(tb testing.TB, o server.Options) *serving {
	tb.Helper()
	if o.Folder == "" {
		o.Folder = tb.TempDir()
	}
	s := &serving{folder: o.Folder}
	var err error
	if s.Server, err = server.New(o); err != nil {
		tb.Fatal(err)
	}
	if s.cert, err = server.SelfSigned(tb.TempDir(), []string{"localhost", "127.0.0.1"}, time.Now()); err != nil {
		tb.Fatal(err)
	}
	secure, err := server.TLS(s.cert.Cert, s.cert.Key, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	text, err := os.ReadFile(s.cert.Cert)
	if err != nil {
		tb.Fatal(err)
	}
	s.tls = &tls.Config{RootCAs: x509.NewCertPool()}
	s.tls.RootCAs.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: s.tls}
	s.client = &http.Client{Transport: transport}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s.url = "https://" + l.Addr().String() + "/"
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l, secure) }()
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
	return s
}

// users writes a file of users, each "name", "name:admin" or "name:append-only" with the password "pw-name".
func users(tb testing.TB, all ...string) *server.Users {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), server.UsersFile)
	for _, one := range all {
		name, role, _ := strings.Cut(one, ":")
		if err := server.SetUser(path, server.User{Name: name, Admin: role == "admin", AppendOnly: role == "append-only"}, "pw-"+name); err != nil {
			tb.Fatal(err)
		}
	}
	u, err := server.OpenUsers(path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// ask sends one request as a user, whose password is pw-name, and gives the status and the body.
func (s *serving) ask(tb testing.TB, user, method, path, body string, headers ...string) (int, string, http.Header) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, s.url+strings.TrimPrefix(path, "/"), strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, "pw-"+user)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		tb.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(text), resp.Header
}

// store opens a repository with our own client.
func (s *serving) store(tb testing.TB, user, repository string) blob.Store {
	tb.Helper()
	o := rest.Options{URL: s.url + repository + "/", TLS: s.tls}
	if user != "" {
		o.User, o.Password = user, "pw-"+user
	}
	store, err := rest.Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { store.Close() })
	return store
}

// TestSuite runs the suite of all stores against this server, for a user with a quota.
func TestSuite(t *testing.T) {
	s := serve(t, server.Options{Users: users(t, "alice"), Quota: 1 << 30})
	blobtest.Run(t, func(tb testing.TB) blobtest.Place {
		repository := "alice/" + strings.ReplaceAll(filepath.Base(tb.Name()), "#", "-")
		return func() (blob.Store, error) {
			return rest.Open(rest.Options{URL: s.url + repository, TLS: s.tls, User: "alice", Password: "pw-alice"})
		}
	})
	if m := s.Metrics(); m.Failed != 0 || m.Unauthorized != 0 || m.Saved < 100 || m.Removed < 10 || m.Damaged == 0 || m.Active != 0 {
		t.Errorf("metrics: %+v", m)
	}
}
