package location

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/server"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/ports"
)

// cheap makes keys that cost no time.
var cheap = vault.Options{KDF: crypto.Params{N: 2, R: 8, P: 1}}

// secretFile writes a secret into a file and gives the reference.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + path
}

// commit writes one snapshot of an empty directory and gives its id.
func commit(t *testing.T, v *vault.Vault) object.ID {
	t.Helper()
	s, err := v.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root, err := s.SaveTree(t.Context(), &tree.Tree{})
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Commit(t.Context(), &snapshot.Snapshot{Tree: &root, Paths: []string{"/a"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestLocal makes, opens and reads a vault in a folder.
func TestLocal(t *testing.T) {
	m := model.Vault{URL: "local:" + filepath.Join(t.TempDir(), "vault"), Password: secretFile(t, "geheim")}
	o := Options{Vault: cheap}
	if _, _, err := Open(t.Context(), m, o); !errors.Is(err, failure.NotFound) {
		t.Errorf("open of nothing: %v, want not found", err)
	}
	v, closer, err := Init(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	id := commit(t, v)
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := Init(t.Context(), m, o); !errors.Is(err, failure.Exists) {
		t.Errorf("init again: %v, want exists", err)
	}
	v, closer, err = Open(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if _, err := v.Snapshot(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// TestPasswords holds where a password comes from, and what is said when it does not.
func TestPasswords(t *testing.T) {
	space := map[string]*memory.Space{"a": {}}
	m := model.Vault{URL: "memory:a", Password: secretFile(t, "geheim")}
	o := Options{Vault: cheap, Memory: space}
	if _, _, err := Init(t.Context(), m, o); err != nil {
		t.Fatal(err)
	}
	asks := 0
	asking := o
	asking.AskPassword = func(_ context.Context, location string) (string, error) {
		asks++
		if location != "memory:a" {
			t.Errorf("asked for %s", location)
		}
		return "geheim", nil
	}
	t.Setenv("LIFEBOAT_TEST_PASSWORD", "geheim")
	for password, want := range map[string]struct {
		o    Options
		kind failure.Kind
		ok   bool
	}{
		m.Password:                   {o: o, ok: true},
		"env:LIFEBOAT_TEST_PASSWORD": {o: o, ok: true},
		"exec:echo geheim":           {o: o, ok: true},
		"":                           {o: asking, ok: true},
		"env:LIFEBOAT_TEST_NONE":     {o: asking, kind: failure.NotFound},
		"exec:echo other":            {o: o, kind: failure.Denied},
		"geheim":                     {o: o, kind: failure.Invalid},
		"exec:true":                  {o: o, kind: failure.Invalid},
	} {
		m.Password = password
		_, _, err := Open(t.Context(), m, want.o)
		if (err == nil) != want.ok || !want.ok && !errors.Is(err, want.kind) {
			t.Errorf("%s: %v, want %s", password, err, want.kind)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the password is repeated: %v", password, err)
		}
	}
	m.Password = ""
	if _, _, err := Open(t.Context(), m, o); !errors.Is(err, failure.Invalid) || failure.HintOf(err) == "" {
		t.Errorf("without a password: %v, want invalid and a hint", err)
	}
	if asks != 1 {
		t.Errorf("asked %d times, want 1", asks)
	}
	m.URL = "memory:b"
	if _, err := OpenStore(t.Context(), m, o); !errors.Is(err, failure.Unsupported) {
		t.Errorf("memory: that nobody keeps: %v, want unsupported", err)
	}
}

// TestRest reaches a server over TLS with every way of saying who one is, and none of the errors says the password.
func TestRest(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	folder := t.TempDir()
	users := filepath.Join(folder, server.UsersFile)
	if err := server.SetUser(users, server.User{Name: "alice"}, "hunter2"); err != nil {
		t.Fatal(err)
	}
	known, err := server.OpenUsers(users, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{Folder: folder, Users: known})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := server.SelfSigned(folder, []string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	secure, err := server.TLS(cert.Cert, cert.Key, slog.New(slog.DiscardHandler))
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
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	password, right, wrong := secretFile(t, "geheim"), secretFile(t, "hunter2"), secretFile(t, "hunter3")
	at := func(user string) string { return "rest:https://" + user + l.Addr().String() + "/alice/" }
	o := Options{Vault: cheap}
	if _, _, err := Init(t.Context(), model.Vault{URL: at(""), Password: password, User: "alice", UserPassword: right, CA: cert.Cert}, o); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		v    model.Vault
		kind failure.Kind
		ok   bool
	}{
		"from the URL":             {v: model.Vault{URL: at("alice:hunter2@"), CA: cert.Cert}, ok: true},
		"the URL comes first":      {v: model.Vault{URL: at("alice:hunter2@"), User: "bob", UserPassword: wrong, CA: cert.Cert}, ok: true},
		"several authorities":      {v: model.Vault{URL: at("alice:hunter2@"), CA: cert.Cert + "," + cert.Cert}, ok: true},
		"nobody":                   {v: model.Vault{URL: at(""), CA: cert.Cert}, kind: failure.Denied},
		"wrong password":           {v: model.Vault{URL: at(""), User: "alice", UserPassword: wrong, CA: cert.Cert}, kind: failure.Denied},
		"wrong password in URL":    {v: model.Vault{URL: at("alice:hunter3@"), CA: cert.Cert}, kind: failure.Denied},
		"authority unknown":        {v: model.Vault{URL: at("alice:hunter2@")}, kind: failure.Denied},
		"authority's file missing": {v: model.Vault{URL: at("alice:hunter2@"), CA: "/no/such/file"}, kind: failure.Invalid},
		"authority's file empty":   {v: model.Vault{URL: at("alice:hunter2@"), CA: strings.TrimPrefix(password, "file:")}, kind: failure.Invalid},
		"certificate without key":  {v: model.Vault{URL: at("alice:hunter2@"), CA: cert.Cert, Cert: cert.Cert}, kind: failure.Invalid},
		"a secret in clear":        {v: model.Vault{URL: at(""), User: "alice", UserPassword: "hunter2", CA: cert.Cert}, kind: failure.Invalid},
		"no TLS":                   {v: model.Vault{URL: strings.Replace(at("alice:hunter2@"), "https", "http", 1)}, kind: failure.Invalid},
	} {
		tt.v.Password = password
		v, closer, err := Open(t.Context(), tt.v, o)
		if (err == nil) != tt.ok || !tt.ok && !errors.Is(err, tt.kind) {
			t.Errorf("%s: %v, want %s", name, err, tt.kind)
		}
		if err == nil {
			if strings.Contains(v.Location(), "hunter2") || strings.Contains(v.Location(), "alice:") {
				t.Errorf("%s: the location shows credentials: %s", name, v.Location())
			}
			closer.Close()
		} else if text := err.Error() + failure.HintOf(err); strings.Contains(text, "hunter") || strings.Contains(text, "geheim") {
			t.Errorf("%s: a password is shown: %s", name, text)
		}
	}
}

// TestUnreachable holds that a mistyped host is told soon, and that a replica stands in for a server that is down.
func TestUnreachable(t *testing.T) {
	o := Options{Vault: cheap, Memory: map[string]*memory.Space{"b": {}}, Patience: time.Millisecond}
	password := secretFile(t, "geheim")
	down := model.Vault{URL: "rest:http://" + ports.Address(t) + "/a/", Password: password, Cache: noCache}
	replica := model.Vault{URL: "memory:b", Password: password}
	_, closer, err := Init(t.Context(), replica, o)
	if err != nil {
		t.Fatal(err)
	}
	closer.Close()
	for name, open := range map[string]func(context.Context, model.Vault, Options) (*vault.Vault, io.Closer, error){"open": Open, "open any": OpenAny, "init": Init} {
		if _, _, err := open(t.Context(), down, o); !errors.Is(err, failure.Unavailable) {
			t.Errorf("%s of what is down: %v, want unavailable", name, err)
		}
	}
	down.Replicas = []model.Vault{replica}
	v, closer, err := OpenAny(t.Context(), down, o)
	if err != nil {
		t.Fatal(err)
	}
	if v.Location() != "memory:" {
		t.Errorf("opened %s", v.Location())
	}
	closer.Close()
	down.Retain = model.Duration(time.Hour)
	if _, _, err := Open(t.Context(), down, o); !errors.Is(err, failure.Unsupported) {
		t.Errorf("a retention without a bucket: %v, want unsupported", err)
	}
}

// TestS3 opens a vault in a bucket with credentials from references, and none of the errors says the secret.
func TestS3(t *testing.T) {
	script, folder := filepath.Join("..", "..", "..", "test", "servers", "minio.sh"), t.TempDir()
	cmd := exec.Command(script, "start", folder)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s start: %v\n%s", script, err, said.String())
	}
	t.Cleanup(func() {
		if out, err := exec.Command(script, "stop", folder).CombinedOutput(); err != nil {
			t.Errorf("stop: %v\n%s", err, out)
		}
	})
	minio := map[string]string{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		minio[key] = value
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // of metadata; the server's program is in the user's
	t.Setenv("LIFEBOAT_TEST_ACCESS_KEY", minio["ACCESS_KEY"])
	m := model.Vault{URL: "s3:" + minio["ENDPOINT"] + "/bucket/a/b", Password: secretFile(t, "geheim"),
		S3: &model.S3{AccessKey: "env:LIFEBOAT_TEST_ACCESS_KEY", SecretKey: secretFile(t, minio["SECRET_KEY"])}}
	o := Options{Vault: cheap, Patience: time.Millisecond}
	v, closer, err := Init(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	id := commit(t, v)
	closer.Close()
	v, closer, err = Open(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if _, err := v.Snapshot(t.Context(), id); err != nil || v.Location() != "s3:"+minio["ENDPOINT"]+"/bucket/a/b" {
		t.Errorf("%s: %v", v.Location(), err)
	}
	for name, change := range map[string]func(*model.S3){
		"wrong":    func(s *model.S3) { s.SecretKey = secretFile(t, "wrong"+minio["SECRET_KEY"]) },
		"in clear": func(s *model.S3) { s.SecretKey = minio["SECRET_KEY"] },
		"missing":  func(s *model.S3) { s.SecretKey = "env:LIFEBOAT_TEST_NONE" },
	} {
		bad, how := m, *m.S3
		change(&how)
		bad.S3 = &how
		_, _, err := Open(t.Context(), bad, o)
		if err == nil || strings.Contains(err.Error()+failure.HintOf(err), minio["SECRET_KEY"]) {
			t.Errorf("a secret key that is %s: %v", name, err)
		}
	}
}

// counted counts what is open.
type counted struct {
	blob.Store
	open *int
}

func (c counted) Close() error {
	*c.open--
	return c.Store.Close()
}

// TestReplicas holds that a replica stands in for what is damaged, for a vault that is gone, and that all is closed.
func TestReplicas(t *testing.T) {
	open := 0
	o := Options{Vault: cheap, Memory: map[string]*memory.Space{"a": {}, "b": {}, "c": {}}}
	o.Around = func(s blob.Store) blob.Store {
		open++
		return counted{s, &open}
	}
	password := secretFile(t, "geheim")
	first := model.Vault{URL: "memory:a", Password: password}
	second := model.Vault{URL: "memory:b"} // with the first one's password
	third := model.Vault{URL: "memory:c", Password: secretFile(t, "another")}
	v, closer, err := Init(t.Context(), first, o)
	if err != nil {
		t.Fatal(err)
	}
	id := commit(t, v)
	sn, err := v.Snapshot(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []model.Vault{inherit(second, first), third} {
		replica, c, err := Init(t.Context(), m, o)
		if err != nil {
			t.Fatal(err)
		}
		if m.URL == third.URL {
			commit(t, replica)
		}
		c.Close()
	}
	closer.Close()

	damage := o.Memory["a"].Open()
	if err := damage.List(t.Context(), blob.Pack, func(i blob.Info) error {
		damage.Corrupt(i.Handle, func(b []byte) []byte { return b[:len(b)/2] })
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	first.Replicas = []model.Vault{second, third}
	v, closer, err = Open(t.Context(), first, o)
	if err != nil {
		t.Fatal(err)
	}
	if open != 1 {
		t.Errorf("%d stores are open before a replica is needed, want 1", open)
	}
	if _, err := v.Tree(t.Context(), *sn.Tree); err != nil {
		t.Errorf("the replica does not stand in: %v", err)
	}
	if err := closer.Close(); err != nil || open != 0 {
		t.Errorf("after closing %d stores are open, error %v", open, err)
	}

	var said bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&said, nil))
	first.URL = "local:" + filepath.Join(t.TempDir(), "gone")
	first.Replicas = []model.Vault{{URL: "memory:none"}, third}
	if _, _, err := Open(t.Context(), first, o); !errors.Is(err, failure.NotFound) {
		t.Errorf("open of what is gone: %v, want not found", err)
	}
	v, closer, err = OpenAny(t.Context(), first, o)
	if err != nil {
		t.Fatal(err)
	}
	if v.Location() != "memory:" || strings.Count(said.String(), "cannot be opened") != 2 {
		t.Errorf("opened %s; the log says %s", v.Location(), said.String())
	}
	if got := v.Replicas(); len(got) != 1 || got[0].Name != "memory:none" {
		t.Errorf("replicas of the one that stands in: %v", got)
	}
	closer.Close()
	first.Replicas = first.Replicas[:1]
	if _, _, err := OpenAny(t.Context(), first, o); !errors.Is(err, failure.NotFound) {
		t.Errorf("nothing can be opened: %v, want the first one's kind", err)
	}
	if open != 0 {
		t.Errorf("%d stores are open at the end", open)
	}
}

// TestClientCertificate holds that both ways of naming one's own certificate reach the handshake.
func TestClientCertificate(t *testing.T) {
	folder := t.TempDir()
	cert, err := server.SelfSigned(folder, []string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(folder, "both.pem")
	var text []byte
	for _, path := range []string{cert.Cert, cert.Key} {
		part, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	if err := os.WriteFile(both, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, v := range []model.Vault{{Cert: cert.Cert, Key: cert.Key}, {Cert: both}, {Cert: both, Key: both}} {
		c, err := tlsConfig(v)
		if err != nil || len(c.Certificates) != 1 || c.MinVersion < tls.VersionTLS12 {
			t.Errorf("%+v: %+v, %v", v, c, err)
		}
	}
	if c, err := tlsConfig(model.Vault{}); c != nil || err != nil {
		t.Errorf("nothing special: %v, %v", c, err)
	}
}
