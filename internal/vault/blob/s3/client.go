package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/lifeboat-dr/lifeboat/failure"
)

const (
	dialTimeout = 30 * time.Second
	// stall is how long a connection may stand still, in both directions, before it counts as broken. Putting the parts
	// of a large object together takes servers minutes.
	stall = 5 * time.Minute
	// looks is how often Open asks before it gives up, pause how long it waits after the first time; then twice as long.
	looks = 3
	pause = 500 * time.Millisecond
)

// config is how AWS is reached: region, credentials, HTTP.
func (s *Store) config(ctx context.Context) (aws.Config, error) {
	o := &s.opts
	var with []func(*config.LoadOptions) error
	with = append(with, config.WithHTTPClient(awshttp.NewBuildableClient()))
	if o.Profile != "" {
		with = append(with, config.WithSharedConfigProfile(o.Profile))
	}
	if o.AccessKey != "" {
		with = append(with, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, o.SessionToken)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, with...)
	if err != nil {
		return aws.Config{}, failure.WrapAs(failure.Invalid, err, "read the configuration of AWS", s.subject).
			WithHint("look at ~/.aws/config, ~/.aws/credentials and the variables whose names begin with AWS_")
	}
	if o.Region != "" {
		cfg.Region = o.Region
	} else if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	if o.Role != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), o.Role, func(r *stscreds.AssumeRoleOptions) {
			r.RoleSessionName = "lifeboat"
			if o.ExternalID != "" {
				r.ExternalID = aws.String(o.ExternalID)
			}
		}))
	}
	cfg.Credentials = given{cfg.Credentials, s.subject}
	return cfg, nil
}

// given are credentials whose absence is said in our words.
type given struct {
	aws.CredentialsProvider
	subject string
}

// Retrieve asks the chain.
func (g given) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := g.CredentialsProvider.Retrieve(ctx)
	if err == nil || ctx.Err() != nil {
		return c, err
	}
	kind := failure.Denied
	var network net.Error
	if errors.As(err, &network) && c.AccessKeyID == "" {
		kind = failure.Unavailable // the service that gives them out is not reached
	}
	return c, failure.WrapAs(kind, err, "find credentials for", g.subject).
		WithHint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or run where a role is given to the machine")
}

// connect makes the client for a region.
func (s *Store) connect(cfg aws.Config, region string) {
	build, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		build = awshttp.NewBuildableClient()
	}
	client := build.WithTransportOptions(s.transport).Freeze()
	s.opts.Region = region
	s.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.Region = region
		o.HTTPClient = client
		o.Retryer = aws.NopRetryer{}
		o.UsePathStyle = s.pathStyle()
		if !s.regional() {
			o.BaseEndpoint = aws.String(s.opts.Endpoint)
		}
		// The SDK would add checksums in trailers, which many servers that are not AWS refuse. Content is signed with its
		// SHA-256 instead.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.DisableLogOutputChecksumValidationSkipped = true
		o.DisableS3ExpressSessionAuth = aws.Bool(true)
	})
}

// transport bounds how long nothing may happen, and speaks HTTP/1.1: one connection for each call is faster here than
// streams in one.
func (s *Store) transport(t *http.Transport) {
	if s.opts.TLS != nil {
		t.TLSClientConfig = s.opts.TLS.Clone()
		t.TLSClientConfig.MinVersion = max(t.TLSClientConfig.MinVersion, tls.VersionTLS12)
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.TLSClientConfig.NextProtos = []string{"http/1.1"}
	t.ForceAttemptHTTP2 = false
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	t.MaxIdleConnsPerHost = max(2*s.opts.Connections, 2*defaultParallel)
	dial := s.opts.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}).DialContext
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return lively{c}, nil
	}
}

// lively is a connection that breaks when nothing moves on it for a while, whether it is read or written.
type lively struct{ net.Conn }

func (c lively) Read(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c lively) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// signedAs makes a request say the SHA-256 of its content, in hexadecimal, instead of working it out or leaving it out.
func signedAs(sum string) func(*s3.Options) {
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("ContentHash",
				func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
					return next.HandleInitialize(v4.SetPayloadHash(ctx, sum), in)
				}), middleware.After)
		})
	}
}

// looked is what Open learns.
type looked struct {
	exists bool
	locked bool
	server string // what the server calls itself
}

// look asks for the bucket's Object Lock, and finds the bucket's region on the way.
func (s *Store) look(ctx context.Context, cfg aws.Config) (looked, error) {
	said := s.opts.Region != ""
	s.connect(cfg, cfg.Region)
	l, err := s.insist(ctx)
	if region := regionOf(err); region != "" && region != cfg.Region && !said {
		s.connect(cfg, region)
		l, err = s.insist(ctx)
	}
	if err == nil {
		return l, nil
	}
	if code := codeOf(err); code == "AccessDenied" || code == "Forbidden" {
		// A user for data alone may not ask. With a retention the first Save would tell if there were no Object Lock.
		l = looked{exists: false, locked: s.opts.Retain > 0, server: l.server}
		if !l.locked {
			s.opts.Log.WarnContext(ctx, "whether the bucket has Object Lock may not be asked: reading as if it had none", "store", s.subject,
				"hint", "allow s3:GetBucketObjectLockConfiguration")
		}
		return l, nil
	}
	return looked{}, s.fault(ctx, err, "open", s.subject)
}

// insist asks again what fails for the moment.
func (s *Store) insist(ctx context.Context) (l looked, err error) {
	for i := range looks {
		if l, err = s.ask(ctx); err == nil {
			return l, nil
		}
		kind := failure.KindOf(s.fault(ctx, err, "open", s.subject))
		if i == looks-1 || kind != failure.Unavailable && kind != failure.Throttled {
			break
		}
		timer := time.NewTimer(pause << i)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return l, err
		}
	}
	return l, err
}

// ask asks once.
func (s *Store) ask(ctx context.Context) (looked, error) {
	out, err := s.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &s.opts.Bucket})
	if err != nil {
		l := looked{exists: true, server: header(err, "Server")}
		switch codeOf(err) {
		case "ObjectLockConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed", "NoSuchObjectLockConfiguration":
			if s.opts.Retain > 0 {
				// MinIO gives this answer for a bucket that is not there too.
				_, err = s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.opts.Bucket})
			} else {
				err = nil
			}
		}
		if code := codeOf(err); code == "NoSuchBucket" || code == "NotFound" || code == http.StatusText(http.StatusNotFound) {
			l.exists, l.locked, err = false, s.opts.Retain > 0, nil // Create makes it so
		}
		return l, err
	}
	l := looked{exists: true, server: serverOf(out.ResultMetadata)}
	l.locked = out.ObjectLockConfiguration != nil && out.ObjectLockConfiguration.ObjectLockEnabled == types.ObjectLockEnabledEnabled
	return l, nil
}
