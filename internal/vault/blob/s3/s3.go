// Package s3 keeps a vault's objects in a bucket of Amazon S3, or of any server that speaks its protocol, in restic's
// layout: PREFIX/data/ab/abcd…, PREFIX/keys/…, PREFIX/config. Restic works on the same bucket at the same time.
//
// One call of the store is one request, or a few; nothing is tried again here (package retry does that), with the
// exception of the first look at the bucket in Open. Content is sent with its SHA-256, so that a server refuses what was
// damaged on its way.
//
// On a bucket with Object Lock the store reads through what hides objects there. Deleting without a version only lays a
// delete marker over an object, and writing only lays a newer version over it; whoever holds the credentials of a
// protected host can do both. Since objects are write-once, the oldest version of a name is the object: it is what is
// listed, loaded and kept. See docs/object-lock.md. Start with Open.
package s3

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Options say where a bucket is and how it is reached.
type Options struct {
	// Endpoint is the server: https://host:port, http://host:port, or a host alone, which means https. Empty, or one of
	// AWS's regional names such as s3.eu-west-1.amazonaws.com: AWS itself.
	Endpoint string
	Bucket   string
	Prefix   string // a folder in the bucket; empty: the bucket itself

	// Region of the bucket. Empty: what the endpoint's name, the environment or the profile says, else us-east-1; and when
	// the server answers that the bucket is elsewhere, that region.
	Region string
	// Style is "path" (https://host/bucket/key), "virtual-host" (https://bucket.host/key), or empty: virtual-host for AWS
	// and path for everybody else.
	Style string

	// AccessKey, SecretKey and SessionToken are used as they are. Without them the AWS credential chain is asked:
	// environment, profile, web identity, container, instance.
	AccessKey, SecretKey, SessionToken string
	Profile                            string
	Role, ExternalID                   string // an ARN to assume with those credentials

	// StorageClass is for packs; everything else is small, or gone soon, and stays in the standard class.
	StorageClass string
	// Retain is for how long Object Lock keeps each object, in compliance mode, from when it is saved; locks are never
	// kept. A bucket that has no Object Lock is Invalid then, and Create makes one that has it. Zero: objects are saved
	// without; what is kept already stays kept.
	Retain time.Duration

	// Connections is how many calls at once the store says it is good for; 0: 10.
	Connections int
	// TLS has the authorities and the client's certificate; nil: the system's authorities, or those of AWS_CA_BUNDLE.
	TLS *tls.Config
	// Dial connects to the server; nil: directly.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// PartSize is what objects are cut into that are larger than it; 0: 64 MiB. S3 wants at least 5 MiB.
	PartSize int64
	Log      *slog.Logger     // nil: silent
	Now      func() time.Time // nil: time.Now
}

const (
	defaultRegion   = "us-east-1"
	defaultParallel = 10
	defaultPart     = 64 << 20
	leastPart       = 5 << 20
	mostParts       = 10_000
)

// archives are the storage classes that nothing can be read from before it is thawed: a vault in them opens for nobody.
var archives = map[string]bool{"GLACIER": true, "DEEP_ARCHIVE": true}

// Store is a bucket, or a folder in one. Make it with Open.
type Store struct {
	opts    Options
	client  *s3.Client
	aws     bool
	prefix  string // empty, or with a slash at its end
	subject string // the location, for errors
	facts   blob.Facts

	// locked: the bucket has Object Lock, so that versions are looked at.
	locked bool
	firsts firsts
	// conditional: the server understands If-None-Match, or has not said that it does not.
	conditional atomic.Bool
	tidy        sync.Once // unfinished uploads of earlier processes
}

// Open looks at the bucket, which need not exist before Create. Invalid: what o says cannot be; Denied: the credentials
// are refused; Unavailable: the server is not reached.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.PartSize == 0 {
		o.PartSize = defaultPart
	}
	s := &Store{opts: o}
	s.conditional.Store(true)
	if err := s.place(); err != nil {
		return nil, err
	}
	cfg, err := s.config(ctx)
	if err != nil {
		return nil, err
	}
	look, err := s.look(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if s.locked = look.locked; o.Retain > 0 && look.exists && !look.locked {
		return nil, failure.New(failure.Invalid, "open", s.subject, "objects are to be kept for %s, and the bucket has no Object Lock", o.Retain).
			WithHint("Object Lock is switched on when a bucket is made; see docs/object-lock.md")
	}
	s.facts = blob.Facts{
		Location: s.subject, Retention: s.locked, MaxParallel: o.Connections,
		AtomicCreate: s.aws || strings.Contains(look.server, "MinIO"),
	}
	if s.facts.MaxParallel <= 0 {
		s.facts.MaxParallel = defaultParallel
	}
	return s, nil
}

// place works out the server, the folder and how both are called.
func (s *Store) place() error {
	o := &s.opts
	wrong := func(format string, args ...any) *failure.Error {
		return failure.New(failure.Invalid, "open", "s3:"+o.Bucket, format, args...)
	}
	if o.Endpoint == "" {
		o.Endpoint = "https://s3.amazonaws.com"
	} else if !strings.Contains(o.Endpoint, "://") {
		o.Endpoint = "https://" + o.Endpoint
	}
	u, err := url.Parse(o.Endpoint)
	switch {
	case err != nil:
		return wrong("the endpoint is no URL") // the cause would repeat it, with a password that may be in it
	case u.User != nil:
		return wrong("there are credentials in the endpoint").WithHint("give them by the environment, a profile, or as references to secrets")
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "", strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "":
		return wrong("the endpoint %s is not of the form https://host:port", u)
	case o.Bucket == "" || strings.ContainsAny(o.Bucket, "/?# "):
		return wrong("%q is no bucket", o.Bucket)
	case o.Style != "" && o.Style != "path" && o.Style != "virtual-host":
		return wrong("the style %q is unknown", o.Style).WithHint("write path or virtual-host")
	case archives[strings.ToUpper(o.StorageClass)]:
		return wrong("nothing can be read at once from the storage class %s", o.StorageClass).
			WithHint("use GLACIER_IR, or one of the standard classes")
	case (o.AccessKey == "") != (o.SecretKey == ""):
		return wrong("of the access key and the secret key only one is given")
	case o.PartSize < leastPart:
		return wrong("parts of %d bytes are too small: S3 wants at least %d", o.PartSize, leastPart)
	case o.Retain < 0:
		return wrong("objects cannot be kept for %s", o.Retain)
	}
	o.Endpoint = u.Scheme + "://" + u.Host
	host := strings.ToLower(u.Hostname())
	s.aws = strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
	if o.Region == "" && s.aws {
		// s3.eu-west-1.amazonaws.com
		if parts := strings.Split(host, "."); len(parts) >= 4 && parts[0] == "s3" {
			o.Region = parts[1]
		}
	}
	if s.prefix = strings.Trim(o.Prefix, "/"); s.prefix != "" {
		s.prefix += "/"
	}
	s.subject = "s3:" + o.Endpoint + "/" + o.Bucket
	if s.prefix != "" {
		s.subject += "/" + strings.TrimSuffix(s.prefix, "/")
	}
	return nil
}

// pathStyle reports whether the bucket is named in the path.
func (s *Store) pathStyle() bool {
	if s.opts.Style == "" {
		return !s.aws
	}
	return s.opts.Style == "path"
}

// regional reports whether the endpoint is one of those that the SDK makes of a region by itself.
func (s *Store) regional() bool {
	host := strings.TrimPrefix(s.opts.Endpoint, "https://")
	return host == "s3.amazonaws.com" || host == "s3."+s.opts.Region+".amazonaws.com" || host == "s3."+s.opts.Region+".amazonaws.com.cn"
}

// key is where h lies in the bucket.
func (s *Store) key(h blob.Handle) string { return s.prefix + h.Path() }

// handle is what lies at key, and whether that is the place of an object of type t.
func (s *Store) handle(t blob.Type, key string) (blob.Handle, bool) {
	h := blob.Handle{Type: t, Name: key[strings.LastIndexByte(key, '/')+1:]}
	if t == blob.Config {
		h.Name = ""
	}
	return h, h.Valid() && s.key(h) == key
}

// folder is what the keys of all objects of a type begin with.
func (s *Store) folder(t blob.Type) string {
	if t == blob.Config {
		return s.prefix + t.String()
	}
	return s.prefix + t.String() + "/"
}

// through reports whether the versions of objects of a type count. Locks are made to be deleted: their newest counts.
func (s *Store) through(t blob.Type) bool { return s.locked && t != blob.Lock }

// class is the storage class of an object.
func (s *Store) class(h blob.Handle) types.StorageClass {
	if h.Type == blob.Pack {
		return types.StorageClass(strings.ToUpper(s.opts.StorageClass))
	}
	return ""
}

// Facts tells what the bucket can do.
func (s *Store) Facts() blob.Facts { return s.facts }

// Close gives up idle connections.
func (s *Store) Close() error {
	if c, ok := s.client.Options().HTTPClient.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	return nil
}

var (
	_ blob.Store     = (*Store)(nil)
	_ blob.Retainer  = (*Store)(nil)
	_ blob.Uncoverer = (*Store)(nil)
)
