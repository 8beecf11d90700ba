package awstest_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
)

// glazed is a world behind a glass.
func glazed() (*awstest.World, *awstest.Glass, func(region string) aws.Config, awstest.Credentials) {
	w := awstest.New(awstest.Options{})
	c := w.Account(theirs)
	g := awstest.NewGlass(w.Client(), theirs)
	return w, g, func(region string) aws.Config {
		return aws.Config{Region: region, HTTPClient: g, Credentials: static(c.AccessKey, c.SecretKey), Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
	}, c
}

// TestGlassStops: no call that changes something gets past the glass, in any protocol, whoever makes it.
func TestGlassStops(t *testing.T) {
	w, g, cfg, _ := glazed()
	ctx, name := t.Context(), aws.String("orders")
	calls := map[string]func() error{
		"DeleteDBInstance": func() error {
			_, err := rds.NewFromConfig(cfg(east)).DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: name, SkipFinalSnapshot: aws.Bool(true)})
			return err
		},
		"FailoverGlobalCluster": func() error {
			_, err := rds.NewFromConfig(cfg(east)).FailoverGlobalCluster(ctx, &rds.FailoverGlobalClusterInput{GlobalClusterIdentifier: name, TargetDbClusterIdentifier: name})
			return err
		},
		"DeleteReplicationGroup": func() error {
			_, err := elasticache.NewFromConfig(cfg(east)).DeleteReplicationGroup(ctx, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: name})
			return err
		},
		"ChangeResourceRecordSets": func() error {
			_, err := route53.NewFromConfig(cfg(east)).ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: aws.String("Z1"), ChangeBatch: &r53types.ChangeBatch{Changes: []r53types.Change{
				{Action: r53types.ChangeActionDelete, ResourceRecordSet: &r53types.ResourceRecordSet{Name: name, Type: r53types.RRTypeA}}}}})
			return err
		},
		"PutParameter": func() error {
			_, err := ssm.NewFromConfig(cfg(east)).PutParameter(ctx, &ssm.PutParameterInput{Name: name, Value: name})
			return err
		},
		"DeleteStack": func() error {
			_, err := cloudformation.NewFromConfig(cfg(east)).DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: name})
			return err
		},
		"a service that is not known": func() error {
			_, err := s3.NewFromConfig(cfg(east)).GetObject(ctx, &s3.GetObjectInput{Bucket: name, Key: name})
			return err
		},
	}
	for what, call := range calls {
		if err := call(); err == nil || !strings.Contains(err.Error(), "not sent to AWS") {
			t.Errorf("%s: %v, want it not to be sent", what, err)
		}
	}
	if n := w.Count(""); n != 0 {
		t.Errorf("%d calls got through: %v", n, w.Calls())
	}
	if got := len(g.Refused()); got != len(calls) {
		t.Errorf("refused: %v", g.Refused())
	}
}

// TestGlassReads: what a request says twice, or in its address, is not believed.
func TestGlassReads(t *testing.T) {
	w, g, _, c := glazed()
	signed := func(method, url, body string) *http.Request {
		req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		creds, _ := static(c.AccessKey, c.SecretKey).Retrieve(t.Context())
		if err := v4.NewSigner().SignHTTP(t.Context(), creds, req, "e3b0", "rds", east, time.Now()); err != nil {
			t.Fatal(err)
		}
		return req
	}
	presigned := signed(http.MethodPost, "https://rds."+east+".amazonaws.com/?Action=DeleteDBInstance&X-Amz-Signature=1", "")
	presigned.Header.Del("Authorization")
	for what, req := range map[string]*http.Request{
		"twice":          signed(http.MethodPost, "https://rds."+east+".amazonaws.com/", "Action=DescribeDBInstances&Action=DeleteDBInstance&Version=2014-10-31"),
		"in the address": signed(http.MethodPost, "https://rds."+east+".amazonaws.com/?Action=DescribeDBInstances", "Action=DeleteDBInstance&Version=2014-10-31"),
		"not at all":     signed(http.MethodPost, "https://rds."+east+".amazonaws.com/", "Version=2014-10-31"),
		"presigned":      presigned,
	} {
		if resp, err := g.Do(req); err == nil {
			t.Errorf("an action that is said %s was sent: %s", what, resp.Status)
		}
	}
	if n := w.Count(""); n != 0 {
		t.Errorf("%d calls got through", n)
	}
}

// TestGlassShows: what only looks passes, with its answer kept; errors are not kept, nor who somebody is.
func TestGlassShows(t *testing.T) {
	w, g, cfg, _ := glazed()
	if _, err := sts.NewFromConfig(cfg(east)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Fatal(err)
	}
	client := rds.NewFromConfig(cfg(east))
	if _, err := client.DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String("nobody")}); err == nil {
		t.Fatal("there is no instance of this name")
	}
	if n := w.Count(""); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
	answers := g.Answers()
	if len(answers) != 1 || answers[0].Action != "DescribeDBInstances" || answers[0].Region != east || answers[0].Account != theirs || len(answers[0].Body) == 0 {
		t.Errorf("kept: %+v", answers)
	}
}

// TestPaced: transitions that a call begins go at the pace of its context, others as usual.
func TestPaced(t *testing.T) {
	stage(t, awstest.Options{}, func(t *testing.T, _ *awstest.World, s *scene) {
		arn := made(t, s, east, "orders")
		s.ctx = awstest.Paced(s.ctx, 10)
		same(t, "snapshot", s.snap(east, "orders", "slow"), "creating")
		s.pass(29 * time.Minute) // ten times three minutes
		v, err := s.snapshot(east, "slow")
		if err != nil || *v.Status != "creating" {
			t.Errorf("after 29 minutes: %v %v of %s", v, err, arn)
		}
		s.pass(2 * time.Minute)
		if v, err = s.snapshot(east, "slow"); err != nil || *v.Status != "available" {
			t.Errorf("after 31 minutes: %v %v", v, err)
		}
	})
}
