package preflight_test

import (
	"encoding/json"
	"fmt"
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

// TestClock: a clock that is off by more than the answer's age explains is told of, whichever way it is off.
func TestClock(t *testing.T) {
	for _, c := range []struct {
		name  string
		world time.Duration // ahead of us
		slow  time.Duration // each answer
		want  string        // what is found, and why
	}{
		{name: "right"},
		{name: "a little behind", world: 4 * time.Second},
		{name: "behind", world: 8 * time.Second, want: "this machine's clock is behind AWS's by 8s at least"},
		{name: "ahead", world: -8 * time.Second, want: "this machine's clock is ahead of AWS's by 7s at least"},
		{name: "right, and AWS takes its time", slow: 14 * time.Second},
		{name: "far behind, and AWS takes its time", world: time.Minute, slow: 14 * time.Second, want: "this machine's clock is behind AWS's by 1m0s at least"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := awstest.New(awstest.Options{Unlimited: true, Now: func() time.Time { return time.Now().Add(c.world) }})
			key := w.Account("111111111111")
			t.Setenv("CLOCK_KEY", key.AccessKey)
			t.Setenv("CLOCK_SECRET", key.SecretKey)
			if c.slow > 0 {
				w.Inject(awstest.Fault{Service: "sts", How: awstest.Slow, Delay: c.slow})
			}
			r := model.Resource{ID: "sessions", App: "shop", Kind: elasticache.KindGlobal, Settings: json.RawMessage(`{"datastore":"ldgnf-shop"}`), Sites: map[model.SiteID]json.RawMessage{
				"west": json.RawMessage(`{"aws":{"account":"111111111111","region":"eu-west-1","access_key":"env:CLOCK_KEY","secret_key":"env:CLOCK_SECRET","attempt":"20s","deadline":"50s"},"group":"shop"}`)}}
			base := awsbase.New(awsbase.Options{HTTP: w.Client()})
			found, err := elasticache.NewGlobal(base).Examine(t.Context(), driver.Examination{App: "shop", Site: "west",
				Work: []driver.Request{{Target: driver.Target{App: "shop", Resource: r, Site: "west"}, Action: model.ActionPromote}}})
			if err != nil {
				t.Fatal(err)
			}
			base.Wait()
			var got []string
			for _, f := range found.Findings {
				if f.Code == "aws-clock" {
					why, _, _ := strings.Cut(f.Why, ":")
					got = append(got, fmt.Sprintf("%s %s", f.What, why))
				}
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("%s: found %q, want %q", c.name, got, c.want)
			}
		})
	}
}
