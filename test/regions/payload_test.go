package regions

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// payloads is the example of StatePayload documents.
const payloads = "../../examples/aws-dr-orchestrator"

// export makes what the example's documents refer to, in both regions: each one's exports name what is there.
func (l *lab) export() {
	l.t.Helper()
	for _, site := range sites {
		serve, _ := l.groups(site)
		for name, value := range map[string]string{
			"shop-orders-global-identifier": "shop-orders", "shop-orders-cluster-identifier": clusterARN(site, "shop-orders"), "shop-orders-cluster-region": regions[site],
			"shop-orders-cluster-name": "shop-orders-" + string(site), "shop-orders-source-cluster-identifier": clusterARN(other(site), "shop-orders"),
			"shop-orders-instance-identifier": "shop-orders-" + string(site) + "-1", "shop-orders-port": "5432", "shop-orders-instance-class": "db.r6g.large",
			"shop-orders-subnet-group-name": "shop", "shop-orders-vpc-security-group-ids": serve, "shop-orders-engine": "aurora-postgresql", "shop-orders-engine-version": "15.4",
			"shop-orders-KmsKeyId": "alias/shop", "shop-orders-source-region": regions[other(site)], "shop-orders-RDSMonitoringRole": "arn:aws:iam::" + account + ":role/rds-monitoring-role",
			"shop-billing-identifier": "shop-billing", "shop-billing-global-arn": instanceARN(other(site), "shop-billing"), "shop-billing-source-identifier": "shop-billing",
			"shop-billing-SourceRegion": regions[other(site)], "shop-billing-MultiAZ": "false", "shop-billing-DBInstanceClass": "db.t3.medium", "shop-billing-DBSubnetGroup": "shop",
			"shop-billing-DBSecurityGroup": serve, "shop-billing-KmsKeyId": "alias/shop", "shop-billing-RDSMonitoringRole": "arn:aws:iam::" + account + ":role/rds-monitoring-role",
			"shop-sessions-global-replication-group-id": "ldgnf-shop-sessions", "shop-sessions-target-region": regions[site], "shop-sessions-target-replication-group-id": "shop-sessions-" + string(site),
		} {
			l.Export(account, regions[site], name, value)
		}
		for n := range 120 { // more than one page, and nobody's
			l.Export(account, regions[site], "another-stack-"+strconv.Itoa(n), "x")
		}
		l.Parameter(account, regions[site], "/shop/billing/port", "5432", false)
	}
}

// documents lays the example beside the lab's configuration, whose security groups it gets.
func (l *lab) documents() {
	l.t.Helper()
	files, err := filepath.Glob(payloads + "/*.json")
	must(l.t, err)
	if len(files) != 3 {
		l.t.Fatalf("the example has %d documents, want 3", len(files))
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		must(l.t, err)
		must(l.t, os.WriteFile(filepath.Join(filepath.Dir(l.path), filepath.Base(file)), content, 0o644))
	}
	text, err := os.ReadFile(payloads + "/lifeboat.yaml")
	must(l.t, err)
	_, shut := l.groups(dublin)
	if !strings.Contains(string(text), "sg-0d000000000000001") {
		l.t.Fatal("the example names another security group")
	}
	l.configure(strings.ReplaceAll(string(text), "sg-0d000000000000001", shut))
}

// custom is a request for a plan of the user's own.
func custom(name string) api.StartRequest {
	return api.StartRequest{PlanRequest: api.PlanRequest{Operation: model.OpCustom, Custom: name}, By: "ann"}
}

// TestPayloadSwitchover runs a document with both regions well, there and back.
func TestPayloadSwitchover(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		l.furnish()
		l.makeGlobal("shop-orders", 2, 1)
		l.makeCache("shop-sessions")
		time.Sleep(time.Hour)
		l.export()
		l.documents()
		for _, site := range []model.SiteID{frankfurt, dublin} {
			l.run(custom("switch-to-" + string(site)))
			if got := l.writers(databases["orders"]); !slices.Equal(got, []model.SiteID{site}) {
				t.Errorf("orders takes writes at %v, want %s", got, site)
			}
			if got := l.cachePrimary(site, "ldgnf-shop-sessions"); !slices.Equal(got, []model.SiteID{site}) {
				t.Errorf("the datastore's primary is at %v, want %s", got, site)
			}
		}
	})
}
