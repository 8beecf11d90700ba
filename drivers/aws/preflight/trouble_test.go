package preflight_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/elasticache"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestNobodyWorksThere: whatever keeps a site's identity from working is one finding, with why it matters and the command to begin
// with, and holds nothing up.
func TestNobodyWorksThere(t *testing.T) {
	sts := func(code, message string) func(w *awstest.World) {
		return func(w *awstest.World) {
			w.Inject(awstest.Fault{Service: "sts", How: awstest.Error, Status: http.StatusForbidden, Code: code, Message: message})
		}
	}
	const role = `,"roles":[{"arn":"arn:aws:iam::111111111111:role/lifeboat","external_id":"env:EXTERNAL_ID"}]`
	for name, c := range map[string]struct {
		access string // more of it
		env    map[string]string
		world  func(w *awstest.World)
		warns  bool // it may be over the next time
		what   string
		fix    string
	}{
		"expired credentials":          {world: sts("ExpiredToken", "The security token included in the request is expired"), what: "is expired", fix: "aws sso login"},
		"a key that AWS does not know": {env: map[string]string{"KEY": "AKIANOBODY"}, what: "InvalidClientTokenId", fix: "aws sts get-caller-identity"},
		"a wrong secret key":           {env: map[string]string{"SECRET": "wrong"}, what: "SignatureDoesNotMatch", fix: "aws sts get-caller-identity"},
		"a secret that is not there":   {access: `,"session_token":"env:NO_SUCH_VARIABLE"`, what: "NO_SUCH_VARIABLE", fix: "export NO_SUCH_VARIABLE"},
		"a wrong external id": {access: role, env: map[string]string{"EXTERNAL_ID": "wrong"}, world: func(w *awstest.World) {
			w.Role(awstest.Role{Account: "111111111111", Name: "lifeboat", ExternalID: "right"})
		}, what: "sts:AssumeRole", fix: "external_id"},
		"a role that does not trust": {access: role, world: func(w *awstest.World) {
			w.Role(awstest.Role{Account: "111111111111", Name: "lifeboat", Trust: []string{"222222222222"}})
		}, what: "sts:AssumeRole", fix: "aws iam get-role"},
		"a role that is not there":       {access: role, what: "role/lifeboat", fix: "trust policy"},
		"a region that is not on":        {access: role, world: sts("RegionDisabledException", "STS is not activated in this region for account:111111111111."), what: "not activated", fix: "aws account enable-region --region-name eu-west-1"},
		"a region that knows no keys":    {world: sts("InvalidClientTokenId", "The security token included in the request is invalid."), what: "is invalid", fix: "aws account get-region-opt-status --region-name eu-west-1"},
		"a clock that is an hour off":    {world: sts("RequestExpired", "Request has expired."), what: "has expired", fix: "timedatectl"},
		"a token service that hangs":     {world: func(w *awstest.World) { w.Inject(awstest.Fault{Service: "sts", How: awstest.Hang}) }, warns: true, what: "no answer", fix: "down"},
		"a token service that throttles": {world: func(w *awstest.World) { w.Inject(awstest.Fault{Service: "sts", How: awstest.Throttle}) }, warns: true, what: "Rate exceeded", fix: "slow"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := awstest.New(awstest.Options{Unlimited: true})
				key := w.Account("111111111111")
				for k, v := range map[string]string{"KEY": key.AccessKey, "SECRET": key.SecretKey, "EXTERNAL_ID": "right"} {
					if c.env[k] != "" {
						v = c.env[k]
					}
					t.Setenv(k, v)
				}
				if c.world != nil {
					c.world(w)
				}
				base := awsbase.New(awsbase.Options{HTTP: w.Client()})
				defer base.Wait()
				began := time.Now()
				found := nobody(t, base, `"access_key":"env:KEY","secret_key":"env:SECRET"`+c.access)
				if took := time.Since(began); took > awsbase.DefaultDeadline {
					t.Errorf("it took %s", took)
				}
				code, severity := "aws-identity", model.Block
				if c.warns {
					code, severity = "aws-not-examined", model.Warn
				}
				if len(found) != 1 || found[0].Code != code || found[0].Severity != severity || !strings.Contains(found[0].What, c.what) || found[0].Why == "" || !strings.Contains(found[0].Fix, c.fix) {
					t.Errorf("found %+v", found)
				}
			})
		})
	}
}

// nobody examines a site that is reached with an access, and gives what was found.
func nobody(t *testing.T, base *awsbase.Base, access string) []model.Finding {
	t.Helper()
	r := model.Resource{ID: "sessions", App: "shop", Kind: elasticache.KindGlobal, Settings: json.RawMessage(`{"datastore":"ldgnf-shop"}`), Sites: map[model.SiteID]json.RawMessage{
		"west": json.RawMessage(`{"aws":{"account":"111111111111","region":"eu-west-1",` + access + `},"group":"shop"}`)}}
	found, err := elasticache.NewGlobal(base).Examine(t.Context(), driver.Examination{App: "shop", Site: "west",
		Work: []driver.Request{{Target: driver.Target{App: "shop", Resource: r, Site: "west"}, Action: model.ActionPromote}}})
	if err != nil {
		t.Fatal(err)
	}
	return found.Findings
}

// TestNoAuthorities: what the SDK cannot read, such as a bundle of authorities, is said as what it is.
func TestNoAuthorities(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", t.TempDir()+"/gone.pem")
	found := nobody(t, awsbase.New(awsbase.Options{}), `"profile":""`)
	if len(found) != 1 || found[0].Severity != model.Block || !strings.Contains(found[0].What, "gone.pem") || !strings.Contains(found[0].Fix, "aws configure list") {
		t.Errorf("found %+v", found)
	}
}
