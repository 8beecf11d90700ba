package vaultservice_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/pgbackresttest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3/s3test"
)

// TestImportFromABucket imports an encrypted repository in a bucket, by what its pgbackrest.conf says, and by a URL.
func TestImportFromABucket(t *testing.T) {
	server, err := s3test.Start(s3test.Options{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	bucket := server.Bucket()
	made, err := s3.Open(t.Context(), s3.Options{Endpoint: server.Endpoint, Bucket: bucket, AccessKey: server.AccessKey, SecretKey: server.SecretKey, TLS: server.TLS})
	if err == nil {
		err = made.Create(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	host, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	w := pgbackresttest.Start(t, pgbackresttest.Options{Compress: "zst", Cipher: "correct horse", Bundle: true, Settings: []string{
		"repo1-type=s3", "repo1-path=/deep/down", "repo1-s3-bucket=" + bucket, "repo1-s3-endpoint=" + host.Hostname(), "repo1-storage-port=" + host.Port(),
		"repo1-s3-region=us-east-1", "repo1-s3-uri-style=path", "repo1-s3-key=" + server.AccessKey, "repo1-s3-key-secret=" + server.SecretKey,
		"repo1-storage-verify-tls=n"}})
	w.Backup("full")
	w.Server.SQL("insert into orders values (-1)")
	last := w.Backup("incr")
	w.Archive()

	s := service()
	a := at(filepath.Join(t.TempDir(), "vault"), "secret")
	if _, err := s.Init(t.Context(), api.VaultInitRequest{VaultAccess: a}); err != nil {
		t.Fatal(err)
	}
	req := api.VaultImportRequest{VaultAccess: a, Config: w.Config, Stanza: w.Stanza, App: "shop", Resource: "db", DryRun: true}
	states := func(r *api.VaultImportReply) string {
		var all []string
		for _, p := range r.Points {
			all = append(all, p.Type+" "+p.State)
		}
		return strings.Join(all, ", ")
	}
	look, err := s.ImportPgBackRest(t.Context(), req, nil)
	if err != nil || states(look) != "full new, incr new" {
		t.Fatalf("a look ahead: got %+v, %v", look, err)
	}

	// The same, but the server's certificate is verified.
	text, err := os.ReadFile(w.Config)
	if err != nil {
		t.Fatal(err)
	}
	req.Config, req.DryRun = filepath.Join(t.TempDir(), "pgbackrest.conf"), false
	verifying := strings.Replace(string(text), "repo1-storage-verify-tls=n", "repo1-storage-ca-file="+server.CAFile, 1)
	if err := os.WriteFile(req.Config, []byte(verifying), 0o600); err != nil {
		t.Fatal(err)
	}
	var events int
	reply, err := s.ImportPgBackRest(t.Context(), req, func(e api.VaultEvent) {
		if e.Bytes > 0 {
			events++
		}
	})
	if err != nil || states(reply) != "full imported, incr imported" || len(reply.Logs) != 1 || len(reply.Logs[0].Spans) != 1 {
		t.Fatalf("got %+v, %v", reply, err)
	}
	if events == 0 {
		t.Error("no progress was told")
	}
	points, err := s.Points(t.Context(), api.VaultPointsRequest{VaultAccess: a})
	if err != nil || len(points) != 3 {
		t.Errorf("got %d points, %v", len(points), err)
	}

	// By a URL, with the keys from the environment; an authority that nobody knows is refused, and so is a wrong passphrase.
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	t.Setenv("AWS_CA_BUNDLE", server.CAFile)
	pass := api.Passphrase("correct horse")
	req.Config, req.From, req.CipherPass, req.Only = "", "s3:"+server.Endpoint+"/"+bucket+"/deep/down", &pass, []string{last}
	if again, err := s.ImportPgBackRest(t.Context(), req, nil); err != nil || states(again) != "incr there" {
		t.Errorf("by a URL: got %+v, %v", again, err)
	}
	wrong := api.Passphrase("wrong")
	for _, c := range []struct {
		what string
		how  func(*api.VaultImportRequest)
		kind failure.Kind
	}{
		{"a wrong passphrase", func(r *api.VaultImportRequest) { r.CipherPass = &wrong }, failure.Denied},
		{"no passphrase", func(r *api.VaultImportRequest) { r.CipherPass = nil }, failure.Denied},
		{"another stanza", func(r *api.VaultImportRequest) { r.Stanza = "other" }, failure.NotFound},
		{"another bucket", func(r *api.VaultImportRequest) { r.From = "s3:" + server.Endpoint + "/nowhere" }, failure.NotFound},
		{"no folder", func(r *api.VaultImportRequest) { r.From = "/nowhere/at/all" }, failure.NotFound},
		{"no repository", func(r *api.VaultImportRequest) { r.From = "" }, failure.Invalid},
		{"a name that cannot be", func(r *api.VaultImportRequest) { r.App = "a,b" }, failure.Invalid},
		{"a backup that is not there", func(r *api.VaultImportRequest) { r.Only = []string{"20200101-000000F"} }, failure.NotFound},
		{"no configuration", func(r *api.VaultImportRequest) { r.From, r.Config = "", "/nowhere.conf" }, failure.NotFound},
	} {
		r := req
		c.how(&r)
		if _, err := s.ImportPgBackRest(t.Context(), r, nil); !errors.Is(err, c.kind) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.kind)
		}
	}
}
