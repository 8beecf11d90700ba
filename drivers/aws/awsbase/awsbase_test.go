package awsbase_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

const (
	home  = "111111111111"
	other = "222222222222"
	east  = "us-east-1"
	west  = "us-west-2"
)

// access is a site of the home account, as its administrator.
func access(t *testing.T, w *awstest.World, region string) awsbase.Access {
	t.Helper()
	c := w.Account(home)
	t.Setenv("AWSBASE_KEY", c.AccessKey)
	t.Setenv("AWSBASE_SECRET", c.SecretKey)
	return awsbase.Access{Account: home, Region: region, AccessKey: "env:AWSBASE_KEY", SecretKey: "env:AWSBASE_SECRET"}
}

// bubble runs a test whose time is its own, in a world of its own.
func bubble(t *testing.T, o awstest.Options, test func(t *testing.T, w *awstest.World, b *awsbase.Base)) {
	synctest.Test(t, func(t *testing.T) {
		w := awstest.New(o)
		b := awsbase.New(awsbase.Options{HTTP: w.Client()})
		test(t, w, b)
		b.Wait()
	})
}

func open(t *testing.T, b *awsbase.Base, a awsbase.Access) *awsbase.Session {
	t.Helper()
	s, err := b.Session(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rdsOf(s *awsbase.Session) *rds.Client { return rds.NewFromConfig(s.Config("rds")) }

func describe(ctx context.Context, s *awsbase.Session, id string) error {
	_, err := rdsOf(s).DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
	return err
}

func create(ctx context.Context, s *awsbase.Session, id string) error {
	_, err := rdsOf(s).CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: &id, DBInstanceClass: aws.String("db.t3.micro"), Engine: aws.String("mysql"), AllocatedStorage: aws.Int32(20),
		MasterUsername: aws.String("admin"), MasterUserPassword: aws.String("hunter2hunter2"),
	})
	return err
}

// fails checks an error's kind and what its text and hint say.
func fails(t *testing.T, err error, kind failure.Kind, says ...string) {
	t.Helper()
	if err == nil || failure.KindOf(err) != kind {
		t.Fatalf("%v, want one of kind %s", err, kind)
	}
	for _, text := range says {
		if !strings.Contains(err.Error()+" / "+failure.HintOf(err), text) {
			t.Errorf("%v (hint: %s) does not say %q", err, failure.HintOf(err), text)
		}
	}
}

func TestAccessIsChecked(t *testing.T) {
	good := awsbase.Access{Account: home, Region: "eu-west-1"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(a *awsbase.Access)
		says   string
	}{
		{"no account", func(a *awsbase.Access) { a.Account = "" }, "12 digits"},
		{"a short account", func(a *awsbase.Access) { a.Account = "12345" }, "quotes"},
		{"no region", func(a *awsbase.Access) { a.Region = "Ireland" }, "eu-west-1"},
		{"half a key", func(a *awsbase.Access) { a.AccessKey = "env:X" }, "secret_key"},
		{"two beginnings", func(a *awsbase.Access) { a.AccessKey, a.SecretKey, a.Profile = "env:X", "env:Y", "p" }, "profile"},
		{"no role", func(a *awsbase.Access) { a.Roles = []awsbase.Role{{ARN: "admin"}} }, "arn:aws:iam::"},
		{"a role of another account", func(a *awsbase.Access) { a.Roles = []awsbase.Role{{ARN: "arn:aws:iam::" + other + ":role/dr"}} }, other},
		{"a role of another partition", func(a *awsbase.Access) { a.Roles = []awsbase.Role{{ARN: "arn:aws-cn:iam::" + home + ":role/dr"}} }, "aws-cn"},
		{"a password in the endpoint", func(a *awsbase.Access) { a.Endpoint = "https://me:hunter2@host" }, "https://host:port"},
		{"an unknown service", func(a *awsbase.Access) { a.Endpoints = map[string]string{"rdbms": "https://host"} }, "rdbms"},
		{"an attempt longer than all", func(a *awsbase.Access) {
			a.Attempt, a.Deadline = model.Duration(time.Minute), model.Duration(time.Second)
		}, "deadline"},
	} {
		a := good
		tt.change(&a)
		err := a.Validate()
		fails(t, err, failure.Invalid, tt.says)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats a password: %v", tt.name, err)
		}
	}
}

func TestPartitions(t *testing.T) {
	for region, want := range map[string]string{"eu-west-1": "aws", "cn-north-1": "aws-cn", "us-gov-east-1": "aws-us-gov", "us-iso-east-1": "aws-iso", "us-isob-east-1": "aws-iso-b", "eusc-de-east-1": "aws-eusc"} {
		if got := awsbase.PartitionOf(region); got != want {
			t.Errorf("%s is in %s, want %s", region, got, want)
		}
	}
}

func TestChina(t *testing.T) {
	w := awstest.New(awstest.Options{})
	b := awsbase.New(awsbase.Options{HTTP: w.Client()})
	s := open(t, b, access(t, w, "cn-north-1"))
	if err := create(t.Context(), s, "orders"); err != nil {
		t.Fatal(err)
	}
	out, err := rdsOf(s).DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := *out.DBInstances[0].DBInstanceArn, s.ARN("rds", "db:orders"); got != want || !strings.HasPrefix(got, "arn:aws-cn:rds:cn-north-1:") {
		t.Errorf("the ARN is %s, and the session makes %s", got, want)
	}
}

// TestRoles assumes one role after the other, the second one in another account, each with an external id.
func TestRoles(t *testing.T) {
	a0 := awsbase.Access{}
	w := awstest.New(awstest.Options{})
	a0 = access(t, w, east)
	w.Account(other)
	first := w.Role(awstest.Role{Account: home, Name: "hub", ExternalID: "one"})
	second := w.Role(awstest.Role{Account: other, Name: "dr", ExternalID: "two", Trust: []string{"arn:aws:sts::" + home + ":assumed-role/hub/lifeboat"}, Allow: []string{"rds:Describe*"}})
	t.Setenv("AWSBASE_ONE", "one")
	t.Setenv("AWSBASE_TWO", "two")
	a := a0
	a.Account = other
	a.Roles = []awsbase.Role{{ARN: first, ExternalID: "env:AWSBASE_ONE"}, {ARN: second, ExternalID: "env:AWSBASE_TWO"}}
	b := awsbase.New(awsbase.Options{HTTP: w.Client()})
	s := open(t, b, a)
	fails(t, describe(t.Context(), s, "orders"), failure.NotFound, "DBInstanceNotFound", east)
	fails(t, create(t.Context(), s, "orders"), failure.Denied, "rds:CreateDBInstance", "policy")
	for _, c := range w.Calls() {
		if c.Region != east {
			t.Errorf("%s was asked in %s: the security token service, too, is to be asked in the site's region", c.Action, c.Region)
		}
	}
	if n := w.Count("AssumeRole"); n != 2 {
		t.Errorf("roles were assumed %d times, want 2", n)
	}
	a.Roles[1].ExternalID = "env:AWSBASE_ONE"
	fails(t, describe(t.Context(), open(t, b, a), "orders"), failure.Denied, second, "sts:AssumeRole")
}

// TestOtherAccount: nothing is asked as another account than the site's.
func TestOtherAccount(t *testing.T) {
	w := awstest.New(awstest.Options{})
	a := access(t, w, east)
	a.Account = other
	b := awsbase.New(awsbase.Options{HTTP: w.Client()})
	fails(t, create(t.Context(), open(t, b, a), "orders"), failure.Denied, home, other)
	if n := w.Count("CreateDBInstance"); n != 0 {
		t.Errorf("%d calls were made as another account", n)
	}
	a.Account = home
	s := open(t, b, a)
	for range 3 {
		fails(t, describe(t.Context(), s, "orders"), failure.NotFound)
	}
	if n := w.Count("GetCallerIdentity"); n != 2 {
		t.Errorf("the identity was asked for %d times, want once for each session", n)
	}
}

// TestRenewal: a role's credentials are replaced in time, and serve on while the security token service is away.
func TestRenewal(t *testing.T) {
	w0 := awstest.New(awstest.Options{})
	a := access(t, w0, east)
	bubble(t, awstest.Options{}, func(t *testing.T, w *awstest.World, b *awsbase.Base) {
		w.Account(home)
		a := a
		a.Roles = []awsbase.Role{{ARN: w.Role(awstest.Role{Account: home, Name: "dr"})}}
		s := open(t, b, a)
		fails(t, describe(t.Context(), s, "orders"), failure.NotFound)
		time.Sleep(56 * time.Minute) // within the five minutes before they expire
		away := w.Inject(awstest.Fault{Service: "sts", How: awstest.Refuse})
		fails(t, describe(t.Context(), s, "orders"), failure.NotFound)
		if away.Times() == 0 {
			t.Error("nobody tried to replace the credentials")
		}
		time.Sleep(10 * time.Minute)
		fails(t, describe(t.Context(), s, "orders"), failure.Unavailable)
		away.Remove()
		time.Sleep(time.Minute)
		fails(t, describe(t.Context(), s, "orders"), failure.NotFound)
	})
}

// TestDeadRegion: whatever way a region dies in, a call to it ends within its deadline, many calls cost the deadline about once,
// and the other region answers as ever.
func TestDeadRegion(t *testing.T) {
	a := access(t, awstest.New(awstest.Options{}), east)
	for _, tt := range []struct {
		name  string
		fault awstest.Fault
		kind  failure.Kind // of a call that changes something
		most  time.Duration
	}{
		{"refuses", awstest.Fault{Region: east, How: awstest.Refuse}, failure.Unavailable, 25 * time.Second},
		{"hangs", awstest.Fault{Region: east, How: awstest.Hang}, failure.Unavailable, 25 * time.Second},
		{"answers 500", awstest.Fault{Region: east, How: awstest.Error500}, failure.Unavailable, 25 * time.Second},
		{"is slow", awstest.Fault{Region: east, How: awstest.Slow, Delay: time.Hour}, failure.Unavailable, 25 * time.Second},
		{"describes only", awstest.Fault{Region: east, How: awstest.Error500, Changes: true}, failure.Indeterminate, 25 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, awstest.Options{}, func(t *testing.T, w *awstest.World, b *awsbase.Base) {
				w.Account(home)
				dead, alive := open(t, b, a), open(t, b, func() awsbase.Access { a := a; a.Region = west; return a }())
				f := w.Inject(tt.fault)
				began := time.Now()
				fails(t, create(t.Context(), dead, "orders"), tt.kind)
				if took := time.Since(began); took > tt.most {
					t.Errorf("the first call took %s, want at most %s", took, tt.most)
				}
				for range 50 {
					if err := create(t.Context(), dead, "orders"); err == nil {
						t.Fatal("a dead region created something")
					}
				}
				if took := time.Since(began); took > 3*25*time.Second {
					t.Errorf("51 calls took %s: the region held them", took)
				}
				began = time.Now()
				fails(t, describe(t.Context(), alive, "orders"), failure.NotFound)
				if took := time.Since(began); took > time.Second {
					t.Errorf("the other region took %s", took)
				}
				if f.Times() == 0 {
					t.Error("the fault never fired")
				}
				f.Remove()
				time.Sleep(15 * time.Second)
				if err := create(t.Context(), dead, "orders"); err != nil {
					t.Errorf("after the region came back: %v", err)
				}
			})
		})
	}
}

// TestLostAnswer: a change without an answer is indeterminate and not made again; a look is repeated.
func TestLostAnswer(t *testing.T) {
	a := access(t, awstest.New(awstest.Options{}), east)
	bubble(t, awstest.Options{}, func(t *testing.T, w *awstest.World, b *awsbase.Base) {
		w.Account(home)
		s := open(t, b, a)
		w.Inject(awstest.Fault{Action: "CreateDBInstance", How: awstest.LoseAnswer, Times: 1})
		fails(t, create(t.Context(), s, "orders"), failure.Indeterminate, "look before")
		if n := w.Count("CreateDBInstance"); n != 1 {
			t.Errorf("it was asked %d times", n)
		}
		again := w.Inject(awstest.Fault{Action: "DescribeDBInstances", How: awstest.LoseAnswer, Times: 2})
		if err := describe(t.Context(), s, "orders"); err != nil || again.Times() != 2 {
			t.Errorf("after %d lost answers: %v", again.Times(), err)
		}
		fails(t, create(t.Context(), s, "orders"), failure.Exists, "DBInstanceAlreadyExists")
	})
}

// TestCallerGivesUp: the caller's own end is the caller's, and of a change nobody knows what became.
func TestCallerGivesUp(t *testing.T) {
	a := access(t, awstest.New(awstest.Options{}), east)
	bubble(t, awstest.Options{}, func(t *testing.T, w *awstest.World, b *awsbase.Base) {
		w.Account(home)
		s := open(t, b, a)
		fails(t, describe(t.Context(), s, "orders"), failure.NotFound)
		w.Inject(awstest.Fault{Service: "rds", How: awstest.Hang})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		fails(t, create(ctx, s, "orders"), failure.Indeterminate)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		fails(t, describe(ctx, s, "orders"), failure.Canceled)
	})
}

func TestErrors(t *testing.T) {
	a := access(t, awstest.New(awstest.Options{}), east)
	for _, tt := range []struct {
		fault awstest.Fault
		kind  failure.Kind
		says  string
	}{
		{awstest.Fault{Code: "InvalidDBInstanceState", Message: "busy"}, failure.Conflict, "busy"},
		{awstest.Fault{Code: "InstanceQuotaExceeded"}, failure.Denied, "quota"},
		{awstest.Fault{Code: "StorageQuotaExceeded"}, failure.Denied, "quota"},
		{awstest.Fault{Code: "InsufficientDBInstanceCapacity"}, failure.Unavailable, "availability zones"},
		{awstest.Fault{Code: "KMSKeyNotAccessibleFault"}, failure.Denied, "key"},
		{awstest.Fault{Code: "ExpiredToken", Status: 403}, failure.Denied, "expired"},
		{awstest.Fault{Code: "InvalidClientTokenId", Status: 403}, failure.Denied, "switched on"},
		{awstest.Fault{Code: "AccessDenied", Status: 403, Message: "User: arn:aws:iam::1:user/u is not authorized to perform: rds:AddTagsToResource on resource: x"}, failure.Denied, "allow rds:AddTagsToResource"},
		{awstest.Fault{Code: "AccessDenied", Status: 403}, failure.Denied, "allow rds:CreateDBInstance"},
		{awstest.Fault{Code: "DBSubnetGroupNotFoundFault", Status: 404}, failure.NotFound, ""},
		{awstest.Fault{Code: "InvalidParameterCombination"}, failure.Invalid, ""},
		{awstest.Fault{Code: "NeverHeardOf"}, failure.Invalid, "NeverHeardOf"},
		{awstest.Fault{Code: "NeverHeardOf", Status: 502}, failure.Indeterminate, ""},
		{awstest.Fault{Code: "InvalidAction"}, failure.Unsupported, ""},
	} {
		bubble(t, awstest.Options{}, func(t *testing.T, w *awstest.World, b *awsbase.Base) {
			w.Account(home)
			tt.fault.Action, tt.fault.How = "CreateDBInstance", awstest.Error
			w.Inject(tt.fault)
			err := create(t.Context(), open(t, b, a), "orders")
			fails(t, err, tt.kind, tt.says, east)
			if !strings.Contains(err.Error(), "request ") {
				t.Errorf("%v does not name the request", err)
			}
		})
	}
}

// TestShares: sessions of one account and region share a rate, whatever their number, and AWS throttles hardly ever.
func TestShares(t *testing.T) {
	a := access(t, awstest.New(awstest.Options{}), east)
	bubble(t, awstest.Options{}, func(t *testing.T, w *awstest.World, b *awsbase.Base) {
		w.Account(home)
		var all sync.WaitGroup
		for i := range 40 {
			a := a
			a.Deadline = model.Duration(10*time.Minute) + model.Duration(i) // another session, the same account
			s := open(t, b, a)
			all.Go(func() {
				for range 10 {
					if err := describe(t.Context(), s, "orders"); !errors.Is(err, failure.NotFound) {
						t.Error(err)
					}
				}
			})
		}
		began := time.Now()
		all.Wait()
		throttled := 0
		for _, c := range w.Calls() {
			if c.Code == "Throttling" {
				throttled++
			}
		}
		if n := w.Count("DescribeDBInstances"); throttled*100 > n {
			t.Errorf("%d of %d calls were throttled", throttled, n)
		}
		if took := time.Since(began); took < 30*time.Second || took > 90*time.Second {
			t.Errorf("400 calls took %s, at 8 a second", took)
		}
	})
}

// TestThrottled: when AWS throttles more than was expected, calls become rarer, succeed in the end, and become more frequent again.
func TestThrottled(t *testing.T) {
	a := access(t, awstest.New(awstest.Options{}), east)
	a.Deadline = model.Duration(10 * time.Minute)
	bubble(t, awstest.Options{}, func(t *testing.T, w *awstest.World, b *awsbase.Base) {
		w.Account(home)
		w.Limit("rds", awstest.Limit{PerSecond: 1, Burst: 1})
		s := open(t, b, a)
		run := func(n int) (throttled int) {
			w.Forget()
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					if err := describe(t.Context(), s, "orders"); !errors.Is(err, failure.NotFound) {
						t.Error(err)
					}
				})
			}
			all.Wait()
			for _, c := range w.Calls() {
				if c.Code == "Throttling" {
					throttled++
				}
			}
			return throttled
		}
		first := run(100)
		if first == 0 {
			t.Error("nothing was throttled: this tests nothing")
		}
		if second := run(100); second*2 > first && second > 40 {
			t.Errorf("%d of 100 calls were throttled at first, and then %d: it does not adapt", first, second)
		}
		w.Limit("rds", awstest.Limit{PerSecond: 1000, Burst: 1000})
		run(200)
		began := time.Now()
		run(80)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("80 calls took %s long after the throttling", took)
		}
	})
}

// TestChangesFirst: a call that changes something does not wait behind many that look.
func TestChangesFirst(t *testing.T) {
	a := access(t, awstest.New(awstest.Options{}), east)
	a.Deadline = model.Duration(10 * time.Minute)
	bubble(t, awstest.Options{Unlimited: true}, func(t *testing.T, w *awstest.World, b *awsbase.Base) {
		w.Account(home)
		s := open(t, b, a)
		var all sync.WaitGroup
		for range 300 {
			all.Go(func() { _ = describe(t.Context(), s, "orders") })
		}
		synctest.Wait()
		began := time.Now()
		if err := create(t.Context(), s, "orders"); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it waited %s", took)
		}
		all.Wait()
	})
}

// TestPoller: many who look at many things cost one listing in a while, and see what they did before they looked.
func TestPoller(t *testing.T) {
	a := access(t, awstest.New(awstest.Options{}), east)
	bubble(t, awstest.Options{Unlimited: true}, func(t *testing.T, w *awstest.World, b *awsbase.Base) {
		w.Account(home)
		s := open(t, b, a)
		const n = 30
		for i := range n {
			if err := create(t.Context(), s, fmt.Sprintf("db-%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		var asked [][]string
		list := func(ctx context.Context, s *awsbase.Session, ids []string) (map[string]types.DBInstance, error) {
			asked = append(asked, ids)
			found := map[string]types.DBInstance{}
			pages := rds.NewDescribeDBInstancesPaginator(rdsOf(s), &rds.DescribeDBInstancesInput{Filters: []types.Filter{{Name: aws.String("db-instance-id"), Values: ids}}})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return nil, err
				}
				for _, i := range page.DBInstances {
					found[*i.DBInstanceIdentifier] = i
				}
			}
			return found, nil
		}
		w.Forget()
		began := time.Now()
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				p := awsbase.PollerOf(s, "db", list)
				for {
					got, found, err := p.Get(t.Context(), fmt.Sprintf("db-%d", i))
					if err != nil || !found {
						t.Error(found, err)
						return
					}
					if *got.DBInstanceStatus == "available" {
						return
					}
					time.Sleep(5 * time.Second)
				}
			})
		}
		all.Wait()
		took := time.Since(began)
		if calls := w.Count("DescribeDBInstances"); calls > int(took/(3*time.Second))+2 || calls < 10 {
			t.Errorf("%d looked for %s with %d calls", n, took, calls)
		}
		if len(asked[0]) != n {
			t.Errorf("the first listing was asked for %d, want all %d", len(asked[0]), n)
		}
		p := awsbase.PollerOf(s, "db", list)
		if _, found, err := p.Get(t.Context(), "nothing"); err != nil || found {
			t.Errorf("what is not there: %v, %v", found, err)
		}
		if _, err := rdsOf(s).ModifyDBInstance(t.Context(), &rds.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String("db-1"), DeletionProtection: aws.Bool(true)}); err != nil {
			t.Fatal(err)
		}
		if got, _, err := p.Get(t.Context(), "db-1"); err != nil || !*got.DeletionProtection {
			t.Errorf("it does not see what was done before: %v, %v", *got.DeletionProtection, err)
		}
	})
}

// TestPollerAtFirst: a few looks in a row do not wait for each other; many do.
func TestPollerAtFirst(t *testing.T) {
	a := access(t, awstest.New(awstest.Options{}), east)
	bubble(t, awstest.Options{}, func(t *testing.T, w *awstest.World, b *awsbase.Base) {
		w.Account(home)
		p := awsbase.PollerOf(open(t, b, a), "db", func(context.Context, *awsbase.Session, []string) (map[string]int, error) { return nil, nil })
		began := time.Now()
		for n := range 12 {
			if _, _, err := p.Get(t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); n == 3 && took > time.Second || n == 11 && took < 8*3*time.Second {
				t.Errorf("after %s there were %d listings", took, n+1)
			}
		}
	})
}

// TestPollerGivesUp: who gives up waits no longer, and the listing ends with the last of them.
func TestPollerGivesUp(t *testing.T) {
	a := access(t, awstest.New(awstest.Options{}), east)
	bubble(t, awstest.Options{}, func(t *testing.T, w *awstest.World, b *awsbase.Base) {
		w.Account(home)
		s := open(t, b, a)
		ended := make(chan error, 1)
		p := awsbase.PollerOf(s, "db", func(ctx context.Context, _ *awsbase.Session, _ []string) (map[string]int, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := p.Get(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the listing ended with %v", err)
		}
	})
}

func TestOrigin(t *testing.T) {
	req := driver.Request{Target: driver.Target{App: "shop", Resource: model.Resource{ID: "db"}}, Run: "run1", Step: "promote", Token: "abcdefgh234567abcdefgh"}
	o := awsbase.OriginOf(req)
	tags := o.Tags(map[string]string{"team": "shop", awsbase.TagToken: "forged"})
	m := map[string]string{}
	for _, tag := range awsbase.TagsAs(tags, func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} }) {
		m[*tag.Key] = *tag.Value
	}
	if back, ours := awsbase.ReadOrigin(m); !ours || back != o || m["team"] != "shop" {
		t.Errorf("written %+v, read %+v, %v", o, back, ours)
	}
	if _, ours := awsbase.ReadOrigin(map[string]string{"team": "shop"}); ours {
		t.Error("a thing of others counts as ours")
	}
	for text, want := range map[string]string{"restored, and «up»: (1 s)": "restored and up : 1 s", "Grüße  +=-@./_": "Grüße  +=-@./_", strings.Repeat("ö", 300): strings.Repeat("ö", 256), "": ""} {
		if got := (awsbase.Origin{}).Tags(map[string]string{"k": text})[0].Value; got != want {
			t.Errorf("%q is written as %q, want %q", text, got, want)
		}
	}
	type thing struct{ tags map[string]string }
	things := []thing{{map[string]string{}}, {m}}
	tagsOf := func(t thing) map[string]string { return t.tags }
	if _, ok := awsbase.FindByToken(things, req.Token, tagsOf); !ok {
		t.Error("what the token made is not found")
	}
	if _, ok := awsbase.FindByToken(things, "", tagsOf); ok {
		t.Error("no token finds something")
	}
}

func TestNameFor(t *testing.T) {
	const token = "abcdefghijklmnop234567"
	for prefix, want := range map[string]string{
		"orders": "orders-lb-abcdefghijklmnop", "Orders_DB..v2": "orders-db-v2-lb-abcdefghijklmnop", "": "x-lb-abcdefghijklmnop", "9lives": "lives-lb-abcdefghijklmnop",
		"a-name-that-is-much-too-long-for-it": "a-name-that-is-much-lb-abcdefghijklmnop",
	} {
		if got := awsbase.NameFor(prefix, token, 40); got != want || len(got) > 40 {
			t.Errorf("%q becomes %q, want %q", prefix, got, want)
		}
	}
}

// TestOtherServices: the same around services that speak otherwise.
func TestOtherServices(t *testing.T) {
	w := awstest.New(awstest.Options{})
	b := awsbase.New(awsbase.Options{HTTP: w.Client()})
	s := open(t, b, access(t, w, east))
	_, err := ssm.NewFromConfig(s.Config("ssm")).GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/nothing")})
	fails(t, err, failure.NotFound, "ParameterNotFound")
	_, err = route53.NewFromConfig(s.Config("route53")).GetHostedZone(t.Context(), &route53.GetHostedZoneInput{Id: aws.String("ZNOTHING")})
	fails(t, err, failure.NotFound, "NoSuchHostedZone")
}

// TestSocket: over real sockets, to an endpoint that is said; and when nobody listens there, a change was certainly not made.
func TestSocket(t *testing.T) {
	w := awstest.New(awstest.Options{})
	server, err := w.Serve()
	if err != nil {
		t.Fatal(err)
	}
	a := access(t, w, east)
	a.Endpoint = "http://127.0.0.1:1" // for other services: nobody
	a.Endpoints = map[string]string{"rds": server.URL, "sts": server.URL}
	s := open(t, awsbase.New(awsbase.Options{}), a)
	if err := create(t.Context(), s, "orders"); err != nil {
		t.Error(err)
	}
	if err := describe(t.Context(), s, "orders"); err != nil {
		t.Error(err)
	}
	w.Inject(awstest.Fault{Action: "CreateDBInstance", How: awstest.LoseAnswer})
	fails(t, create(t.Context(), s, "second"), failure.Indeterminate)
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	fails(t, create(t.Context(), s, "third"), failure.Unavailable, "refused")
}
