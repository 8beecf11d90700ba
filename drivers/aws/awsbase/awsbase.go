// Package awsbase is how every driver of AWS reaches AWS. It knows accounts, regions, limits, deadlines and errors; it knows
// no resource and no recovery.
//
// A process makes one [Base]. A site is an [Access] (account, region, how to become somebody there), and [Base.Session] makes
// a [Session] of it, from whose [Session.Config] drivers make the SDK's own clients. Whatever such a client is asked, by a driver,
// a paginator or a waiter of the SDK, goes through what this package lays around every call:
//
//   - It ends in time: each attempt, and the call as a whole ([Access.Attempt], [Access.Deadline]). A service that left calls
//     unanswered is not asked for a while ([Options.Silence]), so that a dead region costs its limit once and not at every step.
//   - It is made as the account that the site names, or not at all.
//   - It keeps to one rate per account, region and service, shared by all sessions of the process, which adapts when AWS
//     throttles. Calls that change something go before calls that only look.
//   - It is tried again only where that is safe: throttled calls always, unanswered ones when they only look.
//   - Its error has a kind and a hint of package failure. A call that may have changed something without an answer is
//     failure.Indeterminate. This is the only place that looks at errors of the SDK.
//
// Nothing is shared between regions: the security token service, too, is asked in the site's own region.
//
// What several drivers need besides: [Origin], the tags on all that Lifeboat makes and how its work is found again; [NameFor],
// names that begin the same thing only once; [Poller], one listing for many who wait; [ARN].
//
// Tests run against drivers/aws/awstest, a fake of AWS whose clock is theirs.
package awsbase

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Options make a Base. The zero Options are for AWS as it is.
type Options struct {
	// Log gets what people may want to know later: rates that were lowered, services that fell silent.
	Log *slog.Logger
	// HTTP sends the requests of every session; nil: the SDK's own client, which trusts what AWS_CA_BUNDLE and ca_bundle say.
	// Tests give the fake's. Credentials that the SDK looks for by itself are fetched by its own client either way.
	HTTP aws.HTTPClient
	// Around is laid around what sends a session's requests, as a filter of them; nil: nothing.
	Around func(aws.HTTPClient) aws.HTTPClient
	// Silence is how long a service that left two calls in a row unanswered is left alone; then one call asks again. 0: 10 s.
	Silence time.Duration
	// Rates replaces entries of the table of rates, by the service's signing name. See Rate.
	Rates map[string]Rate
	// Every is the time between two listings of a Poller, but for a few at first. 0: 3 s.
	Every time.Duration
}

// Base is what all sessions of a process share. Make one with New; its methods are safe for concurrent use.
type Base struct {
	opts    Options
	own     *awshttp.BuildableClient // the SDK's client, whose connections all sessions share
	polling sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]*Session
	limits   map[scope]*limiter
	quiets   map[scope]*quiet
}

// scope is what AWS counts calls by.
type scope struct{ partition, account, region, service string }

// New makes a Base.
func New(o Options) *Base {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Silence == 0 {
		o.Silence = 10 * time.Second
	}
	if o.Every == 0 {
		o.Every = 3 * time.Second
	}
	own := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = 16 })
	return &Base{opts: o, own: own, sessions: map[string]*Session{}, limits: map[scope]*limiter{}, quiets: map[scope]*quiet{}}
}

// Wait returns when no listing of a Poller is under way any more. Listings end by themselves once nobody waits for them.
func (b *Base) Wait() { b.polling.Wait() }

// Session gives the session of a site. Equal accesses share one. Nothing is asked yet: credentials are looked for at the first
// call. Errors are failure.Invalid.
func (b *Base) Session(ctx context.Context, a Access) (*Session, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "remember", "the access to AWS")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.sessions[string(raw)]; s != nil {
		return s, nil
	}
	s, err := b.connect(ctx, a)
	if err != nil {
		return nil, err
	}
	b.sessions[string(raw)] = s
	return s, nil
}

// global lists the services that have one endpoint per partition, and one limit whatever region a client names.
var global = map[string]bool{"route53": true, "iam": true}

func (b *Base) scope(s *Session, service string) scope {
	sc := scope{s.partition, s.access.Account, s.access.Region, service}
	if global[service] {
		sc.region = ""
	}
	return sc
}

func (b *Base) limit(sc scope) *limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.limits[sc]
	if l == nil {
		rate, ok := b.opts.Rates[sc.service]
		if !ok {
			rate = rateOf(sc.service)
		}
		l = newLimiter(rate)
		b.limits[sc] = l
	}
	return l
}

func (b *Base) quiet(sc scope) *quiet {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.quiets[sc]
	if q == nil {
		q = &quiet{pause: b.opts.Silence}
		b.quiets[sc] = q
	}
	return q
}
