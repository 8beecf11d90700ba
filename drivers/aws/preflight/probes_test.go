package preflight_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/aurora"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/elasticache"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight/preflighttest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/rds"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/route53"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestProbes: without IAM's simulator, nothing stays unknown but what no harmless call tells. The regions are of all partitions.
func TestProbes(t *testing.T) {
	base := awsbase.New(awsbase.Options{})
	ask := func(d driver.Driver, settings, site string) (calls []string) {
		t.Helper()
		for partition, places := range map[string][2]string{"aws": {"eu-west-1", "eu-central-1"}, "aws-cn": {"cn-north-1", "cn-northwest-1"}, "aws-us-gov": {"us-gov-west-1", "us-gov-east-1"}} {
			r := model.Resource{ID: "it", App: "shop", Kind: d.Facts().Kind, Settings: []byte(settings), Sites: map[model.SiteID]json.RawMessage{}}
			for i, region := range places {
				at := `{"aws": {"account": "111111111111", "region": "` + region + `", "roles": [{"arn": "arn:` + partition + `:iam::111111111111:role/lifeboat"}]}, "kms_key": "11111111-2222-3333-4444-555555555555", ` + site + `}`
				if d.Facts().Kind == elasticache.KindGlobal || d.Facts().Kind == route53.Kind {
					at = strings.Replace(at, `"kms_key": "11111111-2222-3333-4444-555555555555", `, "", 1)
				}
				r.Sites[model.SiteID([]string{"one", "two"}[i])] = []byte(at)
			}
			for _, p := range (preflighttest.Rig{Driver: d, Resource: r}).Needs(t) {
				calls = append(calls, p.Call)
				for _, on := range p.On {
					if on != "*" && !strings.HasPrefix(on, "arn:"+partition+":") {
						t.Errorf("%s of %s in %s is on %s", p.Call, d.Facts().Kind, partition, on)
					}
				}
				if p.Partition != partition || p.Why == "" {
					t.Errorf("%s of %s: partition %q, why %q", p.Call, d.Facts().Kind, p.Partition, p.Why)
				}
			}
		}
		return calls
	}
	calls := slices.Concat(
		ask(rds.New(base), `{"recovery": "replica"}`, `"instance": "orders", "parameter_group": "p", "option_group": "o", "fence": {"security_groups": ["sg-1"]}`),
		ask(aurora.New(base), `{"global": "orders"}`, `"cluster": "orders", "subnet_group": "s", "parameter_group": "p", "cluster_parameter_group": "c", "security_groups": ["sg-1"]`),
		ask(aurora.NewCluster(base), `{}`, `"cluster": "orders", "instances": {"class": "db.r6g.large"}`),
		ask(elasticache.NewGlobal(base), `{"datastore": "ldgnf-orders"}`, `"group": "orders"`),
		ask(elasticache.NewGroup(base), `{"engine": "redis", "node_type": "cache.r6g.large", "at_rest_encryption": true}`, `"group": "orders", "subnet_group": "s", "parameter_group": "p", "standby": {"node_type": "cache.t4g.small"}`),
		ask(route53.New(base), `{"zone": "example.com", "names": ["shop.example.com"], "type": "A"}`, `"values": ["192.0.2.1"]`),
	)
	slices.Sort(calls)
	var unknown []string
	for _, call := range slices.Compact(calls) {
		if !preflight.Probed(call) {
			unknown = append(unknown, call)
		}
	}
	want := []string{"elasticache:CreateReplicationGroup", "iam:SimulatePrincipalPolicy", "kms:CreateGrant", "rds:CreateDBCluster", "rds:CreateDBInstance", "sts:AssumeRole"}
	if diff := cmp.Diff(want, unknown); diff != "" {
		t.Errorf("without a probe (-want +got):\n%s", diff)
	}
}
