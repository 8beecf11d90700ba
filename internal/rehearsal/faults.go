package rehearsal

import (
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awslook"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// slowAnswers is how late a slow site answers: within what a call may take, and long enough to hurt.
const slowAnswers = 5 * time.Second

// never is how many times as long as usual the transitions of a stuck step take.
const never = 1e6

// faults are the ways in which a site can fail.
var faults = map[string]awstest.Fault{
	"refusing": {How: awstest.Refuse},
	"hanging":  {How: awstest.Hang},
	"500":      {How: awstest.Error500},
	"slow":     {How: awstest.Slow, Delay: slowAnswers},
	"half":     {How: awstest.Error500, Changes: true},
}

// dark reports whether the lost site answers nothing at all.
func (st *stage) dark() bool {
	return slices.Contains([]string{"refusing", "hanging", "500"}, st.job.Request.How)
}

// lose makes the site fail: all of the regions that the app has there.
func (st *stage) lose(site model.SiteID) error {
	type spot struct{ account, region string }
	var there, elsewhere []spot
	for _, r := range st.job.Config.Apps[0].Resources {
		if strings.HasPrefix(string(r.Kind), "aws.route53.") {
			continue // names are in no region
		}
		for id, settings := range r.Sites {
			access, ok := awslook.AccessOf(settings)
			if !ok {
				continue
			}
			if id == site {
				there = append(there, spot{access.Account, access.Region})
			} else {
				elsewhere = append(elsewhere, spot{access.Account, access.Region})
			}
		}
	}
	for _, s := range there {
		if slices.Contains(elsewhere, s) {
			return failure.New(failure.Invalid, "lose", string(site), "%s of account %s is another site's too: both would be lost", s.region, s.account)
		}
		f, ok := faults[st.job.Request.How]
		if !ok {
			return failure.New(failure.Invalid, "lose", string(site), "%q is no way to fail", st.job.Request.How).
				WithHint("one of: %s", strings.Join(api.LostHow(), ", "))
		}
		f.Account, f.Region = s.account, s.region
		st.world.Inject(f)
	}
	return nil
}
