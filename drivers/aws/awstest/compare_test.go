package awstest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
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
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/emulator"
)

// The emulators know one account only.
const (
	theirs = emulator.Account
	east   = "us-east-1"
	west   = "us-west-2"
)

// probe is one call, or a few, and what comes of it in a word. The same probes run in the same order against the fake and the
// emulators. Want is what AWS says, and so the fake; moto and ministack hold what those say instead: "" for the same, "-" where
// the probe is not run. Where they differ, why says who is right.
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
	line     line // to an emulator
}

// line goes to an emulator and notices when an answer broke off.
type line struct{ broke atomic.Bool }

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		l.broke.Store(true)
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, nil
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
	return &scene{
		ctx: t.Context(), pass: clock.Advance, seen: map[string]string{},
		cfg: func(region string) aws.Config {
			return aws.Config{Region: region, HTTPClient: w.Client(), Credentials: static(c.AccessKey, c.SecretKey), Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
		},
		key:      func(region string) string { return w.Key(theirs, region, "probe") },
		exported: func(name, value string) error { w.Export(theirs, east, name, value); return nil },
	}
}

// emulatorScene starts an emulator by its script.
func emulatorScene(t *testing.T, name string) *scene {
	t.Helper()
	at := emulator.Start(t, name)
	s := &scene{ctx: t.Context(), pass: func(time.Duration) {}, seen: map[string]string{}}
	s.cfg = func(region string) aws.Config {
		return aws.Config{Region: region, BaseEndpoint: aws.String(at), HTTPClient: &http.Client{Transport: &s.line}, Credentials: static("test", "test"), Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
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
	for _, part := range [][]probe{identityProbes(), storeProbes(), recordProbes(), instanceProbes(), moveProbes(), auroraProbes(), cacheProbes()} {
		all = append(all, part...)
	}
	return all
}

// TestProbes holds that the fake says what AWS says, that the emulators say what the table says of them, and that the document
// names every difference.
func TestProbes(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../../docs/aws-emulators.md")
	if err != nil {
		t.Fatal(err)
	}
	all := probes()
	run := func(t *testing.T, s *scene, name string, want func(p probe) string) bool {
		for _, p := range all {
			w := want(p)
			if w == "-" {
				continue
			}
			if got := p.do(s); got != w && !s.line.broke.Load() {
				t.Errorf("%s: %s says %q, want %q", p.id, name, got, w)
			}
			if s.line.broke.Load() {
				return false
			}
		}
		return true
	}
	// A call whose answer broke off may have had its effect: all begins anew with another server.
	patient := func(t *testing.T, name string, want func(p probe) string) {
		for range 10 {
			if run(t, emulatorScene(t, name), name, want) {
				return
			}
			t.Logf("an answer of %s broke off", name)
		}
		t.Errorf("answers of %s break off each time", name)
	}
	t.Run("fake", func(t *testing.T) { run(t, fakeScene(t), "the fake", func(p probe) string { return p.want }) })
	t.Run("moto", func(t *testing.T) {
		t.Parallel()
		patient(t, emulator.Moto, func(p probe) string { return or(p.moto, p.want) })
	})
	t.Run("ministack", func(t *testing.T) {
		t.Parallel()
		patient(t, emulator.Ministack, func(p probe) string { return or(p.ministack, p.want) })
	})
	for _, p := range all {
		differs := p.moto != "" && p.moto != "-" || p.ministack != "" && p.ministack != "-"
		if named := strings.Contains(string(doc), "`"+p.id+"`"); differs != named {
			t.Errorf("%s: differs %v, named in docs/aws-emulators.md %v", p.id, differs, named)
		}
		if differs != (p.why != "") {
			t.Errorf("%s: a difference needs a reason, and a reason a difference", p.id)
		}
	}
	if os.Getenv("AWSTEST_TABLE") != "" {
		for _, p := range all {
			if p.why != "" {
				fmt.Printf("| `%s` | %s | %s | %s | %s |\n", p.id, p.want, or(p.moto, "="), or(p.ministack, "="), p.why)
			}
		}
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
