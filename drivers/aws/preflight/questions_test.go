package preflight

import (
	"fmt"
	"testing"

	"github.com/lifeboat-dr/lifeboat/driver"
)

// TestQuestions: every permission is asked about, under its own conditions alone, in few questions that are not too large.
func TestQuestions(t *testing.T) {
	tagged, passed := Tagged("shop"), conditions{"Bool": {"kms:GrantIsForAWSResource": "true"}}
	var all []driver.Permission
	for n := range 70 { // databases
		on := []string{fmt.Sprintf("arn:db:%d", n), fmt.Sprintf("arn:snapshot:%d", n)}
		for _, call := range []string{"CreateDBSnapshot", "CopyDBSnapshot", "ModifyDBInstance"} {
			all = append(all, driver.Permission{Call: "rds:" + call, On: on})
		}
		all = append(all, driver.Permission{Call: "rds:DeleteDBInstance", On: on[:1], If: tagged})
	}
	for n := range 130 {
		all = append(all, driver.Permission{Call: fmt.Sprintf("rds:Describe%d", n), On: Any})
	}
	all = append(all, driver.Permission{Call: "kms:CreateGrant", On: []string{"arn:key"}, If: passed})
	asked := map[string]bool{}
	got := questions(merged(all))
	for _, q := range got {
		if len(q.calls)*len(q.on) > pairsAtOnce || len(q.on) > arnsAtOnce {
			t.Errorf("a question of %d calls on %d resources", len(q.calls), len(q.on))
		}
		for _, call := range q.calls {
			for _, on := range q.on {
				asked[call+" "+on+" "+q.given.text()] = true
			}
		}
	}
	for _, p := range all {
		for _, on := range p.On {
			if !asked[p.Call+" "+on+" "+conditions(p.If).text()] {
				t.Errorf("%s on %s is not asked about", p.Call, on)
			}
		}
	}
	if least := (3*140 + 130 + 70 + 1) / pairsAtOnce; len(got) < least || len(got) > 3*least {
		t.Errorf("%d questions, where %d could be enough", len(got), least)
	}
}
