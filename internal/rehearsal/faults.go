package rehearsal

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awslook"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
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
	return slices.Contains([]string{"refusing", "hanging", "500"}, st.how())
}

// how is the way in which the lost site fails.
func (st *stage) how() string { return cmp.Or(st.job.Request.How, api.LostHow()[0]) }

// lose makes the site that is to be lost fail: all of the regions that the apps have there.
func (st *stage) lose() error {
	site := st.lost
	switch {
	case site == "" && st.job.Request.How != "":
		return failure.New(failure.Invalid, "lose", "", "the plan does not leave a site without its help, and so none is lost by itself").WithHint("say which with --lost SITE")
	case site == "":
		return nil
	}
	type spot struct{ account, region string }
	var there, elsewhere []spot
	for _, r := range st.job.resources() {
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
		f, ok := faults[st.how()]
		if !ok {
			return failure.New(failure.Invalid, "lose", string(site), "%q is no way to fail", st.how()).WithHint("one of: %s", strings.Join(api.LostHow(), ", "))
		}
		f.Account, f.Region = s.account, s.region
		st.world.Inject(f)
	}
	return nil
}
