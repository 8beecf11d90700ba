package regions

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight/preflighttest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// govern gives Lifeboat the policies that are printed for a plan of the user's own, without one call; none: the whole.
func (l *lab) govern(plan, without string) {
	l.t.Helper()
	const user = "arn:aws:iam::" + account + ":user/admin"
	must(l.t, l.Policy(user, `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", "Action": ["*"]}]}`))
	s := l.open(nil)
	defer s.Close()
	reply, err := s.Policy(within(l.t, time.Hour), api.PolicyRequest{Custom: plan})
	must(l.t, err)
	documents := preflighttest.Texts(l.t, reply.Grants, without)
	if without != "" && slices.Equal(documents, preflighttest.Texts(l.t, reply.Grants, "")) {
		l.t.Errorf("the policy of %s does not hold %s", plan, without)
	}
	must(l.t, l.Policy(user, documents...))
}

// TestPayloadPolicy: the policy that is printed for a document is enough for it, and its plan says what of it is missing.
func TestPayloadPolicy(t *testing.T) {
	t.Parallel()
	bubble(t, awstest.Options{}, func(l *lab) {
		l.payloadShop()
		permissions := func(plan string) (out []model.Finding) {
			s := l.open(nil)
			defer s.Close()
			reply, err := s.Plan(within(l.t, time.Hour), custom(plan).PlanRequest)
			must(l.t, err)
			for _, f := range reply.Findings {
				if strings.HasPrefix(f.Code, "aws-") {
					out = append(out, f)
				}
			}
			return out
		}
		for plan, calls := range map[string][]string{
			"to-frankfurt":           {"rds:PromoteReadReplica", "rds:FailoverGlobalCluster", "elasticache:FailoverGlobalReplicationGroup"},
			"follow-again-in-dublin": {"rds:CreateDBInstanceReadReplica", "rds:DeleteDBInstance", "rds:CreateDBCluster", "rds:RestoreDBClusterFromSnapshot"},
		} {
			l.govern(plan, "")
			if found := permissions(plan); len(found) > 0 {
				t.Errorf("%s under its policy: %+v", plan, found)
			}
			for _, call := range calls {
				l.govern(plan, call)
				found := permissions(plan)
				if len(found) == 0 || slices.ContainsFunc(found, func(f model.Finding) bool {
					return f.Severity != model.Block || !strings.HasPrefix(f.What, call+" is not allowed") || !strings.Contains(f.Fix, "lifeboat aws policy --plan "+plan+" prints")
				}) {
					t.Errorf("%s without %s: %+v", plan, call, found)
				}
			}
		}
		l.govern("to-frankfurt", "")
		l.Forget()
		l.run(custom("to-frankfurt"))
		for _, c := range l.Calls() {
			if strings.HasPrefix(c.Code, "AccessDenied") || c.Code == "UnauthorizedOperation" {
				t.Errorf("%s:%s in %s was refused", c.Service, c.Action, c.Region)
			}
		}
	})
}
