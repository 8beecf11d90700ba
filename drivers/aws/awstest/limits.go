package awstest

import (
	"strings"
	"time"
)

// Limit is a token bucket: Burst calls at once, and PerSecond from then on.
type Limit struct {
	PerSecond float64
	Burst     float64
}

// limits are AWS's, per account and region (Route 53 and IAM: per account). Documented are those of EC2 (Developer Guide, "Request
// throttling": 100 and 20 a second for calls that look, 50 and 5 for most that change), Route 53 (Developer Guide, "Quotas": 5 a
// second in an account), Systems Manager (General Reference: 40 GetParameter a
// second) and CloudWatch (User Guide, "CloudWatch service quotas": 50 GetMetricData a second). The others are not documented;
// theirs are what people report, rounded down.
func limits() map[string]Limit {
	return map[string]Limit{
		"ec2":                 {20, 100},
		"ec2 changes":         {5, 50},
		"route53":             {5, 5},
		"ssm":                 {40, 40},
		"rds":                 {10, 25},
		"rds changes":         {5, 15},
		"elasticache":         {10, 25},
		"cloudformation":      {5, 10},
		"sts":                 {100, 100},
		"iam":                 {15, 30},
		"elasticache changes": {5, 15},
		"cloudwatch":          {50, 50},
	}
}

// Limit replaces the limit of a service, by its signing name, for calls that look; with " changes" after it, of those that change
// something, which otherwise share the service's.
func (w *World) Limit(service string, l Limit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limits[service] = l
	for k := range w.buckets {
		if k.class == service {
			delete(w.buckets, k)
		}
	}
}

type bucketKey struct{ account, region, class string }

type bucket struct {
	tokens float64
	at     time.Time
}

// admit takes a token for a call, or refuses it.
func (w *World) admit(c *call) bool {
	if w.opts.Unlimited {
		return true
	}
	class := c.service
	if changes(c.action) {
		if _, ok := w.limits[class+" changes"]; ok {
			class += " changes"
		}
	}
	l, ok := w.limits[class]
	if !ok {
		return true
	}
	k := bucketKey{c.account, c.region, class}
	if c.service == "route53" || c.service == "iam" {
		k.region = ""
	}
	b := w.buckets[k]
	if b == nil {
		b = &bucket{tokens: l.Burst, at: c.now}
		w.buckets[k] = b
	}
	b.tokens = min(l.Burst, b.tokens+c.now.Sub(b.at).Seconds()*l.PerSecond)
	b.at = c.now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// changes reports whether an action changes something.
func changes(action string) bool {
	for _, prefix := range []string{"Describe", "List", "Get", "AssumeRole", "Simulate"} {
		if strings.HasPrefix(action, prefix) {
			return false
		}
	}
	return true
}

// Call is one request, as the fake saw it.
type Call struct {
	At                               time.Time
	Account, Region, Service, Action string
	Who                              string // the caller's ARN
	Params                           map[string]string
	Status                           int    // of the answer; 0: there was none
	Code                             string // of the error
}

// Calls are the requests so far, oldest first.
func (w *World) Calls() []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Call(nil), w.calls...)
}

// Count is how many of the requests so far were for an action, or for all when it is "".
func (w *World) Count(action string) int {
	n := 0
	for _, c := range w.Calls() {
		if action == "" || c.Action == action {
			n++
		}
	}
	return n
}

// Forget forgets the requests so far.
func (w *World) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = nil
}
