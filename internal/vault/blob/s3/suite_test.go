package s3_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3/s3test"
)

const domain = "s3.lifeboat.test"

// servers are started when they are first needed, and stopped when all tests are done.
type lazy struct {
	opts   s3test.Options
	once   sync.Once
	server *s3test.Server
	err    error
}

var (
	plain  = &lazy{opts: s3test.Options{}}
	secure = &lazy{opts: s3test.Options{TLS: true, Domain: domain}}
)

func (l *lazy) get(t testing.TB) *s3test.Server {
	t.Helper()
	l.once.Do(func() { l.server, l.err = s3test.Start(l.opts) })
	if l.err != nil {
		t.Fatal(l.err)
	}
	return l.server
}

func TestMain(m *testing.M) {
	// What this machine's user has configured for AWS is not to matter.
	for _, name := range []string{"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"} {
		os.Unsetenv(name)
	}
	os.Setenv("AWS_CONFIG_FILE", os.DevNull)
	os.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	code := m.Run()
	for _, l := range []*lazy{plain, secure} {
		if l.server == nil {
			continue
		}
		if err := l.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// owner are the options to reach a bucket as the server's owner.
func owner(s *s3test.Server, bucket string) s3.Options {
	return s3.Options{Endpoint: s.Endpoint, Bucket: bucket, AccessKey: s.AccessKey, SecretKey: s.SecretKey, TLS: s.TLS}
}

// suite runs the suite, each check in a bucket of its own.
func suite(t *testing.T, s *s3test.Server, change func(*s3.Options)) {
	blobtest.Run(t, func(tb testing.TB) blobtest.Place {
		o := owner(s, s.Bucket())
		change(&o)
		return func() (blob.Store, error) { return s3.Open(tb.Context(), o) }
	})
}

func TestPathStyle(t *testing.T) {
	suite(t, plain.get(t), func(o *s3.Options) { o.Prefix = "some/földer + 50%41/" })
}

func TestVirtualHostStyle(t *testing.T) {
	s := secure.get(t)
	suite(t, s, func(o *s3.Options) { o.Endpoint, o.Dial, o.Style = s.Host(), s.Dial, "virtual-host" })
}

// TestParts runs the suite with objects of 6 MiB going up in parts.
func TestParts(t *testing.T) {
	suite(t, plain.get(t), func(o *s3.Options) { o.PartSize = 5 << 20 })
}

// TestLocked runs the suite on buckets with Object Lock, in which nothing is kept by a retention: the suite removes.
func TestLocked(t *testing.T) {
	s := secure.get(t)
	blobtest.Run(t, func(tb testing.TB) blobtest.Place {
		o := owner(s, s.Bucket())
		o.Prefix = "a+b c/ü%20"
		s3.MakeLocked(tb, o)
		return func() (blob.Store, error) { return s3.Open(tb.Context(), o) }
	})
}
