package awsbase

import (
	"context"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Rate is how often a service is called: Max calls a second once Burst have been made at once.
type Rate struct {
	Max   float64
	Burst float64
}

// rates leave others in the account room to breathe. Documented are: EC2, 20 a second after 100 for calls that look and 5 after
// 50 or more for most that change (Amazon EC2 Developer Guide, "Request throttling"); Route 53, 5 a second in an account (Amazon
// Route 53 Developer Guide, "Quotas"); Systems Manager, 40 GetParameter a second (AWS General Reference); CloudWatch, 50 GetMetricData a
// second (CloudWatch User Guide, "Service quotas"). RDS, ElastiCache,
// CloudFormation and STS document none; what is here has not been throttled. Nor does IAM, whose policy simulator throttled
// nccgroup/PMapper after 183 calls in a row (its issue 1): what is here stays far below.
var rates = map[string]Rate{
	"ec2":            {Max: 10, Burst: 20},
	"route53":        {Max: 4, Burst: 4},
	"ssm":            {Max: 20, Burst: 20},
	"rds":            {Max: 8, Burst: 16},
	"elasticache":    {Max: 8, Burst: 16},
	"cloudformation": {Max: 4, Burst: 8},
	"cloudwatch":     {Max: 10, Burst: 20},
	"iam":            {Max: 4, Burst: 8},
	"sts":            {Max: 20, Burst: 20},
	"kms":            {Max: 20, Burst: 20},
}

func rateOf(service string) Rate {
	if r, ok := rates[service]; ok {
		return r
	}
	return Rate{Max: 4, Burst: 8}
}

// How a limiter adapts.
const (
	slowest = 0.25            // calls a second that are always made
	cut     = 0.6             // what is left of the rate after throttling
	calm    = 2 * time.Second // throttling within this after a cut is the same one
	regain  = 0.05            // of Max, gained with a call that is not throttled, once all has been well for steady
	steady  = time.Minute     // before, less is gained: by the square of the time
	spare   = 0.25            // of the burst is kept for calls that change something
)

// limiter is a bucket of tokens whose rate falls when AWS throttles and grows back with calls that succeed.
type limiter struct {
	full Rate

	mu     sync.Mutex
	rate   float64
	tokens float64
	at     time.Time // when tokens was right
	cutAt  time.Time
}

func newLimiter(r Rate) *limiter {
	return &limiter{full: r, rate: r.Max, tokens: r.Burst, at: time.Now()}
}

// wait returns when a call may be made, or when ctx ends. Calls that change something may use the whole burst, others leave
// the spare part of it. A caller that would wait beyond ctx's deadline waits until the deadline all the same: the rate may rise.
func (l *limiter) wait(ctx context.Context, changes bool) error {
	for {
		d := l.take(changes)
		if d == 0 {
			return ctx.Err()
		}
		if err := sleep(ctx, d); err != nil {
			return failure.New(failure.Throttled, "", "", "no call could be made within the deadline: too many are waiting").
				WithHint("many calls are waiting for this service's rate; it is tried again")
		}
	}
}

// take takes a token and returns 0, or says how long to wait before asking again.
func (l *limiter) take(changes bool) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refill()
	need := 1.0
	if !changes {
		need += spare * l.full.Burst * l.rate / l.full.Max
	}
	if l.tokens >= need {
		l.tokens--
		return 0
	}
	return max(time.Duration((need-l.tokens)/l.rate*float64(time.Second)), time.Millisecond)
}

func (l *limiter) refill() {
	now := time.Now()
	l.tokens = min(l.full.Burst, l.tokens+now.Sub(l.at).Seconds()*l.rate)
	l.at = now
}

// throttled lowers the rate, and reports whether it did: throttling of calls that were under way together counts once.
func (l *limiter) throttled() (rate float64, lowered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refill()
	l.tokens = min(l.tokens, 0)
	if !l.cutAt.IsZero() && l.at.Sub(l.cutAt) < calm {
		return l.rate, false
	}
	l.cutAt = l.at
	l.rate = max(slowest, l.rate*cut)
	return l.rate, true
}

// passed lets the rate grow back: hardly at first, near the rate that was too much, and then ever faster.
func (l *limiter) passed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate < l.full.Max {
		l.refill()
		well := min(1, l.at.Sub(l.cutAt).Seconds()/steady.Seconds())
		l.rate = min(l.full.Max, l.rate+well*well*regain*l.full.Max)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
