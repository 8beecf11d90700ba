// Package s3 reads pgBackRest repositories in buckets of Amazon S3, or of any server that speaks its protocol.
//
// It only reads, and knows nothing of what is in the files. What fails for the moment is tried again, and a reader whose
// connection breaks goes on where it was. Start with [Open].
package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
)

// Options say where a bucket is and how it is reached.
type Options struct {
	Endpoint string // the server: https://host:port, or a host alone, which means https; empty: AWS
	Bucket   string
	Prefix   string // the repository's folder in the bucket; empty: the bucket itself
	Region   string // empty: what the environment or the profile says, else us-east-1
	// PathStyle puts the bucket into the path (https://host/bucket/key) instead of the host's name.
	PathStyle bool
	// AccessKey, SecretKey and Token are used as they are. Without them the AWS credential chain is asked.
	AccessKey, SecretKey, Token string
	TLS                         *tls.Config // nil: the system's authorities, or those of AWS_CA_BUNDLE
}

// attempts is how often a request is made before it is given up, and resumes how often a reader goes on after its
// connection broke without having read anything in between.
const (
	attempts = 6
	resumes  = 5
	region   = "us-east-1"
)

// Store is a repository in a bucket.
type Store struct {
	client *s3.Client
	bucket string
	prefix string
	pause  time.Duration // before a reader goes on for the first time; then twice as long
}

var _ pgbackrest.Store = (*Store)(nil)

// Open makes the store. It asks nobody yet, but for credentials. Invalid: AWS's configuration cannot be read.
func Open(ctx context.Context, o Options) (*Store, error) {
	var with []func(*config.LoadOptions) error
	with = append(with, config.WithHTTPClient(awshttp.NewBuildableClient()))
	if o.AccessKey != "" {
		with = append(with, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, o.Token)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, with...)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "read the configuration of AWS", o.Bucket)
	}
	if o.Region != "" {
		cfg.Region = o.Region
	} else if cfg.Region == "" {
		cfg.Region = region
	}
	if build, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = build.WithTransportOptions(func(t *http.Transport) {
			if o.TLS != nil {
				t.TLSClientConfig = o.TLS.Clone()
			}
			t.MaxIdleConnsPerHost = 64
		}).Freeze()
	}
	if o.Endpoint != "" && !strings.Contains(o.Endpoint, "://") {
		o.Endpoint = "https://" + o.Endpoint
	}
	client := s3.NewFromConfig(cfg, func(c *s3.Options) {
		c.UsePathStyle = o.PathStyle
		c.Retryer = retry.NewStandard(func(r *retry.StandardOptions) { r.MaxAttempts = attempts })
		if o.Endpoint != "" && !strings.HasSuffix(o.Endpoint, ".amazonaws.com") {
			c.BaseEndpoint = aws.String(o.Endpoint)
		}
		// What is read is verified by pgBackRest's own checksums.
		c.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		c.DisableLogOutputChecksumValidationSkipped = true
	})
	return &Store{client: client, bucket: o.Bucket, prefix: strings.Trim(o.Prefix, "/"), pause: time.Second}, nil
}

// String is s3://BUCKET/PREFIX.
func (s *Store) String() string { return "s3://" + path.Join(s.bucket, s.prefix) }

// Open asks for a range.
func (s *Store) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		return http.NoBody, nil
	}
	o := &object{store: s, ctx: ctx, name: name, at: offset, end: -1}
	if length > 0 {
		o.end = offset + length
	}
	if err := o.ask(); err != nil {
		return nil, err
	}
	return o, nil
}

// List lists a folder.
func (s *Store) List(ctx context.Context, folder string) ([]pgbackrest.Entry, error) {
	prefix := path.Join(s.prefix, folder) + "/"
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &prefix, Delimiter: aws.String("/")})
	var all []pgbackrest.Entry
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, s.fault(ctx, err, "list", folder)
		}
		for _, p := range page.CommonPrefixes {
			all = append(all, pgbackrest.Entry{Name: path.Base(aws.ToString(p.Prefix)), Folder: true})
		}
		for _, c := range page.Contents {
			if key := aws.ToString(c.Key); key != prefix { // a marker that stands for the folder
				all = append(all, pgbackrest.Entry{Name: path.Base(key), Size: aws.ToInt64(c.Size)})
			}
		}
	}
	slices.SortFunc(all, func(a, b pgbackrest.Entry) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// object is one file that is being read. It lives no longer than the call of Open that made it says.
type object struct {
	store   *Store
	ctx     context.Context
	name    string
	at, end int64 // end -1: all
	tag     string
	body    io.ReadCloser
	broken  int // times in a row
}

// ask asks for what is left.
func (o *object) ask() error {
	in := &s3.GetObjectInput{Bucket: &o.store.bucket, Key: aws.String(path.Join(o.store.prefix, o.name))}
	switch {
	case o.end >= 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", o.at, o.end-1))
	case o.at > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", o.at))
	}
	if o.tag != "" {
		in.IfMatch = &o.tag // what goes on must be of the same file
	}
	out, err := o.store.client.GetObject(o.ctx, in)
	if err != nil {
		return o.store.fault(o.ctx, err, "read", o.name)
	}
	o.body, o.tag = out.Body, aws.ToString(out.ETag)
	return nil
}

// Read reads on, and asks again when the connection broke.
func (o *object) Read(p []byte) (int, error) {
	for {
		n, err := o.body.Read(p)
		o.at += int64(n)
		if n > 0 {
			o.broken = 0
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
		if o.broken++; o.broken > resumes || o.ctx.Err() != nil {
			return 0, o.store.fault(o.ctx, err, "read", o.name)
		}
		o.body.Close()
		timer := time.NewTimer(o.store.pause << (o.broken - 1))
		select {
		case <-timer.C:
		case <-o.ctx.Done():
			timer.Stop()
			return 0, o.ctx.Err()
		}
		if err := o.ask(); err != nil {
			return 0, err
		}
	}
}

// Close ends reading.
func (o *object) Close() error { return o.body.Close() }

// fault gives an error of S3 its kind.
func (s *Store) fault(ctx context.Context, err error, op, name string) error {
	subject := s.String() + "/" + name
	if ctx.Err() != nil {
		return failure.WrapAs(failure.Canceled, ctx.Err(), op, subject)
	}
	var api smithy.APIError
	code := ""
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	status := 0
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	switch {
	case code == "NoSuchBucket":
		return failure.WrapAs(failure.NotFound, err, op, subject).WithHint("check the bucket's name")
	case code == "InvalidRange" || status == http.StatusRequestedRangeNotSatisfiable:
		return failure.WrapAs(failure.Corrupt, err, op, subject)
	case code == "PreconditionFailed":
		return failure.New(failure.Conflict, op, subject, "it was replaced while it was read").WithHint("do the same again")
	case status == http.StatusNotFound:
		return failure.WrapAs(failure.NotFound, err, op, subject)
	case status == http.StatusForbidden, status == http.StatusUnauthorized, status == http.StatusBadRequest && strings.Contains(code, "Token"):
		return failure.WrapAs(failure.Denied, err, op, subject).
			WithHint("give credentials that may read the bucket: those of pgbackrest.conf by --config, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case status == http.StatusMovedPermanently, code == "AuthorizationHeaderMalformed":
		return failure.WrapAs(failure.Invalid, err, op, subject).WithHint("the bucket is in another region: set AWS_REGION")
	}
	return failure.WrapAs(failure.Unavailable, err, op, subject)
}
