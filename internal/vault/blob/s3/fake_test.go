package s3_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3/s3test"
)

// scripted is a server that says what a test wants after the first request, which is Open's look.
type scripted struct {
	mu     sync.Mutex
	answer http.HandlerFunc
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	if answer == nil || r.URL.Query().Has("object-lock") {
		fail(w, 404, "ObjectLockConfigurationNotFoundError", "no lock")
		return
	}
	answer(w, r)
}

// says sets the answer from here on.
func (s *scripted) says(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// fail is an error of the protocol.
func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if code != "" {
		fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message><RequestId>R1</RequestId></Error>", code, message)
	}
}

const hidden = "hunter2hunter2hunter2"

// TestErrors holds the kind of each error that servers give, for a call that reads and for one that writes; that no
// message shows a credential; and that the worst ones tell what to do.
func TestErrors(t *testing.T) {
	fake := &scripted{}
	server := httptest.NewServer(fake)
	defer server.Close()
	store, err := s3.Open(t.Context(), s3.Options{Endpoint: server.URL, Bucket: "b", AccessKey: "AKIA" + hidden, SecretKey: hidden})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	o := blobtest.Make(blob.Snapshot, 1, 100)
	for _, tt := range []struct {
		status      int
		code        string
		read, write failure.Kind
		hint        string
	}{
		{503, "SlowDown", failure.Throttled, failure.Throttled, ""},
		{429, "TooManyRequests", failure.Throttled, failure.Throttled, ""},
		{503, "ServiceUnavailable", failure.Unavailable, failure.Unavailable, ""},
		{500, "InternalError", failure.Unavailable, failure.Indeterminate, ""},
		{502, "", failure.Unavailable, failure.Indeterminate, ""},
		{504, "", failure.Unavailable, failure.Indeterminate, ""},
		{520, "", failure.Unavailable, failure.Indeterminate, ""},
		{403, "AccessDenied", failure.Denied, failure.Denied, "policy"},
		{403, "InvalidAccessKeyId", failure.Denied, failure.Denied, "access key"},
		{403, "SignatureDoesNotMatch", failure.Denied, failure.Denied, "secret key"},
		{400, "ExpiredToken", failure.Denied, failure.Denied, "expired"},
		{403, "RequestTimeTooSkewed", failure.Denied, failure.Denied, "clock"},
		{400, "AuthorizationHeaderMalformed", failure.Invalid, failure.Invalid, "region"},
		{301, "PermanentRedirect", failure.Invalid, failure.Invalid, "region"},
		{404, "NoSuchBucket", failure.NotFound, failure.NotFound, "bucket"},
		{404, "NoSuchKey", failure.NotFound, failure.NotFound, ""},
		{412, "PreconditionFailed", failure.Exists, failure.Exists, ""},
		{400, "BadDigest", failure.Corrupt, failure.Corrupt, ""},
		{400, "XAmzContentSHA256Mismatch", failure.Corrupt, failure.Corrupt, ""},
		{403, "InvalidObjectState", failure.Denied, failure.Denied, "archive"},
		{507, "XMinioStorageFull", failure.Denied, failure.Denied, "room"},
		{400, "SomethingNew", failure.Invalid, failure.Invalid, ""},
		{418, "", failure.Invalid, failure.Invalid, ""},
	} {
		fake.says(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead { // before a Save: not there
				fail(w, 404, "", "")
				return
			}
			fail(w, tt.status, tt.code, "what the server says")
		})
		_, readErr := store.Load(t.Context(), o.Handle, 0, blob.ToEnd)
		writeErr := store.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes))
		for what, got := range map[string]struct {
			err  error
			want failure.Kind
		}{"load": {readErr, tt.read}, "save": {writeErr, tt.write}} {
			if err := blobtest.Kind(what, got.err, got.want); err != nil {
				t.Errorf("%d %s: %v", tt.status, tt.code, err)
				continue
			}
			if strings.Contains(got.err.Error(), hidden) || strings.Contains(failure.HintOf(got.err), hidden) {
				t.Errorf("%d %s: %s shows a credential: %v", tt.status, tt.code, what, got.err)
			}
			if !strings.Contains(failure.HintOf(got.err), tt.hint) {
				t.Errorf("%d %s: %s has the hint %q, without %q", tt.status, tt.code, what, failure.HintOf(got.err), tt.hint)
			}
		}
	}
}

// TestBrokenLines holds what a line that breaks means, by where it breaks.
func TestBrokenLines(t *testing.T) {
	fake := &scripted{}
	server := httptest.NewServer(fake)
	defer server.Close()
	store, err := s3.Open(t.Context(), s3.Options{Endpoint: server.URL, Bucket: "b", AccessKey: "k", SecretKey: hidden})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	o := blobtest.Make(blob.Pack, 1, 1000)
	hangUp := func(w http.ResponseWriter) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		c.Close()
	}
	fake.says(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			fail(w, 404, "", "")
			return
		}
		io.Copy(io.Discard, r.Body)
		hangUp(w)
	})
	if err := blobtest.Kind("save without an answer", store.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)), failure.Indeterminate); err != nil {
		t.Error(err)
	}
	if err := blobtest.Kind("remove without an answer", store.Remove(t.Context(), o.Handle), failure.Indeterminate); err != nil {
		t.Error(err)
	}
	_, err = store.Load(t.Context(), o.Handle, 0, 100)
	if err := blobtest.Kind("load without an answer", err, failure.Unavailable); err != nil {
		t.Error(err)
	}
	fake.says(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Write(o.Bytes[:300])
		w.(http.Flusher).Flush()
		hangUp(w)
	})
	f, err := store.Load(t.Context(), o.Handle, 0, blob.ToEnd)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	if len(got) != 300 {
		t.Errorf("%d bytes come before the line breaks, want 300", len(got))
	}
	if err := errors.Join(blobtest.Kind("read", err, failure.Unavailable), f.Close()); err != nil {
		t.Error(err)
	}
	fake.says(func(w http.ResponseWriter, r *http.Request) { w.Write(o.Bytes) }) // the whole, whatever was asked for
	_, err = store.Load(t.Context(), o.Handle, 10, 20)
	if err := blobtest.Kind("load from a server without ranges", err, failure.Unsupported); err != nil {
		t.Error(err)
	}
	server.CloseClientConnections()
	server.Close()
	_, err = store.Stat(t.Context(), o.Handle)
	if err := blobtest.Kind("a server that is gone", err, failure.Unavailable); err != nil {
		t.Error(err)
	}
	if err := blobtest.Kind("save to a server that is gone", store.Remove(t.Context(), o.Handle), failure.Unavailable); err != nil {
		t.Error(err)
	}
}

// TestOpenRefuses holds what cannot be opened, and that no refusal repeats a secret.
func TestOpenRefuses(t *testing.T) {
	s, unlocked := secure.get(t), ""
	for _, tt := range []struct {
		name   string
		change func(o *s3.Options)
		kind   failure.Kind
		says   string
	}{
		{"credentials in the endpoint", func(o *s3.Options) { o.Endpoint = "https://me:" + hidden + "@host" }, failure.Invalid, "credentials"},
		{"no URL", func(o *s3.Options) { o.Endpoint = "https://ho st:" + hidden + "%%" }, failure.Invalid, "no URL"},
		{"a path", func(o *s3.Options) { o.Endpoint += "/bucket" }, failure.Invalid, "form"},
		{"no bucket", func(o *s3.Options) { o.Bucket = "" }, failure.Invalid, "bucket"},
		{"a bucket with a slash", func(o *s3.Options) { o.Bucket = "a/b" }, failure.Invalid, "bucket"},
		{"an unknown style", func(o *s3.Options) { o.Style = "auto" }, failure.Invalid, "style"},
		{"an archive", func(o *s3.Options) { o.StorageClass = "glacier" }, failure.Invalid, "storage class"},
		{"half a key", func(o *s3.Options) { o.SecretKey = "" }, failure.Invalid, "only one"},
		{"small parts", func(o *s3.Options) { o.PartSize = 1 << 20 }, failure.Invalid, "parts"},
		{"a negative retention", func(o *s3.Options) { o.Retain = -1 }, failure.Invalid, "kept"},
		{"an unknown authority", func(o *s3.Options) { o.TLS = nil }, failure.Invalid, "certificate"},
		{"a wrong name", func(o *s3.Options) { o.Endpoint, o.Dial = "https://elsewhere.test", s.Dial }, failure.Invalid, "certificate"},
		{"a wrong secret", func(o *s3.Options) { o.SecretKey = hidden }, failure.Denied, "secret"},
		{"a wrong key", func(o *s3.Options) { o.AccessKey = "nobody" }, failure.Denied, "access key"},
		{"no profile of that name", func(o *s3.Options) { o.AccessKey, o.SecretKey, o.Profile = "", "", "none" }, failure.Invalid, "profile"},
		{"no credentials", func(o *s3.Options) { o.AccessKey, o.SecretKey = "", "" }, failure.Denied, "credentials"},
		{"no Object Lock", func(o *s3.Options) { o.Bucket, o.Retain = unlocked, time.Hour }, failure.Invalid, "Object Lock"},
		{"a closed port", func(o *s3.Options) { o.Endpoint = "https://127.0.0.1:" + closedPort(t) }, failure.Unavailable, "connect"},
		{"no TLS there", func(o *s3.Options) { o.Endpoint = "https" + strings.TrimPrefix(plain.get(t).Endpoint, "http") }, failure.Invalid, "TLS"},
	} {
		o := owner(s, s.Bucket())
		if unlocked == "" {
			unlocked = o.Bucket
			store, err := s3.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if err := store.Create(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		tt.change(&o)
		_, err := s3.Open(t.Context(), o)
		if err := blobtest.Kind(tt.name, err, tt.kind); err != nil {
			t.Error(err)
			continue
		}
		text := err.Error() + " " + failure.HintOf(err)
		if strings.Contains(text, hidden) || strings.Contains(text, s.SecretKey) {
			t.Errorf("%s: the error shows a secret: %s", tt.name, text)
		}
		if !strings.Contains(text, tt.says) {
			t.Errorf("%s: the error does not say %q: %s", tt.name, tt.says, text)
		}
	}
}

// closedPort is a port on which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestChain holds that credentials come by AWS's chain: the environment, a profile, and a role that is assumed with them.
func TestChain(t *testing.T) {
	s := plain.get(t)
	bucket := s.Bucket()
	base := s3.Options{Endpoint: s.Endpoint, Bucket: bucket}
	works := func(t *testing.T, o s3.Options) {
		t.Helper()
		store, err := s3.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		if err := store.Create(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Run("environment", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", s.AccessKey)
		t.Setenv("AWS_SECRET_ACCESS_KEY", s.SecretKey)
		works(t, base)
	})
	t.Run("profile", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(file, []byte("[shop]\naws_access_key_id="+s.AccessKey+"\naws_secret_access_key="+s.SecretKey+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
		o := base
		o.Profile = "shop"
		works(t, o)
	})
	t.Run("role", func(t *testing.T) {
		t.Setenv("AWS_ENDPOINT_URL_STS", s.Endpoint)
		o := base
		o.AccessKey, o.SecretKey, o.Role, o.ExternalID = s.AccessKey, s.SecretKey, "arn:aws:iam::123456789012:role/backup", "shop"
		works(t, o)
	})
	t.Run("a role that is refused", func(t *testing.T) {
		t.Setenv("AWS_ENDPOINT_URL_STS", s.Endpoint)
		o := base
		o.AccessKey, o.SecretKey, o.Role = s.AccessKey, hidden, "arn:aws:iam::123456789012:role/backup"
		_, err := s3.Open(t.Context(), o)
		if err := blobtest.Kind("open", err, failure.Denied); err != nil {
			t.Error(err)
		}
	})
}

// TestRegion holds that the region of a bucket is found, and that a wrong one which the user insists on is said.
func TestRegion(t *testing.T) {
	s, err := s3test.Start(s3test.Options{Env: []string{"MINIO_SITE_REGION=eu-north-7"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	for _, region := range []string{"", "eu-north-7"} {
		o := owner(s, s.Bucket())
		o.Region = region
		store, err := s3.Open(t.Context(), o)
		if err != nil {
			t.Fatalf("region %q: %v", region, err)
		}
		if err := store.Create(t.Context()); err != nil {
			t.Errorf("region %q: %v", region, err)
		}
	}
	o := owner(s, s.Bucket())
	o.Region = "mars-1"
	_, err = s3.Open(t.Context(), o)
	if wrong := blobtest.Kind("open", err, failure.Invalid); wrong != nil {
		t.Error(wrong)
	} else if !strings.Contains(failure.HintOf(err), "region") {
		t.Errorf("the hint is %q: %v", failure.HintOf(err), err)
	}
}

// TestAWS holds how AWS itself is called: the bucket in the host's name, and the region that a redirect names.
func TestAWS(t *testing.T) {
	var mu sync.Mutex
	var hosts []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		hosts = append(hosts, r.Host)
		mu.Unlock()
		if !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/s3/") {
			w.Header().Set("X-Amz-Bucket-Region", "eu-central-1")
			fail(w, 301, "PermanentRedirect", "elsewhere")
			return
		}
		w.Header().Set("Server", "AmazonS3")
		fail(w, 404, "ObjectLockConfigurationNotFoundError", "no lock")
	}))
	defer server.Close()
	for _, tt := range []struct {
		endpoint, style, bucket string
		want                    []string
	}{
		{"", "", "shop", []string{"shop.s3.us-east-1.amazonaws.com", "shop.s3.eu-central-1.amazonaws.com"}},
		{"s3.amazonaws.com", "", "shop", []string{"shop.s3.us-east-1.amazonaws.com", "shop.s3.eu-central-1.amazonaws.com"}},
		{"https://s3.eu-central-1.amazonaws.com", "", "shop", []string{"shop.s3.eu-central-1.amazonaws.com"}},
		{"s3.eu-central-1.amazonaws.com", "path", "shop", []string{"s3.eu-central-1.amazonaws.com"}},
		{"s3.eu-central-1.amazonaws.com", "", "shop.uploads", []string{"s3.eu-central-1.amazonaws.com"}}, // no certificate is for two names
	} {
		mu.Lock()
		hosts = nil
		mu.Unlock()
		store, err := s3.Open(t.Context(), s3.Options{
			Endpoint: tt.endpoint, Style: tt.style, Bucket: tt.bucket, AccessKey: "k", SecretKey: "s", TLS: &tls.Config{InsecureSkipVerify: true},
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
			},
		})
		if err != nil {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		mu.Lock()
		if got := strings.Join(hosts, " "); got != strings.Join(tt.want, " ") {
			t.Errorf("%q, %q: asked %s, want %s", tt.endpoint, tt.style, got, tt.want)
		}
		mu.Unlock()
		if !store.Facts().AtomicCreate {
			t.Error("AWS creates atomically, and the facts do not say so")
		}
	}
}

// TestOtherServers runs the suite against a server that knows no conditional writes, and does not say who it is.
func TestOtherServers(t *testing.T) {
	s := plain.get(t)
	target, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	refused := 0
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del("Server")
			return nil
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			mu.Lock()
			refused++
			mu.Unlock()
			io.Copy(io.Discard, r.Body)
			fail(w, 501, "NotImplemented", "A header you provided implies functionality that is not implemented")
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer server.Close()
	suite(t, s, func(o *s3.Options) { o.Endpoint = server.URL })
	mu.Lock()
	defer mu.Unlock()
	if refused == 0 {
		t.Error("no conditional write was tried")
	}
}

// TestUnfinishedUploads holds that an upload in parts that fails leaves nothing that costs.
func TestUnfinishedUploads(t *testing.T) {
	s := plain.get(t)
	o := owner(s, s.Bucket())
	o.PartSize = 5 << 20
	store, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	x := blobtest.Make(blob.Pack, 1, 12<<20)
	cause := failure.New(failure.Unavailable, "read", "the source", "gone")
	err = store.Save(t.Context(), x.Handle, breaks{bytes.NewReader(x.Bytes), 11 << 20, cause})
	if err := blobtest.Kind("save", err, failure.Unavailable); err != nil {
		t.Error(err)
	}
	if n := s3.Unfinished(t, store, x.Handle); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = store.Save(ctx, x.Handle, cancels{bytes.NewReader(x.Bytes), 7 << 20, cancel})
	if err := blobtest.Kind("save", err, failure.Canceled); err != nil {
		t.Error(err)
	}
	if n := s3.Unfinished(t, store, x.Handle); n != 0 {
		t.Errorf("%d uploads are left after a cancelled one", n)
	}
}

// TestAbandoned holds that what a process left that was killed a day ago is given up, and nothing younger. MinIO, which
// does so by itself, lists uploads only by their whole name.
func TestAbandoned(t *testing.T) {
	fake := &scripted{}
	server := httptest.NewServer(fake)
	defer server.Close()
	store, err := s3.Open(t.Context(), s3.Options{Endpoint: server.URL, Bucket: "b", AccessKey: "k", SecretKey: "s", PartSize: 5 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var mu sync.Mutex
	var gone []string
	fake.says(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.Method == http.MethodHead:
			fail(w, 404, "", "")
		case r.Method == http.MethodGet && q.Has("uploads"):
			upload := func(id string, age time.Duration) string {
				return fmt.Sprintf("<Upload><Key>data/ab/x</Key><UploadId>%s</UploadId><Initiated>%s</Initiated></Upload>", id, time.Now().Add(-age).UTC().Format(time.RFC3339))
			}
			fmt.Fprintf(w, "<ListMultipartUploadsResult>%s%s<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>", upload("old", 25*time.Hour), upload("new", time.Hour))
		case r.Method == http.MethodDelete:
			mu.Lock()
			gone = append(gone, q.Get("uploadId"))
			mu.Unlock()
			w.WriteHeader(204)
		case r.Method == http.MethodPost && q.Has("uploads"):
			fmt.Fprint(w, "<InitiateMultipartUploadResult><UploadId>mine</UploadId></InitiateMultipartUploadResult>")
		case r.Method == http.MethodPut:
			io.Copy(io.Discard, r.Body)
			w.Header().Set("ETag", "x")
		default:
			fmt.Fprint(w, "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
		}
	})
	for i := range 2 {
		o := blobtest.Make(blob.Pack, uint64(i), 6<<20)
		if err := store.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(gone, " "); got != "old" {
		t.Errorf("given up: %q, want the old one, once", got)
	}
}

// breaks is content that cannot be read from an offset on.
type breaks struct {
	*bytes.Reader
	at  int64
	err error
}

func (b breaks) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.at {
		return 0, b.err
	}
	return b.Reader.ReadAt(p, off)
}

// cancels is content that ends a context when it is read from an offset on.
type cancels struct {
	*bytes.Reader
	at     int64
	cancel func()
}

func (c cancels) ReadAt(p []byte, off int64) (int, error) {
	if off > c.at {
		c.cancel()
	}
	return c.Reader.ReadAt(p, off)
}
