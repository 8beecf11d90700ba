package awsbase

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/lifeboat-dr/lifeboat/failure"
)

const (
	// roleTime is how long a role is assumed for. A chained role cannot be had for longer (IAM User Guide, "role chaining").
	roleTime = time.Hour
	// renew is how long before they expire credentials are replaced. When that fails, the old ones serve for the rest of it.
	renew = 5 * time.Minute
	// retry is how long after that has failed it is tried again.
	retry = time.Minute
	// reread is how long references to secrets are not read again.
	reread = 5 * time.Minute
)

// Session is one site: an account in a region, as somebody. It is made by Base.Session and shared by all who name the same Access.
// It is safe for concurrent use, and what clients made from its Config are asked goes through everything that the package
// comment lists.
type Session struct {
	base      *Base
	access    Access
	partition string
	creds     aws.CredentialsProvider
	http      aws.HTTPClient

	mu      sync.Mutex
	proven  string // the access key that is known to be of the account
	pollers map[string]any
}

// connect makes the session. Nothing is asked.
func (b *Base) connect(ctx context.Context, a Access) (*Session, error) {
	s := &Session{base: b, access: a, partition: PartitionOf(a.Region), http: b.opts.HTTP, pollers: map[string]any{}}
	var first aws.CredentialsProvider = aws.NewCredentialsCache(referenced{a})
	if a.AccessKey == "" || s.http == nil {
		with := []func(*config.LoadOptions) error{config.WithRegion(a.Region), config.WithHTTPClient(b.own)}
		if a.Profile != "" {
			with = append(with, config.WithSharedConfigProfile(a.Profile))
		}
		cfg, err := config.LoadDefaultConfig(ctx, with...)
		if err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "read the configuration of AWS for", s.Name()).
				WithHint("look at ~/.aws/config, ~/.aws/credentials and the variables whose names begin with AWS_: aws configure list")
		}
		if a.AccessKey == "" {
			first = cfg.Credentials
		}
		if s.http == nil {
			s.http = cfg.HTTPClient
		}
	}
	if b.opts.Around != nil {
		s.http = b.opts.Around(s.http)
	}
	s.creds = found{first, s.Name()}
	for _, r := range a.Roles {
		client := sts.NewFromConfig(s.config("sts", s.creds))
		provider := stscreds.NewAssumeRoleProvider(client, r.ARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName, o.Duration = "lifeboat", roleTime
		})
		s.creds = keep(assumed{provider, client, r}, a.attempt()/2)
	}
	return s, nil
}

// Name names the session for people: "eu-west-1 of account 123456789012".
func (s *Session) Name() string { return s.access.Region + " of account " + s.access.Account }

// Region, Account and Partition are where the session is.
func (s *Session) Region() string    { return s.access.Region }
func (s *Session) Account() string   { return s.access.Account }
func (s *Session) Partition() string { return s.partition }

// ARN names a thing of this account and region.
func (s *Session) ARN(service, resource string) string {
	return ARN(s.partition, service, s.access.Region, s.access.Account, resource)
}

// Deadline is the longest that a call takes.
func (s *Session) Deadline() time.Duration { return s.access.deadline() }

// Config is what to make a service's client from. Service is its name for IAM, one of [Services]:
//
//	rds.NewFromConfig(s.Config("rds"))
//
// Such clients are cheap to make, and go to the session's region or to the endpoint that is said for the service.
func (s *Session) Config(service string) aws.Config { return s.config(service, s.creds) }

func (s *Session) config(service string, creds aws.CredentialsProvider) aws.Config {
	cfg := aws.Config{
		Region:      s.access.Region,
		Credentials: creds,
		HTTPClient:  s.http,
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
		AppID:       "lifeboat",
		APIOptions:  []func(*middleware.Stack) error{(&around{s: s, service: service, scope: s.base.scope(s, service)}).add},
	}
	if at := s.access.at(service); at != "" {
		cfg.BaseEndpoint = aws.String(at)
	}
	return cfg
}

// Identity is as whom calls are made.
type Identity struct {
	Account, ARN, UserID string
	// Ahead is how much this machine's clock is ahead of AWS's, at the least that the answer allows; negative: behind.
	Ahead time.Duration
}

// Identity asks the security token service. It needs no permission. An identity of another account than the site's is
// failure.Denied.
func (s *Session) Identity(ctx context.Context) (Identity, error) {
	asked := time.Now()
	out, err := sts.NewFromConfig(s.Config("sts")).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Identity{}, failure.Wrap(err, "ask who we are in", s.Name())
	}
	id := Identity{Account: aws.ToString(out.Account), ARN: aws.ToString(out.Arn), UserID: aws.ToString(out.UserId)}
	if date, ok := awsmiddleware.GetServerTime(out.ResultMetadata); ok {
		id.Ahead = ahead(date, asked, time.Now())
	}
	return id, s.same(id.Account)
}

// ahead is how much our clock is ahead at least, as the date of an answer tells that was asked for and had at instants of ours. A date
// is of whole seconds, and of some moment in between.
func ahead(date, asked, had time.Time) time.Duration {
	if most := asked.Sub(date.Add(time.Second)); most > 0 {
		return most
	}
	return min(0, had.Sub(date))
}

// same refuses another account than the site's.
func (s *Session) same(account string) error {
	if account == s.access.Account {
		return nil
	}
	return failure.New(failure.Denied, "", "", "the credentials are for account %s, and the site is account %s", account, s.access.Account).
		WithHint("look at the site's account, profile, access_key and roles: nothing is done as another account")
}

// prove makes sure, once for each access key, that calls are made as the site's account. Credentials of roles say it themselves.
func (s *Session) prove(ctx context.Context) error {
	c, err := s.creds.Retrieve(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	proven := s.proven == c.AccessKeyID
	s.mu.Unlock()
	switch {
	case proven:
		return nil
	case c.AccountID != "":
		err = s.same(c.AccountID)
	default:
		_, err = s.Identity(ctx)
	}
	if err == nil {
		s.mu.Lock()
		s.proven = c.AccessKeyID
		s.mu.Unlock()
	}
	return err
}

// referenced are credentials behind references to secrets.
type referenced struct{ a Access }

// Retrieve reads the references.
func (r referenced) Retrieve(ctx context.Context) (c aws.Credentials, err error) {
	key, err := r.a.AccessKey.Resolve(ctx)
	if err != nil {
		return c, err
	}
	hidden, err := r.a.SecretKey.Resolve(ctx)
	if err != nil {
		return c, err
	}
	token, err := r.a.SessionToken.Resolve(ctx)
	if err != nil {
		return c, err
	}
	return aws.Credentials{
		AccessKeyID: key.Reveal(), SecretAccessKey: hidden.Reveal(), SessionToken: token.Reveal(), Source: "lifeboat.yaml",
		CanExpire: true, Expires: time.Now().Add(reread),
	}, nil
}

// found are the SDK's credentials, whose absence is said in our words.
type found struct {
	aws.CredentialsProvider
	site string
}

// Retrieve asks the chain.
func (f found) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := f.CredentialsProvider.Retrieve(ctx)
	if err == nil || ctx.Err() != nil || failure.Classified(err) {
		return c, err
	}
	kind := failure.Denied
	if network := net.Error(nil); errors.As(err, &network) {
		kind = failure.Unavailable // the service that gives them out is not reached
	}
	return c, failure.WrapAs(kind, err, "find credentials for", f.site).
		WithHint("name access_key and secret_key, or a profile, at the site; or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or run where the machine has a role; aws configure list shows what is found")
}

// assumed are a role's credentials.
type assumed struct {
	plain  aws.CredentialsProvider
	client stscreds.AssumeRoleAPIClient
	role   Role
}

// Retrieve assumes the role.
func (a assumed) Retrieve(ctx context.Context) (c aws.Credentials, err error) {
	if a.role.ExternalID == "" {
		c, err = a.plain.Retrieve(ctx)
	} else {
		id, e := a.role.ExternalID.Resolve(ctx)
		if e != nil {
			return c, e
		}
		c, err = stscreds.NewAssumeRoleProvider(a.client, a.role.ARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName, o.Duration, o.ExternalID = "lifeboat", roleTime, aws.String(id.Reveal())
		}).Retrieve(ctx)
	}
	return c, failure.Wrap(err, "assume", a.role.ARN)
}

// kept are a role's credentials, kept until they are to be replaced. While that fails they serve for as long as AWS takes them.
type kept struct {
	from aws.CredentialsProvider
	wait time.Duration // for a replacement, while the old ones are good
	turn chan struct{} // holds one token, for whoever replaces them

	mu    sync.Mutex
	creds aws.Credentials
	again time.Time // nobody tries to replace them before
}

func keep(from aws.CredentialsProvider, wait time.Duration) *kept {
	return &kept{from: from, wait: wait, turn: make(chan struct{}, 1)}
}

// current are the credentials: good ones can be used, and fresh ones need no replacement yet.
func (k *kept) current() (c aws.Credentials, good, fresh bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	good = k.creds.HasKeys() && now.Before(k.creds.Expires)
	return k.creds, good, good && (now.Before(k.creds.Expires.Add(-renew)) || now.Before(k.again))
}

// Retrieve gives them, and replaces them when it is time.
func (k *kept) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if c, _, fresh := k.current(); fresh {
		return c, nil
	}
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return aws.Credentials{}, ctx.Err()
	}
	old, good, fresh := k.current()
	if fresh {
		return old, nil
	}
	if good {
		bounded, cancel := context.WithTimeout(ctx, k.wait)
		defer cancel()
		ctx = bounded
	}
	c, err := k.from.Retrieve(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err == nil:
		k.creds = c
	case good:
		k.again = time.Now().Add(retry)
		return old, nil
	}
	return c, err
}
