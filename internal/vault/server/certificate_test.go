package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
)

// TestSelfSigned holds that a certificate is made once, is the same from then on, and is refused where it does not fit.
func TestSelfSigned(t *testing.T) {
	folder, now := t.TempDir(), time.Now()
	hosts := []string{"vault.example", "127.0.0.1", "::1"}
	if _, err := SelfSigned(folder, nil, now); !errors.Is(err, failure.Invalid) {
		t.Errorf("for nobody: %v, want invalid", err)
	}
	first, err := SelfSigned(folder, hosts, now)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(first.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode: %v, %v", info.Mode(), err)
	}
	again, err := SelfSigned(folder, hosts[1:], now.Add(9*365*24*time.Hour))
	if err != nil || again.Fingerprint != first.Fingerprint || len(first.Fingerprint) != 95 {
		t.Errorf("again: %+v, %v, want %s", again, err, first.Fingerprint)
	}
	for name, err := range map[string]error{
		"another host": second(SelfSigned(folder, []string{"other.example"}, now)),
		"too late":     second(SelfSigned(folder, hosts, now.Add(11*365*24*time.Hour))),
		"too early":    second(SelfSigned(folder, hosts, now.Add(-24*time.Hour))),
	} {
		if !errors.Is(err, failure.Conflict) || failure.HintOf(err) == "" {
			t.Errorf("%s: %v, want conflict and a hint", name, err)
		}
	}
	text, err := os.ReadFile(first.Cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	pair, err := tls.LoadX509KeyPair(first.Cert, first.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range hosts {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if pair.Leaf.IsCA {
		t.Error("it signs others")
	}
}

func second[T any](_ T, err error) error { return err }

// TestRenewed holds that a renewed certificate is served without a restart, and a broken one is not.
func TestRenewed(t *testing.T) {
	folder, other := t.TempDir(), t.TempDir()
	c, err := SelfSigned(folder, []string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	secure, err := TLS(c.Cert, c.Key, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l, secure) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	seen := func() [32]byte {
		t.Helper()
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
	}
	first := seen()
	renewed, err := SelfSigned(other, []string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	move := func(from, to string, at time.Time) {
		t.Helper()
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err == nil {
			err = os.Chtimes(to, at, at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	later := time.Now().Add(time.Hour)
	move(renewed.Cert, c.Cert, later) // without its key: half of a renewal
	if seen() != first {
		t.Error("a certificate without its key is served")
	}
	if !strings.Contains(said.String(), "cannot be read again") {
		t.Errorf("the log does not say it: %s", said.String())
	}
	move(renewed.Key, c.Key, later)
	if seen() == first {
		t.Error("the renewed certificate is not served")
	}
	if _, err := TLS(filepath.Join(other, "none"), c.Key, nil); !errors.Is(err, failure.Invalid) {
		t.Errorf("no such file: %v, want invalid", err)
	}
}

// TestCleared holds that what a crash of the server left goes with the first upload, and a fresh file stays.
func TestCleared(t *testing.T) {
	s, address, _ := start(t, Options{})
	config := blobtest.Make(blob.Config, 1, 10)
	if code, _ := post(t, "http://"+address+"/r/config", bytes.NewReader(config.Bytes)); code != http.StatusOK {
		t.Fatal(code)
	}
	old, fresh := filepath.Join(s.opts.Folder, "r", "data", "ab", ".lifeboat-tmp-1"), filepath.Join(s.opts.Folder, "r", "keys", ".lifeboat-tmp-2")
	write(t, old, "half")
	write(t, fresh, "half")
	past := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		o := blobtest.Make(blob.Key, uint64(i), 10)
		if code, _ := post(t, "http://"+address+"/r/"+o.Handle.String(), bytes.NewReader(o.Bytes)); code != http.StatusOK {
			t.Fatal(code)
		}
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the old one: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("the fresh one: %v", err)
	}
}
