package aurora

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestVersionsDiffer wants a word beforehand about a member that AWS gives no role to: one of another release.
func TestVersionsDiffer(t *testing.T) {
	for _, c := range []struct {
		own, global string
		warned      bool
	}{
		{"15.4", "15.4", false}, {"15.4.1", "15.4.2", false}, {"15.5", "15.4", true}, {"16.4", "15.4", true}, {"", "15.4", false}, {"15.4", "", false}, {"15", "15", false},
		{"8.0.mysql_aurora.3.05.2", "8.0.mysql_aurora.3.05.1", false}, {"8.0.mysql_aurora.3.05.2", "8.0.mysql_aurora.3.06.0", true}, {"8.0.mysql_aurora.3.05.2", "5.7.mysql_aurora.2.11.3", true},
	} {
		p := &place{arn: "west", at: ClusterSite{Site: Site{Cluster: "orders"}}}
		v := &view{
			arn: "west", cluster: &types.DBCluster{Status: aws.String(available), EngineVersion: &c.own},
			global: &types.GlobalCluster{EngineVersion: &c.global, GlobalClusterMembers: []types.GlobalClusterMember{{DBClusterArn: aws.String("west"), IsWriter: aws.Bool(false)}}},
		}
		f := &findings{req: driver.Request{}, site: "west"}
		(&Driver{}).checkRole(p, v, f)
		warned := slices.ContainsFunc(f.list, func(f model.Finding) bool { return f.Code == "aurora-version" && f.Severity == model.Warn })
		if warned != c.warned {
			t.Errorf("%q in a global database of %q: warned %v: %v", c.own, c.global, warned, f.list)
		}
	}
}
