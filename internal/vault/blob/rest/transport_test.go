package rest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	vaultserver "github.com/lifeboat-dr/lifeboat/internal/vault/server"
)

// TestOpen holds which URLs are taken, what requests then go to, and that no error repeats a password.
func TestOpen(t *testing.T) {
	for url, want := range map[string]struct{ base, location string }{
		"http://h:8000":                 {"http://h:8000/", "rest:http://h:8000/"},
		"https://h/a/b/":                {"https://h/a/b/", "rest:https://h/a/b/"},
		"https://h/a%20b":               {"https://h/a%20b/", "rest:https://h/a%20b/"},
		"http+unix:///run/s.sock:/a/":   {"http://localhost/a/", "rest:http+unix:///run/s.sock:/a/"},
		"http+unix:///run/s.sock":       {"http://localhost/", "rest:http+unix:///run/s.sock"},
		"":                              {},
		"h:8000":                        {},
		"ftp://h/":                      {},
		"http:///a/":                    {},
		"http://u:hunter2@h/":           {},
		"http://u@h/":                   {},
		"http://h/?x=hunter2":           {},
		"http://h/#hunter2":             {},
		"http://u:hunter2\x7f@h/":       {},
		"http+unix://u:hunter2@/s:/a/":  {},
		"http+unix://host/run/s.sock:/": {},
		"http+unix:///":                 {},
	} {
		s, err := Open(Options{URL: url})
		if want.base == "" {
			if !errors.Is(err, failure.Invalid) || strings.Contains(err.Error()+failure.HintOf(err), "hunter2") {
				t.Errorf("%q: %v, want invalid", url, err)
			}
			continue
		}
		if err != nil || s.base != want.base || s.Facts().Location != want.location {
			t.Errorf("%q: %v: %+v, want %+v", url, err, s, want)
		}
	}
}

// TestConnectionsAreKept holds that calls one after the other take one connection, also after refusals, ranges and
// listings.
func TestConnectionsAreKept(t *testing.T) {
	v, err := vaultserver.New(vaultserver.Options{Folder: t.TempDir(), AppendOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var opened atomic.Int32
	h := httptest.NewUnstartedServer(v)
	h.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	h.Start()
	defer h.Close()
	s := open(t, Options{URL: h.URL + "/r"})
	for range 5 {
		for name, err := range calls(t.Context(), s) {
			if err != nil && (name != "remove" || failure.KindOf(err) != failure.Denied) && (name != "save" || failure.KindOf(err) != failure.Exists) && failure.KindOf(err) != failure.NotFound {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections were opened, want 1", n)
	}
}

// TestRefusedUnread holds that a large object that is refused is not sent for nothing, and the refusal is heard.
func TestRefusedUnread(t *testing.T) {
	o := blobtest.Make(blob.Pack, 1, 64<<20)
	s := server(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	s.transport.ExpectContinueTimeout = time.Minute
	read := &counting{Reader: bytes.NewReader(o.Bytes)}
	if err := s.Save(t.Context(), o.Handle, read); failure.KindOf(orNone(err)) != failure.Exists { // Stat says that it is there
		t.Logf("save: %v", err)
	}
	if n := read.n.Load(); n != 0 {
		t.Errorf("%d bytes were sent", n)
	}
}

// counting counts what is read of a content.
type counting struct {
	*bytes.Reader
	n atomic.Int64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Reader.ReadAt(p, off)
	c.n.Add(int64(n))
	return n, err
}

// TestContentIsLeftAlone holds that nobody reads the content any more once Save has returned: its memory may be used for
// the next one. The race detector sees more than the counter.
func TestContentIsLeftAlone(t *testing.T) {
	o := blobtest.Make(blob.Pack, 1, 32<<20)
	begun, release := make(chan struct{}, 100), make(chan struct{})
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 1000)
		begun <- struct{}{}
		<-release
	})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	content := &counting{Reader: bytes.NewReader(o.Bytes)}
	done := make(chan error, 1)
	go func() { done <- s.Save(ctx, o.Handle, content) }()
	<-begun
	cancel()
	if err := <-done; failure.KindOf(orNone(err)) != failure.Canceled {
		t.Errorf("save: %v, want canceled", err)
	}
	n := content.n.Load()
	clear(o.Bytes)
	s.transport.CloseIdleConnections()
	if got := content.n.Load(); got != n {
		t.Errorf("%d bytes more were read", got-n)
	}
}

// TestUnixSocket runs a few calls over a socket.
func TestUnixSocket(t *testing.T) {
	v, err := vaultserver.New(vaultserver.Options{Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	h := &httptest.Server{Listener: l, Config: &http.Server{Handler: v}}
	h.Start()
	defer h.Close()
	s := open(t, Options{URL: "http+unix://" + path + ":/a/b/"})
	if err := s.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, err := range calls(t.Context(), s) {
		if err != nil && failure.KindOf(err) != failure.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTLS holds what is said of each way in which a handshake fails, and that a client's certificate is shown.
func TestTLS(t *testing.T) {
	cert, err := vaultserver.SelfSigned(t.TempDir(), []string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert.Cert, cert.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			t.Error("no client's certificate is shown")
		}
		http.NotFound(w, r)
	}))
	h.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}
	h.StartTLS()
	defer h.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	named := strings.Replace(h.URL, "127.0.0.1", "localhost", 1)
	for name, tt := range map[string]struct {
		url  string
		tls  *tls.Config
		want failure.Kind
		hint string
	}{
		"shown":             {h.URL, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}, failure.NotFound, ""},
		"not shown":         {h.URL, &tls.Config{RootCAs: roots}, failure.Denied, "client's certificate"},
		"unknown authority": {h.URL, nil, failure.Denied, "ca:"},
		"another host":      {named, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}, failure.Denied, "a name that is in"},
		"no TLS there":      {strings.Replace(plain.URL, "http:", "https:", 1), nil, failure.Invalid, "http://"},
	} {
		_, err := open(t, Options{URL: tt.url, TLS: tt.tls}).Stat(t.Context(), blobtest.Make(blob.Key, 1, 1).Handle)
		if failure.KindOf(orNone(err)) != tt.want || !strings.Contains(failure.HintOf(err), tt.hint) {
			t.Errorf("%s: %v (hint %q), want %s and a hint with %q", name, err, failure.HintOf(err), tt.want, tt.hint)
		}
	}
}
