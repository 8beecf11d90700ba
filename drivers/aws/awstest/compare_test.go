package awstest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/awsmodel"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/emulator"
)

// The emulators know one account only.
const (
	theirs = emulator.Account
	east   = "us-east-1"
	west   = "us-west-2"
)

// probe is one call, or a few, and what comes of it in a word: an emulator.Step.
type probe struct {
	id              string
	do              func(s *scene) string
	want            string
	moto, ministack string
	why             string
}

// scene is where probes run.
type scene struct {
	ctx  context.Context
	cfg  func(region string) aws.Config
	pass func(time.Duration) // lets the world's time pass
	key  func(region string) string
	seen map[string]string // what earlier probes leave for later ones
	// exported makes an export of CloudFormation, which AWS does by a stack.
	exported func(name, value string) error
}

func (s *scene) rds(region string) *rds.Client { return rds.NewFromConfig(s.cfg(region)) }
func (s *scene) cache(region string) *elasticache.Client {
	return elasticache.NewFromConfig(s.cfg(region))
}
func (s *scene) dns() *route53.Client             { return route53.NewFromConfig(s.cfg(east)) }
func (s *scene) params(region string) *ssm.Client { return ssm.NewFromConfig(s.cfg(region)) }
func (s *scene) stacks(region string) *cloudformation.Client {
	return cloudformation.NewFromConfig(s.cfg(region))
}
func (s *scene) identities() *sts.Client { return sts.NewFromConfig(s.cfg(east)) }

// code is an error in a word: AWS's code, or the status of an answer without one.
func code(err error) string {
	if err == nil {
		return "ok"
	}
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() != "UnknownError" {
		return api.ErrorCode()
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() != http.StatusBadRequest {
		return fmt.Sprintf("HTTP %d", response.HTTPStatusCode())
	}
	return err.Error()
}

// word is a value, or the error there was instead.
func word(v any, err error) string {
	if err != nil {
		return code(err)
	}
	return fmt.Sprint(v)
}

func static(key, secret string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(key, secret, "")
}

// fakeScene is the fake without a socket, its clock moved by the probes.
func fakeScene(t *testing.T) *scene {
	clock := awstest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), 0)
	w := awstest.New(awstest.Options{Now: clock.Now, Unlimited: true})
	c := w.Account(theirs)
	client := awsmodel.Watch(t, w.Client())
	return &scene{
		ctx: t.Context(), pass: clock.Advance, seen: map[string]string{},
		cfg: func(region string) aws.Config {
			return aws.Config{Region: region, HTTPClient: client, Credentials: static(c.AccessKey, c.SecretKey), Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
		},
		key:      func(region string) string { return w.Key(theirs, region, "probe") },
		exported: func(name, value string) error { w.Export(theirs, east, name, value); return nil },
	}
}

// emulatorScene is a started emulator, in which everything happens at once.
func emulatorScene(t *testing.T, at emulator.Endpoint) *scene {
	t.Helper()
	s := &scene{ctx: t.Context(), pass: func(time.Duration) {}, seen: map[string]string{}}
	s.cfg = func(region string) aws.Config {
		return aws.Config{Region: region, BaseEndpoint: &at.URL, HTTPClient: at.HTTP, Credentials: static("test", "test"), Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
	}
	s.key = func(region string) string {
		return "arn:aws:kms:" + region + ":" + theirs + ":key/00000000-0000-4000-8000-000000000001"
	}
	s.exported = func(name, value string) error {
		template := fmt.Sprintf(`{"Resources":{"P":{"Type":"AWS::SSM::Parameter","Properties":{"Type":"String","Value":"x","Name":"stack-%s"}}},"Outputs":{"O":{"Value":%q,"Export":{"Name":%q}}}}`, name, value, name)
		_, err := s.stacks(east).CreateStack(s.ctx, &cloudformation.CreateStackInput{StackName: aws.String("stack-" + name), TemplateBody: &template})
		return err
	}
	return s
}

func probes() []probe {
	var all []probe
	for _, part := range [][]probe{identityProbes(), storeProbes(), recordProbes(), instanceProbes(), moveProbes(), auroraProbes(), cacheProbes(), askedProbes()} {
		all = append(all, part...)
	}
	return all
}

// TestProbes holds that the fake says what AWS says, that the emulators say what the table says of them, and that the document
// names every difference.
func TestProbes(t *testing.T) {
	t.Parallel()
	var steps []emulator.Step[*scene]
	for _, p := range probes() {
		steps = append(steps, emulator.Step[*scene]{ID: p.id, Do: p.do, Want: p.want, Moto: p.moto, Ministack: p.ministack, Why: p.why})
	}
	emulator.Compare(t, steps, func(t *testing.T, run func(*scene)) { run(fakeScene(t)) }, emulatorScene)
}
