package orchestrator_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight/preflighttest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/statepayload"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestPermissions: what reading a document needs is enough for it, and whatever is missing of that is named, with the command that
// prints all of it.
func TestPermissions(t *testing.T) {
	bubble(t, "us-east-1", "us-west-2", func(t *testing.T, w *world) {
		w.databases(t)
		w.Export(account, "us-west-2", "orders-cluster", w.arn("west", "cluster:orders-west"))
		w.Parameter(account, "us-west-2", "/sessions/group", "sessions-west", false)
		type resource = map[string]any
		content, err := json.Marshal(map[string]any{"StatePayload": []any{map[string]any{"layer": 1, "resources": []any{
			resource{"resourceType": "UnPlannedFailoverAurora", "resourceName": "x", "parameters": map[string]any{"GlobalClusterIdentifier": "orders", "DBClusterIdentifier": "!Import orders-cluster", "ClusterRegion": "us-west-2"}},
			resource{"resourceType": "PromoteRDSReadReplica", "resourceName": "y", "parameters": map[string]any{"RDSInstanceIdentifier": w.arn("west", "db:billing-west")}},
			resource{"resourceType": "FailoverElastiCacheCluster", "resourceName": "z", "parameters": map[string]any{"GlobalReplicationGroupId": "ldgnf-sessions", "TargetRegion": "us-west-2", "TargetReplicationGroupId": "resolve:ssm:/sessions/group:1"}},
		}}}})
		must(t, err)
		plan := model.PayloadPlan{Site: "west", Peer: "east", Fence: []string{"sg-9"}}
		w.Forget()
		needs, err := w.im.Permissions("shop", statepayload.Read("x.json", content), plan, w.sites())
		must(t, err)
		if asked := len(w.Calls()); asked > 0 {
			t.Errorf("%d calls were made for it", asked)
		}
		user := "arn:aws:iam::" + account + ":user/admin"
		must(t, w.Policy(user, preflighttest.Documents(t, needs, "")...))
		work, remarks, err := w.resolve(t.Context(), string(content), plan)
		if err != nil || len(work) != 3 {
			t.Fatalf("under the policy: %d of 3 actions, %v, %v", len(work), codes(remarks), err)
		}
		var calls []string
		for _, p := range needs {
			if calls = append(calls, p.Call); p.Call == "iam:SimulatePrincipalPolicy" {
				continue // the plan's examination asks it
			}
			must(t, w.Policy(user, preflighttest.Documents(t, needs, p.Call)...))
			_, _, err := w.resolve(t.Context(), string(content), plan)
			if err == nil || failure.KindOf(err) != failure.Denied || !strings.Contains(failure.HintOf(err), p.Call+" in the policy") || !strings.Contains(failure.HintOf(err), "lifeboat aws policy --plan x.json --site west --import") {
				t.Errorf("without %s: %v (%s)", p.Call, err, failure.HintOf(err))
			}
		}
		slices.Sort(calls)
		if got, want := strings.Join(calls, " "), "cloudformation:ListExports elasticache:DescribeGlobalReplicationGroups iam:SimulatePrincipalPolicy rds:DescribeDBInstances rds:DescribeGlobalClusters ssm:GetParameter"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}
