// Package awstest is a fake of AWS that keeps state: what is made takes its time through AWS's own states, can be seen from the
// regions it should be seen from, and is refused when AWS would refuse it. It is for tests of drivers and for rehearsals. It
// keeps no data of real databases, and it is no emulator to build applications on: it knows what a recovery needs.
//
// It speaks AWS's own protocols, so that the SDK, the aws command line and anything else are its clients: RDS (instances,
// snapshots, copies between regions, replicas, restores, Aurora clusters and global databases), ElastiCache (replication groups,
// global datastores, snapshots), Route 53 (records), CloudFormation (exports), Systems Manager (parameters), STS, IAM's policy
// simulator, CloudWatch (the lag of replicas), and what EC2 says of networks and KMS of keys. Parameters that are not modelled are
// refused with NotImplemented and their name, rather than ignored.
//
// # Start
//
//	w := awstest.New(awstest.Options{})
//	key := w.Account("111111111111")                       // credentials of its administrator
//	client := w.Client()                                   // an HTTP client that reaches the fake without a socket
//
// or [World.Serve], which listens on loopback; one address serves every region, as the request's signature names the region.
// With awsbase: Options.HTTP takes w.Client(), and an Access needs no endpoint.
//
// # Time
//
// Nothing happens between requests: whatever is due by [Options.Now] happens when somebody looks. Under testing/synctest time is
// the bubble's, and an hour of transitions takes no time; elsewhere a [Clock] is moved by the test, or runs fast.
//
// # What can go wrong
//
// [World.Play] changes how a transition goes: how long, through which states, failing or never ending. [World.Inject] makes calls
// fail: a region that refuses, hangs, answers 500, is slow, only describes, or loses its answers after the deed. Rates are limited as
// AWS limits them ([World.Limit]), and listings can lag behind ([Options.Lag]). Whoever plays or injects asks afterwards
// whether it came to pass ([Played.Times], [Injected.Times]): a fault that never fired tests nothing. [World.Calls] tells who asked what.
//
// # From AWS
//
// A [Glass] stands between a client and AWS itself, lets only looks pass, and keeps the answers; [World.Learn] makes a world of them.
//
// How it differs from moto and ministack, and who is right, is in docs/aws-emulators.md.
package awstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options make a World. The zero Options are good.
type Options struct {
	// Now is the world's time. nil: time.Now, which is the bubble's time under testing/synctest.
	Now func() time.Time
	// Lag is how long calls that list without naming one thing miss what was made, and still show what is gone.
	Lag time.Duration
	// Unlimited switches AWS's rates off.
	Unlimited bool
}

// World is a fake AWS: all accounts, partitions and regions. Its methods are safe for concurrent use.
type World struct {
	opts  Options
	parts map[string]*service

	mu       sync.Mutex
	serial   int
	events   agenda
	accounts map[string]*account
	keys     map[string]*principal // by access key
	played   []*Played
	passed   []*Transition
	injected []*Injected
	buckets  map[bucketKey]*bucket
	limits   map[string]Limit
	calls    []Call
	held     [][5]string            // see Withhold
	lags     map[string][]lagging   // by ARN
	policies map[string][]statement // by the ARN of a user or a role
	pace     float64                // of the transitions that the call at hand begins; 0: as usual

	// What is offered: engines' versions and classes of RDS, versions and classes of ElastiCache.
	engines, cacheVersions map[string][]string
	classes, cacheClasses  []string
}

// account is one account, with what is the same in all its regions.
type account struct {
	id      string
	regions map[string]*region
	roles   map[string]*Role
	zones   map[string]*zone
	changes map[string]*change
	globals table[*globalCluster]
	caches  table[*globalCache]
}

// region is one account's part of one region.
type region struct {
	w        *World
	acct     *account
	name     string
	keys     map[string]string // ids, ARNs and aliases of KMS keys → ARN
	disabled map[string]bool   // ARNs of keys
	params   map[string]*parameter
	exports  []Export
	net      network
	rds      rdsState
	cache    cacheState
}

// New makes a World without accounts.
func New(o Options) *World {
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &World{opts: o, accounts: map[string]*account{}, keys: map[string]*principal{}, buckets: map[bucketKey]*bucket{}, limits: limits(), policies: map[string][]statement{},
		engines: maps.Clone(engines), classes: slices.Clone(classes), cacheVersions: maps.Clone(cacheVersions), cacheClasses: slices.Clone(cacheClasses)}
	w.parts = services()
	return w
}

// Account makes the account if it is not there, and gives its administrator's credentials: always the same ones.
func (w *World) Account(id string) Credentials {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.account(id)
	c := Credentials{AccessKey: "AKIA" + id, SecretKey: "secret-of-" + id}
	if w.keys[c.AccessKey] == nil {
		w.keys[c.AccessKey] = &principal{account: id, arn: "arn:aws:iam::" + id + ":user/admin", user: "AIDA" + id, secret: c.SecretKey}
	}
	return c
}

func (w *World) account(id string) *account {
	a := w.accounts[id]
	if a == nil {
		a = &account{id: id, regions: map[string]*region{}, roles: map[string]*Role{}, zones: map[string]*zone{}, changes: map[string]*change{}}
		w.accounts[id] = a
	}
	return a
}

// region is where things are kept. Every region has a network and default groups from the start.
func (w *World) region(acct, name string) *region {
	a := w.account(acct)
	r := a.regions[name]
	if r == nil {
		r = &region{w: w, acct: a, name: name, keys: map[string]string{}, disabled: map[string]bool{}, params: map[string]*parameter{}}
		a.regions[name] = r
		r.furnish()
	}
	return r
}

// Key makes a KMS key in a region and gives its ARN. Name is its alias, without "alias/".
func (w *World) Key(acct, in, name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.region(acct, in).key(name)
}

func (r *region) key(name string) string {
	if arn := r.keys["alias/"+name]; arn != "" {
		return arn
	}
	id := fmt.Sprintf("%08x-1234-4abc-8def-%012x", r.w.next(), r.w.serial)
	arn := r.arn("kms", "key/"+id)
	for _, known := range []string{id, arn, "alias/" + name, r.arn("kms", "alias/"+name)} {
		r.keys[known] = arn
	}
	return arn
}

// next is a number that was never given before.
func (w *World) next() int {
	w.serial++
	return w.serial
}

// id makes an id such as subnet-0000000000000001f.
func (w *World) id(prefix string) string { return fmt.Sprintf("%s-%017x", prefix, w.next()) }

func (r *region) arn(service, resource string) string {
	return strings.Join([]string{"arn", partitionOf(r.name), service, r.name, r.acct.id, resource}, ":")
}

func partitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// suffix is the domain of a region's endpoints.
func suffix(region string) string {
	if partitionOf(region) == "aws-cn" {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// splitARN takes an ARN apart; resource is "" for what is none.
func splitARN(arn string) (partition, service, region, account, resource string) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[0] != "arn" {
		return "", "", "", "", ""
	}
	return p[1], p[2], p[3], p[4], p[5]
}
